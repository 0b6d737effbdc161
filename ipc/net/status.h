/*
 * What any thread may know of something that is kept up (a link): its state, the last error, and how many connections came and
 * went. Threads and tasks wait here for a change. It also counts the references, and knows which thread runs the loop. It knows no connections
 * and no timers: course.c changes the state.
 */
#ifndef IPC_NET_STATUS_H
#define IPC_NET_STATUS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <aioipc/link.h>

#include "ipc/flow/waitlist.h"

struct ipc_status {
	uint32_t epoch;
	atomic_uint holds;
	void (*free)(
		struct ipc_status *s); /* the last reference is gone: frees its owner, and this with it */

	struct event_base *base;  /* NULL: it was not started */
	bool own_loop;            /* the base has a thread of its own */
	_Atomic(uint64_t) thread; /* the serial of the thread that runs the loop; 0: not yet known */

	pthread_mutex_t lock; /* guards all below */
	bool started;
	enum aiolink_state state;
	int error;
	char why[128];
	bool up;             /* there is a connection, and its peer has not said goodbye */
	uint64_t ups, downs; /* how many connections began, and how many of them were over */
	bool none_follows;   /* the last connection is over */
	struct ipc_waitlist waiters;
};

enum ipc_status_event { IPC_STATUS_UP, IPC_STATUS_DOWN, IPC_STATUS_END };

/* The caller has the first reference. */
void ipc_status_init(struct ipc_status *s, void (*free)(struct ipc_status *s));

/* 0, or -1/ECHILD: it was made before a fork, in the parent. */
int ipc_status_check(const struct ipc_status *s);

void ipc_status_hold(struct ipc_status *s);
void ipc_status_release(struct ipc_status *s);

/* Keeps the last error. @why may be NULL or empty: the text of @error, then. */
void ipc_status_note(struct ipc_status *s, int error, const char *why);

/* A new state; @up: there is a connection now; @last: no other one follows it. Wakes all waiters. */
void ipc_status_enter(struct ipc_status *s, enum aiolink_state state, bool up, bool last);

/* Does the calling thread run its loop? */
bool ipc_status_is_here(const struct ipc_status *s);

/*
 * Waits for the next connection, for the end of this one (or of the next, if there is none now), or for the end. 0; or -1: ETIMEDOUT,
 * EINTR, ECANCELED, ECHILD, EDEADLK (only the caller could run the loop, and it can't), EPIPE (no connection comes any more).
 */
int ipc_status_wait(struct ipc_status *s, enum ipc_status_event what, int64_t deadline);

#endif
