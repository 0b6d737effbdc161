/* One bell for each base, and who was knocked for: see knock.h. */
#include "ipc/loop/knock.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "ipc/loop/watch.h"
#include "ipc/os/bell.h"
#include "ipc/own/own.h"

struct ipc_knock {
	struct house_bell *bell;
	struct ipc_knock *next; /* of those that were knocked for */
	bool knocked;
	void (*cb)(void *arg);
	void *arg;
};

struct house_bell {
	struct house_bell *next; /* under the registry's mutex */
	struct event_base *base;
	uint32_t epoch;
	unsigned users; /* in the base's thread */
	int fd[2];
	struct ipc_watch *watch;
	pthread_mutex_t lock; /* of these: */
	struct ipc_knock *first, **last;
};

static struct house_bell *bells;

static struct ipc_knock *take_first(struct house_bell *b)
{
	struct ipc_knock *k;

	pthread_mutex_lock(&b->lock);
	k = b->first;
	if (k) {
		b->first = k->next;
		if (!b->first)
			b->last = &b->first;
		k->knocked = false;
	}
	pthread_mutex_unlock(&b->lock);
	return k;
}

static bool is_ours(const struct house_bell *b)
{
	return b->epoch == ipc_epoch();
}

static void enlist(struct house_bell *b)
{
	if (ipc_own_hold() == -1)
		return; /* nobody else finds it then */
	b->next = bells;
	bells = b;
	ipc_own_let_go();
}

static void strike(struct house_bell *b)
{
	struct house_bell **at = &bells;

	if (ipc_own_hold() == -1)
		return;
	while (*at && *at != b)
		at = &(*at)->next;
	if (*at)
		*at = b->next;
	ipc_own_let_go();
}

/* One user less. In a forked child a placeholder has the number of the bell, and the watch closes that. */
static void leave(struct house_bell *b)
{
	if (--b->users)
		return;
	strike(b);
	ipc_watch_free(b->watch);
	if (is_ours(b)) {
		ipc_os_bell_close(b->fd);
		pthread_mutex_destroy(&b->lock);
	}
	free(b);
}

/* A callback may free any knock, and fork: then the rest is the parent's business. */
static void on_ring(short what, void *arg)
{
	struct house_bell *b = arg;
	struct ipc_knock *k;

	(void)what;
	ipc_os_bell_quiet(b->fd[0]);
	b->users++;
	while (is_ours(b) && (k = take_first(b)))
		k->cb(k->arg);
	leave(b);
}

static struct house_bell *find(struct event_base *base)
{
	struct house_bell *b;

	if (ipc_own_hold() == -1)
		return NULL;
	for (b = bells; b && !(b->base == base && is_ours(b)); b = b->next)
		;
	ipc_own_let_go();
	return b;
}

static struct house_bell *hang(struct event_base *base)
{
	struct house_bell *b = calloc(1, sizeof *b);
	int error;

	if (!b)
		return NULL;
	b->base = base;
	b->epoch = ipc_epoch();
	b->last = &b->first;
	if (ipc_os_bell(b->fd) == -1)
		goto fail;
	b->watch = ipc_watch_new(base, b->fd[0], on_ring, b);
	if (b->watch && ipc_watch_want(b->watch, EV_READ) == 0) {
		pthread_mutex_init(&b->lock, NULL);
		enlist(b);
		return b;
	}
	error = errno;
	ipc_watch_free(b->watch);
	ipc_os_bell_close(b->fd);
	errno = error;
fail:
	free(b);
	return NULL;
}

struct ipc_knock *ipc_knock_new(struct event_base *base, void (*cb)(void *arg), void *arg)
{
	struct ipc_knock *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	k->cb = cb;
	k->arg = arg;
	k->bell = find(base);
	if (!k->bell)
		k->bell = hang(base);
	if (!k->bell) {
		free(k);
		return NULL;
	}
	k->bell->users++;
	return k;
}

void ipc_knock(struct ipc_knock *k)
{
	struct house_bell *b = k->bell;

	pthread_mutex_lock(&b->lock);
	if (!k->knocked) {
		k->knocked = true;
		k->next = NULL;
		if (!b->first)
			ipc_os_bell_ring(b->fd[1]);
		*b->last = k;
		b->last = &k->next;
	}
	pthread_mutex_unlock(&b->lock);
}

static void withdraw(struct ipc_knock *k)
{
	struct house_bell *b = k->bell;
	struct ipc_knock **at = &b->first;

	pthread_mutex_lock(&b->lock);
	if (k->knocked) {
		while (*at != k)
			at = &(*at)->next;
		*at = k->next;
		if (!*at)
			b->last = at;
	}
	pthread_mutex_unlock(&b->lock);
}

void ipc_knock_free(struct ipc_knock *k)
{
	if (!k)
		return;
	if (is_ours(k->bell))
		withdraw(k);
	leave(k->bell);
	free(k);
}
