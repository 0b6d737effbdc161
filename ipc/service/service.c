/*
 * The calls of a service: it is made, started, joined, stopped and freed. Its queues pass messages on and give back-pressure.
 * worker.c is the body of its threads, state.c its states.
 */
#include "ipc/service/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <aioipc/queue.h>
#include <aioipc/task.h>

#include "ipc/os/log.h"
#include "ipc/own/board.h"
#include "ipc/own/own.h"
#include "ipc/os/thread.h"
#include "ipc/loop/wait.h"
#include "ipc/flow/queue.h"
#include "ipc/os/sized.h"
#include "ipc/service/dispatch.h"

#define WORKERS_MOST 1024

static int fail(int error)
{
	errno = error;
	return -1;
}

static int check(const struct aioservice *s)
{
	return s->epoch == ipc_epoch() ? 0 : fail(ECHILD);
}

/* What only processes have. */
static const char *check_threads(const struct aioservice_options *o)
{
	if (o->limit || o->jobs_each || o->retries || o->in_order || o->with_terminal || o->only_ends)
		return "limit, jobs_each, retries, in_order, with_terminal and only_ends are for processes";
	return o->path ? "threads have no path" : NULL;
}

static const char *check_processes(const struct aioservice_options *o)
{
	if (o->limit < 0 || o->limit > INT64_MAX / 2000000)
		return "no limit of time";
	if (o->kind == AIOSERVICE_FORKED)
		return o->path ? "a forked worker has no path" : NULL;
	if (o->kind != AIOSERVICE_EXECUTED)
		return "no such kind of workers";
	if (o->handle || o->init || o->fini)
		return "what an executed worker calls is in its own program";
	return o->path && o->argv ? NULL : "no path, or no arguments";
}

/* NULL, or what is wrong. */
static const char *check_options(const struct aioservice_options *o)
{
	if (!o->handle && o->kind != AIOSERVICE_EXECUTED)
		return "no handler";
	if (o->workers > WORKERS_MOST)
		return "more than 1024 workers";
	if (o->in && o->in == o->out)
		return "in and out are the same queue";
	return o->kind == AIOSERVICE_THREADS ? check_threads(o) : check_processes(o);
}

static struct aioservice *make(const struct aioservice_options *o)
{
	unsigned workers = o->workers ? o->workers : 1;
	unsigned threads = o->kind == AIOSERVICE_THREADS ? workers : 1;
	struct aioservice *s = calloc(1, sizeof *s + threads * sizeof *s->threads);

	if (!s)
		return NULL;
	s->epoch = ipc_epoch();
	s->o = *o;
	s->o.workers = workers;
	s->threads_n = threads;
	s->worker_status = -1;
	s->refs = 1;
	ipc_own_init(&s->bell);
	if (o->kind == AIOSERVICE_THREADS)
		return s;
	s->free_dispatcher = ipc_dispatcher_free;
	s->dispatcher = ipc_dispatcher_new(s);
	if (s->dispatcher)
		return s;
	free(s);
	return NULL;
}

static void count(const struct aioservice *s, struct aioservice_stats *stats)
{
	if (s->dispatcher)
		ipc_dispatcher_stats(s->dispatcher, stats);
	else
		ipc_service_thread_stats(s, stats);
}

/* The caller holds the lock, or nobody else has the service yet. */
static void tell_row(struct aioservice *s)
{
	struct aioservice_stats stats = {.size = sizeof stats};

	if (!s->row)
		return;
	count(s, &stats);
	ipc_service_tell_row(s, &stats);
}

static void take_row(struct aioservice *s)
{
	char name[32];

	s->row = ipc_board_take(IPC_ROW_SERVICE, "%s", "");
	if (!s->row)
		return;
	snprintf(name, sizeof name, "service %lu", ipc_board_id(s->row));
	ipc_queue_name(s->o.in, "in", name);
	ipc_queue_name(s->o.out, "out", name);
	tell_row(s);
}

struct aioservice *aioservice_new(const struct aioservice_options *given)
{
	struct aioservice_options all;
	const struct aioservice_options *const o = &all;
	const char *why;
	struct aioservice *s;

	if (ipc_sized_take(&all, sizeof all, given) == -1)
		return NULL;
	why = check_options(o);
	if (why) {
		ipc_refuse("service: %s", why);
		return NULL;
	}
	if ((o->in && ipc_queue_check(o->in) == -1) || (o->out && ipc_queue_check(o->out) == -1))
		return NULL;
	s = make(o);
	if (!s)
		return NULL;
	if (o->in)
		aioqueue_ref(o->in);
	if (o->out)
		aioqueue_ref(o->out);
	ipc_sharers_join(o->out, IPC_PRODUCERS);
	pthread_mutex_init(&s->lock, NULL);
	take_row(s);
	return s;
}

/* In a forked child only this thread has the service: its counts and its lock no longer mean anything. */
static void free_inherited(struct aioservice *s)
{
	ipc_service_forget(s);
	if (s->dispatcher)
		ipc_dispatcher_forget(s->dispatcher);
	else
		ipc_service_free_memory(s);
}

static void join_threads(struct aioservice *s, unsigned n)
{
	while (n > 0)
		pthread_join(s->threads[--n], NULL);
}

/* The caller holds the lock. Each thread waits for it first, and then sees whether all threads could be started. */
static unsigned start_threads(struct aioservice *s)
{
	unsigned n = 0;

	if (s->dispatcher && ipc_dispatcher_equip(s->dispatcher) == -1)
		return 0;
	while (n < s->threads_n && ipc_thread_start_joinable(&s->threads[n], ipc_service_work, s) == 0)
		n++;
	if (n < s->threads_n)
		return n;
	s->life = IPC_SERVICE_RUNS;
	s->started = s->running = n;
	s->refs += n;
	return n;
}

int aioservice_start(struct aioservice *s)
{
	unsigned n;
	bool all;
	int error;

	if (check(s) == -1)
		return -1;
	pthread_mutex_lock(&s->lock);
	if (s->life != IPC_SERVICE_NEW) {
		pthread_mutex_unlock(&s->lock);
		return fail(EALREADY);
	}
	n = start_threads(s);
	error = errno;
	all = s->life == IPC_SERVICE_RUNS;
	tell_row(s);
	pthread_mutex_unlock(&s->lock);
	if (all)
		return 0;
	join_threads(s, n);
	if (s->dispatcher)
		ipc_dispatcher_unequip(s->dispatcher);
	return fail(error);
}

void aioservice_stop(struct aioservice *s)
{
	if (!s || check(s) == -1)
		return;
	if (s->o.in)
		aioqueue_close(s->o.in);
	else
		ipc_service_halt(s, 0);
}

/* 0, or -1: the caller must not wait for this service. */
static int may_wait(const struct aioservice *s, int64_t deadline)
{
	if (check(s) == -1 || ipc_deadline_check(deadline) == -1)
		return -1;
	return ipc_service_is_own_thread(s) ? fail(EDEADLK) : 0;
}

struct join {
	struct ipc_wait_entry entry; /* first */
	struct aioservice *service;
};

/* The caller holds the lock; it is free while this waits. 0, or an error. */
static int wait_for_end(struct aioservice *s, struct join *j, int64_t deadline, bool despite_signals)
{
	while (s->life != IPC_SERVICE_ENDED)
		if (ipc_waitlist_wait(&s->joiners, &j->entry, &s->lock, deadline) == -1 &&
		    !(despite_signals && errno == EINTR))
			return errno;
	return 0;
}

static void release(struct aioservice *s)
{
	pthread_mutex_lock(&s->lock);
	ipc_service_unref_and_unlock(s);
}

/* A task that never runs again still holds a reference: give it back. */
static void joiner_died(struct ipc_wait_entry *p)
{
	release(((struct join *)p)->service);
}

int aioservice_join(struct aioservice *s, int64_t deadline)
{
	struct join j = {.entry.died = joiner_died, .service = s};
	int error;

	if (may_wait(s, deadline) == -1)
		return -1;
	pthread_mutex_lock(&s->lock);
	s->refs++;
	error = wait_for_end(s, &j, deadline, false);
	ipc_service_unref_and_unlock(s);
	return error ? fail(error) : 0;
}

int aioservice_worker_status(const struct aioservice *s)
{
	return check(s) == 0 ? s->worker_status : -1;
}

int aioservice_stats(const struct aioservice *s, struct aioservice_stats *to)
{
	struct aioservice_stats stats = {.size = sizeof stats};
	struct aioservice *mine = (struct aioservice *)(uintptr_t)s;

	if (check(s) == -1)
		return -1;
	pthread_mutex_lock(&mine->lock);
	count(s, &stats);
	pthread_mutex_unlock(&mine->lock);
	return ipc_sized_give(to, &stats, sizeof stats);
}

int aioservice_error(const struct aioservice *s)
{
	return check(s) == 0 ? s->error : ECHILD;
}

/* A service that was never started has no last worker to end it. */
static void end_unstarted(struct aioservice *s)
{
	struct ipc_waitlist woken = {NULL, NULL};

	pthread_mutex_lock(&s->lock);
	if (s->life == IPC_SERVICE_NEW)
		ipc_service_end(s, &woken);
	pthread_mutex_unlock(&s->lock);
	ipc_waitlist_wake_threads(&woken);
}

int aioservice_close(struct aioservice *s, int64_t deadline)
{
	struct join j = {.service = s};
	int error;

	if (!s)
		return 0;
	if (check(s) == -1) {
		free_inherited(s);
		return fail(ECHILD);
	}
	if (may_wait(s, deadline) == -1)
		return -1;
	aioservice_stop(s);
	end_unstarted(s);
	pthread_mutex_lock(&s->lock);
	error = wait_for_end(s, &j, deadline, true);
	pthread_mutex_unlock(&s->lock);
	if (error)
		return fail(error);
	join_threads(s, s->started);
	release(s);
	return 0;
}

/* A task lets others run while it waits here. If a task can't be woken, the caller joins the threads instead, which blocks. */
static void await_end(struct aioservice *s)
{
	struct join j = {.service = s};
	bool cancelled = false;
	int error;

	pthread_mutex_lock(&s->lock);
	while ((error = wait_for_end(s, &j, AIOIPC_FOREVER, true)) == ECANCELED)
		cancelled = true;
	pthread_mutex_unlock(&s->lock);
	if (cancelled)
		aiotask_cancel(aiotask_self());
}

static void detach_threads(struct aioservice *s)
{
	for (unsigned i = 0; i < s->started; i++)
		pthread_detach(s->threads[i]);
}

/* Its handlers no longer wait for room in `out`. Other producers of that queue go on. */
static void refuse_puts(struct aioservice *s)
{
	bool shared;

	if (!s->o.out)
		return;
	pthread_mutex_lock(&s->lock);
	shared = s->life == IPC_SERVICE_ENDED || ipc_sharers_count(s->o.out, IPC_PRODUCERS) > 1;
	pthread_mutex_unlock(&s->lock);
	if (shared)
		ipc_crew_bar(&s->crew, s->o.out);
	else
		aioqueue_close(s->o.out);
}

static void abort_here(struct aioservice *s)
{
	s->aborted = true;
	ipc_service_halt(s, 0);
	aioqueue_discard(s->o.in);
	refuse_puts(s);
	end_unstarted(s);
	if (ipc_service_is_own_thread(s)) {
		detach_threads(s);
	} else {
		await_end(s);
		join_threads(s, s->started);
	}
	release(s);
}

void aioservice_abort(struct aioservice *s)
{
	int error = errno;

	if (!s)
		return;
	if (check(s) == 0)
		abort_here(s);
	else
		free_inherited(s);
	errno = error;
}
