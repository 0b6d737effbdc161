/*
 * A stream's own thread. It has a base and runs its loop. Other threads ring its bell to ask for something. The thread ends
 * when the stream has ended.
 */
#include <errno.h>
#include <stdlib.h>

#include "ipc/os/thread.h"
#include "ipc/stream/stream.h"
#include "ipc/loop/fresh.h"
#include "ipc/loop/watch.h"
#include "ipc/own/bell.h"
#include "ipc/os/bell.h"
#include "ipc/os/os.h"

struct ipc_stream_thread {
	pthread_t thread;
	pthread_mutex_t gate; /* the starter holds it until it knows whether the thread may run */
	bool may_run;
	struct ipc_own bell;
	struct ipc_watch *watch; /* on the bell */

	unsigned asked; /* enum ipc_stream_ask. The lock of the status guards this and the next two. */
	bool over;      /* nobody answers the bell any more */
	bool alone;     /* nobody joins it */
};

static void on_bell(short what, void *arg)
{
	struct aiostream *s = arg;
	unsigned asked;

	(void)what;
	ipc_os_bell_quiet(s->own->bell.r.fd);
	pthread_mutex_lock(&s->status.lock);
	asked = s->own->asked;
	pthread_mutex_unlock(&s->status.lock);
	ipc_status_hold(&s->status);
	if (asked & IPC_STREAM_CLOSE)
		ipc_stream_close_soon(s);
	if (asked & IPC_STREAM_HURRY)
		ipc_stream_hurry(s);
	if (asked & IPC_STREAM_CUT)
		ipc_stream_cut(s, ECONNABORTED, "aborted");
	ipc_status_release(&s->status);
}

static bool gate_opens(struct ipc_stream_thread *t)
{
	bool may_run;

	pthread_mutex_lock(&t->gate);
	may_run = t->may_run;
	pthread_mutex_unlock(&t->gate);
	return may_run;
}

/* Others ring under the lock, and only while it is not over. So the bell can be closed after this. */
static bool leave_loop(struct aiostream *s)
{
	struct ipc_stream_thread *t = s->own;
	bool alone;

	pthread_mutex_lock(&s->status.lock);
	t->over = true;
	alone = t->alone;
	pthread_mutex_unlock(&s->status.lock);
	ipc_watch_free(t->watch);
	ipc_own_close(&t->bell);
	event_base_free(s->status.base);
	return alone;
}

static void *run(void *arg)
{
	struct aiostream *s = arg;

	if (!gate_opens(s->own))
		return NULL;
	atomic_store(&s->status.thread, ipc_thread_serial());
	while (s->course.life != IPC_COURSE_OVER && ipc_status_check(&s->status) == 0)
		event_base_loop(s->status.base, EVLOOP_ONCE);
	if (ipc_status_check(&s->status) == -1) /* a callback forked, and this is the child */
		return NULL;
	if (leave_loop(s))
		pthread_detach(pthread_self());
	ipc_status_release(&s->status);
	return NULL;
}

static struct ipc_stream_thread *new_thread(struct aiostream *s, struct event_base *base)
{
	struct ipc_stream_thread *t = calloc(1, sizeof *t);
	int error;

	if (!t)
		return NULL;
	ipc_own_init(&t->bell);
	pthread_mutex_init(&t->gate, NULL);
	if (ipc_own_bell(&t->bell) == -1)
		goto fail;
	t->watch = ipc_watch_new(base, t->bell.r.fd, on_bell, s);
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
static int equip_and_run(struct aiostream *s, struct event_base *base)
{
	struct ipc_stream_thread *t = s->own;
	int error;

	pthread_mutex_lock(&t->gate);
	if (ipc_thread_start_joinable(&t->thread, run, s) == -1) {
		pthread_mutex_unlock(&t->gate);
		return -1;
	}
	if (ipc_stream_equip(s, base) == 0) {
		t->may_run = true;
		ipc_status_hold(&s->status);
		ipc_course_begin(&s->course);
	}
	error = errno;
	pthread_mutex_unlock(&t->gate);
	if (t->may_run)
		return 0;
	pthread_join(t->thread, NULL);
	errno = error;
	return -1;
}

int ipc_stream_start_thread(struct aiostream *s)
{
	struct event_base *base = ipc_base_new();
	int error;

	if (!base)
		return -1;
	s->own = new_thread(s, base);
	s->status.own_loop = s->own;
	if (s->own && equip_and_run(s, base) == 0)
		return 0;
	error = errno;
	if (s->own) {
		ipc_watch_free(s->own->watch);
		ipc_own_close(&s->own->bell);
		ipc_stream_free_thread(s);
		s->status.own_loop = false;
	}
	event_base_free(base);
	errno = error;
	return -1;
}

void ipc_stream_ask_thread(struct aiostream *s, enum ipc_stream_ask what)
{
	struct ipc_stream_thread *t = s->own;

	pthread_mutex_lock(&s->status.lock);
	t->asked |= what;
	if (!t->over)
		ipc_os_bell_ring(t->bell.w.fd);
	pthread_mutex_unlock(&s->status.lock);
}

void ipc_stream_leave_thread(struct aiostream *s)
{
	if (!ipc_status_is_here(&s->status)) {
		pthread_join(s->own->thread, NULL);
		return;
	}
	pthread_mutex_lock(&s->status.lock);
	s->own->alone = true;
	pthread_mutex_unlock(&s->status.lock);
}

void ipc_stream_free_thread(struct aiostream *s)
{
	if (!s->own)
		return;
	if (ipc_status_check(&s->status) == 0)
		pthread_mutex_destroy(&s->own->gate);
	free(s->own);
	s->own = NULL;
}
