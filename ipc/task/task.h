/*
 * What tasks give to who waits inside the library: parking the running task until somebody wakes it. Calls that
 * may wait ask ipc_task_on() which way to wait, look whether they must, and park; nothing of the
 * base runs between look and park. Kept apart from aiotask_park(): neither sees the other's wakes.
 */
#ifndef IPC_TASK_TASK_H
#define IPC_TASK_TASK_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include <aioipc/task.h>

/* Is @t a task of this thread that has not ended? -1: ECHILD, EBUSY (of another thread), ESRCH. */
int ipc_task_check_running(struct aiotask *t);

/* True inside a task of @base; NULL: of any. */
bool ipc_task_on(struct event_base *base);

/*
 * Parks the running task. 0: woken, maybe for nothing, so look again; -1: ETIMEDOUT, ECANCELED (also
 * at once, when @deadline is past or a cancel waits: then it was not parked). What ended the park first is what counts: a task that was
 * woken and then cancelled returns 0, and its next wait is cancelled; one that timed out or
 * was cancelled before it was woken returns -1, so look whether something was handed over meanwhile.
 */
int ipc_task_park(int64_t deadline);

/* Ends an ipc_task_park(); if @t is not in one, nothing. It runs later, in the order of wakes. Only in its base's thread. */
void ipc_task_wake(struct aiotask *t);

/*
 * The same from any thread, and only while @t can't get past the caller: it is still linked into a list that it would have to
 * take a lock for to leave, and the caller holds that lock. Between look and park it is not lost. @t has
 * called ipc_task_share() before, which makes the loop's wake-up descriptor; -1: EMFILE, ENFILE, ENOMEM.
 */
int ipc_task_share(void);
void ipc_task_wake_shared(struct aiotask *t);

/* A list of tasks of one thread that wait for the same thing, first come first. Empty: both itself. */
struct ipc_waiter {
	struct ipc_waiter *next, *prev;
	struct aiotask *task;
};

static inline void ipc_waiters_init(struct ipc_waiter *list)
{
	list->next = list->prev = list;
}

/* As ipc_task_park(), as the last of @list. The list must live until it returns. */
int ipc_task_wait(struct ipc_waiter *list, int64_t deadline);

/* All of them; they leave the list by themselves when they run, a woken one is not woken again. */
void ipc_task_wake_all(struct ipc_waiter *list);

/*
 * Told when a task has ended, on its stack: may wake others, may not wait. Unlinked before the call. Or @died: its base was
 * freed under it, so it will never run again, and what is on its stack will be gone after the call; this is told when somebody
 * notices.
 */
struct ipc_task_end {
	struct ipc_task_end *next, *prev;
	void (*cb)(struct ipc_task_end *e, bool died);
};
void ipc_task_on_end(struct aiotask *t, struct ipc_task_end *e);
void ipc_task_not_on_end(struct ipc_task_end *e); /* also when it was told */

/* Was the base of @t, a task of this thread, freed under it? Then notice() tells, and @t and others may be gone. */
bool ipc_task_is_dead(const struct aiotask *t);
void ipc_task_notice(struct aiotask *t);

/* In a forked child: goes on with fn(arg) on the thread's own stack, outside of any task; @fn does not return. */
void ipc_task_leave(void (*fn)(void *), void *arg) __attribute__((noreturn));

#endif
