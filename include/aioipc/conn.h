/*
 * aioconn: an open connection. It sends and receives messages, lines or bytes, with callbacks on an event base or with
 * blocking calls. It knows how it ended.
 *
 * Errno of every call: ECHILD (the connection belongs to another process), EBUSY (without a base: another thread is in a
 * call; with a base: another task waits already, and this call would have to wait for the same). Errno of calls that wait: EINVAL
 * (not a deadline), ETIMEDOUT (nothing is lost), EDEADLK (AIOIPC_FOREVER in a callback of the same base, or on the connection that
 * called back), EPIPE (the connection was closed during the wait), ECANCELED (the task that waited was cancelled; nothing is lost).
 */
#ifndef AIOIPC_CONN_H
#define AIOIPC_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aioconn;
struct aiomsg;

/* How a connection ended. */
enum aioconn_cause {
	AIOCONN_CLEAN, /* the peer said goodbye */
	/*
	 * The peer died, aborted or can't be reached: EOF or a reset came without a goodbye, or there is no way to the peer. Under
	 * LINES and BYTES, EOF is a clean end, and only a reset is LOST.
	 */
	AIOCONN_LOST,
	AIOCONN_BAD,   /* the peer broke the protocol; aioconn_why() says how */
	AIOCONN_LOCAL, /* closed or aborted here */
	/*
	 * Not the fault of the peer: this process or its system could not go on. The file system is full, no descriptor number is
	 * left for a descriptor that came, other code closed the descriptor: aioconn_why() says what. Since 0.2; 0.1 said LOST or
	 * BAD.
	 */
	AIOCONN_FAILED,
};

/* What travels: messages, lines (each is one message), or bytes as they come. */
enum aioconn_framing { AIOCONN_MESSAGES, AIOCONN_LINES, AIOCONN_BYTES };

/*
 * Callbacks run from the loop, or from a call that waits on the same connection. They may do anything, and may free the
 * connection. Those of one connection never run inside each other, except that aioconn_close() and aioconn_abort() call on_close
 * at once. The message belongs to the library; aiomsg_ref() keeps it.
 */
typedef void aioconn_msg_cb(struct aioconn *c, struct aiomsg *m, void *arg);
typedef void aioconn_cb(struct aioconn *c, void *arg);
typedef void aioconn_close_cb(struct aioconn *c, enum aioconn_cause cause, void *arg);

/*
 * Sets the callbacks. Each may be NULL.
 *
 * on_msg: a message has come. It is consumed when the callback returns, unless the callback calls aioconn_keep().
 * on_writable: called once after opening. After a send has failed with EAGAIN or ETIMEDOUT, called once, as soon as the message
 * that was refused last would be taken.
 * on_close: called exactly once, as the last callback; with on_msg set, after the last message. aioconn_close() and aioconn_abort()
 * call it with LOCAL before they return. The library does not free @c after it, unless close, finish or abort called it;
 * aioconn_abort() in it is right for every cause.
 *
 * A goodbye ends one direction; the other direction goes on until its own goodbye. The peer's goodbye ends what comes in. Our
 * goodbye is sent by aioconn_write_eof(), aioconn_close() and aioconn_finish(). With on_msg set, it is also sent by itself: when
 * the peer has said goodbye, on_msg has returned from all messages before that, and everything queued has left. Then on_close
 * follows. When answers take longer, pause the connection until they are sent: a paused connection does not notice the end.
 * Without on_msg no goodbye is sent by itself. Messages that wait already go to the new on_msg. Since 0.1.
 */
AIOIPC_API int aioconn_set_callbacks(struct aioconn *c, aioconn_msg_cb *on_msg, aioconn_cb *on_writable,
				     aioconn_close_cb *on_close, void *arg);

/*
 * Sets what travels. Call it before the first use. @delimiter ends each line under LINES: at most 8 bytes, copied; NULL means
 * "\n". Errno: EINVAL, EBUSY (the connection was used already). Since 0.1.
 */
AIOIPC_API int aioconn_set_framing(struct aioconn *c, enum aioconn_framing f, const char *delimiter);

/*
 * Sends one message: tpl values (see <aioipc/msg.h>), plain bytes, or a message that exists already, which is not copied where
 * a reference is cheaper. On a base the message is queued, and leaves at the latest at the end of the loop's turn. Without a
 * base it is written before the call returns. The message is taken whole or not at all. Under LINES and BYTES only plain bytes
 * can be sent; under LINES the delimiter is added. A signal does not end a send that waits.
 * Errno: EAGAIN (the queue is full, and this is a callback or send_wait is 0), ETIMEDOUT (it was full for all of send_wait),
 * EPIPE (the peer is gone or broke the protocol, or this direction was ended here), EBADF (the connection only reads), EMSGSIZE
 * (over the message limit), EINVAL (format or values; a delimiter inside a line). When writing failed for another reason, that
 * errno, now and later: ENOSPC, EHOSTUNREACH and others. Since 0.1.
 */
AIOIPC_API int aioconn_send(struct aioconn *c, const char *format, ...);
AIOIPC_API int aioconn_send_bytes(struct aioconn *c, const void *data, size_t len);
AIOIPC_API int aioconn_send_msg(struct aioconn *c, const struct aiomsg *m);

/*
 * As aioconn_send(), and sends a duplicate of @fd along; @fd stays the caller's. It works over unix sockets, and the peer must
 * have allowed it with aioconn_allow_fds().
 * Errno: as aioconn_send(); EBADF (not a descriptor), EMFILE, EOPNOTSUPP (not a unix socket). When the system refuses to pass
 * @fd, what sendmsg(2) said, such as EINVAL: only this message is refused, and the others go on. Since 0.1.
 */
AIOIPC_API int aioconn_send_fd(struct aioconn *c, int fd, const char *format, ...);

/*
 * Takes the next message; the caller frees it. Returns 1; 0 when the peer has said goodbye and everything was received; -1. After
 * the end it first returns all whole messages that came before, whatever the cause. With on_msg set it returns only what the
 * callback has kept, and everything while the connection is paused.
 * Errno: ETIMEDOUT, EINTR (a signal handler ran), ECONNRESET (the peer is lost), EBADMSG, EMSGSIZE or EPROTO (the peer broke the
 * protocol: aioconn_why()), EBADF (the connection only writes). When reading failed for another reason, that errno:
 * EHOSTUNREACH, EMFILE, EIO and others. ETIMEDOUT may also come from TCP, as an end: then aioconn_why() is not empty.
 *
 *	while ((got = aioconn_recv(c, &m, AIOIPC_FOREVER)) == 1)
 *		...
 *	if (got == -1)
 *		...; this is not the end: errno, aioconn_why(c)
 *
 * On a base, outside its loop, this call and the other waiting calls of a connection run only this connection and its
 * callbacks. They need only its descriptor, and no other code runs meanwhile. (aiolink_wait_connected() and other calls of a
 * link run the whole base, because a link needs its timers and watches.) In a task the loop goes on with everything. Since 0.1.
 */
AIOIPC_API int aioconn_recv(struct aioconn *c, struct aiomsg **m, int64_t deadline);

/*
 * For on_msg: keeps the message as the first one, not consumed. on_msg is not called until aioconn_recv() takes the message (on_msg
 * goes on with the next one), or aioconn_resume() gives the same message to on_msg again. Since 0.1.
 */
AIOIPC_API void aioconn_keep(struct aioconn *c);

/*
 * aioconn_pause: on_msg is not called and nothing is read until aioconn_resume(), so the peer feels back-pressure. The end of what
 * comes in is not noticed either. aioconn_recv() still reads. Since 0.1.
 */
AIOIPC_API void aioconn_pause(struct aioconn *c);
AIOIPC_API void aioconn_resume(struct aioconn *c);

/*
 * While the connection is corked, nothing is written unless the queue is full. In this way many small messages leave in one
 * system call. Uncorking writes; without a base it waits as a send does, and what is left then stays in the queue. aioconn_recv(),
 * aioconn_flush() and aioconn_close() uncork. Errno: none of its own. Since 0.1.
 */
AIOIPC_API int aioconn_cork(struct aioconn *c, bool on);

/*
 * Waits until everything queued is handed to the kernel. Errno: EPIPE (the peer is gone; the rest is lost), or the errno with
 * which writing failed. Since 0.1.
 */
AIOIPC_API int aioconn_flush(struct aioconn *c, int64_t deadline);

/*
 * Says goodbye after everything that is queued. The other direction goes on: send all, then read the answers. On a base it
 * does not wait; without a base it waits as uncorking does. Errno: EPIPE (the peer is gone, or it was called before), EBADF (the
 * connection only reads). Since 0.1.
 */
AIOIPC_API int aioconn_write_eof(struct aioconn *c);

/*
 * aioconn_close: flushes, says goodbye, closes, and frees @c. It waits until @deadline for the kernel to take everything. Over TCP it
 * also waits until the peer has ended its direction; at the deadline it is enough that the peer's system has acknowledged everything.
 * aioconn_finish: the same in the background. on_close tells how it went (LOCAL; LOST or FAILED when not everything could be
 * delivered), and then @c is freed; @c may be used no more, except in on_close. aioconn_abort: drops what is queued and closes; the
 * peer sees LOST.
 *
 * Under LINES and BYTES, EOF is a clean end, so the peer is told of an abort by a reset. TCP and rings always do that, also when the
 * process is killed. A unix socket does it when something was left unread. A pipe never does it.
 *
 * Each takes NULL. Close and finish free @c also when they fail, except with EINVAL and EBUSY.
 * Errno: ETIMEDOUT (not everything left in time: the peer sees LOST), EPIPE (the peer was gone), the errno with which writing
 * failed, EDEADLK (it can't wait in this callback, and not everything could leave at once: the rest is lost), EINVAL (not a
 * deadline; finish without a base). Since 0.1.
 */
AIOIPC_API int aioconn_close(struct aioconn *c, int64_t deadline);
AIOIPC_API int aioconn_finish(struct aioconn *c, int64_t deadline);
AIOIPC_API void aioconn_abort(struct aioconn *c);

/*
 * How long a send outside callbacks waits for room: 0 for never, AIOIPC_FOREVER (the default), or milliseconds. Errno: EINVAL.
 * Since 0.1.
 */
AIOIPC_API int aioconn_set_send_wait(struct aioconn *c, int64_t ms);

/*
 * Polls for the next input for up to @us microseconds before it sleeps: shorter round trips for more processor time. On a base
 * the loop polls, for so long after each turn in which the connection had something to do, and everything else on the base is
 * served meanwhile. At most 1000; 0, the default, means never. Errno: EINVAL, ENOMEM. Since 0.1.
 */
AIOIPC_API int aioconn_set_spin(struct aioconn *c, unsigned us);

/* Limits in bytes. 0 leaves a limit as it is. In the queues, the header of a frame counts as part of its message. */
struct aioconn_limits {
	size_t size;    /* sizeof(struct aioconn_limits) */
	size_t message; /* one message, each way; 16 MiB; at most 1 GiB */
	size_t inbox;   /* waiting to be received; 1 MiB; an empty one takes one message up to that limit */
	/*
	 * Waiting to be written; 1 MiB; an empty one likewise. While it is not set, on_writable is called when there is room in 64 KiB, and is
	 * given so much, or 128 KiB for messages of 16 KiB and more, as all callbacks are then. That is faster.
	 */
	size_t outbox;
	size_t line; /* one line with its delimiter, each way; 64 KiB; at most 1 GiB */
	/*
	 * true: a longer line comes in pieces of that size, and is no EMSGSIZE; see aiomsg_part(). aioconn_read_line() then returns
	 * pieces without a delimiter. Then lines up to the message limit can be sent. Since 0.2.
	 */
	bool long_lines;
	/*
	 * calls: of ours that are in flight at once, 16384; at most 1048576. unanswered: of the peer's that were received and not
	 * answered yet, 16384; what comes beyond is refused with EAGAIN. See <aioipc/call.h>. Since 0.2.
	 */
	size_t calls, unanswered;
};

/* Sets the limits; @limits is copied. Errno: EINVAL. Since 0.1. */
AIOIPC_API int aioconn_set_limits(struct aioconn *c, const struct aioconn_limits *limits);

/*
 * Lets the peer send descriptors. @most_queued, from 0 to 253, is how many may wait here in messages that the caller has not yet
 * received; more wait in the kernel. A peer that sends more with one message is BAD; with 0, the default, it may send none. Call it
 * before the first use.
 * Errno: EOPNOTSUPP (not a unix socket), EINVAL, EBUSY. Since 0.1.
 */
AIOIPC_API int aioconn_allow_fds(struct aioconn *c, unsigned most_queued);

/*
 * Takes messages of aiomsg_new_shared() as the memory that they lie in, mapped for reading, instead of as bytes. @most_queued, from 0 to
 * 64, is how many may be on their way, or wait here for the caller; what the peer sends beyond that comes as bytes. With 0, the default, all
 * does. The peer learns of it when this side first waits in a call, or when its loop runs. Their bytes count in the inbox as those of
 * other messages do. Each has a descriptor of this process, and a mapping, until it is freed. A peer whose memory could change, is
 * not of the length that it announced, or is not all there, is BAD. Call it before the first use.
 * Errno: EOPNOTSUPP (neither a unix socket nor a ring; one way only), EINVAL, EBUSY. Since 0.2.
 */
AIOIPC_API int aioconn_allow_shared(struct aioconn *c, unsigned most_queued);

struct aioconn_stats {
	size_t size;                  /* sizeof(struct aioconn_stats) */
	uint64_t msgs_in, msgs_out;   /* messages delivered, and messages taken for sending */
	uint64_t bytes_in, bytes_out; /* bytes read from and written to the kernel */
	/* Sends that failed with EAGAIN or ETIMEDOUT, and messages whose descriptors could not be passed. */
	uint64_t refused;
	size_t queued_in, queued_out; /* bytes that wait now */
	size_t peak_in, peak_out;     /* the most that ever waited */
	/* Since 0.2, all below. Answered or not: calls that we made, and that came from the peer. */
	uint64_t calls_out, calls_in;
	/* Answers and cancels that belong to no call: not asked for, twice, too late. They are ignored. */
	uint64_t strays;
	size_t in_flight,
		unanswered; /* calls now: of ours without an end, and of the peer's without an answer */
	uint64_t shared_in, shared_out; /* messages that came and left in shared memory, not as bytes */
};

/* Fills *@stats, up to the size that @stats->size says. Errno: EINVAL. Since 0.1. */
AIOIPC_API int aioconn_stats(const struct aioconn *c, struct aioconn_stats *stats);

/* Who made the other end of a unix socket. Each pointer may be NULL. Errno: EOPNOTSUPP. Since 0.1. */
AIOIPC_API int aioconn_peer_cred(const struct aioconn *c, pid_t *pid, uid_t *uid, gid_t *gid);

/*
 * Why the connection ended, or why nothing can be sent any more, in words: "frame of 4294967295 bytes, limit 16777216". "" as
 * long as neither is so. Valid as long as @c. Since 0.1.
 */
AIOIPC_API const char *aioconn_why(const struct aioconn *c);

/*
 * aioconn_arg: the @arg of aioconn_set_callbacks(). aioconn_base: the base of aioend_open(). aioconn_fd: the descriptor that is
 * read, or that is written when there is no reading; use it for poll(2) only. Messages may wait in the connection when it shows
 * nothing. Since 0.1.
 */
AIOIPC_API void *aioconn_arg(const struct aioconn *c);
AIOIPC_API struct event_base *aioconn_base(const struct aioconn *c);
AIOIPC_API int aioconn_fd(const struct aioconn *c);

/*
 * These read as from a stream, under BYTES and LINES, without on_msg. They return the number of bytes; 0 at the end; -1 with
 * nothing consumed. aioconn_read: up to @len bytes, as soon as there is one. aioconn_read_exactly: @len bytes, fewer only at the
 * end. aioconn_read_line: a line with its delimiter; the last line may have none. *@line points into the connection. It is valid
 * until the next call on @c, and on a base only until the loop runs again.
 * Errno: as aioconn_recv(); EMSGSIZE (a line over the limit, or @len over the message limit: the bytes are still there for
 * aioconn_read()); EINVAL (the framing is MESSAGES). Since 0.1.
 */
AIOIPC_API ssize_t aioconn_read(struct aioconn *c, void *buf, size_t len, int64_t deadline);
AIOIPC_API ssize_t aioconn_read_exactly(struct aioconn *c, void *buf, size_t len, int64_t deadline);
AIOIPC_API ssize_t aioconn_read_line(struct aioconn *c, const char **line, int64_t deadline);

/*
 * aioconn_read_until: reads up to the next occurrence of the @len bytes at @mark, and includes it; at most @limit bytes (0: the
 * line limit). The bytes before the end of the stream may come without the mark. *@data is valid as *@line is.
 * aioconn_read_all: reads everything up to the end, at most @limit bytes (0: the message limit), as one message, which the
 * caller frees. The message is empty when nothing is left. Both need memory of up to @limit, which is 1 GiB at most.
 * Errno: as aioconn_read(); EMSGSIZE (more than @limit: the bytes are still there); EINVAL also (@len is 0 or over @limit, or
 * @limit is over 1 GiB). Since 0.2.
 */
AIOIPC_API ssize_t aioconn_read_until(struct aioconn *c, const void *mark, size_t len, size_t limit,
				      const char **data, int64_t deadline);
AIOIPC_API ssize_t aioconn_read_all(struct aioconn *c, struct aiomsg **all, size_t limit, int64_t deadline);

#ifdef __cplusplus
}
#endif

#endif
