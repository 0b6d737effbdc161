/*
 * aiotls: who we are and whom we trust, for connections, listeners and links whose address is "tls://host:port".
 *
 * It is in a library of its own, libaioipc-tls (pkg-config aioipc-tls), which needs OpenSSL 3. A program that does not link it needs none.
 *
 * TLS 1.3 and nothing older. Both sides show a certificate, and each checks the other's. No session tickets, no resumption. An end of the
 * stream that the peer did not say is LOST under every framing. Descriptors can't travel.
 */
#ifndef AIOIPC_TLS_H
#define AIOIPC_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aiotls;

/* 0 and NULL are the defaults. All is copied. Files are PEM. */
struct aiotls_options {
	size_t size; /* sizeof(struct aiotls_options) */

	/* The authorities whose signature is taken: a file of certificates, or "system" for those that the system trusts. It must be given. */
	const char *ca;

	/*
	 * Our certificate, with those between it and its authority behind it, and its key. A key of NULL: it is in the file of cert, too. Without
	 * both: this side can connect, and shows none.
	 */
	const char *cert, *key;

	/*
	 * A peer's certificate must be good for one of these: a DNS name, an IP address, a URI or an e-mail address, as its
	 * subjectAltName has it; the common name does not count. A DNS name here may begin with "*.", for any one label. With n_names 0, who connects
	 * looks for the host of its address, and who listens takes every certificate that an authority has signed.
	 */
	const char *const *names;
	size_t n_names;

	bool anonymous; /* a listener also takes peers that show no certificate */

	int64_t handshake; /* milliseconds in which a handshake must be done; 0: ten seconds */
};

/*
 * Reads the files. Any thread may use it, as often as it likes. What is made with it holds a reference of its own. Errno: EINVAL; the log
 * says in words what is wrong: no ca, no PEM, a key of another certificate or with a pass phrase, a certificate that is over or not yet valid,
 * a key that is too short. EPERM (everybody may read the file of the key), EFBIG (a file of more than 4 MiB), and as open(2) and read(2).
 * Since 0.2.
 */
AIOIPC_API struct aiotls *aiotls_new(const struct aiotls_options *o);

/* One more reference; the argument. And one less: the last one frees it. @t may be NULL for the latter. Since 0.2. */
AIOIPC_API struct aiotls *aiotls_ref(struct aiotls *t);
AIOIPC_API void aiotls_free(struct aiotls *t);

/*
 * Reads the files once more, as when certificates were renewed. Handshakes that begin from now on use them. Connections that are open go
 * on as they are. When the call fails, nothing has changed. Any thread. Errno: as aiotls_new(). Since 0.2.
 */
AIOIPC_API int aiotls_reload(struct aiotls *t);

#ifdef __cplusplus
}
#endif

#endif
