/*
 * A link's own thread. It has a base and runs its loop. Other threads ring its bell to ask for something. The thread ends
 * when the link has ended.
 */
#include <errno.h>
#include <stdlib.h>

#include "ipc/os/thread.h"
#include "ipc/link/link.h"
#include "ipc/loop/fresh.h"
#include "ipc/own/bell.h"
#include "ipc/os/bell.h"
#include "ipc/os/os.h"

struct ipc_link_thread {
	pthread_t thread;
	pthread_mutex_t gate; /* the starter holds it until it knows whether the thread may run */
	bool may_run;
	struct ipc_own bell;
	struct ipc_watch *watch; /* on the bell */

	unsigned asked; /* enum ipc_link_ask. The link's lock guards this and the next two. */
	bool over;      /* nobody answers the bell any more */
	bool alone;     /* nobody joins it */
};

static void on_bell(short what, void *arg)
{
	struct aiolink *l = arg;
	unsigned asked;
	uint64_t drop;

	(void)what;
	ipc_os_bell_quiet(l->own->bell.r.fd);
	pthread_mutex_lock(&l->status.lock);
	asked = l->own->asked;
	l->own->asked &= ~(unsigned)(IPC_LINK_PACE | IPC_LINK_DROP | IPC_LINK_CALLS);
	drop = l->drop;
	pthread_mutex_unlock(&l->status.lock);
	ipc_status_hold(&l->status);
	if (asked & IPC_LINK_PACE)
		ipc_link_pace(l);
	if (asked & IPC_LINK_DROP)
		ipc_link_drop(l, drop);
	if ((asked & IPC_LINK_CALLS) && l->call_watch)
		ipc_watch_soon(l->call_watch);
	if (asked & IPC_LINK_CLOSE)
		ipc_link_close_here(l);
	if (asked & IPC_LINK_ENOUGH)
		ipc_link_enough(l);
	if (asked & IPC_LINK_CUT)
		ipc_link_cut(l, ECONNABORTED, "aborted");
	ipc_status_release(&l->status);
}

static bool gate_opens(struct ipc_link_thread *t)
{
	bool may_run;

	pthread_mutex_lock(&t->gate);
	may_run = t->may_run;
	pthread_mutex_unlock(&t->gate);
	return may_run;
}

/* Others ring under the lock, and only while it is not over. So the bell can be closed after this. */
static bool leave_loop(struct aiolink *l)
{
	struct ipc_link_thread *t = l->own;
	bool alone;

	pthread_mutex_lock(&l->status.lock);
	t->over = true;
	alone = t->alone;
	pthread_mutex_unlock(&l->status.lock);
	ipc_watch_free(t->watch);
	ipc_own_close(&t->bell);
	event_base_free(l->status.base);
	return alone;
}

static void *run(void *arg)
{
	struct aiolink *l = arg;

	if (!gate_opens(l->own))
		return NULL;
	atomic_store(&l->status.thread, ipc_thread_serial());
	while (l->course.life != IPC_COURSE_OVER && ipc_status_check(&l->status) == 0)
		event_base_loop(l->status.base, EVLOOP_ONCE);
	if (ipc_status_check(&l->status) == -1) /* a callback forked, and this is the child */
		return NULL;
	if (leave_loop(l))
		pthread_detach(pthread_self());
	ipc_status_release(&l->status);
	return NULL;
}

static struct ipc_link_thread *new_thread(struct aiolink *l, struct event_base *base)
{
	struct ipc_link_thread *t = calloc(1, sizeof *t);
	int error;

	if (!t)
		return NULL;
	ipc_own_init(&t->bell);
	pthread_mutex_init(&t->gate, NULL);
	if (ipc_own_bell(&t->bell) == -1)
		goto fail;
	t->watch = ipc_watch_new(base, t->bell.r.fd, on_bell, l);
	if (t->watch && ipc_watch_want(t->watch, EV_READ) == 0) {
		ipc_watch_base_is_ours(base);
		return t;
	}
fail:
	error = errno;
	ipc_watch_free(t->watch);
	ipc_own_close(&t->bell);
	pthread_mutex_destroy(&t->gate);
	free(t);
	errno = error;
	return NULL;
}

/* The thread is made first, and waits at the gate: what follows can't be undone, so nothing may fail after it. */
static int equip_and_run(struct aiolink *l, struct event_base *base)
{
	struct ipc_link_thread *t = l->own;
	int error;

	pthread_mutex_lock(&t->gate);
	if (ipc_thread_start_joinable(&t->thread, run, l) == -1) {
		pthread_mutex_unlock(&t->gate);
		return -1;
	}
	if (ipc_link_equip(l, base) == 0) {
		t->may_run = true;
		ipc_status_hold(&l->status);
		ipc_course_begin(&l->course);
	}
	error = errno;
	pthread_mutex_unlock(&t->gate);
	if (t->may_run)
		return 0;
	pthread_join(t->thread, NULL);
	errno = error;
	return -1;
}

void ipc_link_ask_thread(struct aiolink *l, enum ipc_link_ask what)
{
	struct ipc_link_thread *t = l->own;

	pthread_mutex_lock(&l->status.lock);
	t->asked |= what;
	if (!t->over)
		ipc_os_bell_ring(t->bell.w.fd);
	pthread_mutex_unlock(&l->status.lock);
}

static void ask_for_calls(struct aiolink *l)
{
	ipc_link_ask_thread(l, IPC_LINK_CALLS);
}

int ipc_link_start_thread(struct aiolink *l)
{
	struct event_base *base = ipc_base_new();
	int error;

	if (!base)
		return -1;
	l->own = new_thread(l, base);
	l->status.own_loop = l->own;
	l->call_thread = ask_for_calls;
	if (l->own && equip_and_run(l, base) == 0)
		return 0;
	error = errno;
	if (l->own) {
		ipc_watch_free(l->own->watch);
		ipc_own_close(&l->own->bell);
		ipc_link_free_thread(l);
		l->status.own_loop = false;
		l->call_thread = NULL;
	}
	event_base_free(base);
	errno = error;
	return -1;
}

void ipc_link_leave_thread(struct aiolink *l)
{
	if (!ipc_status_is_here(&l->status)) {
		pthread_join(l->own->thread, NULL);
		return;
	}
	pthread_mutex_lock(&l->status.lock);
	l->own->alone = true;
	pthread_mutex_unlock(&l->status.lock);
}

void ipc_link_free_thread(struct aiolink *l)
{
	if (!l->own)
		return;
	if (ipc_status_check(&l->status) == 0)
		pthread_mutex_destroy(&l->own->gate);
	free(l->own);
	l->own = NULL;
}
