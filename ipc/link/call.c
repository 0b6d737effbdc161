/*
 * Calls over a link. The message of a call goes through the outbox like any other, and its ticket (ipc/msg/ticket.h) leads to who waits. The
 * connection that sends it makes it a call of its own; when that connection breaks, one that had not left whole is sent on the next one with
 * what else had not; one that had left is lost, or, if it may be repeated, put into the outbox once more by who waits.
 */
#include <errno.h>
#include <stdarg.h>

#include <aioipc/call.h>

#include "ipc/link/asked.h"
#include "ipc/loop/here.h"
#include "ipc/loop/run.h"
#include "ipc/loop/wait.h"

static int fail(int error)
{
	errno = error;
	return -1;
}

static bool has_news(const void *arg)
{
	struct ipc_link_call *k = (struct ipc_link_call *)(uintptr_t)arg;
	bool news;

	pthread_mutex_lock(&k->lock);
	news = k->over || k->lost;
	pthread_mutex_unlock(&k->lock);
	return news;
}

/* Who waits: it lies on the stack of the call. */
struct wait {
	struct ipc_wait_entry entry; /* first */
	struct aiolink *link;
	struct ipc_link_call *call;
};

/* A task that never runs again. */
static void waiter_died(struct ipc_wait_entry *p)
{
	struct wait *w = (struct wait *)p;

	ipc_asked_give_up(w->call, ECANCELED);
	ipc_asked_leave(w->link, w->call);
	ipc_asked_unref(w->call);
	ipc_status_release(&w->link->status);
}

static int wait_elsewhere(struct wait *w)
{
	struct ipc_link_call *k = w->call;
	int r = 0;

	pthread_mutex_lock(&k->lock);
	while (r == 0 && !k->over && !k->lost) {
		r = ipc_waitlist_wait(&k->waiters, &w->entry, &k->lock, k->deadline);
		if (r == -1 && errno == EINTR)
			r = 0;
	}
	pthread_mutex_unlock(&k->lock);
	return r;
}

/* Until it is over, or lost and to be asked again. */
static void wait_for_news(struct wait *w)
{
	struct aiolink *l = w->link;
	struct ipc_link_call *k = w->call;
	bool cancelled;
	int r;

	if (ipc_asked_is_here(l) && k->deadline != AIOIPC_NOW)
		r = ipc_run_until(l->status.base, has_news, k, k->deadline);
	else
		r = wait_elsewhere(w);
	if (r == 0)
		return;
	cancelled = errno == ECANCELED;
	if (!ipc_asked_give_up(k, errno) &&
	    cancelled) /* the answer came first: the next wait tells of the cancel */
		aiotask_cancel(aiotask_self());
}

static void call_until_over(struct aiolink *l, struct ipc_link_call *k, const struct aiomsg *m)
{
	struct wait w = {.entry.died = waiter_died, .link = l, .call = k};
	bool over;

	do {
		if (ipc_asked_put(l, k, m) == 0)
			wait_for_news(&w);
		else
			ipc_asked_end(k, NULL, errno);
		pthread_mutex_lock(&k->lock);
		over = k->over;
		pthread_mutex_unlock(&k->lock);
	} while (!over);
}

static int check_wait(const struct aiolink *l)
{
	if (ipc_asked_is_here(l) && (l->status.own_loop || ipc_in_callback(l->status.base)))
		return fail(EDEADLK);
	return 0;
}

/* 1, 0 or -1: what became of it. In a child that a callback forked, it is left as it is. */
static int finish(struct aiolink *l, struct ipc_link_call *k, struct aiomsg **answer)
{
	int r, error = ECHILD;

	if (k->epoch != ipc_epoch())
		return fail(error);
	ipc_asked_leave(l, k);
	pthread_mutex_lock(&k->lock);
	error = k->error;
	r = !k->answer ? -1 : error ? 0 : 1;
	if (r >= 0)
		*answer = k->answer;
	k->answer = NULL;
	pthread_mutex_unlock(&k->lock);
	ipc_asked_unref(k);
	errno = r == -1 ? error : errno;
	return r;
}

int aiolink_call_msg(struct aiolink *l, const struct aiomsg *m, unsigned flags, struct aiomsg **answer,
		     int64_t deadline)
{
	struct ipc_link_call *k;
	int r = -1, error;

	if (ipc_asked_check(l, flags, deadline) == -1 || check_wait(l) == -1)
		return -1;
	k = ipc_asked_new(deadline, flags & AIOLINK_REPEAT);
	if (!k)
		return -1;
	ipc_status_hold(&l->status);
	if (ipc_asked_join(l, k) == 0) {
		call_until_over(l, k, m);
		r = finish(l, k, answer);
	} else {
		ipc_asked_unref(k);
		errno = EPIPE;
	}
	error = errno;
	ipc_status_release(&l->status);
	errno = error;
	return r;
}

int aiolink_call(struct aiolink *l, unsigned flags, struct aiomsg **answer, int64_t deadline,
		 const char *format, ...)
{
	struct aiomsg *m;
	va_list values;
	int r, error;

	va_start(values, format);
	m = ipc_msg_from_values(format, values);
	va_end(values);
	if (!m)
		return -1;
	r = aiolink_call_msg(l, m, flags, answer, deadline);
	error = errno;
	aiomsg_free(m);
	errno = error;
	return r;
}
