/* A thread that runs the loop of something that is kept up. See runner.h. */
#include "ipc/net/runner.h"

#include <errno.h>
#include <stdlib.h>

#include "ipc/loop/fresh.h"
#include "ipc/loop/watch.h"
#include "ipc/net/course.h"
#include "ipc/os/bell.h"
#include "ipc/os/thread.h"
#include "ipc/own/bell.h"

struct ipc_runner {
	struct ipc_course *course;
	pthread_t thread;
	pthread_mutex_t gate; /* the starter holds it until it knows whether the thread may run */
	bool may_run;
	struct ipc_own bell;
	struct ipc_watch *watch; /* on the bell */

	unsigned asked; /* The lock of the status guards this and the next two. */
	bool over;      /* nobody answers the bell any more */
	bool alone;     /* nobody joins it */
};

static void on_bell(short what, void *arg)
{
	struct ipc_runner *r = arg;
	struct ipc_status *s = r->course->status;
	unsigned asked;

	(void)what;
	ipc_os_bell_quiet(r->bell.r.fd);
	pthread_mutex_lock(&s->lock);
	asked = r->asked;
	r->asked = 0;
	pthread_mutex_unlock(&s->lock);
	ipc_status_hold(s);
	r->course->owner->heed(r->course, asked);
	ipc_status_release(s);
}

static bool gate_opens(struct ipc_runner *r)
{
	bool may_run;

	pthread_mutex_lock(&r->gate);
	may_run = r->may_run;
	pthread_mutex_unlock(&r->gate);
	return may_run;
}

/* Others ring under the lock, and only while it is not over. So the bell can be closed after this. */
static bool leave_loop(struct ipc_runner *r)
{
	struct ipc_status *s = r->course->status;
	bool alone;

	pthread_mutex_lock(&s->lock);
	r->over = true;
	alone = r->alone;
	pthread_mutex_unlock(&s->lock);
	ipc_watch_free(r->watch);
	ipc_own_close(&r->bell);
	event_base_free(s->base);
	return alone;
}

static void *run(void *arg)
{
	struct ipc_runner *r = arg;
	struct ipc_status *s = r->course->status;

	if (!gate_opens(r))
		return NULL;
	atomic_store(&s->thread, ipc_thread_serial());
	while (r->course->life != IPC_COURSE_OVER && ipc_status_check(s) == 0)
		event_base_loop(s->base, EVLOOP_ONCE);
	if (ipc_status_check(s) == -1) /* a callback forked, and this is the child */
		return NULL;
	if (leave_loop(r))
		pthread_detach(pthread_self());
	ipc_status_release(s);
	return NULL;
}

static struct ipc_runner *new_runner(struct ipc_course *c, struct event_base *base)
{
	struct ipc_runner *r = calloc(1, sizeof *r);
	int error;

	if (!r)
		return NULL;
	r->course = c;
	ipc_own_init(&r->bell);
	pthread_mutex_init(&r->gate, NULL);
	if (ipc_own_bell(&r->bell) == -1)
		goto fail;
	r->watch = ipc_watch_new(base, r->bell.r.fd, on_bell, r);
	if (r->watch && ipc_watch_want(r->watch, EV_READ) == 0) {
		ipc_watch_base_is_ours(base);
		return r;
	}
fail:
	error = errno;
	ipc_watch_free(r->watch);
	ipc_own_close(&r->bell);
	pthread_mutex_destroy(&r->gate);
	free(r);
	errno = error;
	return NULL;
}

/* The thread is made first, and waits at the gate: what follows can't be undone, so nothing may fail after it. */
static int equip_and_run(struct ipc_runner *r, struct event_base *base)
{
	struct ipc_course *c = r->course;
	int error;

	pthread_mutex_lock(&r->gate);
	if (ipc_thread_start_joinable(&r->thread, run, r) == -1) {
		pthread_mutex_unlock(&r->gate);
		return -1;
	}
	if (c->owner->equip(c, base) == 0) {
		r->may_run = true;
		ipc_status_hold(c->status);
		ipc_course_begin(c);
	}
	error = errno;
	pthread_mutex_unlock(&r->gate);
	if (r->may_run)
		return 0;
	pthread_join(r->thread, NULL);
	errno = error;
	return -1;
}

int ipc_runner_start(struct ipc_runner **to, struct ipc_course *c)
{
	struct event_base *base = ipc_base_new();
	int error;

	if (!base)
		return -1;
	*to = new_runner(c, base);
	c->status->own_loop = *to;
	if (*to && equip_and_run(*to, base) == 0)
		return 0;
	error = errno;
	if (*to) {
		ipc_watch_free((*to)->watch);
		ipc_own_close(&(*to)->bell);
		ipc_runner_free(*to);
		*to = NULL;
		c->status->own_loop = false;
	}
	event_base_free(base);
	errno = error;
	return -1;
}

void ipc_runner_ask(struct ipc_runner *r, struct ipc_course *c, unsigned what)
{
	struct ipc_status *s = c->status;

	if (!r || ipc_status_is_here(s)) {
		c->owner->heed(c, what);
		return;
	}
	pthread_mutex_lock(&s->lock);
	r->asked |= what;
	if (!r->over)
		ipc_os_bell_ring(r->bell.w.fd);
	pthread_mutex_unlock(&s->lock);
}

void ipc_runner_leave(struct ipc_runner *r)
{
	struct ipc_status *s = r->course->status;

	if (!ipc_status_is_here(s)) {
		pthread_join(r->thread, NULL);
		return;
	}
	pthread_mutex_lock(&s->lock);
	r->alone = true;
	pthread_mutex_unlock(&s->lock);
}

void ipc_runner_free(struct ipc_runner *r)
{
	if (!r)
		return;
	if (ipc_status_check(r->course->status) == 0)
		pthread_mutex_destroy(&r->gate);
	free(r);
}
