/*
 * aiolink: a connection that is kept up, between two queues. Messages that you put into the outbox are sent to the peer.
 * Messages from the peer come into the inbox. When a connection breaks, the next one goes on with the same queues.
 *
 * A link listens or connects at an address (see <aioipc/listener.h>), or uses an end of this program. It has one peer at a
 * time; others that connect wait in the kernel until that peer has left. A message has left the outbox for good when all of
 * it was handed to the kernel. A message that was half written when its connection broke is sent again on the next one,
 * whole and first. What the peer had not read when it died is lost, and counted as unsure; with the option confirm, nothing is.
 *
 * A link on a base belongs to the thread that runs the base: start, set_reconnect, drop, close and abort are for that thread only.
 * Any thread may make the other calls. A link in a thread of its own may be used from any thread. Its queues are used like all
 * queues. Any thread can end a link through them: by closing the outbox, or the inbox of a link that only receives.
 *
 * Errno of calls that wait: EINVAL (not a deadline), ETIMEDOUT, EINTR (a signal handler ran), EDEADLK (in a callback of the
 * loop that runs the link, and the call would have to wait), ECANCELED (the task that waited was cancelled), EMFILE and ENFILE
 * (no descriptor to wake the task with). In the thread of the base, outside callbacks and tasks, these calls run the base with
 * everything on it, because a link needs the timers and watches of the base. There EINTR means that somebody broke the loop,
 * and a signal handler alone does not end the wait. (A connection needs only its descriptor: aioconn_recv() runs nothing else.)
 */
#ifndef AIOIPC_LINK_H
#define AIOIPC_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <aioipc/base.h>
#include <aioipc/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aioend;
struct aiolink;
struct aiotls;
struct aioqueue;
struct event_base;

enum aiolink_role { AIOLINK_CONNECT, AIOLINK_LISTEN };

/* RECV has no outbox. SEND has no inbox: it reads what the peer sends, to notice the end, and drops it. */
enum aiolink_direction { AIOLINK_BOTH, AIOLINK_RECV, AIOLINK_SEND };

enum aiolink_state {
	AIOLINK_NEW,        /* not started */
	AIOLINK_CONNECTING, /* looks up the name, connects, or listens for a peer */
	AIOLINK_WAITING,    /* a pause before the next attempt */
	AIOLINK_CONNECTED,
	AIOLINK_CLOSING, /* the connection ends in good order: the peer said goodbye, or the outbox was closed */
	AIOLINK_ENDED, /* for good; aiolink_error() says why */
};

/* 0 and NULL are the defaults. Either an address or an end is needed. The texts, uids and limits are copied. */
struct aiolink_options {
	size_t size;            /* sizeof(struct aiolink_options) */
	enum aiolink_role role; /* whether it connects or listens at the address */
	const char *address;
	/*
	 * An end of this program instead. When aiolink_new() succeeds, it belongs to the link; when that fails, it stays the caller's.
	 * It can't reconnect.
	 */
	struct aioend *end;
	enum aiolink_direction direction;
	struct aioqueue *inbox;  /* NULL: the link makes it, for 1024 messages and 1 MiB. */
	struct aioqueue *outbox; /* Otherwise the link takes a reference */
	enum aioconn_framing framing;
	const char *delimiter; /* under LINES: see aioconn_set_framing() */
	unsigned fds;          /* how many descriptors may come from the peer: see aioconn_allow_fds() */

	/*
	 * Milliseconds from a failed attempt or a lost connection to the next attempt. The pause begins with reconnect_first and
	 * doubles with each attempt that fails, up to reconnect_most. A random part, up to a fifth, is taken off each time. When both
	 * are 0, the link ends with its first connection or attempt. Otherwise both are more than 0, and it reconnects whatever the
	 * error was. A listening link does not pause between peers.
	 */
	int64_t reconnect_first, reconnect_most;

	/*
	 * Milliseconds; 0 means no limit. connect_limit: for one attempt to connect. idle_limit: without a byte from the peer while we
	 * read; then the peer is LOST. send_limit: in which the peer takes nothing of what waits for it; then it is LOST. The
	 * latter two may take a quarter longer.
	 */
	int64_t connect_limit, idle_limit, send_limit;

	/* Microseconds, at most 1000, that its loop polls before it sleeps: see aioconn_set_spin(). */
	unsigned spin;

	bool half_open; /* sends on after the peer's goodbye, until the outbox is closed; not with reconnecting */
	mode_t mode; /* these are for listening links, as in struct aiolistener_options: */
	const uid_t *uids;
	size_t n_uids;

	/*
	 * All members from here on: since 0.2. grace: milliseconds that a RECV link waits for the peer's goodbye when it is to end
	 * and has said its own. 0 means 500; AIOIPC_FOREVER means as long as the peer stays. A link that sends waits without a limit.
	 */
	int64_t grace;

	/*
	 * The limits of each connection, as for aioconn_set_limits(). NULL, and a 0 in it, mean the defaults; only that of the
	 * outbox is 128 KiB here.
	 */
	const struct aioconn_limits *limits;

	/*
	 * Milliseconds in which the link connects or listens in vain, pauses included; 0 means no limit. After that it ends, with the
	 * error of the last attempt, or with ETIMEDOUT. The time begins at the start, and again at the end of each connection.
	 */
	int64_t give_up_after;

	/*
	 * The local address of its TCP connections: "tcp://number:port". Port 0 means any port, and a number of "*" any address.
	 * NULL: the kernel chooses.
	 */
	const char *local;

	/* TCP, in milliseconds, as in struct aiolistener_options. 0: one minute and five minutes; AIOIPC_FOREVER: never. */
	int64_t keepalive, user_timeout;

	/*
	 * The peer confirms what its program is done with; until then the link holds it, 4096 messages and 4 MiB at most, and sends it again after a
	 * break. So each message arrives, in order: exactly once while both links live; again, if the receiver was restarted before it could
	 * confirm. A received message is confirmed when the last reference to it was freed.
	 *
	 * Both sides must ask for it. If the peer does not, or is of 0.1, the connection ends with EPROTO. Not with other framings, with
	 * fds or with half_open. A message with descriptors is refused. Calls and answers are not confirmed.
	 */
	bool confirm;

	/* For an address "tls://host:port", where it must be given, and for nothing else. The link holds a reference. */
	struct aiotls *tls;
};

/*
 * Makes a link that is not started. Errno: EINVAL; the log says in words why: neither or both of address and end, a text that
 * is no address, a queue for a direction that the link does not have, impossible limits, and so on. EPROTONOSUPPORT:
 * tls: without a struct aiotls. Since 0.1.
 */
AIOIPC_API struct aiolink *aiolink_new(const struct aiolink_options *o);

/*
 * Sets a callback. It is called in the thread of the loop with each new state except NEW. ENDED is the last one; it comes at the
 * latest before aiolink_close() or aiolink_abort() returns. The callback may do anything, and may free the link.
 * Set it before the start. Errno: EBUSY (the link was started). Since 0.1.
 */
typedef void aiolink_state_cb(struct aiolink *l, enum aiolink_state state, void *arg);
AIOIPC_API int aiolink_on_state(struct aiolink *l, aiolink_state_cb *cb, void *arg);

/*
 * Starts the link: on @base, in the thread that runs @base; or in a thread of its own when @base is NULL. A link that connects
 * does so later, from the loop. A link that listens does so at once, and may wait until the name of its address is looked up.
 * When the call fails, the link is as before.
 * Errno: EALREADY (it was started before), EOPNOTSUPP (fds is not 0, and the end is no unix socket), EBADF (the end can't be
 * read by a link that receives, or written by one that sends, or has moved to a child),
 * EAGAIN (no thread), EMFILE, ENFILE. For a listening link also as aiolistener_new(), for an end as aioend_open(). Since 0.1.
 */
AIOIPC_API int aiolink_start(struct aiolink *l, struct event_base *base);

/*
 * The queues of the link; NULL where the direction has none. They live as long as the link; aioqueue_ref() keeps them longer.
 *
 * Close the outbox to end the link in good order: what is in it is sent, on this connection or the next one, then our goodbye,
 * and the link ends when the peer has said goodbye too. Close the inbox when you want no more messages: what still comes is
 * dropped, and a RECV link ends. Before a link ends, everything that came is put into the inbox, and it waits for room there. When
 * it ends, it closes both queues, unless others share them.
 *
 * Several links may send from one outbox, in turns. Several links, and services, may put into one inbox. A link shares its queues from
 * aiolink_new() until it has ended or is freed. When the last one that sends from a queue leaves it, or the last one that puts into
 * it, the queue is closed, but only if one of them was ever started. Since 0.1.
 */
AIOIPC_API struct aioqueue *aiolink_inbox(const struct aiolink *l);
AIOIPC_API struct aioqueue *aiolink_outbox(const struct aiolink *l);

/*
 * aiolink_wait_connected: waits until there is a connection. Errno: EPIPE (there will be none any more).
 * aiolink_wait_disconnected: waits until the connection is over: the peer said goodbye or is lost, or it was closed here. If there is
 * none now, it waits until the next one has come and is over. It also returns when there will be no connection any more.
 * aiolink_join: waits until the link has ended, and frees nothing. A link does not end before there is room in its inbox for what came.
 * Any number of callers may wait, also before the start. Since 0.1.
 */
AIOIPC_API int aiolink_wait_connected(struct aiolink *l, int64_t deadline);
AIOIPC_API int aiolink_wait_disconnected(struct aiolink *l, int64_t deadline);
AIOIPC_API int aiolink_join(struct aiolink *l, int64_t deadline);

/*
 * Sets the pauses between attempts from now on, in milliseconds, as reconnect_first and reconnect_most do. When both are 0, the
 * present connection or attempt is the last one, and a link in a pause ends. Another thread than that of the loop may make this
 * call only when the link has a thread of its own, or before the start. Errno: EINVAL (as aiolink_new()), EPIPE (the link has
 * ended, or does not listen any more). Since 0.2.
 */
AIOIPC_API int aiolink_set_reconnect(struct aiolink *l, int64_t first, int64_t most);

/*
 * Drops this peer: aborts the present connection, and the peer sees LOST. The link goes on as after any other end of a
 * connection, and aiolink_error() is ECONNABORTED. The call does not wait for that. Threads: as for aiolink_set_reconnect().
 * Errno: ENOTCONN (there is no connection). Since 0.2.
 */
AIOIPC_API int aiolink_drop(struct aiolink *l);

/* The state of the link now. Since 0.1. */
AIOIPC_API enum aiolink_state aiolink_state(const struct aiolink *l);

/*
 * The errno with which the link ended, or the last attempt or connection failed; 0 when that was in good order. ECONNREFUSED,
 * ENOENT, ETIMEDOUT (a limit passed), ECONNRESET (the peer was lost), EBADMSG, EMSGSIZE and EPROTO (the peer broke the
 * protocol), ECONNABORTED (aborted here), and any errno of connecting. Since 0.1.
 */
AIOIPC_API int aiolink_error(const struct aiolink *l);

/*
 * aiolink_why writes the reason to @buf, in words; aiolink_peer the address of the peer, as aioconn_peer_address() does. Both
 * cut the text to @size bytes with its NUL; @size is more than 0. Errno: ENOTCONN, ENOTSOCK (a pipe). Since 0.1.
 */
AIOIPC_API int aiolink_why(const struct aiolink *l, char *buf, size_t size);
AIOIPC_API int aiolink_peer(const struct aiolink *l, char *buf, size_t size);

/* Writes the address of this side of the connection, in the same way. Since 0.2. */
AIOIPC_API int aiolink_local(const struct aiolink *l, char *buf, size_t size);

/*
 * aiolink_address: for a link that listens, once it is started: the address to connect to, such as with the free port that was
 * found. Otherwise the address that was given, or NULL. It is valid as long as the link. aiolink_port: the port at which it
 * listens, otherwise 0. Since 0.1.
 */
AIOIPC_API const char *aiolink_address(const struct aiolink *l);
AIOIPC_API int aiolink_port(const struct aiolink *l);

struct aiolink_stats {
	size_t size;          /* sizeof(struct aiolink_stats) */
	uint64_t connections; /* connections that were made */
	uint64_t msgs_in;     /* messages put into the inbox */
	uint64_t msgs_out;    /* messages of which every byte was handed to the kernel */
	uint64_t resent; /* messages half written when a connection broke, or not confirmed, and sent again */

	/*
	 * Messages of msgs_out that the peer may not have read: those of each connection that is over, unless our goodbye left
	 * first and the peer's came after it. At most so many are lost; the peer may have read all of them.
	 */
	uint64_t unsure;

	/*
	 * Messages that could not be sent at all. They were dropped, and the log was told: a typed message under LINES or BYTES; a
	 * line with a delimiter inside; a message or a line over its limit; one with descriptors where the connection is no unix
	 * socket that carries messages, or where the system does not pass them.
	 */
	uint64_t refused;
	/* Messages that came when the inbox was closed, or was full during aiolink_close(). */
	uint64_t dropped;

	/* Messages of ours that the peer has confirmed: of msgs_out, which counts none twice then. Since 0.2. */
	uint64_t confirmed;
};

/* Fills *@stats, up to the size that @stats->size says. Errno: EINVAL. Since 0.1. */
AIOIPC_API int aiolink_stats(const struct aiolink *l, struct aiolink_stats *stats);

/*
 * aiolink_close: ends the link in good order, as closing the outbox does, until @deadline; after that as aiolink_abort(). Then it
 * frees the link. An outbox that other links share is left to them. 0: everything has left, and the last connection ended in good
 * order. Messages that still come are put into the inbox while there is room, and dropped otherwise. Messages that did
 * not leave stay in the outbox, in order, for whoever holds the queue. A RECV link has nothing to lose: it waits for its
 * grace at most, and does not fail with ETIMEDOUT. aiolink_abort: ends the link at once, and frees it; the peer sees LOST. It waits
 * for a state callback that runs in another thread.
 *
 * Each takes NULL, and frees @l whatever it returns, except EINVAL. In a forked child they only free memory.
 * Errno: ETIMEDOUT (messages are left, or the peer has not said goodbye and so may not have read all), EPIPE (the link ended
 * before all messages had left), ECONNRESET (all had left, but the peer was lost), EDEADLK (see above; it has sent what
 * could be sent at once, and aborted the link; the rest is still in the outbox). Since 0.1.
 */
AIOIPC_API int aiolink_close(struct aiolink *l, int64_t deadline);
AIOIPC_API void aiolink_abort(struct aiolink *l);

#ifdef __cplusplus
}
#endif

#endif
