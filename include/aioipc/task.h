/*
 * aiotask: a coroutine with a stack of its own, on an event base. Inside a task, each call of the library that waits parks
 * the task and lets the base run.
 *
 * The tasks of a base belong to the thread that runs the base, and never leave it. A task is switched only where it waits.
 * Errno of every call: ECHILD; EBUSY (the task belongs to another thread).
 */
#ifndef AIOIPC_TASK_H
#define AIOIPC_TASK_H

#include <stddef.h>
#include <stdint.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aiotask;

/*
 * Makes a task that runs @fn(@arg). It starts in the next turn of @base's loop. The caller joins it or gives up the handle:
 * aiotask_join(), aiotask_free(). While a task has not ended, the loop does not run out of events.
 * Errno: EINVAL. Since 0.1.
 */
AIOIPC_API struct aiotask *aiotask_spawn(struct event_base *base, void (*fn)(void *arg), void *arg);

/*
 * aiotask_spawn() and aiotask_join() in one call: runs the base until @fn(@arg) has ended. In a task of @base itself only
 * that task waits. In a task of another base, the call runs @base, and that other base waits with all its tasks. Tasks that @fn has spawned, and that have not ended, go on when the base runs again.
 * Errno: as aiotask_spawn() and aiotask_join(). Since 0.1.
 */
AIOIPC_API int aiotask_run(struct event_base *base, void (*fn)(void *arg), void *arg);

/*
 * Waits until @t has ended, and frees it. When the call fails, @t stays the caller's. Outside a task it runs the base
 * meanwhile.
 * Errno: ETIMEDOUT, ECANCELED, EINVAL (not a deadline), EDEADLK (it would never return: @t waits for the caller, the base is
 * in a callback, or the base was freed), EBUSY (another caller joins it already), EINTR (outside a task: the loop was told
 * to stop, by event_base_loopbreak()). Since 0.1.
 */
AIOIPC_API int aiotask_join(struct aiotask *t, int64_t deadline);

/*
 * Makes the current wait of @t return -1/ECANCELED, or its next wait when it does not wait now. It works once, and no
 * message is lost. Errno: ESRCH (@t has ended). Since 0.1.
 */
AIOIPC_API int aiotask_cancel(struct aiotask *t);

/* Gives up the handle. A task that has not ended goes on. @t may be NULL. Since 0.1. */
AIOIPC_API void aiotask_free(struct aiotask *t);

/* The task that makes this call; NULL outside a task. Since 0.1. */
AIOIPC_API struct aiotask *aiotask_self(void);

/*
 * Waits until @deadline. AIOIPC_NOW first runs all other tasks that are ready. Outside a task the process sleeps.
 * Errno: ECANCELED, EINVAL, EINTR (outside a task only). Since 0.1.
 */
AIOIPC_API int aiotask_sleep(int64_t deadline);

/*
 * Waits until another task or a callback calls aiotask_wake() for this task. A wake that came since the last park counts;
 * several count as one. Errno: ETIMEDOUT, ECANCELED, EINVAL, EPERM (outside a task). Since 0.1.
 */
AIOIPC_API int aiotask_park(int64_t deadline);

/* Ends the park of @t, or its next park when it is not parked. Other waits are not ended. Errno: ESRCH (it has ended). Since 0.1. */
AIOIPC_API int aiotask_wake(struct aiotask *t);

/*
 * Sets the stack size, in bytes, of tasks that are spawned from now on. At least 16 KiB; 128 KiB unless set. It is rounded up
 * to pages, and only touched pages cost memory. A task that overruns its stack dies of SIGSEGV. Errno: EINVAL. Since 0.1.
 */
AIOIPC_API int aiotask_set_stack_size(size_t size);

#ifdef __cplusplus
}
#endif

#endif
