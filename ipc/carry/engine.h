/*
 * What encrypts for seal.c: the table that a struct aiotls carries. libaioipc-tls fills it with OpenSSL, so that libaioipc itself needs none.
 * An engine knows no descriptor and never waits: it takes ciphertext from its wire and gives ciphertext to it. A session is used by one
 * thread at a time, a struct aiotls by any number.
 */
#ifndef IPC_CARRY_ENGINE_H
#define IPC_CARRY_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define IPC_ENGINE_VERSION 1u
#define IPC_ENGINE_RECORD ((size_t)16384) /* the most that goes into one record */
#define IPC_ENGINE_OVER 256               /* and how much longer its ciphertext is at most */

/*
 * The memory that ciphertext is read into: what a message of 64 KiB and its header make, four full records and a short one. It is kept while a part
 * of a record is there.
 */
#define IPC_ENGINE_AHEAD ((size_t)66 * 1024)

struct ipc_session;

/* The ciphertext of one session. */
struct ipc_wire {
	/* How many bytes came; 0 at the end. -1: EAGAIN, or what broke the channel. */
	ssize_t (*take)(struct ipc_wire *w, void *to, size_t n);
	/* Bytes to be sent, all of them. -1/ENOMEM. */
	int (*give)(struct ipc_wire *w, const void *from, size_t n);
};

struct ipc_engine {
	unsigned version; /* IPC_ENGINE_VERSION: the two libraries must be of one release */

	struct aiotls *(*ref)(struct aiotls *t);
	void (*unref)(struct aiotls *t);

	/* Can it accept peers? NULL, or what it lacks. */
	const char *(*check_accepts)(struct aiotls *t);

	/* @host: that of the address that was connected to. NULL: this side accepts. NULL with ENOMEM or EINVAL. */
	struct ipc_session *(*begin)(struct aiotls *t, struct ipc_wire *w, const char *host);
	void (*end)(struct ipc_session *s);

	/* 1: the handshake is done, and the peer is who it should be; 0: more must come. -1 as read. */
	int (*shake)(struct ipc_session *s);

	/*
	 * How many bytes it read; 0: the peer said its end. -1: EAGAIN, EACCES (one side does not take the other's certificate), EPROTO (that
	 * is not TLS 1.3, or was tampered with), ECONNRESET (an end that nobody said), ENOMEM, or what broke the channel.
	 */
	ssize_t (*read)(struct ipc_session *s, void *to, size_t n);

	/* Did read leave anything that it took? Part of a record is something, too. */
	bool (*holds)(const struct ipc_session *s);

	/* Makes one record of all @n bytes, at most IPC_ENGINE_RECORD. 0, or -1. */
	int (*write)(struct ipc_session *s, const void *from, size_t n);

	/* Says our end. */
	int (*say_end)(struct ipc_session *s);

	/* Looks for what the peer said last, where nothing can be written any more. -1 as read; 0: it said nothing. */
	int (*last_word)(struct ipc_session *s);

	/* Why one of these failed, in words; lives as long as the engine. */
	const char *(*why)(const struct ipc_session *s);

	/* Of the peer's certificate: see aioconn_peer_certificate(). */
	int (*tell)(const struct ipc_session *s, int field, char *buf, size_t size);
};

/* The beginning of every struct aiotls. */
struct aiotls {
	const struct ipc_engine *engine;
	int64_t patience; /* nanoseconds for a handshake */
};

#endif
