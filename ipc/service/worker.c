/*
 * A worker of a service: it takes a message, calls the handler, and acts on the result. It stops at the end of the queue, or when
 * the service was halted. The last worker that stops ends the service.
 */
#include <errno.h>

#include <aioipc/msg.h>
#include <aioipc/queue.h>

#include "ipc/own/board.h"
#include "ipc/own/own.h"
#include "ipc/loop/wait.h"
#include "ipc/msg/msg.h"
#include "ipc/service/dispatch.h"
#include "ipc/service/serve.h"
#include "ipc/service/service.h"

static _Thread_local struct aioservice *current;

bool ipc_service_is_own_thread(const struct aioservice *s)
{
	return current == s;
}

void ipc_service_forget(const struct aioservice *s)
{
	if (current != s)
		return;
	current = NULL;
	ipc_crew_enlist(NULL);
}

static void count(atomic_uint_least64_t *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* Calls the handler, and on_error where that failed. 1: try again; 0: the message was handled; -1: as handle(). */
static int try_once(struct aioservice *s, struct aiomsg *m)
{
	uint32_t epoch = ipc_epoch();
	int result, error;
	bool again;

	errno = 0;
	result = s->o.handle(m, s->o.out, s->o.arg);
	error = errno ? errno : EIO;
	if (ipc_epoch() != epoch)
		return -1;
	count(result < 0 ? &s->count.failed : &s->count.jobs);
	if (result > 0)
		ipc_service_halt(s, 0);
	again = result < 0 && ipc_service_ask(s, m, error) && !ipc_service_is_halted(s);
	if (again)
		count(&s->count.retried);
	else
		ipc_msg_settle(m, result >= 0);
	return again;
}

/* What has changed in a thread, without the lock. */
static void tell_row(const struct aioservice *s)
{
	if (!s->row || !ipc_board_has(s->row))
		return;
	ipc_row_set(s->row, IPC_SERVICE_ROW_BUSY, atomic_load(&s->count.busy));
	ipc_row_set(s->row, IPC_SERVICE_ROW_JOBS, atomic_load(&s->count.jobs));
	ipc_row_set(s->row, IPC_SERVICE_ROW_FAILED, atomic_load(&s->count.failed));
	ipc_row_set(s->row, IPC_SERVICE_ROW_RETRIED, atomic_load(&s->count.retried));
}

/* False in a forked child: a handler may call fork() and return in both processes. */
static bool handle(struct aioservice *s, struct aiomsg *m)
{
	int r;

	atomic_fetch_add_explicit(&s->count.busy, 1, memory_order_relaxed);
	tell_row(s);
	while ((r = try_once(s, m)) == 1)
		continue;
	if (r == 0)
		atomic_fetch_sub_explicit(&s->count.busy, 1, memory_order_relaxed);
	tell_row(s);
	return r == 0;
}

/* Takes one message; none where the service has no queue to take from. False: there will be no more. */
static bool take(struct aioservice *s, struct aiomsg **m)
{
	int got;

	*m = NULL;
	if (!s->o.in)
		return true;
	while ((got = aioqueue_get(s->o.in, m, AIOIPC_FOREVER)) == -1 && errno == EINTR)
		continue;
	if (got == -1)
		ipc_service_halt(s, errno);
	return got == 1;
}

static void leave(struct aioservice *s)
{
	struct ipc_waitlist woken = {NULL, NULL};

	ipc_crew_enlist(NULL);
	pthread_mutex_lock(&s->lock);
	if (--s->running == 0)
		ipc_service_end(s, &woken);
	else if (s->row && ipc_board_has(s->row))
		ipc_row_set(s->row, IPC_SERVICE_ROW_WORKERS, s->running);
	ipc_service_unref_and_unlock(s);
	ipc_waitlist_wake_threads(&woken);
}

/* False: it failed, or this is a child that it forked. */
static bool init(struct aioservice *s)
{
	int error;

	errno = 0;
	if (!s->o.init || s->o.init(s->o.arg) >= 0)
		return true;
	error = errno ? errno : EIO;
	if (s->epoch == ipc_epoch())
		ipc_service_halt(s, error);
	return false;
}

/* False in a child that a callback forked. */
static bool work(struct aioservice *s)
{
	struct aiomsg *m;
	bool here = true;

	if (s->dispatcher)
		return ipc_dispatcher_run(s->dispatcher);
	if (!init(s))
		return s->epoch == ipc_epoch();
	while (here && !ipc_service_is_halted(s) && take(s, &m)) {
		here = handle(s, m);
		aiomsg_free(m);
	}
	if (here && s->o.fini)
		s->o.fini(s->o.arg);
	return here && s->epoch == ipc_epoch();
}

void *ipc_service_work(void *arg)
{
	struct aioservice *s = arg;
	bool runs;

	current = s;
	ipc_crew_enlist(&s->crew);
	pthread_mutex_lock(&s->lock);
	runs = s->life == IPC_SERVICE_RUNS;
	pthread_mutex_unlock(&s->lock);
	if (runs && work(s))
		leave(s);
	return NULL;
}

static int wait_for_halt(struct aioservice *s, int64_t deadline)
{
	struct ipc_wait_entry entry = {.died = NULL};

	while (!ipc_service_is_halted(s))
		if (ipc_waitlist_wait(&s->sleepers, &entry, &s->lock, deadline) == -1 && errno != EINTR)
			return errno == ETIMEDOUT ? 0 : -1;
	errno = ECANCELED;
	return -1;
}

int aioservice_sleep(int64_t deadline)
{
	struct aioservice *s = current;
	int r;

	if (ipc_deadline_check(deadline) == -1)
		return -1;
	if (ipc_serve_is_here())
		return ipc_serve_sleep(deadline);
	if (!s || s->epoch != ipc_epoch()) {
		errno = s ? ECHILD : EPERM;
		return -1;
	}
	pthread_mutex_lock(&s->lock);
	r = wait_for_halt(s, deadline);
	pthread_mutex_unlock(&s->lock);
	return r;
}
