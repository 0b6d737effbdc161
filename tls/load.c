/* Files of certificates and keys, and a context that is made of them. */
#include "tls/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#define FILE_MOST ((off_t)4 << 20)
#define DEPTH 9 /* certificates between a peer's and its authority */

void ipc_tls_log(const char *format, ...)
{
	char line[500];
	int error = errno;
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	aioipc_log(line);
	errno = error;
}

/* What OpenSSL says first, and nothing of it is left. */
static const char *first_error(void)
{
	unsigned long e = ERR_get_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;

	ERR_clear_error();
	return text ? text : "no reason is known";
}

static int bad(const char *file, const char *what)
{
	ipc_tls_log("aiotls: %s: %s: %s", file, what, first_error());
	errno = EINVAL;
	return -1;
}

static int bad_file(const char *file, int error)
{
	ipc_tls_log("aiotls: %s: %s", file, strerror(error));
	errno = error;
	return -1;
}

/* The whole file into @to, @n bytes. */
static int read_whole(int fd, char *to, size_t n)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = read(fd, to + got, n - got);

		if (r == -1 && errno == EINTR)
			continue;
		if (r == -1)
			return -1;
		if (r == 0)
			break;
		got += (size_t)r;
	}
	memset(to + got, '\n', n - got); /* it was cut meanwhile */
	return 0;
}

/* What is read is wiped wherever it was. */
static BIO *read_size(int fd, size_t n)
{
	BIO *b = BIO_new(BIO_s_secmem());
	char *text = malloc(n + 1);
	bool done =
		b && text && read_whole(fd, text, n) == 0 && (n == 0 || BIO_write(b, text, (int)n) == (int)n);

	if (text)
		OPENSSL_cleanse(text, n);
	free(text);
	if (done)
		return b;
	BIO_free(b);
	return NULL;
}

static BIO *read_open(int fd, bool secret)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return NULL;
	if (st.st_size > FILE_MOST || !S_ISREG(st.st_mode)) {
		errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
		return NULL;
	}
	if (secret && st.st_mode & (S_IROTH | S_IWOTH)) {
		errno = EPERM;
		return NULL;
	}
	errno = ENOMEM;
	return read_size(fd, (size_t)st.st_size);
}

/* A file in memory, which is wiped when it is freed. NULL with errno, which is logged. */
static BIO *open_file(const char *file, bool secret)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), error;
	BIO *b;

	if (fd == -1) {
		bad_file(file, errno);
		return NULL;
	}
	b = read_open(fd, secret);
	error = errno;
	close(fd);
	if (!b && error == EPERM) {
		ipc_tls_log("aiotls: %s: everybody may read this key: only its owner should", file);
		errno = EPERM;
	} else if (!b) {
		bad_file(file, error);
	}
	return b;
}

/* A key with a pass phrase is refused: nobody is asked for it. */
static int no_phrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int add_authorities(SSL_CTX *c, BIO *b)
{
	X509_STORE *store = SSL_CTX_get_cert_store(c);
	int n = 0;
	X509 *x;

	while ((x = PEM_read_bio_X509(b, NULL, no_phrase, NULL))) {
		if (X509_STORE_add_cert(store, x) == 1)
			n++;
		X509_free(x);
	}
	return n;
}

static int load_authorities(SSL_CTX *c, const char *file)
{
	BIO *b;
	int n;

	if (strcmp(file, "system") == 0)
		return SSL_CTX_set_default_verify_paths(c) == 1 ? 0 : bad(file, "no authorities");
	b = open_file(file, false);
	if (!b)
		return -1;
	n = add_authorities(c, b);
	BIO_free(b);
	if (n == 0)
		return bad(file, "no certificate of an authority");
	ERR_clear_error();
	return 0;
}

static int check_time(const char *file, const X509 *x)
{
	const char *why = NULL;

	if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
		why = "the certificate has expired";
	if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
		why = "the certificate is not valid yet";
	if (!why)
		return 0;
	ipc_tls_log("aiotls: %s: %s", file, why);
	errno = EINVAL;
	return -1;
}

/* Those between ours and its authority. */
static int add_chain(SSL_CTX *c, BIO *b)
{
	X509 *x;

	while ((x = PEM_read_bio_X509(b, NULL, no_phrase, NULL))) {
		int r = SSL_CTX_add1_chain_cert(c, x) == 1;

		X509_free(x);
		if (!r)
			return -1;
	}
	ERR_clear_error();
	return 0;
}

static int load_certificate(SSL_CTX *c, const char *file)
{
	BIO *b = open_file(file, false);
	X509 *x;
	int r = -1;

	if (!b)
		return -1;
	x = PEM_read_bio_X509(b, NULL, no_phrase, NULL);
	if (!x)
		bad(file, "no certificate");
	else if (check_time(file, x) == 0)
		r = SSL_CTX_use_certificate(c, x) == 1 && add_chain(c, b) == 0
			    ? 0
			    : bad(file, "the certificate is not fit");
	X509_free(x);
	BIO_free(b);
	return r;
}

static int load_key(SSL_CTX *c, const char *file)
{
	BIO *b = open_file(file, true);
	EVP_PKEY *key;
	int r = -1;

	if (!b)
		return -1;
	key = PEM_read_bio_PrivateKey(b, NULL, no_phrase, NULL);
	if (!key)
		bad(file, "no key, or one with a pass phrase");
	else if (SSL_CTX_use_PrivateKey(c, key) != 1 || SSL_CTX_check_private_key(c) != 1)
		bad(file,
		    "the key is of another certificate"); /* or of another kind, which only the second finds */
	else
		r = 0;
	EVP_PKEY_free(key);
	BIO_free(b);
	return r;
}

/* What is the same for everybody. */
static int set_up(SSL_CTX *c, bool anonymous)
{
	int verify = SSL_VERIFY_PEER | (anonymous ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT);

	SSL_CTX_set_security_level(c, 2);
	SSL_CTX_set_mode(c, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_clear_options(c, SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(c, verify, NULL);
	SSL_CTX_set_verify_depth(c, DEPTH);
	SSL_CTX_set_read_ahead(c, 1);
	SSL_CTX_set_default_passwd_cb(c, no_phrase);
	/* Tickets that nobody reads would make a close destroy what was sent before. */
	return SSL_CTX_set_num_tickets(c, 0) == 1 && SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) == 1 &&
			       SSL_CTX_set_max_proto_version(c, 0) == 1
		       ? 0
		       : bad("OpenSSL", "it can't be set up");
}

static int load_all(SSL_CTX *c, const struct tls_files *f)
{
	if (set_up(c, f->anonymous) == -1 || load_authorities(c, f->ca) == -1)
		return -1;
	if (!f->cert)
		return 0;
	return load_certificate(c, f->cert) == -1 || load_key(c, f->key) == -1 ? -1 : 0;
}

SSL_CTX *ipc_tls_load(const struct tls_files *f)
{
	SSL_CTX *c;
	int error;

	ERR_clear_error();
	c = SSL_CTX_new(TLS_method());
	if (!c) {
		bad("OpenSSL", "no context");
		errno = ENOMEM;
		return NULL;
	}
	if (load_all(c, f) == 0)
		return c;
	error = errno;
	SSL_CTX_free(c);
	errno = error;
	return NULL;
}
