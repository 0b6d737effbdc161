/* See over.h. */
#include "tests/peers.h"

#undef aiolink_new
#undef aiolistener_new
#undef aioconn_connect

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/tls.h>

#define NOT_OVER_TLS " knows no TLS"

bool is_over_tls(void)
{
	return getenv("TEST_OVER_TLS");
}

void no_raw_peer_over_tls(void)
{
	if (is_over_tls())
		ck_abort_msg("a peer by hand" NOT_OVER_TLS);
}

/* Of the program that is tested, the library is a static one. The engine needs nothing of it but the log. */
static struct aiotls *load(void)
{
	static const char *const names[] = {"both.test"};
	const char *folder = getenv("TEST_OVER_TLS");
	char ca[300], cert[300];
	struct aiotls_options o = {
		.size = sizeof o, .ca = ca, .cert = cert, .names = names, .n_names = 1, .handshake = 60000};
	void *lib = must(dlopen(getenv("TEST_TLS_LIB"), RTLD_NOW | RTLD_LOCAL));
	struct aiotls *(*make)(const struct aiotls_options *);

	*(void **)(void *)&make = must(dlsym(lib, "aiotls_new"));
	snprintf(ca, sizeof ca, "%s/ca.pem", folder);
	snprintf(cert, sizeof cert, "%s/both.pem", folder);
	return must(make(&o));
}

/* One for the whole process. */
static struct aiotls *tls(void)
{
	static struct aiotls *t;

	return t ? t : (t = load());
}

/* For a unix socket, a number of the loopback network that nobody else has. NULL: it stays as it is. */
static const char *over(const char *address, char buf[300])
{
	uint64_t h = UINT64_C(14695981039346656037);

	if (!is_over_tls() || !address)
		return NULL;
	if (strncmp(address, "tls:", 4) == 0 || strncmp(address, "tcp://", 6) == 0) {
		snprintf(buf, 300, "tls%s", address + 3);
		return buf;
	}
	if (strncmp(address, "unix:", 5) != 0)
		return NULL;
	for (const char *c = address; *c; c++)
		h = (h ^ (unsigned char)*c) * UINT64_C(1099511628211);
	snprintf(buf, 300, "tls://127.%u.%u.%u:%u", 64 + (unsigned)(h >> 8 & 63), (unsigned)(h >> 16 & 255),
		 1 + (unsigned)(h >> 24 & 127), 10000 + (unsigned)(h >> 32) % 20000);
	return buf;
}

struct aiolink *over_link_new(const struct aiolink_options *o)
{
	struct aiolink_options all = {0};
	char buf[300];
	const char *address = o && o->size == sizeof *o ? over(o->address, buf) : NULL;

	if (!address)
		return aiolink_new(o);
	if (o->mode || o->n_uids || o->fds)
		ck_abort_msg("a unix socket" NOT_OVER_TLS);
	all = *o;
	all.address = address;
	all.tls = tls();
	return aiolink_new(&all);
}

struct aiolistener *over_listener_new(const char *text, struct event_base *base,
				      const struct aiolistener_options *o, aiolistener_cb *cb, void *arg)
{
	struct aiolistener_options all = {0};
	char buf[300];
	const char *address = over(text, buf);

	if (!address || (o && o->size != sizeof *o))
		return aiolistener_new(text, base, o, cb, arg);
	if (o && (o->mode || o->n_uids))
		ck_abort_msg("a unix socket" NOT_OVER_TLS);
	if (o)
		all = *o;
	all.size = sizeof all;
	all.tls = tls();
	return aiolistener_new(address, base, &all, cb, arg);
}

struct dialled {
	const char *address;
	struct event_base *base;
	int64_t deadline;
	struct aioconn *c;
	int error;
};

static void dial(void *arg)
{
	struct dialled *d = arg;

	d->c = aioconn_connect_tls(d->address, tls(), d->base, d->deadline);
	d->error = errno;
}

/* The listener may be on the same base: its half of the handshake is done meanwhile. */
struct aioconn *over_connect(const char *text, struct event_base *base, int64_t deadline)
{
	char buf[300];
	struct dialled d = {over(text, buf), base, deadline, NULL, 0};

	if (!d.address)
		return aioconn_connect(text, base, deadline);
	if (!base || aiotask_self() || aiotask_run(base, dial, &d) == -1)
		dial(&d);
	errno = d.error;
	return d.c;
}
