/* A list of waiters: they join, sleep, give up and are woken. See waitlist.h. */
#include "ipc/flow/waitlist.h"

#include <errno.h>
#include <stddef.h>

#include <aioipc/base.h>

#include "ipc/loop/wait.h"
#include "ipc/os/sleep.h"
#include "ipc/task/task.h"

enum state { AWAKE, ASLEEP, WOKEN };

int ipc_wait_entry_init(struct ipc_wait_entry *p)
{
	p->task = aiotask_self();
	p->thread = pthread_self();
	return p->task ? ipc_task_share() : 0;
}

void ipc_waitlist_join(struct ipc_waitlist *l, struct ipc_wait_entry *p)
{
	p->next = NULL;
	p->prev = l->last;
	if (l->last)
		l->last->next = p;
	else
		l->first = p;
	l->last = p;
	p->list = l;
	p->in_list = true;
}

void ipc_waitlist_leave(struct ipc_waitlist *l, struct ipc_wait_entry *p)
{
	if (p->prev)
		p->prev->next = p->next;
	else
		l->first = p->next;
	if (p->next)
		p->next->prev = p->prev;
	else
		l->last = p->prev;
	p->in_list = false;
}

/* After the store of WOKEN, the entry and its task belong to the waiter again. */
static void wake_task(struct ipc_wait_entry *p)
{
	if (pthread_equal(p->thread, pthread_self()))
		ipc_task_wake(p->task);
	else
		ipc_task_wake_shared(p->task);
	atomic_store_explicit(&p->state, WOKEN, memory_order_release);
}

void ipc_waitlist_wake_first(struct ipc_waitlist *l, struct ipc_waitlist *woken)
{
	ipc_waitlist_wake(l, l->first, woken);
}

void ipc_waitlist_wake(struct ipc_waitlist *l, struct ipc_wait_entry *p, struct ipc_waitlist *woken)
{
	ipc_waitlist_leave(l, p);
	if (p->task) {
		wake_task(p);
	} else {
		ipc_waitlist_join(woken, p);
		p->in_list = false;
	}
}

struct aiotask *ipc_waitlist_dead(const struct ipc_waitlist *l)
{
	const struct ipc_wait_entry *p = l->first;

	if (!p || !p->task || !pthread_equal(p->thread, pthread_self()))
		return NULL;
	return ipc_task_is_dead(p->task) ? p->task : NULL;
}

void ipc_waitlist_wake_all(struct ipc_waitlist *l, struct ipc_waitlist *woken)
{
	while (l->first)
		ipc_waitlist_wake_first(l, woken);
}

void ipc_waitlist_wake_threads(struct ipc_waitlist *woken)
{
	struct ipc_wait_entry *p = woken->first, *next;

	for (; p; p = next) {
		next = p->next;
		if (atomic_exchange(&p->state, WOKEN) == ASLEEP)
			ipc_os_wake(&p->state);
	}
}

static bool is_woken(const struct ipc_wait_entry *p)
{
	return atomic_load_explicit(&p->state, memory_order_acquire) == WOKEN;
}

static int sleep_at(struct ipc_wait_entry *p, int64_t deadline)
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

/* A task that waits can end only this way. A waker holds the lock, so this waits for it. */
static void leave_for_good(struct ipc_task_end *end, bool died)
{
	struct ipc_wait_entry *p = (struct ipc_wait_entry *)end;

	(void)died;
	pthread_mutex_lock(p->lock);
	if (p->in_list)
		ipc_waitlist_leave(p->list, p);
	pthread_mutex_unlock(p->lock);
	if (p->died)
		p->died(p);
}

/* A task may run before its waker has stored WOKEN. The waker holds the lock until then, so the task waits for the lock. */
static int park_at(struct ipc_wait_entry *p, pthread_mutex_t *lock, int64_t deadline)
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

int ipc_wait_entry_wait(struct ipc_wait_entry *p, pthread_mutex_t *lock, int64_t deadline)
{
	return p->task ? park_at(p, lock, deadline) : sleep_at(p, deadline);
}

/* It gave up while somebody woke it. If it was cancelled too, the next wait of the task reports the cancel. */
static void await_waker(struct ipc_wait_entry *p, pthread_mutex_t *lock, int error)
{
	pthread_mutex_unlock(lock);
	while (ipc_wait_entry_wait(p, lock, AIOIPC_FOREVER) == -1)
		error = errno == ECANCELED ? ECANCELED : error;
	if (error == ECANCELED)
		aiotask_cancel(p->task);
	pthread_mutex_lock(lock);
}

int ipc_waitlist_wait(struct ipc_waitlist *l, struct ipc_wait_entry *p, pthread_mutex_t *lock,
		      int64_t deadline)
{
	int error = 0;

	*p = (struct ipc_wait_entry){.died = p->died};
	if (deadline == AIOIPC_NOW)
		errno = ETIMEDOUT;
	if (deadline == AIOIPC_NOW || ipc_wait_entry_init(p) == -1)
		return -1;
	ipc_waitlist_join(l, p);
	pthread_mutex_unlock(lock);
	if (ipc_wait_entry_wait(p, lock, deadline) == -1)
		error = errno;
	pthread_mutex_lock(lock);
	if (error && !p->in_list) {
		await_waker(p, lock, error);
		error = 0;
	}
	if (!error)
		return 0;
	ipc_waitlist_leave(l, p);
	errno = error;
	return -1;
}
