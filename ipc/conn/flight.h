/*
 * The calls that were made on a connection and have not ended: which call an answer belongs to, and which deadline is next. It reads,
 * writes and waits for nothing. A call that has ended is out of here; one with a callback is kept until that was called.
 */
#ifndef IPC_CONN_FLIGHT_H
#define IPC_CONN_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aioipc/call.h>

#include "ipc/msg/msg.h"
#include "ipc/os/random.h"
#include "ipc/task/task.h"

#define IPC_CALLS_USUAL 16384U
#define IPC_CALLS_MOST ((size_t)1 << 20) /* the place of a call is part of its number */

struct event_base;
struct ipc_watch;

/* What a program holds of a call: who cancels it is the floor that made it. */
struct ipc_call_handle {
	int (*cancel)(struct ipc_call_handle *h); /* as aiocall_cancel() */
};

struct aiocall {
	struct ipc_call_handle handle; /* first */
	struct aioconn *conn;
	uint64_t id;
	int64_t deadline; /* AIOIPC_FOREVER: somebody else looks after it */
	size_t at;        /* in the heap */
	uint64_t end;     /* where its frame ends in the stream */
	bool sending;     /* the send has not returned: who called is still there to be told */
	bool over;        /* it has ended: */
	struct aiomsg *answer;
	int error;
	struct aiocall *next; /* of those that have ended and whose callback is due */
	aiocall_cb *cb;       /* NULL: somebody waits, or it was called */
	void *arg;
	struct ipc_waiters waiters; /* a task */
};

struct ipc_flight_place {
	struct aiocall *call; /* NULL: free */
	uint32_t next_free;
};

struct ipc_flight {
	struct ipc_key key;
	uint64_t serial;
	struct ipc_flight_place *places;
	size_t room, count;
	uint32_t first_free;   /* room: none */
	struct aiocall **heap; /* by deadline, the next one first; as many places */
	size_t timed;
	struct aiocall *due, **last_due; /* have ended, and are to be called back */
	struct ipc_watch *timer;         /* on a base, once there was a deadline */
	int64_t timer_at;                /* 0: not set */
};

/* NULL with ENOMEM. */
struct ipc_flight *ipc_flight_new(void);
void ipc_flight_free(struct ipc_flight *f); /* with all calls; nobody is told */

/* The timer goes; the base may. */
void ipc_flight_stop(struct ipc_flight *f);

/* Makes @call one of those in flight, and numbers it. -1: EAGAIN (there are @most), ENOMEM. */
int ipc_flight_add(struct ipc_flight *f, struct aiocall *call, size_t most);

/* The one with this number, or NULL. */
struct aiocall *ipc_flight_find(const struct ipc_flight *f, uint64_t id);

/* Ends it: with @answer, whose reference is taken over, or an @error. Who waits is woken; a callback is due. */
void ipc_flight_end(struct ipc_flight *f, struct aiocall *call, struct aiomsg *answer, int error);
void ipc_flight_end_all(struct ipc_flight *f, int error);

/* The output is lost, of which @left bytes had left: ends those that had not. */
void ipc_flight_end_unsent(struct ipc_flight *f, uint64_t left, int error);

/* Its send has returned, well: a callback may be due. */
void ipc_flight_sent(struct ipc_flight *f, struct aiocall *call);

/* The next one whose callback is due. It is out of here then. */
struct aiocall *ipc_flight_take_due(struct ipc_flight *f);

/* Of those with a deadline the next, or NULL. */
static inline struct aiocall *ipc_flight_next_deadline(const struct ipc_flight *f)
{
	return f && f->timed ? f->heap[0] : NULL;
}

static inline bool ipc_flight_has_due(const struct ipc_flight *f)
{
	return f && f->due;
}

/* What the call ended with, and its memory. */
void ipc_call_free(struct aiocall *call);

#endif
