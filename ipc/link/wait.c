/* Who waits for a link: any number of threads and tasks, in one line; each looks for itself whether it was for this. */
#include <errno.h>

#include <aioipc/task.h>

#include "ipc/loop/here.h"
#include "ipc/loop/run.h"
#include "ipc/loop/wait.h"
#include "ipc/link/link.h"

struct wait {
	struct ipc_wait_entry entry; /* first: who stands in line is a wait */
	struct aiolink *link;
	enum ipc_link_event what;
	uint64_t number; /* of the connection that is to come, or to be over */
};

static int fail(int error)
{
	errno = error;
	return -1;
}

/* Under the lock. */
static bool is_met(const struct wait *w)
{
	const struct aiolink *l = w->link;

	switch (w->what) {
	case IPC_LINK_UP:
		return l->ups >= w->number || l->none_follows || l->state == AIOLINK_ENDED;
	case IPC_LINK_DOWN:
		return l->downs >= w->number || l->none_follows || l->state == AIOLINK_ENDED;
	default:
		return l->state == AIOLINK_ENDED;
	}
}

static bool looks_met(const void *arg)
{
	const struct wait *w = arg;
	bool met;

	pthread_mutex_lock(&w->link->lock);
	met = is_met(w);
	pthread_mutex_unlock(&w->link->lock);
	return met;
}

bool ipc_link_is_here(const struct aiolink *l)
{
	return atomic_load_explicit(&l->thread, memory_order_relaxed) == ipc_thread_serial();
}

/*
 * In the thread of its loop nobody else makes it go on. Under the lock, but for the time it takes; in a child that a callback
 * forked the lock is nobody's.
 */
static int wait_here(struct wait *w, int64_t deadline)
{
	struct aiolink *l = w->link;
	int r = -1;

	pthread_mutex_unlock(&l->lock);
	if (l->own || ipc_in_callback(l->base))
		errno = EDEADLK;
	else
		r = ipc_run_until(l->base, looks_met, w, deadline);
	if (ipc_link_check(l) == 0)
		pthread_mutex_lock(&l->lock);
	return r;
}

static int wait_until_met(struct wait *w, int64_t deadline)
{
	struct aiolink *l = w->link;

	while (!is_met(w)) {
		bool here = deadline != AIOIPC_NOW && ipc_link_is_here(l) &&
			    (!aiotask_self() || !ipc_task_on(l->base));

		if ((here ? wait_here(w, deadline)
			  : ipc_waitlist_wait(&l->waiters, &w->entry, &l->lock, deadline)) == -1)
			return -1;
	}
	return w->what == IPC_LINK_UP && l->ups < w->number ? fail(EPIPE) : 0;
}

/* A task that never runs again gives back what it holds. */
static void waiter_died(struct ipc_wait_entry *p)
{
	ipc_link_release(((struct wait *)p)->link);
}

int ipc_link_wait(struct aiolink *l, enum ipc_link_event what, int64_t deadline)
{
	struct wait w = {.entry.died = waiter_died, .link = l, .what = what};
	int r, error;

	if (ipc_link_check(l) == -1)
		return -1;
	ipc_link_hold(l);
	pthread_mutex_lock(&l->lock);
	w.number = l->up ? l->ups : l->ups + 1;
	r = wait_until_met(&w, deadline);
	error = errno;
	if (ipc_link_check(l) == 0)
		pthread_mutex_unlock(&l->lock);
	ipc_link_release(l);
	errno = error;
	return r;
}

static int check_and_wait(struct aiolink *l, enum ipc_link_event what, int64_t deadline)
{
	return ipc_deadline_check(deadline) == -1 ? -1 : ipc_link_wait(l, what, deadline);
}

int aiolink_wait_connected(struct aiolink *l, int64_t deadline)
{
	return check_and_wait(l, IPC_LINK_UP, deadline);
}

int aiolink_wait_disconnected(struct aiolink *l, int64_t deadline)
{
	return check_and_wait(l, IPC_LINK_DOWN, deadline);
}

int aiolink_join(struct aiolink *l, int64_t deadline)
{
	return check_and_wait(l, IPC_LINK_END, deadline);
}

/* Whether there is a connection is known by it, and by what its peer said last. */
void ipc_link_enter(struct aiolink *l, enum aiolink_state state)
{
	struct ipc_waitlist woken = {NULL, NULL};
	bool up = l->conn && !l->they_left;

	pthread_mutex_lock(&l->lock);
	l->ups += up && !l->up;
	l->downs += !up && l->up;
	l->none_follows = l->none_follows || (!up && l->up && ipc_link_is_last(l));
	l->up = up;
	l->state = state;
	ipc_waitlist_wake_all(&l->waiters, &woken);
	pthread_mutex_unlock(&l->lock);
	ipc_waitlist_wake_threads(&woken);
}
