/* The state of what is kept up, and those who wait for a change of it. See status.h. */
#include "ipc/net/status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <aioipc/task.h>

#include "ipc/loop/here.h"
#include "ipc/loop/run.h"
#include "ipc/loop/wait.h"
#include "ipc/own/own.h"

struct wait {
	struct ipc_wait_entry entry; /* first: each waiter is a wait */
	struct ipc_status *status;
	enum ipc_status_event what;
	uint64_t number; /* of the connection that is to come, or to be over */
};

void ipc_status_init(struct ipc_status *s, void (*free)(struct ipc_status *s))
{
	s->epoch = ipc_epoch();
	s->holds = 1;
	s->free = free;
	pthread_mutex_init(&s->lock, NULL);
}

int ipc_status_check(const struct ipc_status *s)
{
	if (s->epoch == ipc_epoch())
		return 0;
	errno = ECHILD;
	return -1;
}

void ipc_status_hold(struct ipc_status *s)
{
	atomic_fetch_add_explicit(&s->holds, 1, memory_order_relaxed);
}

void ipc_status_release(struct ipc_status *s)
{
	if (atomic_fetch_sub_explicit(&s->holds, 1, memory_order_acq_rel) > 1)
		return;
	if (ipc_status_check(s) == 0)
		pthread_mutex_destroy(&s->lock);
	s->free(s);
}

void ipc_status_note(struct ipc_status *s, int error, const char *why)
{
	pthread_mutex_lock(&s->lock);
	s->error = error;
	snprintf(s->why, sizeof s->why, "%s", why && *why ? why : error ? strerror(error) : "");
	pthread_mutex_unlock(&s->lock);
}

void ipc_status_enter(struct ipc_status *s, enum aiolink_state state, bool up, bool last)
{
	struct ipc_waitlist woken = {NULL, NULL};

	pthread_mutex_lock(&s->lock);
	s->ups += up && !s->up;
	s->downs += !up && s->up;
	s->none_follows = s->none_follows || (!up && s->up && last);
	s->up = up;
	s->state = state;
	ipc_waitlist_wake_all(&s->waiters, &woken);
	pthread_mutex_unlock(&s->lock);
	ipc_waitlist_wake_threads(&woken);
}

static int fail(int error)
{
	errno = error;
	return -1;
}

/* The caller holds the lock. */
static bool is_met(const struct wait *w)
{
	const struct ipc_status *s = w->status;

	switch (w->what) {
	case IPC_STATUS_UP:
		return s->ups >= w->number || s->none_follows || s->state == AIOLINK_ENDED;
	case IPC_STATUS_DOWN:
		return s->downs >= w->number || s->none_follows || s->state == AIOLINK_ENDED;
	default:
		return s->state == AIOLINK_ENDED;
	}
}

static bool looks_met(const void *arg)
{
	const struct wait *w = arg;
	bool met;

	pthread_mutex_lock(&w->status->lock);
	met = is_met(w);
	pthread_mutex_unlock(&w->status->lock);
	return met;
}

bool ipc_status_is_here(const struct ipc_status *s)
{
	return atomic_load_explicit(&s->thread, memory_order_relaxed) == ipc_thread_serial();
}

/*
 * The caller is the thread that runs the loop, so it has to run the loop itself. It holds the lock, which is free meanwhile. In
 * a child that a callback forked, nobody can take the lock.
 */
static int wait_here(struct wait *w, int64_t deadline)
{
	struct ipc_status *s = w->status;
	int r = -1;

	pthread_mutex_unlock(&s->lock);
	if (s->own_loop || ipc_in_callback(s->base))
		errno = EDEADLK;
	else
		r = ipc_run_until(s->base, looks_met, w, deadline);
	if (ipc_status_check(s) == 0)
		pthread_mutex_lock(&s->lock);
	return r;
}

static int wait_until_met(struct wait *w, int64_t deadline)
{
	struct ipc_status *s = w->status;

	while (!is_met(w)) {
		bool here = deadline != AIOIPC_NOW && ipc_status_is_here(s) &&
			    (!aiotask_self() || !ipc_task_on(s->base));

		if ((here ? wait_here(w, deadline)
			  : ipc_waitlist_wait(&s->waiters, &w->entry, &s->lock, deadline)) == -1)
			return -1;
	}
	return w->what == IPC_STATUS_UP && s->ups < w->number ? fail(EPIPE) : 0;
}

/* A task that never runs again still holds a reference: give it back. */
static void waiter_died(struct ipc_wait_entry *p)
{
	ipc_status_release(((struct wait *)p)->status);
}

int ipc_status_wait(struct ipc_status *s, enum ipc_status_event what, int64_t deadline)
{
	struct wait w = {.entry.died = waiter_died, .status = s, .what = what};
	int r, error;

	if (ipc_status_check(s) == -1)
		return -1;
	ipc_status_hold(s);
	pthread_mutex_lock(&s->lock);
	w.number = s->up ? s->ups : s->ups + 1;
	r = wait_until_met(&w, deadline);
	error = errno;
	if (ipc_status_check(s) == 0)
		pthread_mutex_unlock(&s->lock);
	ipc_status_release(s);
	errno = error;
	return r;
}
