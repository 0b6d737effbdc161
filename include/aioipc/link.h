/*
 * aiolink: a connection that is kept up, between two queues. What is put into its outbox is sent to the peer, what the peer
 * sends is found in its inbox; when a connection breaks, the next one goes on with the same queues.
 *
 * A link listens or connects at an address (see <aioipc/listener.h>), or speaks over an end of ours. It has one peer at a time:
 * whoever else connects waits in the kernel until that one has left. A message has left the outbox for good when it was
 * handed to the kernel whole; one that was half written when its connection broke is sent again, whole and first, on the next.
 *
 * A link that was started on a base belongs to the thread that runs it, as a connection does, but for the calls that wait
 * or just ask: those any thread may make. One in a thread of its own may be used from any thread. Its queues are used as all
 * queues are: by closing its outbox, or the inbox of one that only receives, any thread ends it.
 *
 * Calls that wait: EINVAL (not a deadline), ETIMEDOUT, EINTR (a signal handler ran), EDEADLK (in a callback of the loop that
 * runs the link, where it would have to wait), ECANCELED (the task that waited was cancelled), EMFILE, ENFILE (no
 * descriptor to wake the task by). In the thread of its base, outside callbacks and tasks, they run the base
 * meanwhile, with all else on it: a link lives by the base's timers and watches. (A connection needs only its descriptor: aioconn_recv() moves
 * nothing else.) EINTR says there that somebody broke the loop; a handler alone does not end such a wait.
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
struct aioqueue;
struct event_base;

enum aiolink_role { AIOLINK_CONNECT, AIOLINK_LISTEN };

/* RECV has no outbox. SEND has no inbox: it reads what the peer says, to notice its end, and drops it. */
enum aiolink_direction { AIOLINK_BOTH, AIOLINK_RECV, AIOLINK_SEND };

enum aiolink_state {
	AIOLINK_NEW,        /* not started */
	AIOLINK_CONNECTING, /* looks the name up, connects, or listens for a peer */
	AIOLINK_WAITING,    /* until it tries again */
	AIOLINK_CONNECTED,
	AIOLINK_CLOSING, /* the connection is being ended in good order: by the peer's goodbye, or the closed outbox */
	AIOLINK_ENDED, /* for good: aiolink_error() says why */
};

/* Zeroes are the defaults. One of address and end is needed. */
struct aiolink_options {
	size_t size;            /* sizeof(struct aiolink_options) */
	enum aiolink_role role; /* at the address */
	const char *address;    /* copied */
	struct aioend *end;     /* the link's as soon as there is a link: nobody else uses or frees it */
	enum aiolink_direction direction;
	struct aioqueue *inbox;  /* NULL: made, for 1024 messages and 1 MiB; */
	struct aioqueue *outbox; /* else it takes a reference */
	enum aioconn_framing framing;
	const char *delimiter; /* of LINES: see aioconn_set_framing(); copied */
	unsigned fds;          /* descriptors may come from the peer: see aioconn_allow_fds() */

	/*
	 * Milliseconds until the second attempt, doubled with each one that fails up to reconnect_most; a random part, up to a
	 * fifth, is taken off each time. Both 0: it ends with its first connection. A listening link does not pause between peers.
	 */
	int64_t reconnect_first, reconnect_most;

	/*
	 * Milliseconds, 0 for none: of one attempt to connect; without a byte from the peer while we read, then it is LOST; in which
	 * the peer takes nothing of what waits for it, then it is LOST. The latter two may take a quarter longer.
	 */
	int64_t connect_limit, idle_limit, send_limit;

	/* Microseconds in which its loop polls before it sleeps, at most 1000: see aioconn_set_spin(). */
	unsigned spin;

	bool half_open; /* after the peer's goodbye, sends on until the outbox is closed; never reconnects */
	mode_t mode;    /* of a listening link, as in struct aiolistener_options: */
	const uid_t *uids; /* copied */
	size_t n_uids;

	/*
	 * Since 0.2, all below. grace: milliseconds that a RECV link which is to end waits, once it has said its goodbye, for the
	 * peer's; 0: 500, AIOIPC_FOREVER: as long as the peer stays.
	 */
	int64_t grace;

	/* Of each connection, as aioconn_set_limits() has them; copied. NULL, and 0 in it: the defaults, but 128 KiB for outbox. */
	const struct aioconn_limits *limits;

	/*
	 * Milliseconds, 0 for none, in which it tries to connect, or listens, in vain, pauses included: then it ends, with the last
	 * attempt's error, or ETIMEDOUT.
	 */
	int64_t give_up_after;

	/*
	 * Where its TCP connections come from: "tcp://number:port", port 0 for any, as is a number of "*"; copied. NULL: the kernel
	 * chooses.
	 */
	const char *local;

	/* TCP, in milliseconds, as in struct aiolistener_options: 0: a minute, and five; AIOIPC_FOREVER: never. */
	int64_t keepalive, user_timeout;
};

/*
 * A link, not started. Errno: EINVAL (told in words to the log: no or two things to connect, an address that is none, a queue
 * for a direction that has none, limits that make no sense, and so on). Since 0.1.
 */
AIOIPC_API struct aiolink *aiolink_new(const struct aiolink_options *o);

/*
 * Called in the loop's thread with each state that it comes to, but NEW; ENDED is the last, and comes before
 * aiolink_close() or aiolink_abort() return at the latest. It may do anything, also free the link.
 * To be set before start, else EBUSY. Since 0.1.
 */
typedef void aiolink_state_cb(struct aiolink *l, enum aiolink_state state, void *arg);
AIOIPC_API int aiolink_on_state(struct aiolink *l, aiolink_state_cb *cb, void *arg);

/*
 * Starts it, on @base in the thread that runs that, or with NULL in a thread of its own. Connects later, from the loop; but
 * listens at once, and may wait for the name of that address to be looked up. When it fails the link is as before.
 * Errno: EALREADY (it was started), of a listening one as aiolistener_new(), of an end as aioend_open(), EBADF (it lacks a
 * direction), EOPNOTSUPP (descriptors over what is no unix socket); EAGAIN (no thread), EMFILE, ENFILE. Since 0.1.
 */
AIOIPC_API int aiolink_start(struct aiolink *l, struct event_base *base);

/*
 * Its queues; NULL if the direction has none. They live as long as the link, aioqueue_ref() keeps them. Closing the outbox
 * ends the link in good order: what is in it is sent, on this connection or the next, then our goodbye, and when the peer has said
 * its own, the link has ended. Whoever closes the inbox wants no more: what comes is dropped, and a RECV link ends. A link that
 * has ended has closed both: its inbox when everything that came is in it. Links that share a queue, and services that put into it, leave it to each
 * other, from new until they have ended: the last one closes it. Those that share an outbox take turns. Since 0.1.
 */
AIOIPC_API struct aioqueue *aiolink_inbox(const struct aiolink *l);
AIOIPC_API struct aioqueue *aiolink_outbox(const struct aiolink *l);

/*
 * connected: until there is a connection; EPIPE: there will be none any more. disconnected: until the connection that is
 * open, or else the next one, is over (the peer said goodbye or is lost, or it was closed here), or there will be none.
 * join: until it has ended; frees nothing. Any number may wait, also before start. Since 0.1.
 */
AIOIPC_API int aiolink_wait_connected(struct aiolink *l, int64_t deadline);
AIOIPC_API int aiolink_wait_disconnected(struct aiolink *l, int64_t deadline);
AIOIPC_API int aiolink_join(struct aiolink *l, int64_t deadline);

/*
 * Other pauses between attempts from now on, as in the options. Both 0: the connection that is there is its last, or the attempt that is
 * made; if it waits, it ends. Another thread than that of its loop may call it only where the link has a thread of its own, or
 * before start; so for drop. Errno: EINVAL (as aiolink_new()), EPIPE (it has ended, or does not listen any more). Since 0.2.
 */
AIOIPC_API int aiolink_set_reconnect(struct aiolink *l, int64_t first, int64_t most);

/*
 * This peer only: its connection is aborted, the peer sees LOST, and the link goes on as after any other end, which
 * aiolink_error() tells as ECONNABORTED. Does not wait for that. Errno: ENOTCONN (there is none). Since 0.2.
 */
AIOIPC_API int aiolink_drop(struct aiolink *l);

/* What it does now. Since 0.1. */
AIOIPC_API enum aiolink_state aiolink_state(const struct aiolink *l);

/*
 * Why it ended, or why the last attempt or connection failed: an errno; 0 when that was in good order. ECONNREFUSED,
 * ENOENT, ETIMEDOUT (a limit passed), ECONNRESET (the peer was lost), EBADMSG, EMSGSIZE, EPROTO (it broke the
 * protocol), ECONNABORTED (aborted here), and whatever connecting may say. Since 0.1.
 */
AIOIPC_API int aiolink_error(const struct aiolink *l);

/* The same in words; and the peer's address, as aioconn_peer_address() has it: cut to @size, which is more than 0. Errno: ENOTCONN, ENOTSOCK (a pipe). Since 0.1. */
AIOIPC_API int aiolink_why(const struct aiolink *l, char *buf, size_t size);
AIOIPC_API int aiolink_peer(const struct aiolink *l, char *buf, size_t size);

/* The address of its own side of the connection, likewise. Since 0.2. */
AIOIPC_API int aiolink_local(const struct aiolink *l, char *buf, size_t size);

/*
 * Where it listens, once started, for connecting: with the port that was free, say; else the address as it was given, NULL
 * without one. Lives as long as the link. port: the port it listens at, else 0. Since 0.1.
 */
AIOIPC_API const char *aiolink_address(const struct aiolink *l);
AIOIPC_API int aiolink_port(const struct aiolink *l);

struct aiolink_stats {
	size_t size;          /* sizeof(struct aiolink_stats) */
	uint64_t connections; /* that were made */
	uint64_t msgs_in;     /* put into the inbox */
	uint64_t msgs_out;    /* handed to the kernel whole */
	uint64_t resent;      /* had been written in part when a connection broke, and were sent again */

	/* Of msgs_out: over connections that did not end by our goodbye and then the peer's. No more than these did not arrive. */
	uint64_t unsure;

	/*
	 * Could not be sent at all, were dropped and told to the log: typed, or with a delimiter inside, under LINES; over the
	 * limit; with descriptors where none can go, or that the system does not pass.
	 */
	uint64_t refused;
	uint64_t dropped; /* came when the inbox was closed, or full in aiolink_close() */
};

/* Fills as much of @stats as @stats->size says. Errno: EINVAL. Since 0.1. */
AIOIPC_API int aiolink_stats(const struct aiolink *l, struct aiolink_stats *stats);

/*
 * close: ends the link in good order, as closing the outbox does, until @deadline, then as abort; frees. What
 * still comes meanwhile is put into the inbox while there is room, and else dropped. What did not leave is in the outbox, the first first, for whoever
 * holds it. Errno: ETIMEDOUT (messages are left, or the peer has not said goodbye, so that it may not have read all), EPIPE (the link ended
 * before all had left), ECONNRESET (all had left, but the peer was lost), EDEADLK (see above; it did what can be done at
 * once). A RECV link has nothing to lose: it waits for its grace at most, and is not ETIMEDOUT. abort: at once, the peer sees LOST; waits for a
 * state callback that runs in another thread. Each takes NULL, and frees whatever it returns but EINVAL. In a forked child they free memory
 * and nothing else. Since 0.1.
 */
AIOIPC_API int aiolink_close(struct aiolink *l, int64_t deadline);
AIOIPC_API void aiolink_abort(struct aiolink *l);

#ifdef __cplusplus
}
#endif

#endif
