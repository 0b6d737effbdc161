/* The handshakes of a listener's encrypted peers: see greet.h. */
#include "ipc/net/greet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/carry/engine.h"
#include "ipc/carry/seal.h"
#include "ipc/end/end.h"
#include "ipc/loop/watch.h"
#include "ipc/net/address.h"
#include "ipc/net/chain.h"
#include "ipc/net/secure.h"
#include "ipc/os/log.h"

#define MOST 256 /* at a time */
#define PATIENCE_NS                                                                                          \
	(INT64_C(1000) * 1000 *                                                                              \
	 1000)   /* before one has to go for another; and for a refused one to read why */
#define GULPS 16 /* of what a refused one still sends, in a turn */

enum state { SHAKES, READY, REFUSED };

struct guest {
	struct ipc_chain link; /* the first member */
	struct ipc_greeter *greeter;
	struct aioend *end;
	struct ipc_seal *seal;
	struct ipc_watch *watch; /* NULL when READY */
	enum state state;
	int64_t since;
};

struct ipc_greeter {
	struct aiotls *tls;
	struct event_base *base;
	const char *address;
	struct ipc_greeter_owner owner;
	struct ipc_chain busy, ready;
	unsigned n;
	struct ipc_greeter_counts counts;
};

static struct guest *first_of(const struct ipc_chain *list)
{
	return list->next == list ? NULL : (struct guest *)(void *)list->next;
}

struct ipc_greeter *ipc_greeter_new(struct aiotls *t, struct event_base *base, const char *address,
				    const struct ipc_greeter_owner *owner)
{
	struct ipc_greeter *g = calloc(1, sizeof *g);

	if (!g)
		return NULL;
	g->tls = ipc_secure_ref(t);
	g->base = base;
	g->address = address;
	g->owner = *owner;
	ipc_chain_init(&g->busy);
	ipc_chain_init(&g->ready);
	return g;
}

/* What is counted by its state. */
static void count(struct ipc_greeter *g, enum state state, unsigned more, unsigned less)
{
	if (state == SHAKES)
		g->counts.shaking += more - less;
	if (state == READY)
		g->counts.ready += more - less;
}

static void change(struct guest *p, enum state state)
{
	count(p->greeter, p->state, 0, 1);
	p->state = state;
	count(p->greeter, p->state, 1, 0);
}

/* It leaves the greeter, without its end. */
static void let_go(struct guest *p)
{
	struct ipc_greeter *g = p->greeter;

	ipc_watch_free(p->watch);
	ipc_chain_leave(&p->link);
	count(g, p->state, 0, 1);
	g->n--;
	g->owner.charge(g->owner.arg, 0, IPC_SEAL_MEMORY);
	free(p);
}

static void drop(struct guest *p)
{
	struct aioend *end = p->end;
	struct ipc_seal *seal = p->seal;

	let_go(p);
	ipc_seal_free(seal);
	aioend_free(end);
}

void ipc_greeter_free(struct ipc_greeter *g)
{
	struct guest *p;

	if (!g)
		return;
	while ((p = first_of(&g->busy)) || (p = first_of(&g->ready)))
		drop(p);
	ipc_secure_unref(g->tls);
	free(g);
}

static void tell(const struct ipc_greeter *g)
{
	g->owner.changed(g->owner.arg);
}

static void passes(struct guest *p)
{
	struct ipc_greeter *g = p->greeter;

	ipc_watch_free(p->watch); /* the connection will have its own */
	p->watch = NULL;
	change(p, READY);
	ipc_chain_leave(&p->link);
	ipc_chain_add(&g->ready, &p->link);
	tell(g);
}

static void refuse(struct guest *p, const char *why)
{
	char peer[IPC_ADDRESS_SIZE];

	if (ipc_address_of_peer(p->end->own.r.fd, peer, sizeof peer) == -1)
		strcpy(peer, "a peer");
	ipc_log("%s: refused %s: %s", p->greeter->address, peer, why);
	p->greeter->counts.refused++;
	change(p, REFUSED);
}

/* It may read what it was told, and leave. */
static void turn_away(struct guest *p, const char *why)
{
	struct ipc_greeter *g = p->greeter;
	int fd = p->end->own.r.fd;

	refuse(p, why);
	ipc_os_shutdown_write(fd);
	ipc_watch_later(p->watch, PATIENCE_NS);
	if (ipc_watch_want(p->watch, EV_READ) == 0)
		return;
	drop(p);
	tell(g);
}

/* Until it has left. */
static void drain(struct guest *p, bool late)
{
	struct ipc_greeter *g = p->greeter;
	char nothing[4096];
	struct iovec iov = {nothing, sizeof nothing};
	ssize_t n = 1;

	for (int i = 0; i < GULPS && n > 0; i++)
		n = ipc_os_readv(p->end->own.r.fd, p->end->own.r.kind, &iov, 1, NULL);
	if ((n > 0 || (n == -1 && errno == EAGAIN)) && !late)
		return;
	drop(p);
	tell(g);
}

static const char *words(const struct guest *p, int error)
{
	const char *why = ipc_seal_why(p->seal);

	return why ? why : strerror(error);
}

static void left(struct guest *p)
{
	struct ipc_greeter *g = p->greeter;

	refuse(p, words(p, ECONNRESET));
	drop(p);
	tell(g);
}

static void go_on(struct guest *p, bool late)
{
	int r = ipc_seal_shake(p->seal, &p->end->own);

	if (r == 1) {
		passes(p);
	} else if (r == -1 && errno == ECONNRESET) {
		left(p);
	} else if (r == -1) {
		turn_away(p, words(p, errno));
	} else if (late) {
		turn_away(p, "it was silent in the handshake");
	} else if (ipc_watch_want(p->watch, EV_READ | (ipc_seal_unsent(p->seal) ? EV_WRITE : 0)) == -1) {
		turn_away(p, strerror(errno));
	}
}

static void on_event(short what, void *arg)
{
	struct guest *p = arg;

	if (p->state == REFUSED)
		drain(p, what & EV_TIMEOUT);
	else
		go_on(p, what & EV_TIMEOUT);
}

bool ipc_greeter_has_room(struct ipc_greeter *g, bool waits, int64_t *ns)
{
	struct guest *p = first_of(&g->busy);
	int64_t age;

	if (g->n < MOST)
		return true;
	if (!p) {
		*ns = PATIENCE_NS;
		return false;
	}
	age = ipc_os_now() - p->since;
	*ns = age < PATIENCE_NS ? PATIENCE_NS - age : 0;
	if (!waits || age < PATIENCE_NS)
		return false;
	if (p->state == SHAKES)
		g->counts.refused++;
	drop(p);
	return true;
}

static struct guest *new_guest(struct ipc_greeter *g, struct aioend *end)
{
	struct guest *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->seal = ipc_seal_new(g->tls, NULL);
	p->watch = p->seal ? ipc_watch_new(g->base, end->own.r.fd, on_event, p) : NULL;
	if (p->watch && ipc_watch_want(p->watch, EV_READ) == 0)
		return p;
	ipc_watch_free(p->watch);
	ipc_seal_free(p->seal);
	free(p);
	return NULL;
}

int ipc_greet(struct ipc_greeter *g, struct aioend *end)
{
	struct guest *p = new_guest(g, end);

	if (!p)
		return -1;
	p->greeter = g;
	p->end = end;
	p->since = ipc_os_now();
	ipc_watch_later(p->watch, g->tls->patience);
	ipc_chain_add(&g->busy, &p->link);
	count(g, SHAKES, 1, 0);
	g->n++;
	g->owner.charge(g->owner.arg, IPC_SEAL_MEMORY, 0);
	return 0;
}

struct aioend *ipc_greeter_take(struct ipc_greeter *g, struct ipc_seal **seal)
{
	struct guest *p = first_of(&g->ready);
	struct aioend *end;

	if (!p)
		return NULL;
	end = p->end;
	*seal = p->seal;
	let_go(p);
	return end;
}

struct ipc_greeter_counts ipc_greeter_counts(const struct ipc_greeter *g)
{
	return g ? g->counts : (struct ipc_greeter_counts){.shaking = 0};
}
