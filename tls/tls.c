/* The public calls of aiotls: made, counted, read once more. */
#include "tls/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#define PATIENCE_MS 10000
#define MS_MOST (INT64_C(1000) * 86400 * 1000)

static char *copy(const char *text, bool *failed)
{
	char *c = text ? strdup(text) : NULL;

	if (text && !c)
		*failed = true;
	return c;
}

static int copy_names(struct tls *t, const struct aiotls_options *o)
{
	bool failed = false;

	if (!o->n_names)
		return 0;
	t->names = calloc(o->n_names, sizeof *t->names);
	if (!t->names)
		return -1;
	for (; t->n_names < o->n_names; t->n_names++)
		t->names[t->n_names] = copy(o->names[t->n_names], &failed);
	return failed ? -1 : 0;
}

static int copy_options(struct tls *t, const struct aiotls_options *o)
{
	bool failed = false;

	t->files.ca = copy(o->ca, &failed);
	t->files.cert = copy(o->cert, &failed);
	t->files.key = copy(o->key ? o->key : o->cert, &failed);
	t->files.anonymous = o->anonymous;
	t->head.patience = (o->handshake ? o->handshake : PATIENCE_MS) * 1000000;
	return failed ? -1 : copy_names(t, o);
}

static const char *check_names(const struct aiotls_options *o)
{
	if (o->n_names && !o->names)
		return "n_names is not 0, and names is NULL";
	for (size_t i = 0; i < o->n_names; i++)
		if (!o->names[i] || !*o->names[i])
			return "one of the names is empty";
	return NULL;
}

/* NULL, or a text that says what is wrong. */
static const char *check(const struct aiotls_options *o)
{
	if (!o->ca)
		return "ca is missing: a file of the authorities that are trusted, or \"system\"";
	if (o->key && !o->cert)
		return "a key without a certificate";
	if (o->handshake < 0 || o->handshake > MS_MOST)
		return "an impossible time for the handshake";
	return check_names(o);
}

static int refuse(const char *why)
{
	ipc_tls_log("aiotls: %s", why);
	errno = EINVAL;
	return -1;
}

/* As the size of all such structs: an older, smaller one is taken. */
static int take_options(struct aiotls_options *to, const struct aiotls_options *from)
{
	const char *why;

	if (!from || from->size < sizeof(size_t) || from->size > sizeof *to)
		return refuse("the member size of struct aiotls_options must be its sizeof");
	memset(to, 0, sizeof *to);
	memcpy(to, from, from->size);
	why = check(to);
	return why ? refuse(why) : 0;
}

/* OpenSSL's own end of the process would pull away what threads of links still use. */
static void prepare(void)
{
	OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL);
}

static void destroy(struct tls *t)
{
	for (size_t i = 0; i < t->n_names; i++)
		free(t->names[i]);
	free(t->names);
	free(t->files.ca);
	free(t->files.cert);
	free(t->files.key);
	SSL_CTX_free(t->context);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

struct aiotls *aiotls_new(const struct aiotls_options *given)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct aiotls_options o;
	struct tls *t;
	int error;

	if (take_options(&o, given) == -1)
		return NULL;
	t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	pthread_once(&once, prepare);
	pthread_mutex_init(&t->lock, NULL);
	t->head.engine = &ipc_tls_engine;
	atomic_init(&t->refs, 1);
	if (copy_options(t, &o) == 0 && (t->context = ipc_tls_load(&t->files)))
		return &t->head;
	error = errno;
	destroy(t);
	errno = error;
	return NULL;
}

struct aiotls *aiotls_ref(struct aiotls *t)
{
	atomic_fetch_add_explicit(&tls_of(t)->refs, 1, memory_order_relaxed);
	return t;
}

void aiotls_free(struct aiotls *t)
{
	int error = errno;

	if (t && atomic_fetch_sub_explicit(&tls_of(t)->refs, 1, memory_order_acq_rel) == 1)
		destroy(tls_of(t));
	errno = error;
}

int aiotls_reload(struct aiotls *tls)
{
	struct tls *t = tls_of(tls);
	SSL_CTX *fresh = ipc_tls_load(&t->files), *old;

	if (!fresh)
		return -1;
	pthread_mutex_lock(&t->lock);
	old = t->context;
	t->context = fresh;
	pthread_mutex_unlock(&t->lock);
	SSL_CTX_free(old);
	return 0;
}

SSL_CTX *ipc_tls_context(struct tls *t)
{
	SSL_CTX *c;

	pthread_mutex_lock(&t->lock);
	c = t->context;
	SSL_CTX_up_ref(c);
	pthread_mutex_unlock(&t->lock);
	return c;
}
