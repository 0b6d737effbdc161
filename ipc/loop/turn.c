/* The next turn of a base: see turn.h. This uses a finalizer: libevent calls nothing else when a base is freed. */
#include "ipc/loop/turn.h"

#include <errno.h>
#include <stdlib.h>

#include <event2/event.h>

#include "ipc/own/own.h"

struct ipc_turn {
	uint32_t epoch;
	void (*cb)(void *arg); /* NULL: cancelled */
	void *arg;
};

static void unused(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
}

static void on_turn(struct event *ev, void *arg)
{
	struct ipc_turn *t = arg;

	(void)ev;
	if (t->cb && t->epoch == ipc_epoch())
		t->cb(t->arg);
	free(t);
}

struct ipc_turn *ipc_turn_new(struct event_base *base, void (*cb)(void *arg), void *arg)
{
	struct ipc_turn *t = malloc(sizeof *t);
	struct event *ev = t ? event_new(base, -1, 0, unused, t) : NULL;

	if (!ev) {
		free(t);
		errno = ENOMEM;
		return NULL;
	}
	*t = (struct ipc_turn){ipc_epoch(), cb, arg};
	event_free_finalize(0, ev, on_turn);
	return t;
}

void ipc_turn_cancel(struct ipc_turn *t)
{
	if (t)
		t->cb = NULL;
}
