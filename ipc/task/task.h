/*
 * How calls of the library wait in a task: they park the running task until somebody wakes it. Such a call asks ipc_task_on() whether it is in
 * a task, looks whether it must wait, and parks. Nothing else of the base runs between the look and the park. This is separate from
 * aiotask_park(): the wakes of one do not end the other.
 */
#ifndef IPC_TASK_TASK_H
#define IPC_TASK_TASK_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include <aioipc/task.h>

/* Is @t a task of this thread that has not ended? 0, or -1: ECHILD, EBUSY (it is another thread's), ESRCH (it has ended). */
int ipc_task_check_running(struct aiotask *t);

/* Is this inside a task of @base? NULL: inside any task? */
bool ipc_task_on(struct event_base *base);

/*
 * Parks the running task. 0: it was woken, maybe for nothing, so look again. -1: ETIMEDOUT, ECANCELED; also at once, when @deadline has passed or
 * the task was cancelled before. The result is what came first. A task that was woken and then cancelled gets 0, and its next wait is
 * cancelled. A task that timed out or was cancelled and then woken gets -1: look whether something was handed over meanwhile.
 */
int ipc_task_park(int64_t deadline);

/* Ends the ipc_task_park() of @t, if it is in one. It runs later, in the order of wakes. Only in the thread of its base. */
void ipc_task_wake(struct aiotask *t);

/*
 * The same from any thread. @t must not end meanwhile: it is in a list, and must take a lock to leave it, which the caller holds. A wake between
 * look and park is not lost. @t has called ipc_task_share() before, which makes the loop's wake-up descriptor; -1: EMFILE, ENFILE, ENOMEM.
 */
int ipc_task_share(void);
void ipc_task_wake_shared(struct aiotask *t);

/* Tasks of one thread that wait for the same thing, in the order in which they came. Empty: both itself. */
struct ipc_waiters {
	struct ipc_waiters *next, *prev;
};

struct ipc_waiter {
	struct ipc_waiters link; /* first */
	struct aiotask *task;
};

static inline void ipc_waiters_init(struct ipc_waiters *list)
{
	list->next = list->prev = list;
}

/* As ipc_task_park(), at the end of @list. The list must live until it returns. */
int ipc_task_wait(struct ipc_waiters *list, int64_t deadline);

/* Wakes all, and empties the list. */
void ipc_task_wake_all(struct ipc_waiters *list);

/*
 * A callback at the end of a task, on its stack; unlinked before the call. It may wake others, and may not wait. @died: the task's base was freed,
 * so the task never runs again, and its stack is gone after the call. That is called when somebody notices it.
 */
struct ipc_task_end {
	struct ipc_task_end *next, *prev;
	void (*cb)(struct ipc_task_end *e, bool died);
};
void ipc_task_on_end(struct aiotask *t, struct ipc_task_end *e);
void ipc_task_not_on_end(struct ipc_task_end *e); /* also after the call */

/* Was the base of @t, a task of this thread, freed? Then notice() makes all its tasks die, and @t may be gone afterwards. */
bool ipc_task_is_dead(const struct aiotask *t);
void ipc_task_notice(struct aiotask *t);

/* In a forked child: leaves the task and calls fn(arg) on the thread's own stack; @fn does not return. */
void ipc_task_leave(void (*fn)(void *), void *arg) __attribute__((noreturn));

#endif
