/*
 * aiolistener: a socket that many peers connect to, and a connection for each; and connecting to one.
 *
 * Addresses are text. "tcp://host:port": a name, an IPv4 address, or an IPv6 address in brackets. "unix:///path": a socket
 * in the file system. "unix:@name": one in Linux's abstract namespace. To listen on, a host of "*" is every address of this
 * machine, and port 0 any that is free.
 */
#ifndef AIOIPC_LISTENER_H
#define AIOIPC_LISTENER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aioconn;
struct aiolistener;

/*
 * Connects to @address and opens a connection as aioend_open() does, waiting until @deadline. A name's addresses are tried
 * in turn, the next one when the one before has failed or not answered for a quarter of a second; the first that connects is
 * taken. Looking names up does not hold up the loop of a task.
 * Errno: EINVAL (address or deadline), ECONNREFUSED (nobody listens), ENOENT (no such host or path), EHOSTUNREACH (also: the
 * name can't be looked up now), ETIMEDOUT, EINTR (a signal handler ran), ECANCELED (the task that waited was cancelled), EDEADLK
 * (FOREVER in a callback of @base, and it has to wait), EAGAIN (no thread to look the name up), EACCES, EMFILE, ENFILE, and
 * others of connect(2). Since 0.1.
 */
AIOIPC_API struct aioconn *aioconn_connect(const char *address, struct event_base *base, int64_t deadline);

/*
 * The address of the peer's socket as text, cut to @size with its NUL, which is more than 0; "unix:" of one without a
 * name. What a peer could play with, control characters among it, is "?". Errno: ENOTSOCK (a pipe), ENOTCONN (it is gone), EBADF (ended). Since 0.1.
 */
AIOIPC_API int aioconn_peer_address(const struct aioconn *c, char *buf, size_t size);

/*
 * All zeroes, or NULL, are the defaults. Over a limit, peers wait in the kernel until there is room; over that of silent ones no longer
 * than until the first of those has been silent for a second: it is then closed, which its owner sees as LOST.
 */
struct aiolistener_options {
	size_t size;     /* sizeof(struct aiolistener_options) */
	unsigned peers;  /* connections that are open at a time; 4096 */
	unsigned silent; /* of them, who have sent nothing whole, or half of something; no limit; see above */
	unsigned backlog;  /* that wait in the kernel; as many as it allows */
	mode_t mode;       /* of a socket in the file system; 0600 */
	const uid_t *uids; /* unix sockets: peers of other users are closed; copied */
	size_t n_uids;     /* 0: of any */

	/*
	 * TCP, in milliseconds; AIOIPC_FOREVER for never. A peer that has been silent for keepalive (a minute) is asked whether it is there,
	 * and again each sixth of that. When it has acknowledged nothing that was sent or asked for user_timeout (five minutes), or
	 * has taken nothing of what waits for it, it is LOST. Since 0.2.
	 */
	int64_t keepalive, user_timeout;

	/*
	 * Bytes that its connections may hold in all of what came and was not received yet, a quarter of a GiB. Over it, who holds more than a
	 * share is not read until others are through; after a second the largest of those that hold half of a message is closed,
	 * LOST, and so on. One message of any legal size always gets through. Since 0.2.
	 */
	size_t total;
};

/*
 * A peer has connected: @c, on the listener's base, is the callback's from now on, and to be closed or aborted by it or
 * later. It may also free the listener.
 */
typedef void aiolistener_cb(struct aiolistener *l, struct aioconn *c, void *arg);

/*
 * Listens on @address, and calls @cb from the loop of @base for each peer. A socket in the file system that nobody listens on
 * any more is replaced. Of a name with several addresses one is taken, of IPv4 if there is one.
 * Errno: EINVAL (address, size, no base or callback, uids or mode for what has none, a negative time), EADDRINUSE (somebody listens there, or the
 * file is no socket), EADDRNOTAVAIL, EACCES, ENOENT (no such host or folder), EMFILE, ENFILE; where a name is to be looked
 * up also EHOSTUNREACH (it can't be now), EDEADLK (in a callback of @base), EINTR, ECANCELED, EAGAIN (no thread). Since 0.1.
 */
AIOIPC_API struct aiolistener *aiolistener_new(const char *address, struct event_base *base,
					       const struct aiolistener_options *o, aiolistener_cb *cb,
					       void *arg);

/* Where it listens, for connecting: with the port that was free, say. Lives as long as @l. Since 0.1. */
AIOIPC_API const char *aiolistener_address(const struct aiolistener *l);

/* Its port; 0 of a unix socket. Since 0.1. */
AIOIPC_API int aiolistener_port(const struct aiolistener *l);

struct aiolistener_stats {
	size_t size;            /* sizeof(struct aiolistener_stats) */
	uint64_t accepted;      /* peers that were given to the callback */
	uint64_t turned_away;   /* closed at once: users who are not allowed, and for want of descriptors */
	uint64_t closed_silent; /* closed here, because they were silent and others waited; */
	uint64_t closed_large;  /* because they held half of a message, and all of them too much */
	unsigned peers, silent; /* now: open, and of them silent */
	size_t held, peak;      /* bytes that have come and were not received yet: now, and the most ever */
};

/* Fills as much of @stats as @stats->size says. Errno: EINVAL. Since 0.2. */
AIOIPC_API int aiolistener_stats(const struct aiolistener *l, struct aiolistener_stats *stats);

/* Those who come while it is paused wait in the kernel, as many as the backlog allows. Since 0.1. */
AIOIPC_API void aiolistener_pause(struct aiolistener *l);
AIOIPC_API void aiolistener_resume(struct aiolistener *l);

/*
 * Stops listening. Removes the socket that it made in the file system, unless another one has its place by now. Connections stay
 * open. In a forked child it frees memory and nothing else. NULL is fine. Since 0.1.
 */
AIOIPC_API void aiolistener_free(struct aiolistener *l);

#ifdef __cplusplus
}
#endif

#endif
