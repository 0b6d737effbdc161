/*
 * aiotask: a coroutine with a stack of its own on an event base. Inside one, every call of the library that
 * waits parks the task and lets the base run.
 *
 * Tasks of a base are for the thread that runs it, and never leave it. They switch where they wait, and
 * nowhere else. Every call: ECHILD; EBUSY (it is another thread's).
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
 * Makes a task that runs fn(arg), from the next turn of @base's loop on. The caller joins it or gives the handle up:
 * aiotask_join(), aiotask_free(). While tasks have not ended, the loop does not run out of events. Errno: EINVAL. Since 0.1.
 */
AIOIPC_API struct aiotask *aiotask_spawn(struct event_base *base, void (*fn)(void *arg), void *arg);

/*
 * spawn and join: runs the base until fn(arg) has ended; in a task of another base that waits meanwhile. Tasks that it left go on when
 * the base runs again. Errno: as those. Since 0.1.
 */
AIOIPC_API int aiotask_run(struct event_base *base, void (*fn)(void *arg), void *arg);

/*
 * Waits until @t has ended, and frees it; after a failure it is the caller's as before. Outside a task it
 * runs the base meanwhile. Errno: ETIMEDOUT, ECANCELED, EINVAL (deadline), EDEADLK (it would never return: @t
 * waits for the caller, or the base is in a callback, or was freed), EBUSY (another one joins it), EINTR
 * (outside a task: the loop was told to stop, event_base_loopbreak()). Since 0.1.
 */
AIOIPC_API int aiotask_join(struct aiotask *t, int64_t deadline);

/*
 * Makes the current wait of @t, or else its next one, return -1/ECANCELED: once, and without losing a message. Errno:
 * ESRCH (it has ended). Since 0.1.
 */
AIOIPC_API int aiotask_cancel(struct aiotask *t);

/* Gives the handle up; a task that has not ended goes on. NULL is fine. Since 0.1. */
AIOIPC_API void aiotask_free(struct aiotask *t);

/* The task that calls; NULL outside. Since 0.1. */
AIOIPC_API struct aiotask *aiotask_self(void);

/*
 * Waits until @deadline. AIOIPC_NOW lets all others that are ready run first. Errno: ECANCELED, EINVAL, EINTR (outside a task,
 * where the process sleeps). Since 0.1.
 */
AIOIPC_API int aiotask_sleep(int64_t deadline);

/*
 * Waits for aiotask_wake() of this task. One that came since the last park counts, several as one. Errno:
 * ETIMEDOUT, ECANCELED, EINVAL, EPERM (outside a task). Since 0.1.
 */
AIOIPC_API int aiotask_park(int64_t deadline);

/* Ends the park of @t, or else its next one. No other wait notices. Errno: ESRCH (it has ended). Since 0.1. */
AIOIPC_API int aiotask_wake(struct aiotask *t);

/*
 * The stack of tasks that are spawned from now on, in bytes: at least 16 KiB, 128 KiB unless set, rounded up to pages. Only
 * touched pages cost memory; a task that overruns it dies of SIGSEGV. Errno: EINVAL. Since 0.1.
 */
AIOIPC_API int aiotask_set_stack_size(size_t size);

#ifdef __cplusplus
}
#endif

#endif
