/*
 * aiolistener: a socket to which many peers connect, with a connection for each; and the call that connects to such a socket.
 *
 * An address is text. "tcp://host:port": the host is a name, an IPv4 address, or an IPv6 address in brackets.
 * "unix:///path": a socket in the file system. "unix:@name": a socket in Linux's abstract namespace. "ring:///path" and "ring:@name"
 * (since 0.2): the same, and the listener hands each peer shared memory, two rings of 64 KiB as of aioring(). "tls://host:port" (since
 * 0.2): as tcp:, encrypted, and both sides know whom they talk to; it needs a struct aiotls (see <aioipc/tls.h>). For listening, the
 * host "*" means all addresses of this machine, and port 0 means any free port.
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
struct aiotls;

/*
 * Connects to @address and opens a connection, as aioend_open() does. It waits until @deadline. When a name has several
 * addresses, they are tried in turn: the next one starts when the one before has failed, or has not answered for a quarter
 * of a second. The first one that connects is taken. In a task, the lookup of a name does not stop the loop.
 * Errno: EINVAL (address or deadline), ECONNREFUSED (nobody listens), ENOENT (no such host or path), EHOSTUNREACH (no way
 * there; also: the name can't be looked up now), ETIMEDOUT, EINTR (a signal handler ran), ECANCELED (the task that waited was
 * cancelled), EDEADLK (AIOIPC_FOREVER in a callback of @base, and it must wait), EAGAIN (no thread to look the name up),
 * EACCES, EMFILE, ENFILE, and others of connect(2). Since 0.1.
 */
AIOIPC_API struct aioconn *aioconn_connect(const char *address, struct event_base *base, int64_t deadline);

/*
 * The same for an address "tls://host:port". It also waits for the handshake. The peer's certificate must be good for the host, or for one of
 * the names of @tls. The connection holds a reference to @tls. Errno: also EACCES (a certificate was not taken: the log says whose and
 * why), EPROTO (the peer does not speak TLS 1.3), ECONNRESET (it left in the handshake), ETIMEDOUT (also: it was silent in the handshake for
 * longer than @tls allows), EPROTONOSUPPORT (@tls is NULL, or its library is of another release), EINVAL (the address is not of tls:).
 *
 * TLS 1.3 tells this side late that its own certificate was refused: the first receive fails with EACCES then, and so may a send. Since 0.2.
 */
AIOIPC_API struct aioconn *aioconn_connect_tls(const char *address, struct aiotls *tls,
					       struct event_base *base, int64_t deadline);

/*
 * Writes what the peer's certificate says to @buf: its common name; its alternative names, with commas between them; or its SHA-256 in hexadecimal
 * digits. It is cut to @size bytes with its NUL; @size is more than 0. Characters with which a peer could play tricks are "?".
 * Errno: ENOENT (the peer showed none), EOPNOTSUPP (it is no connection of tls:), ENOTCONN (the connection has ended), EINVAL. Since 0.2.
 */
enum aiotls_field { AIOTLS_COMMON_NAME, AIOTLS_NAMES, AIOTLS_SHA256 };
AIOIPC_API int aioconn_peer_certificate(const struct aioconn *c, enum aiotls_field field, char *buf,
					size_t size);

/*
 * Writes the address of the peer's socket to @buf, as text. It is cut to @size bytes with its NUL; @size is more than 0. A
 * unix socket without a name is "unix:". Characters with which a peer could play tricks, such as control characters, are "?".
 * Errno: ENOTSOCK (a pipe), ENOTCONN (the peer is gone), EBADF (the connection has ended). Since 0.1.
 */
AIOIPC_API int aioconn_peer_address(const struct aioconn *c, char *buf, size_t size);

/*
 * NULL, or zero for every member but size, means the defaults. A peer over a limit waits in the kernel until there is room.
 * The limit of silent peers is softer: while others wait, the peer that has been silent for the longest time is closed to make room,
 * after a second in which fewer than 1024 bytes came from it. Its owner sees LOST.
 */
struct aiolistener_options {
	size_t size;    /* sizeof(struct aiolistener_options) */
	unsigned peers; /* connections at the same time; each counts until it is freed; 4096 */
	/* Of these, peers that have sent no whole message yet, or begun a message and not ended it; no limit. */
	unsigned silent;
	unsigned backlog;  /* peers that wait in the kernel; as many as it allows */
	mode_t mode;       /* of a socket in the file system; 0600 */
	const uid_t *uids; /* unix sockets: only these users may connect; copied */
	size_t n_uids;     /* 0: the list keeps nobody out; the mode decides first */

	/*
	 * TCP, in milliseconds; AIOIPC_FOREVER means never. A peer that has sent nothing for keepalive (0: a minute) is asked
	 * whether it is there, and asked again after each sixth of that time; both are cut to whole seconds, and at least one. A
	 * peer is LOST when, for user_timeout (0: five minutes), it has not answered a question, has not acknowledged what was
	 * sent, or has taken nothing of what waits for it. Since 0.2.
	 */
	int64_t keepalive, user_timeout;

	/*
	 * Bytes that all connections together may hold: what has come and was not received yet. 0: 256 MiB. Over that, each connection
	 * that holds more than its share, a quarter of total divided by peers, is not read until all hold an eighth less. But one
	 * that holds more than half of what all hold is read. After a second, of those that are not read the one with the largest
	 * unfinished message is closed as LOST; the next follows at once, until all hold little enough. Since 0.2.
	 */
	size_t total;

	/*
	 * For "tls://host:port", where it must be given, and for nothing else. The listener holds a reference. The callback sees a peer
	 * when its handshake is done and its certificate was taken. 256 peers may be in the handshake, or wait behind it while the listener is paused or has as many
	 * peers as it may; of more, the one that began first
	 * is closed when it is older than a second. Since 0.2.
	 */
	struct aiotls *tls;
};

/*
 * Called for each peer that has connected. @c is open on the listener's base. It belongs to the program now, which must close or
 * abort it, at once or later. The callback may also free the listener.
 */
typedef void aiolistener_cb(struct aiolistener *l, struct aioconn *c, void *arg);

/*
 * Listens on @address, and calls @cb from the loop of @base for each peer. A socket in the file system on which nobody
 * listens any more is replaced. Of a name with several addresses one is taken, an IPv4 address if there is one.
 * Errno: EINVAL (address or size; no base or callback; uids or mode for an address that has none; a negative time), EADDRINUSE
 * (somebody listens there, or the file is no socket), EPROTONOSUPPORT (tls: without a struct aiotls), EADDRNOTAVAIL, EACCES, ENOENT (no such host or folder), EMFILE, ENFILE.
 * Where a name must be looked up, also EHOSTUNREACH (that can't be done now), EDEADLK (in a callback of @base), EINTR,
 * ECANCELED, EAGAIN (no thread). Since 0.1.
 */
AIOIPC_API struct aiolistener *aiolistener_new(const char *address, struct event_base *base,
					       const struct aiolistener_options *o, aiolistener_cb *cb,
					       void *arg);

/*
 * The address to connect to, such as with the free port that was found. For the host * it is "tcp://[::]:port", to which only this
 * machine can connect. It is valid as long as @l. Since 0.1.
 */
AIOIPC_API const char *aiolistener_address(const struct aiolistener *l);

/* The port; 0 for a unix socket. Since 0.1. */
AIOIPC_API int aiolistener_port(const struct aiolistener *l);

struct aiolistener_stats {
	size_t size;          /* sizeof(struct aiolistener_stats) */
	uint64_t accepted;    /* peers that were given to the callback */
	uint64_t turned_away; /* peers closed at once: their user is not allowed, or no descriptor was left */
	uint64_t closed_silent; /* closed because they were silent and others waited */
	/* Closed because they held an unfinished message, and all peers together too much. */
	uint64_t closed_large;
	unsigned peers, silent; /* now: open connections, and the silent ones of them */
	size_t held, peak;      /* bytes that have come and were not received yet: now, and at most ever */
	uint64_t refused;       /* peers whose handshake failed, or took too long */
	unsigned shaking;       /* now: peers in the handshake */
};

/* Fills as much of @stats as @stats->size says. Errno: EINVAL. Since 0.2. */
AIOIPC_API int aiolistener_stats(const struct aiolistener *l, struct aiolistener_stats *stats);

/* While the listener is paused, new peers wait in the kernel, as many as the backlog allows. Since 0.1. */
AIOIPC_API void aiolistener_pause(struct aiolistener *l);
AIOIPC_API void aiolistener_resume(struct aiolistener *l);

/*
 * Stops listening, and frees the listener. It removes the file of the socket that it made, unless another file is in that place by
 * now. Connections stay open. In a forked child it only frees memory. @l may be NULL. Since 0.1.
 */
AIOIPC_API void aiolistener_free(struct aiolistener *l);

#ifdef __cplusplus
}
#endif

#endif
