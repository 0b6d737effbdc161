/*
 * A line of those who wait, each at its place, which lies on the stack of its call. A lock guards the line; whoever calls a place
 * out of it has decided what its call gets. Tasks are woken at once, threads once the lock is free. The place is then its
 * call's again, and may be gone. What is waited for is none of this file's business.
 */
#ifndef IPC_FLOW_LINE_H
#define IPC_FLOW_LINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/task/task.h"

/*
 * A task whose base is freed while it is parked here never runs again: when that is noticed, its place leaves the line, and
 * @died is told, without the lock and for the last time.
 */
struct ipc_place {
	struct ipc_task_end end; /* of the task; first */
	struct ipc_place *next, *prev;
	struct ipc_line *line;
	pthread_mutex_t *lock;
	struct aiotask *task; /* that is parked; NULL: a thread that sleeps, or will soon */
	pthread_t thread;
	bool in_line;
	atomic_uint state;
	void (*died)(struct ipc_place *p); /* NULL: nobody */
};

/* First come, first served. */
struct ipc_line {
	struct ipc_place *first, *last;
};

/* Who calls will wait at @p: a thread or a task. 0, or -1 when the task could not be woken: EMFILE, ENFILE. */
int ipc_place_init(struct ipc_place *p);

void ipc_line_join(struct ipc_line *l, struct ipc_place *p);
void ipc_line_leave(struct ipc_line *l, struct ipc_place *p);

/* Takes the first out of the line and wakes it, if it is a task; else it joins @woken, to be woken by ipc_line_wake(). */
void ipc_line_call_first(struct ipc_line *l, struct ipc_line *woken);

/* The same for any place in it. */
void ipc_line_call(struct ipc_line *l, struct ipc_place *p, struct ipc_line *woken);

/* The task of the first place, if its base was freed; NULL. To be told to ipc_task_notice(), without the lock. */
struct aiotask *ipc_line_dead(const struct ipc_line *l);

/* Wakes all threads of a line that nobody else can reach any more. */
void ipc_line_wake(struct ipc_line *woken);

/* Waits until woken: 0. Else -1, ETIMEDOUT, EINTR or ECANCELED, and it is still in line, or being woken just now. */
int ipc_place_wait(struct ipc_place *p, pthread_mutex_t *lock, int64_t deadline);

/*
 * All of this in one, for who is handed nothing and looks again by itself, as with a condition: holds @lock before
 * and after, not while it waits. Of @p, which is its caller's, only died is to be set.
 * 0: it was called out of the line; -1: ETIMEDOUT, EINTR, ECANCELED, or as ipc_place_init().
 */
int ipc_line_wait(struct ipc_line *l, struct ipc_place *p, pthread_mutex_t *lock, int64_t deadline);

/* ipc_line_call_first() for all who stand in it. */
void ipc_line_call_all(struct ipc_line *l, struct ipc_line *woken);

#endif
