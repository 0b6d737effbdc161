/* Standing in line, waiting, being woken: see line.h. */
#include "ipc/flow/line.h"

#include <errno.h>
#include <stddef.h>

#include <aioipc/base.h>

#include "ipc/loop/wait.h"
#include "ipc/os/sleep.h"
#include "ipc/task/task.h"

enum state { AWAKE, ASLEEP, WOKEN };

int ipc_place_init(struct ipc_place *p)
{
	p->task = aiotask_self();
	p->thread = pthread_self();
	return p->task ? ipc_task_share() : 0;
}

void ipc_line_join(struct ipc_line *l, struct ipc_place *p)
{
	p->next = NULL;
	p->prev = l->last;
	if (l->last)
		l->last->next = p;
	else
		l->first = p;
	l->last = p;
	p->line = l;
	p->in_line = true;
}

void ipc_line_leave(struct ipc_line *l, struct ipc_place *p)
{
	if (p->prev)
		p->prev->next = p->next;
	else
		l->first = p->next;
	if (p->next)
		p->next->prev = p->prev;
	else
		l->last = p->prev;
	p->in_line = false;
}

/* Once its state says so, nobody else touches the place or its task. */
static void wake_task(struct ipc_place *p)
{
	if (pthread_equal(p->thread, pthread_self()))
		ipc_task_wake(p->task);
	else
		ipc_task_wake_shared(p->task);
	atomic_store_explicit(&p->state, WOKEN, memory_order_release);
}

void ipc_line_call_first(struct ipc_line *l, struct ipc_line *woken)
{
	ipc_line_call(l, l->first, woken);
}

void ipc_line_call(struct ipc_line *l, struct ipc_place *p, struct ipc_line *woken)
{
	ipc_line_leave(l, p);
	if (p->task) {
		wake_task(p);
	} else {
		ipc_line_join(woken, p);
		p->in_line = false;
	}
}

struct aiotask *ipc_line_dead(const struct ipc_line *l)
{
	const struct ipc_place *p = l->first;

	if (!p || !p->task || !pthread_equal(p->thread, pthread_self()))
		return NULL;
	return ipc_task_is_dead(p->task) ? p->task : NULL;
}

void ipc_line_call_all(struct ipc_line *l, struct ipc_line *woken)
{
	while (l->first)
		ipc_line_call_first(l, woken);
}

void ipc_line_wake(struct ipc_line *woken)
{
	struct ipc_place *p = woken->first, *next;

	for (; p; p = next) {
		next = p->next;
		if (atomic_exchange(&p->state, WOKEN) == ASLEEP)
			ipc_os_wake(&p->state);
	}
}

static bool is_woken(const struct ipc_place *p)
{
	return atomic_load_explicit(&p->state, memory_order_acquire) == WOKEN;
}

static int sleep_at(struct ipc_place *p, int64_t deadline)
{
	unsigned state = AWAKE;

	atomic_compare_exchange_strong(&p->state, &state, ASLEEP);
	while (!is_woken(p)) {
		int64_t left = ipc_deadline_left(deadline);

		if (left == 0)
			errno = ETIMEDOUT;
		if (left == 0 || ipc_os_sleep(&p->state, ASLEEP, left) == -1)
			return -1;
	}
	return 0;
}

/* A task ends in no other way where it waits. Whoever is just waking it holds the lock. */
static void leave_for_good(struct ipc_task_end *end, bool died)
{
	struct ipc_place *p = (struct ipc_place *)end;

	(void)died;
	pthread_mutex_lock(p->lock);
	if (p->in_line)
		ipc_line_leave(p->line, p);
	pthread_mutex_unlock(p->lock);
	if (p->died)
		p->died(p);
}

/* A task that runs before its waker is through waits for that one's lock. */
static int park_at(struct ipc_place *p, pthread_mutex_t *lock, int64_t deadline)
{
	int r = 0;

	p->end.cb = leave_for_good;
	p->lock = lock;
	ipc_task_on_end(p->task, &p->end);
	while (r == 0 && !is_woken(p)) {
		r = ipc_task_park(deadline);
		if (r == -1 || is_woken(p))
			break;
		pthread_mutex_lock(lock);
		pthread_mutex_unlock(lock);
	}
	ipc_task_not_on_end(&p->end);
	return r;
}

int ipc_place_wait(struct ipc_place *p, pthread_mutex_t *lock, int64_t deadline)
{
	return p->task ? park_at(p, lock, deadline) : sleep_at(p, deadline);
}

/* It was called out of the line while it gave up. A cancel that came with that is told by the task's next wait. */
static void await_waker(struct ipc_place *p, pthread_mutex_t *lock, int error)
{
	pthread_mutex_unlock(lock);
	while (ipc_place_wait(p, lock, AIOIPC_FOREVER) == -1)
		error = errno == ECANCELED ? ECANCELED : error;
	if (error == ECANCELED)
		aiotask_cancel(p->task);
	pthread_mutex_lock(lock);
}

int ipc_line_wait(struct ipc_line *l, struct ipc_place *p, pthread_mutex_t *lock, int64_t deadline)
{
	int error = 0;

	*p = (struct ipc_place){.died = p->died};
	if (deadline == AIOIPC_NOW)
		errno = ETIMEDOUT;
	if (deadline == AIOIPC_NOW || ipc_place_init(p) == -1)
		return -1;
	ipc_line_join(l, p);
	pthread_mutex_unlock(lock);
	if (ipc_place_wait(p, lock, deadline) == -1)
		error = errno;
	pthread_mutex_lock(lock);
	if (error && !p->in_line) {
		await_waker(p, lock, error);
		error = 0;
	}
	if (!error)
		return 0;
	ipc_line_leave(l, p);
	errno = error;
	return -1;
}
