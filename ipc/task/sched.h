/*
 * The inside of a task, and of the scheduler that each base with tasks has: for the files of this folder.
 *
 *   switch.c   from one stack to another
 *   stack.c    where stacks come from
 *   sched.c    who runs next; parking, waking, deadlines; beginning and end of a task
 *   share.c    waking from other threads
 *   poll.c     waiting for descriptors
 *   task.c     the public calls
 *
 * A scheduler lives as long as its base has tasks that have not ended. All is done in the base's thread, but share.c.
 */
#ifndef IPC_TASK_SCHED_H
#define IPC_TASK_SCHED_H

#include <pthread.h>
#include <stdatomic.h>

#include "ipc/own/own.h"
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
	bool woken;           /* aiotask_wake() came early */
	bool cancelled;       /* the next park tells */
	bool handled;         /* somebody has the handle */
	bool joined;          /* somebody waits for the end */
	bool shared;          /* in the scheduler's list of those that other threads woke; under its mutex */
	struct aiotask *next; /* in the queue */
	struct aiotask *next_shared;
	struct aiotask *older, *younger; /* all of the base's */
	struct aiotask *joins;           /* whom it waits for without a deadline */
	struct ipc_waiter *waiter;       /* in ipc_task_wait() */
	struct ipc_waiter joiners;
	struct ipc_task_end ends;
	int64_t deadline; /* of the park */
	struct ipc_watch *timer;
	int64_t timer_at; /* 0 when it is not set */
	bool looked;      /* the deadline has passed, and the loop goes round once more before that is told */
};

struct ipc_sched {
	struct ipc_sched *next; /* under the registry's mutex */
	struct event_base *base;
	uint32_t epoch;
	_Atomic(uint64_t) thread;
	struct ipc_watch *turn; /* its timer is always set: so it shows when the base is freed */
	struct ipc_context loop;
	struct aiotask *first, **last; /* the queue */
	struct aiotask *corpse;        /* ended, but its stack was still in use when it did */
	struct aiotask *youngest;
	unsigned budget;        /* how many may still run in this turn */
	bool turning;           /* inside a turn */
	void (*errand)(void *); /* of ipc_task_leave() */
	void *errand_arg;
	struct ipc_door *door; /* where other threads knock; NULL */
};

/* The task that runs in this thread, or that forked this process. */
extern _Thread_local struct aiotask *ipc_task_current;

static inline struct aiotask *ipc_task_self(void)
{
	struct aiotask *t = ipc_task_current;

	return t && t->epoch == ipc_epoch() ? t : NULL;
}

/* Makes the scheduler if the base has none. NULL: as ipc_watch_new(), EBUSY. */
struct ipc_sched *ipc_sched_of(struct event_base *base);
void ipc_sched_release(struct ipc_sched *s); /* when no task is left */

/* 0, or -1: ECHILD, EBUSY (not this thread's). A base that was freed leaves @t dead. */
int ipc_task_check(struct aiotask *t);

void ipc_sched_start(struct ipc_sched *s, struct aiotask *t);
void ipc_sched_ready(struct aiotask *t, int outcome);
int ipc_sched_park(enum ipc_task_state how, int64_t deadline);
int ipc_sched_yield(void);                 /* -1/ECANCELED */
void ipc_task_unhandle(struct aiotask *t); /* frees it, or lets it go on without a handle */

/* share.c */
void ipc_share_withdraw(struct aiotask *t); /* nobody's wake will come any more */
void ipc_share_close(struct ipc_sched *s, bool base_freed);

#endif
