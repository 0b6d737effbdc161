/*
 * The inside of a task, and of the scheduler that each base with tasks has. For the files of this folder; each calls only those above it
 * in this list:
 *
 *   switch.c   from one stack to another
 *   stack.c    where stacks come from
 *   sched.c    which task runs next; parking, waking, deadlines; beginning and end of a task
 *   share.c    waking from other threads
 *   poll.c     waiting for descriptors
 *   task.c     the public calls
 *
 * A scheduler lives as long as its base has tasks that have not ended. Everything runs in the base's thread, but for share.c.
 */
#ifndef IPC_TASK_SCHED_H
#define IPC_TASK_SCHED_H

#include <pthread.h>
#include <stdatomic.h>

#include "ipc/own/own.h"
#include "ipc/loop/here.h"
#include "ipc/loop/watch.h"
#include "ipc/task/switch.h"
#include "ipc/task/task.h"

enum ipc_task_state {
	IPC_TASK_READY, /* in the scheduler's queue */
	IPC_TASK_RUNS,
	IPC_TASK_PARKED, /* by ipc_task_park() */
	IPC_TASK_AWAITS, /* by aiotask_park() */
	IPC_TASK_ENDED,
	IPC_TASK_DEAD, /* its base was freed under it */
};

struct aiotask {
	struct ipc_context context;
	struct ipc_sched *sched; /* NULL when it has ended or is dead */
	struct ipc_stack *stack;
	void (*fn)(void *);
	void *arg;
	uint32_t epoch;
	enum ipc_task_state state;
	int outcome; /* of the last park: 0, or an errno */
	bool begun;
	bool woken;           /* aiotask_wake() was called before aiotask_park() */
	bool cancelled;       /* the next park fails with ECANCELED */
	bool handled;         /* somebody has the handle */
	bool joined;          /* somebody waits for its end */
	bool shared;          /* other threads woke it: it is in the door's list; under the door's mutex */
	struct aiotask *next; /* in the queue */
	struct aiotask *next_shared;
	struct aiotask *older, *younger; /* all of the base's */
	struct aiotask *joins;           /* whom it waits for without a deadline */
	struct ipc_waiter *waiter;       /* in ipc_task_wait() */
	struct ipc_waiters joiners;
	struct ipc_task_end ends;
	int64_t deadline; /* of the park */
	struct ipc_watch *timer;
	int64_t timer_at; /* 0 when it is not set */
	bool looked; /* the deadline has passed, and the loop runs one more turn before the task is told */
};

/* Where other threads leave tasks to be woken. share.c makes it, and says what is to be done when tasks and the scheduler end. */
struct ipc_door {
	void (*withdraw)(struct ipc_door *door, struct aiotask *t); /* @t ends: nobody wakes it any more */
	void (*close)(struct ipc_door *door, bool base_freed);      /* the scheduler ends */
};

struct ipc_sched {
	struct ipc_sched *next; /* under the registry's mutex */
	struct ipc_waits waits; /* its base and epoch, and how its tasks wait for descriptors */
	_Atomic(uint64_t) thread;
	/* Its timer is always set: one that is not set shows that the base was freed. */
	struct ipc_watch *turn;
	struct ipc_context loop;
	struct aiotask *first, **last; /* the queue */
	struct aiotask *corpse;        /* has ended; its stack was in use until the next switch */
	struct aiotask *youngest;
	unsigned budget;        /* how many may still run in this turn */
	bool turning;           /* inside a turn */
	void (*errand)(void *); /* of ipc_task_leave() */
	void *errand_arg;
	struct ipc_door *door; /* NULL until a task calls ipc_task_share() */
};

/* The task that runs in this thread. In a forked child: the task that forked. */
extern _Thread_local struct aiotask *ipc_task_current;

static inline struct aiotask *ipc_task_self(void)
{
	struct aiotask *t = ipc_task_current;

	return t && t->epoch == ipc_epoch() ? t : NULL;
}

/* As ipc_wait(), for the running task. */
typedef int ipc_task_poll_fn(struct pollfd *fds, nfds_t n, int64_t deadline);

/*
 * The scheduler of @base. Makes one when there is none, and its tasks wait for descriptors by @poll. NULL: as ipc_watch_new(), or EBUSY:
 * another thread runs @base.
 */
struct ipc_sched *ipc_sched_of(struct event_base *base, ipc_task_poll_fn *poll);

/* May this thread use @t? 0, or -1: ECHILD, EBUSY (it is another thread's). When its base was freed, @t is dead afterwards. */
int ipc_task_check(struct aiotask *t);

void ipc_sched_start(struct ipc_sched *s, struct aiotask *t);
void ipc_sched_ready(struct aiotask *t, int outcome);
int ipc_sched_park(enum ipc_task_state how, int64_t deadline);
int ipc_sched_yield(void);                 /* -1/ECANCELED */
void ipc_task_unhandle(struct aiotask *t); /* frees it, or lets it run on without a handle */

/* poll.c. As ipc_wait(), for the running task; nobody waits for more than six. -1: ETIMEDOUT, ECANCELED, or as event_add(). */
ipc_task_poll_fn ipc_task_poll;

#endif
