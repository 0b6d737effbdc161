/*
 * A list of waiters, first come, first served. Each waiter is a call that sleeps, and its entry lies on that call's stack.
 * One lock, the owner's, guards the list. Whoever wakes an entry takes it out of the list, and has decided the result of its call
 * before. A task is woken at once. A thread is only collected, and woken when the lock is free. A woken entry belongs to its call again,
 * and may be gone. This file does not know what the waiters wait for.
 */
#ifndef IPC_FLOW_WAITLIST_H
#define IPC_FLOW_WAITLIST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/task/task.h"

/*
 * A task never runs again if its base is freed while it waits here. When that is noticed, its entry leaves the list, and
 * @died is called, once, without the lock.
 */
struct ipc_wait_entry {
	struct ipc_task_end end; /* of the task; first */
	struct ipc_wait_entry *next, *prev;
	struct ipc_waitlist *list;
	pthread_mutex_t *lock;
	struct aiotask *task; /* the one that waits; NULL: a thread */
	pthread_t thread;
	bool in_list;
	atomic_uint state;
	void (*died)(struct ipc_wait_entry *p); /* NULL: nobody */
};

struct ipc_waitlist {
	struct ipc_wait_entry *first, *last;
};

/* The caller, a thread or a task, will wait with @p. 0; or -1, EMFILE or ENFILE: nobody could wake this task. */
int ipc_wait_entry_init(struct ipc_wait_entry *p);

void ipc_waitlist_join(struct ipc_waitlist *l, struct ipc_wait_entry *p);
void ipc_waitlist_leave(struct ipc_waitlist *l, struct ipc_wait_entry *p);

/* Takes the first entry out. A task is woken; a thread joins @woken, for ipc_waitlist_wake_threads(). */
void ipc_waitlist_wake_first(struct ipc_waitlist *l, struct ipc_waitlist *woken);

/* The same for any entry of the list. */
void ipc_waitlist_wake(struct ipc_waitlist *l, struct ipc_wait_entry *p, struct ipc_waitlist *woken);

/* The task of the first entry, if its base was freed, or NULL. The caller unlocks, and gives it to ipc_task_notice(). */
struct aiotask *ipc_waitlist_dead(const struct ipc_waitlist *l);

/* Wakes the threads that were collected. The caller holds no lock. */
void ipc_waitlist_wake_threads(struct ipc_waitlist *woken);

/* Waits until woken: 0. Else -1, ETIMEDOUT, EINTR or ECANCELED: it is still in the list, or somebody is waking it just now. */
int ipc_wait_entry_wait(struct ipc_wait_entry *p, pthread_mutex_t *lock, int64_t deadline);

/*
 * All of this in one call, used like a condition variable: the caller checks again itself whether it may go on. The caller holds @lock
 * before and after; it is free during the wait. The caller owns @p and sets only @died in it.
 * 0: it was woken; -1: ETIMEDOUT, EINTR, ECANCELED, or as ipc_wait_entry_init().
 */
int ipc_waitlist_wait(struct ipc_waitlist *l, struct ipc_wait_entry *p, pthread_mutex_t *lock,
		      int64_t deadline);

/* ipc_waitlist_wake_first() for each entry. */
void ipc_waitlist_wake_all(struct ipc_waitlist *l, struct ipc_waitlist *woken);

#endif
