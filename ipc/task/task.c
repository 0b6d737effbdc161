/* The public calls of tasks. How tasks run is in sched.c. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "ipc/loop/here.h"
#include "ipc/loop/run.h"
#include "ipc/loop/wait.h"
#include "ipc/os/log.h"
#include "ipc/task/sched.h"
#include "ipc/task/stack.h"

#define STACK_LEAST ((size_t)16 * 1024)
#define STACK_MOST ((size_t)1 << 30)

static _Atomic(size_t) stack_size = (size_t)128 * 1024;

int aiotask_set_stack_size(size_t size)
{
	if (size < STACK_LEAST || size > STACK_MOST) {
		return ipc_refuse("aiotask_set_stack_size: %zu bytes: they must be from %zu to %zu", size,
				  STACK_LEAST, STACK_MOST);
	}
	atomic_store(&stack_size, size);
	return 0;
}

static int fail(int error)
{
	errno = error;
	return -1;
}

struct aiotask *aiotask_spawn(struct event_base *base, void (*fn)(void *), void *arg)
{
	struct ipc_sched *s;
	struct aiotask *t;
	int error;

	if (!base || !fn) {
		ipc_refuse("aiotask_spawn: %s is NULL", base ? "the function" : "the event base");
		return NULL;
	}
	t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	*t = (struct aiotask){.fn = fn, .arg = arg, .handled = true};
	t->stack = ipc_stack_get(atomic_load(&stack_size));
	s = t->stack ? ipc_sched_of(base, ipc_task_poll) : NULL;
	if (!s)
		goto fail;
	ipc_sched_start(s, t);
	return t;

fail:
	error = errno;
	if (t->stack)
		ipc_stack_put(t->stack);
	free(t);
	errno = error;
	return NULL;
}

static bool has_ended(const void *arg)
{
	const struct aiotask *t = arg;

	return t->state == IPC_TASK_ENDED;
}

/* Does @t wait for @who, maybe through others? Then joining it would be for ever. */
static bool waits_for(const struct aiotask *t, const struct aiotask *who)
{
	while (t && t != who)
		t = t->joins;
	return t;
}

static int join_in_task(struct aiotask *t, int64_t deadline)
{
	struct aiotask *self = ipc_task_self();
	int r = 0;

	if (ipc_in_callback(t->sched->waits.base))
		return fail(EDEADLK);
	self->joins = deadline == AIOIPC_FOREVER ? t : NULL;
	while (r == 0 && !has_ended(t))
		r = ipc_task_wait(&t->joiners, deadline);
	self->joins = NULL;
	return r == -1 && errno == ETIMEDOUT && has_ended(t) ? 0 : r;
}

static int wait_for_end(struct aiotask *t, int64_t deadline, bool by_parking)
{
	int r;

	if (t->state == IPC_TASK_DEAD || (ipc_task_self() && waits_for(t, ipc_task_self())))
		return fail(EDEADLK);
	if (t->joined)
		return fail(EBUSY);
	if (has_ended(t))
		return 0;
	if (deadline == AIOIPC_NOW)
		return fail(ETIMEDOUT);
	t->joined = true;
	r = by_parking ? join_in_task(t, deadline)
		       : ipc_run_until(t->sched->waits.base, has_ended, t, deadline);
	t->joined = false;
	return r;
}

int aiotask_join(struct aiotask *t, int64_t deadline)
{
	if (ipc_deadline_check(deadline) == -1 || ipc_task_check(t) == -1 ||
	    wait_for_end(t, deadline, ipc_task_self()) == -1)
		return -1;
	ipc_task_unhandle(t);
	return 0;
}

int aiotask_run(struct event_base *base, void (*fn)(void *), void *arg)
{
	struct aiotask *t = aiotask_spawn(base, fn, arg);
	int r, error;

	if (!t)
		return -1;
	r = wait_for_end(t, AIOIPC_FOREVER, ipc_task_on(base));
	error = errno;
	ipc_task_unhandle(t);
	errno = error;
	return r;
}

void aiotask_free(struct aiotask *t)
{
	int error = errno;

	if (t && ipc_task_check(t) == 0)
		ipc_task_unhandle(t);
	errno = error;
}

int ipc_task_check_running(struct aiotask *t)
{
	if (ipc_task_check(t) == -1)
		return -1;
	return t->sched ? 0 : fail(ESRCH);
}

int aiotask_cancel(struct aiotask *t)
{
	if (ipc_task_check_running(t) == -1)
		return -1;
	if (t->state == IPC_TASK_PARKED || t->state == IPC_TASK_AWAITS)
		ipc_sched_ready(t, ECANCELED);
	else if (t->state != IPC_TASK_READY || t->outcome != ECANCELED)
		t->cancelled = true;
	return 0;
}

int aiotask_wake(struct aiotask *t)
{
	if (ipc_task_check_running(t) == -1)
		return -1;
	if (t->state == IPC_TASK_AWAITS)
		ipc_sched_ready(t, 0);
	else
		t->woken = true;
	return 0;
}

int aiotask_park(int64_t deadline)
{
	struct aiotask *t = ipc_task_self();

	if (!t)
		return fail(EPERM);
	if (ipc_deadline_check(deadline) == -1)
		return -1;
	if (t->woken && !t->cancelled) {
		t->woken = false;
		return 0;
	}
	if (ipc_sched_park(IPC_TASK_AWAITS, deadline) == 0)
		return 0;
	if (errno != ETIMEDOUT || !t->woken) /* woken when its time was up, before it ran */
		return -1;
	t->woken = false;
	return 0;
}

/* A cancel ends it early; the deadline ends it in order. */
static int sleep_in_task(struct aiotask *t, int64_t deadline)
{
	if (deadline == AIOIPC_NOW && !t->cancelled)
		return ipc_sched_yield();
	while (ipc_task_park(deadline) == 0)
		;
	return errno == ETIMEDOUT ? 0 : -1;
}

int aiotask_sleep(int64_t deadline)
{
	struct aiotask *t = ipc_task_self();

	if (ipc_deadline_check(deadline) == -1)
		return -1;
	if (t)
		return sleep_in_task(t, deadline);
	while (ipc_wait(NULL, 0, deadline) == 0)
		;
	return errno == ETIMEDOUT ? 0 : -1;
}
