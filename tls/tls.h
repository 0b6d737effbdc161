/*
 * The inside of libaioipc-tls, an engine (ipc/carry/engine.h) made of OpenSSL:
 *
 *   tls.c       the public calls: made, counted, read once more
 *   load.c      files, and a context made of them
 *   session.c   one connection: its handshake, its records, its end
 *   peer.c      whether the peer's certificate is good for a name, and what it says
 *   words.c     what went wrong, in words and as errno
 *
 * Of libaioipc it calls aioipc_log() alone.
 */
#ifndef TLS_TLS_H
#define TLS_TLS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <openssl/ssl.h>

#include <aioipc/tls.h>

#include "ipc/carry/engine.h"

/* What a context is made of. */
struct tls_files {
	char *ca, *cert, *key; /* cert and key may be NULL */
	bool anonymous;
};

struct tls {
	struct aiotls head; /* the first member */
	atomic_uint refs;
	pthread_mutex_t lock; /* guards: */
	SSL_CTX *context;
	struct tls_files files; /* neither these nor the names change */
	char **names;
	size_t n_names;
};

/* What went wrong. */
struct tls_fault {
	int error;       /* errno; 0: nothing yet */
	const char *why; /* static */
};

static inline struct tls *tls_of(struct aiotls *t)
{
	return (struct tls *)(void *)t;
}

/* tls.c */
SSL_CTX *ipc_tls_context(struct tls *t); /* a reference to that of now */

/* load.c: NULL with errno, as aiotls_new(); it is logged. */
SSL_CTX *ipc_tls_load(const struct tls_files *f);
__attribute__((format(printf, 1, 2))) void ipc_tls_log(const char *format, ...);

/* session.c */
extern const struct ipc_engine ipc_tls_engine;
extern uint64_t ipc_tls_records_most; /* that are written with one key */

/* peer.c */
struct tls_names {
	const char *const *name;
	size_t n;
};
bool ipc_tls_is_good_for(X509 *x, const struct tls_names *names);
bool ipc_tls_is_ip(const char *host);
int ipc_tls_tell_of(X509 *x, int field, char *buf, size_t size); /* -1/EINVAL */

/* words.c: what the last call of this thread left in OpenSSL's queue of errors. @verified: X509_V_... of the peer's certificate. */
struct tls_fault ipc_tls_fault_of(unsigned long e, long verified);

#endif
