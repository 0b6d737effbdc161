/* One connection of TLS: its handshake, its records, its end. OpenSSL reads and writes by a BIO over the wire of the seal. */
#include "tls/tls.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

/* AES-GCM is good for 2^24.5 records with one key (RFC 8446). */
uint64_t ipc_tls_records_most = UINT64_C(1) << 23;

struct ipc_session {
	SSL *ssl;
	struct ipc_wire *wire;
	char *host; /* that we look for; NULL: this side accepts, or names are given */
	const struct tls *tls;
	struct tls_fault fault; /* the first is the one that tells; all that follow come of it */
	int wire_error;         /* of the last take */
	bool ended;             /* the wire has ended */
	bool shaken;
	uint64_t records; /* written with this key */
};

static int bio_read(BIO *b, char *to, int n)
{
	struct ipc_session *s = BIO_get_data(b);
	ssize_t got = s->wire->take(s->wire, to, (size_t)n);

	BIO_clear_retry_flags(b);
	s->ended = got == 0;
	s->wire_error = got < 0 ? errno : 0;
	if (got < 0 && errno == EAGAIN)
		BIO_set_retry_read(b);
	return (int)got;
}

static int bio_write(BIO *b, const char *from, int n)
{
	struct ipc_session *s = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	if (s->wire->give(s->wire, from, (size_t)n) == 0)
		return n;
	s->wire_error = ENOMEM;
	return -1;
}

static long bio_ctrl(BIO *b, int what, long n, void *p)
{
	const struct ipc_session *s = BIO_get_data(b);

	(void)n;
	(void)p;
	if (what == BIO_CTRL_EOF)
		return s && s->ended;
	return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void)
{
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "aioipc");
	if (!method)
		return;
	BIO_meth_set_read(method, bio_read);
	BIO_meth_set_write(method, bio_write);
	BIO_meth_set_ctrl(method, bio_ctrl);
}

static int give_bio(struct ipc_session *s)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	BIO *b;

	pthread_once(&once, make_method);
	b = method ? BIO_new(method) : NULL;
	if (!b)
		return -1;
	BIO_set_data(b, s);
	BIO_set_init(b, 1);
	SSL_set_bio(s->ssl, b, b);
	return 0;
}

/* The names to look for. */
static struct tls_names names_of(const struct ipc_session *s)
{
	if (s->tls->n_names)
		return (struct tls_names){(const char *const *)s->tls->names, s->tls->n_names};
	return (struct tls_names){(const char *const *)&s->host, s->host ? 1 : 0};
}

/* In the handshake, of each certificate of the peer. Its own is good for a name, too. */
static int on_verify(int ok, X509_STORE_CTX *x)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_names names = names_of(SSL_get_app_data(ssl));

	if (!ok || X509_STORE_CTX_get_error_depth(x) != 0 || names.n == 0)
		return ok;
	if (ipc_tls_is_good_for(X509_STORE_CTX_get0_cert(x), &names))
		return 1;
	X509_STORE_CTX_set_error(x, X509_V_ERR_HOSTNAME_MISMATCH);
	return 0;
}

static int take_host(struct ipc_session *s, const char *host)
{
	if (!host) {
		SSL_set_accept_state(s->ssl);
		return 0;
	}
	SSL_set_connect_state(s->ssl);
	s->host = strdup(host);
	if (!s->host)
		return -1;
	return ipc_tls_is_ip(host) || SSL_set_tlsext_host_name(s->ssl, host) == 1 ? 0 : -1;
}

static void session_end(struct ipc_session *s)
{
	SSL_free(s->ssl);
	free(s->host);
	free(s);
}

static struct ipc_session *session_begin(struct aiotls *t, struct ipc_wire *w, const char *host)
{
	struct ipc_session *s = calloc(1, sizeof *s);
	SSL_CTX *c;

	if (!s)
		return NULL;
	s->tls = tls_of(t);
	s->wire = w;
	c = ipc_tls_context(tls_of(t));
	ERR_clear_error();
	s->ssl = SSL_new(c);
	SSL_CTX_free(c);
	if (s->ssl && give_bio(s) == 0 && take_host(s, host) == 0) {
		SSL_set_app_data(s->ssl, s);
		SSL_set_verify(s->ssl, SSL_get_verify_mode(s->ssl), on_verify);
		return s;
	}
	ERR_clear_error();
	session_end(s);
	errno = ENOMEM;
	return NULL;
}

static const char *check_accepts(struct aiotls *t)
{
	return tls_of(t)->files.cert
		       ? NULL
		       : "who accepts peers needs a certificate: set cert and key of struct aiotls_options";
}

/* A call of OpenSSL returned @r. 0: the peer said its end. -1: EAGAIN or the fault. */
static int why_not(struct ipc_session *s, int r)
{
	int what = SSL_get_error(s->ssl, r);

	if (what == SSL_ERROR_ZERO_RETURN)
		return 0;
	if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE) {
		errno = EAGAIN;
		return -1;
	}
	if (!s->fault.error) {
		if (s->wire_error && s->wire_error != EAGAIN)
			s->fault = (struct tls_fault){s->wire_error, NULL};
		else if (s->ended && !s->shaken)
			s->fault = (struct tls_fault){ECONNRESET, "the peer left in the handshake"};
		else if (s->ended)
			s->fault = (struct tls_fault){ECONNRESET, "the peer left without saying its end"};
		else
			s->fault = ipc_tls_fault_of(ERR_peek_last_error(), SSL_get_verify_result(s->ssl));
	}
	ERR_clear_error();
	errno = s->fault.error;
	return -1;
}

/* Each call of OpenSSL begins so: what an earlier one left, of whomever, would be taken for its own. */
static int ready(struct ipc_session *s)
{
	if (s->fault.error) {
		errno = s->fault.error;
		return -1;
	}
	if (ERR_peek_error())
		ERR_clear_error();
	s->wire_error = 0;
	return 0;
}

static int session_shake(struct ipc_session *s)
{
	int r;

	if (ready(s) == -1)
		return -1;
	r = SSL_do_handshake(s->ssl);
	if (r == 1) {
		s->shaken = true;
		SSL_set_default_read_buffer_len(s->ssl, IPC_ENGINE_AHEAD); /* now that the peer is known */
		return 1;
	}
	if (why_not(s, r) == -1 && errno == EAGAIN)
		return 0;
	if (!s->fault.error)
		s->fault = (struct tls_fault){ECONNRESET, "the peer left in the handshake"};
	errno = s->fault.error;
	return -1;
}

static ssize_t session_read(struct ipc_session *s, void *to, size_t n)
{
	int r;

	if (ready(s) == -1)
		return -1;
	r = SSL_read(s->ssl, to, n > INT_MAX ? INT_MAX : (int)n);
	return r > 0 ? r : why_not(s, r);
}

static bool session_holds(const struct ipc_session *s)
{
	return SSL_has_pending(s->ssl);
}

static int session_write(struct ipc_session *s, const void *from, size_t n)
{
	int r;

	if (ready(s) == -1)
		return -1;
	if (++s->records > ipc_tls_records_most && SSL_key_update(s->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
		s->records = 0;
	r = SSL_write(s->ssl, from, (int)n);
	if (r == (int)n)
		return 0;
	if (why_not(s, r) == 0 || errno == EAGAIN) {
		s->fault = (struct tls_fault){EPROTO, "no record could be made"};
		errno = EPROTO;
	}
	return -1;
}

static int session_say_end(struct ipc_session *s)
{
	if (ready(s) == -1)
		return -1;
	return SSL_shutdown(s->ssl) >= 0 ? 0 : why_not(s, -1);
}

static int session_last_word(struct ipc_session *s)
{
	char c;
	int r;

	if (ready(s) == -1)
		return -1;
	r = SSL_peek(s->ssl, &c, 1);
	return r > 0 || why_not(s, r) == 0 || errno == EAGAIN ? 0 : -1;
}

static const char *session_why(const struct ipc_session *s)
{
	return s->fault.why;
}

static int session_tell(const struct ipc_session *s, int field, char *buf, size_t size)
{
	X509 *x = SSL_get0_peer_certificate(s->ssl);

	if (x)
		return ipc_tls_tell_of(x, field, buf, size);
	errno = ENOENT;
	return -1;
}

const struct ipc_engine ipc_tls_engine = {
	.version = IPC_ENGINE_VERSION,
	.ref = aiotls_ref,
	.unref = aiotls_free,
	.check_accepts = check_accepts,
	.begin = session_begin,
	.end = session_end,
	.shake = session_shake,
	.read = session_read,
	.holds = session_holds,
	.write = session_write,
	.say_end = session_say_end,
	.last_word = session_last_word,
	.why = session_why,
	.tell = session_tell,
};
