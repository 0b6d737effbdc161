/*
 * aioconn: an open connection. Sends and receives messages, lines or bytes, by callbacks on an event
 * base or by blocking calls; knows how it ended.
 *
 * Every call: ECHILD (it belongs to another process), EBUSY (without a base: another thread is in a
 * call; with one: another caller waits for the same). Waiting calls: EINVAL (not a deadline),
 * ETIMEDOUT (nothing lost), EDEADLK (FOREVER in a callback of the same base, or on the connection that
 * called back), EPIPE (it was closed while the call waited), ECANCELED (the task that waited was
 * cancelled; nothing lost).
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
	/* the peer died, aborted or can't be reached: EOF or a reset without goodbye, no route to it; of LINES and BYTES a reset */
	AIOCONN_LOST,
	AIOCONN_BAD,   /* the peer broke the protocol; aioconn_why() says how */
	AIOCONN_LOCAL, /* closed or aborted here */
	/*
	 * No fault of the peer's: this process or its system could not go on. The file system is full, no number is left for a
	 * descriptor that came, the descriptor was closed behind our back; aioconn_why() says what. Since 0.2; 0.1 said LOST or BAD.
	 */
	AIOCONN_FAILED,
};

/* What travels: messages, lines (one message each), or bytes as they come. */
enum aioconn_framing { AIOCONN_MESSAGES, AIOCONN_LINES, AIOCONN_BYTES };

/*
 * Callbacks run from the loop, or from a waiting call on the same connection; they may do
 * anything, including freeing the connection. The message is the library's: aiomsg_ref() keeps it.
 */
typedef void aioconn_msg_cb(struct aioconn *c, struct aiomsg *m, void *arg);
typedef void aioconn_cb(struct aioconn *c, void *arg);
typedef void aioconn_close_cb(struct aioconn *c, enum aioconn_cause cause, void *arg);

/*
 * Any of them may be NULL. on_msg: one message, consumed unless aioconn_keep() is called. on_writable:
 * once after opening, and once after each EAGAIN, as soon as a message of the refused size would be taken.
 * on_close: exactly once, after all data, and the last to be called; close and abort call it with LOCAL before they return. It
 * does not free @c: aioconn_abort() in it is right for every cause.
 *
 * A goodbye ends one direction, and the other goes on until its own: that of the peer ends what comes in. Ours is said by write_eof, close and
 * finish; and, where on_msg is set, by itself: the peer said its own, on_msg has returned from all before it, and
 * everything queued has left; then on_close. Answers that take longer: pause the connection until they are sent, the
 * end is not noticed meanwhile. Without on_msg nothing is said by itself. Since 0.1.
 */
AIOIPC_API int aioconn_set_callbacks(struct aioconn *c, aioconn_msg_cb *on_msg, aioconn_cb *on_writable,
				     aioconn_close_cb *on_close, void *arg);

/*
 * Before the first use. @delimiter, for LINES (NULL means "\n"; at most 8 bytes; copied), ends each line.
 * Errno: EINVAL, EBUSY (it was used already). Since 0.1.
 */
AIOIPC_API int aioconn_set_framing(struct aioconn *c, enum aioconn_framing f, const char *delimiter);

/*
 * Sends one message: tpl values, plain bytes, or a message built before (by reference where that
 * is cheaper). On a base it is queued and leaves at the latest at the end of the loop's turn;
 * without one it is written before the call returns. It is taken whole or not at all. Under LINES and BYTES
 * only plain bytes can be sent; LINES adds the delimiter.
 * Errno: EAGAIN (full, in a callback, or send_wait is 0), ETIMEDOUT (full for send_wait), EPIPE (the peer is
 * gone, or closed here), EBADF (it only reads), EMSGSIZE (over the message limit), EINVAL (format or values;
 * a delimiter inside a line); when writing failed for another reason, and after it, that one: ENOSPC, EHOSTUNREACH... A send that waits goes on after signals. Since 0.1.
 */
AIOIPC_API int aioconn_send(struct aioconn *c, const char *format, ...);
AIOIPC_API int aioconn_send_bytes(struct aioconn *c, const void *data, size_t len);
AIOIPC_API int aioconn_send_msg(struct aioconn *c, const struct aiomsg *m);

/*
 * As aioconn_send(), with a duplicate of @fd; @fd stays the caller's. Unix sockets only, and the peer must have
 * allowed it. Errno: as aioconn_send(), EBADF (not a descriptor), EMFILE, EOPNOTSUPP (not a unix socket); what sendmsg(2) says where
 * the system does not pass @fd, EINVAL say: this message is refused, and the others go on. Since 0.1.
 */
AIOIPC_API int aioconn_send_fd(struct aioconn *c, int fd, const char *format, ...);

/*
 * Takes the next message; the caller frees it. Returns 1; 0 when the peer said goodbye and everything
 * was received; -1. Errno: ETIMEDOUT, EINTR (a signal handler ran), ECONNRESET (the peer is lost),
 * EBADMSG, EMSGSIZE or EPROTO (the peer broke the protocol: aioconn_why()), EBADF (it only writes); when reading failed
 * for another reason, that one: EHOSTUNREACH, EMFILE, EIO... ETIMEDOUT may be TCP's: aioconn_why() is not empty then.
 *
 *	while ((got = aioconn_recv(c, &m, AIOIPC_FOREVER)) == 1)
 *		...
 *	if (got == -1)
 *		...; not the end: errno, aioconn_why(c)
 *
 * On a base, outside its loop, this and the other waiting calls move only this connection and run only its callbacks: they need nothing but its
 * descriptor, and no other code runs behind the caller's back. (aiolink_wait_connected() and others of a link run the base: a link lives by its
 * timers and watches.) In a task the loop goes on with everything. Since 0.1.
 */
AIOIPC_API int aioconn_recv(struct aioconn *c, struct aiomsg **m, int64_t deadline);

/*
 * In on_msg: the message is not consumed, it stays the first. A recv that waits gets it; without
 * one, delivery stops until aioconn_recv() or aioconn_resume(). Since 0.1.
 */
AIOIPC_API void aioconn_keep(struct aioconn *c);

/*
 * pause: no on_msg and no reading until resume, so that the peer feels it; nor is the end noticed.
 * recv still reads. resume also delivers a kept message again. Since 0.1.
 */
AIOIPC_API void aioconn_pause(struct aioconn *c);
AIOIPC_API void aioconn_resume(struct aioconn *c);

/*
 * While corked nothing is written unless the queue is full, so that many small messages leave in one system
 * call. Uncorking writes; so do recv, flush and close, which uncork. Errno: none of its own. Since 0.1.
 */
AIOIPC_API int aioconn_cork(struct aioconn *c, bool on);

/* Waits until everything queued is handed to the kernel. Errno: EPIPE (the peer is gone; the rest is lost), or what writing failed with. Since 0.1. */
AIOIPC_API int aioconn_flush(struct aioconn *c, int64_t deadline);

/*
 * Says goodbye for this direction behind all that is queued; the other one goes on (send all, then
 * read the answers). Does not wait on a base. Errno: EPIPE, EBADF (it only reads). Since 0.1.
 */
AIOIPC_API int aioconn_write_eof(struct aioconn *c);

/*
 * close: flushes, says goodbye, closes, frees, and waits for that. finish: the same in the background, on_close tells (LOCAL,
 * or LOST when not everything could be delivered), then @c is freed; it may not be used before but in on_close.
 * abort: drops what is queued and closes; the peer sees LOST. Under LINES and BYTES, where EOF is a clean end, it is told by a reset:
 * over TCP always, of a killed process too; over unix sockets where something was left unread; over pipes never. Each takes NULL, and
 * frees whatever it returns but EINVAL.
 * Errno: ETIMEDOUT (not everything left in time: the peer sees LOST), EPIPE (the peer was gone), what writing failed with,
 * EDEADLK (FOREVER in a callback, and it did not leave at once), EINVAL (not a deadline; finish without a base). Since 0.1.
 */
AIOIPC_API int aioconn_close(struct aioconn *c, int64_t deadline);
AIOIPC_API int aioconn_finish(struct aioconn *c, int64_t deadline);
AIOIPC_API void aioconn_abort(struct aioconn *c);

/* How long a send outside callbacks waits for room: 0 never, AIOIPC_FOREVER (default), or milliseconds. EINVAL. Since 0.1. */
AIOIPC_API int aioconn_set_send_wait(struct aioconn *c, int64_t ms);

/*
 * Polls for up to @us microseconds for the next input before it goes to sleep: lower latency for processor time. On a base
 * that is its loop, for so long after each turn in which the connection had something to do, and all else on it is served
 * meanwhile. 0, the default, never; at most 1000. Errno: EINVAL, ENOMEM. Since 0.1.
 */
AIOIPC_API int aioconn_set_spin(struct aioconn *c, unsigned us);

/* Limits in bytes; 0 leaves one as it is. A frame's header counts as part of the message in the queues. */
struct aioconn_limits {
	size_t size;    /* sizeof(struct aioconn_limits) */
	size_t message; /* one message, each way; 16 MiB; at most 1 GiB */
	size_t inbox;   /* waiting to be received; 1 MiB; an empty one takes one message of any legal size */
	size_t outbox;  /* waiting to be written; 1 MiB; likewise */
	size_t line;    /* one line with its delimiter; 64 KiB; at most 1 GiB */
	/*
	 * A longer line comes in pieces of that size instead of EMSGSIZE: see aiomsg_part(); read_line returns them without a delimiter.
	 * Lines up to the message limit can be sent. Since 0.2.
	 */
	bool long_lines;
};

/* Errno: EINVAL. Since 0.1. */
AIOIPC_API int aioconn_set_limits(struct aioconn *c, const struct aioconn_limits *limits);

/*
 * Lets the peer send descriptors, at most @most_queued of them received but not yet asked for (0 to
 * 253; 0, the default: a message that announces some is BAD). Before the first use. Errno: EOPNOTSUPP (not a unix socket), EINVAL, EBUSY. Since 0.1.
 */
AIOIPC_API int aioconn_allow_fds(struct aioconn *c, unsigned most_queued);

struct aioconn_stats {
	size_t size;                  /* sizeof(struct aioconn_stats) */
	uint64_t msgs_in, msgs_out;   /* messages delivered, and messages taken for sending */
	uint64_t bytes_in, bytes_out; /* bytes read from and written to the kernel */
	uint64_t refused;             /* sends that got EAGAIN or ETIMEDOUT, and what could not be passed */
	size_t queued_in, queued_out; /* bytes that wait now */
	size_t peak_in, peak_out;     /* the most that ever waited */
};

/* Fills as much of @stats as @stats->size says. Errno: EINVAL. Since 0.1. */
AIOIPC_API int aioconn_stats(const struct aioconn *c, struct aioconn_stats *stats);

/* Who made the other end of a unix socket. Each may be NULL. Errno: EOPNOTSUPP. Since 0.1. */
AIOIPC_API int aioconn_peer_cred(const struct aioconn *c, pid_t *pid, uid_t *uid, gid_t *gid);

/* In words why it ended, or why nothing can be sent any more: "frame of 4294967295 bytes, limit 16777216"; "" while that is not so. Lives as long as @c. Since 0.1. */
AIOIPC_API const char *aioconn_why(const struct aioconn *c);

/* What was given to set_callbacks and open; the descriptor that is read (or else written), for poll(2) only. Since 0.1. */
AIOIPC_API void *aioconn_arg(const struct aioconn *c);
AIOIPC_API struct event_base *aioconn_base(const struct aioconn *c);
AIOIPC_API int aioconn_fd(const struct aioconn *c);

/*
 * Reading as from a stream, under BYTES and LINES, without on_msg. They return the number of bytes; 0 at the end;
 * -1 with nothing consumed. read: up to @len, as soon as there is one. read_exactly: @len; less
 * only at the end. read_line: a line with its delimiter, the last one maybe without; a view, good until the
 * next read. Errno: as aioconn_recv(); EMSGSIZE (a line over the limit, @len over the message limit: it is
 * all still there for read); EINVAL (the framing is MESSAGES). Since 0.1.
 */
AIOIPC_API ssize_t aioconn_read(struct aioconn *c, void *buf, size_t len, int64_t deadline);
AIOIPC_API ssize_t aioconn_read_exactly(struct aioconn *c, void *buf, size_t len, int64_t deadline);
AIOIPC_API ssize_t aioconn_read_line(struct aioconn *c, const char **line, int64_t deadline);

/*
 * read_until: up to and with the first @len bytes that are those at @mark, at most @limit (0: the line limit); what is left
 * at the end comes maybe without. A view, as of read_line. read_all: everything up to the end, at most @limit (0: the message limit), in
 * one message, which the caller frees; an empty one where nothing is left. Both need a memory of @limit, 1 GiB at most.
 * Errno: as above; EMSGSIZE (more than @limit: all still there); EINVAL also (@len is 0 or over @limit, @limit over 1 GiB). Since 0.2.
 */
AIOIPC_API ssize_t aioconn_read_until(struct aioconn *c, const void *mark, size_t len, size_t limit,
				      const char **data, int64_t deadline);
AIOIPC_API ssize_t aioconn_read_all(struct aioconn *c, struct aiomsg **all, size_t limit, int64_t deadline);

#ifdef __cplusplus
}
#endif

#endif
