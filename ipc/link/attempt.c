/* How a link gets a connection: it dials, listens, or opens the end that it was given. The course decides when. */
#include <errno.h>
#include <stdio.h>

#include <aioipc/end.h>
#include <aioipc/listener.h>

#include "ipc/link/link.h"
#include "ipc/loop/watch.h"

void ipc_link_stop_dialling(struct aiolink *l)
{
	ipc_dial_unwatch(l->dial_watch);
	ipc_dial_free(l->dial);
	l->dial = NULL;
}

/* A lookup that still runs is kept for the next attempt. */
static void failed(struct aiolink *l, int error, const char *why)
{
	ipc_status_note(&l->status, error, why);
	ipc_dial_unwatch(l->dial_watch);
	if (l->dial && !ipc_dial_looks_up(l->dial))
		ipc_link_stop_dialling(l);
	ipc_course_failed(&l->course);
}

static void on_dial_ready(short what, void *arg)
{
	(void)what;
	ipc_link_go_on(arg);
}

/* -1: there is no memory or descriptor to wait with. */
static int wait_for_dial(struct aiolink *l, const struct ipc_dial_wait *w)
{
	int64_t left = l->course.until ? l->course.until - ipc_os_now() : w->ns;

	if (w->ns >= 0 && w->ns < left)
		left = w->ns;
	if (left >= 0 && ipc_watch_after(l->course.timer, left) == -1)
		return -1;
	return ipc_dial_watch(l->dial_watch, w, l->status.base, on_dial_ready, l);
}

static void dial(struct aiolink *l)
{
	struct ipc_dial_wait w;
	struct aioconn *c = NULL;
	int r;

	ipc_dial_unwatch(l->dial_watch);
	if (!l->dial && !(l->dial = ipc_dial_new_tls(l->o.address, l->o.tls))) {
		failed(l, errno, NULL);
		return;
	}
	ipc_dial_until(l->dial, l->course.until);
	ipc_dial_from(l->dial, l->o.local);
	ipc_dial_keep_alive(l->dial, &l->o.keepalive);
	r = ipc_dial_step(l->dial, &w);
	if (r == 0 && l->course.until && ipc_os_now() >= l->course.until) {
		failed(l, ETIMEDOUT, "no connection within the limit");
		return;
	}
	if (r == 0 && wait_for_dial(l, &w) == 0)
		return;
	if (r == 1)
		c = ipc_dial_open(l->dial, l->status.base);
	if (!c) {
		failed(l, errno, r == -1 ? ipc_dial_why(l->dial) : NULL);
		return;
	}
	ipc_link_stop_dialling(l);
	if (ipc_link_talk(l, c) == -1)
		failed(l, errno, NULL);
}

static void talk_over_end(struct aiolink *l)
{
	struct aioconn *c = l->ready;

	l->ready = NULL;
	ipc_status_hold(&l->status);
	if (ipc_link_talk(l, c) == -1)
		failed(l, errno, NULL);
	else if (ipc_link_closes(l))
		ipc_link_pump(l);
	ipc_status_release(&l->status);
}

void ipc_link_stop_listening(struct aiolink *l)
{
	aiolistener_free(l->listener);
	l->listener = NULL;
	pthread_mutex_lock(&l->status.lock);
	l->deaf = true;
	pthread_mutex_unlock(&l->status.lock);
}

void ipc_link_go_on(struct aiolink *l)
{
	if (l->ready)
		talk_over_end(l);
	else
		dial(l);
}

void ipc_link_attempt(struct aiolink *l)
{
	if (l->listener)
		aiolistener_resume(l->listener);
}

/* If there is to be no other connection, this peer is the last one. */
static void on_peer(struct aiolistener *listener, struct aioconn *c, void *arg)
{
	struct aiolink *l = arg;

	aiolistener_pause(listener);
	if (ipc_course_is_last(&l->course))
		ipc_link_stop_listening(l);
	if (ipc_link_talk(l, c) == -1)
		failed(l, errno, NULL);
}

/* The address is still told when the listener is gone. */
static void remember_address(struct aiolink *l)
{
	snprintf(l->listens_at, sizeof l->listens_at, "%s", aiolistener_address(l->listener));
	l->port = aiolistener_port(l->listener);
	atomic_store_explicit(&l->where, l->listens_at, memory_order_release);
}

int ipc_link_listen(struct aiolink *l)
{
	struct aiolistener_options o = {.size = sizeof o,
					.peers = 1,
					.mode = l->o.mode,
					.uids = l->o.uids,
					.n_uids = l->o.n_uids,
					.keepalive = l->o.keepalive.idle,
					.user_timeout = l->o.keepalive.timeout,
					.tls = l->o.tls};

	if (!l->o.address || l->o.role != AIOLINK_LISTEN)
		return 0;
	l->listener = aiolistener_new(l->o.address, l->status.base, &o, on_peer, l);
	if (!l->listener)
		return -1;
	aiolistener_pause(l->listener);
	l->course.passive = true;
	remember_address(l);
	return 0;
}

int ipc_link_open_end(struct aiolink *l)
{
	struct aioend *end = l->end;

	if (!end)
		return 0;
	if (ipc_link_check_end(l, end) == -1)
		return -1;
	l->ready = aioend_open(end, l->status.base);
	if (!l->ready)
		return -1;
	l->end = NULL;
	/* If this fails, ipc_link_talk() tries again: the end can't be given back. */
	ipc_link_set_up(l, l->ready);
	return 0;
}
