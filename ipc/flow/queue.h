/*
 * The inside of a queue. Calls go down:
 *
 *   watch.c     watches of event bases: they call back
 *   sharers.c   counts the producers and consumers, and closes for the last one
 *   queue.c     the calls that put and get, and make callers wait
 *   watchers.c  the list of watches, and their bells
 *   store.c     the messages, the limits and the locks
 *
 * The functions below are of store.c and queue.c.
 */
#ifndef IPC_FLOW_QUEUE_H
#define IPC_FLOW_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/flow/sharers.h"
#include "ipc/flow/waitlist.h"
#include "ipc/flow/spin.h"

#define IPC_CACHE_LINE 64

struct aiomsg;
struct ipc_flow_watch;

/*
 * One end of the ring: putters use one, getters the other. Each end has its own lock, so a putter and a getter do not wait for each
 * other. The holder of one lock knows only what the other end has told. Indices count all messages that ever passed. Bytes include the
 * overhead of each message, as the limit does.
 */
struct ipc_queue_end {
	_Alignas(IPC_CACHE_LINE) pthread_mutex_t lock;
	uint64_t at, other; /* this end, and the other one as last seen */
	size_t bytes, other_bytes;

	_Alignas(IPC_CACHE_LINE) _Atomic(uint64_t)
		told; /* what this end tells the other one, without a lock */
	atomic_size_t told_bytes;
};

/*
 * Both locks together are "the lock", which guards all that can change. A call may take only the lock of its end, and move that end, while
 * the queue is plain. A queue is plain while it is open and has no waiter and no watch.
 */
struct aioqueue {
	uint32_t epoch;
	atomic_bool plain;
	unsigned refs;           /* 0: only its watches and the calls that wait still use it */
	size_t most, most_bytes; /* 0: no limit */
	atomic_bool closed;      /* may be read without the lock */
	bool discarded;
	struct aiomsg **ring; /* NULL before the first message */
	uint32_t places;      /* in the ring; a power of two */
	struct ipc_row *row; /* for statistics, or NULL; in a line that calls read, not where waiters write */
	size_t lent;         /* messages that may come back; places are kept for them */
	struct ipc_waitlist getters, putters;
	struct ipc_flow_watch *watches; /* the one served last is at the end */
	struct {
		atomic_uint n; /* may be read without the lock */
		bool used;
	} sharers[2]; /* enum ipc_side */

	/* what keeps the memory: all references together count one, each watch one, each call that waits one */
	_Alignas(IPC_CACHE_LINE) atomic_uint holds;
	struct ipc_spin get_spin, put_spin;
	struct ipc_queue_end put, get;
};

/* 0, or -1/ECHILD: it was made before a fork, in the parent. */
int ipc_queue_check(const struct aioqueue *q);

void ipc_queue_lock(struct aioqueue *q);
void ipc_queue_unlock(struct aioqueue *q);

/* As aioqueue_put_all() with AIOIPC_NOW, but the queue takes over the references of the messages that it took. */
ssize_t ipc_queue_hand_over(struct aioqueue *q, struct aiomsg *const *m, size_t n);

/*
 * Messages that may have to be given back. lend: takes messages, as aioqueue_get_all() with AIOIPC_NOW. For each message the caller then
 * calls unget or gone. unget: it goes back to the front, in order, even if the queue is full or closed. It borrows the messages, and
 * can't fail: their places were kept. If the queue was discarded, they are dropped. gone: @n messages do not come back.
 */
ssize_t ipc_queue_lend(struct aioqueue *q, struct aiomsg **m, size_t n);
void ipc_queue_unget(struct aioqueue *q, struct aiomsg *const *m, size_t n);
void ipc_queue_gone(struct aioqueue *q, size_t n);

/* Gives a reference back. The last one closes the queue and drops all. */
void ipc_queue_unref_and_unlock(struct aioqueue *q);

/* Keeps the memory. Whoever drops the last hold frees it, and does not have the lock. */
void ipc_queue_hold(struct aioqueue *q);
void ipc_queue_drop(struct aioqueue *q);

/* Who uses it, for the statistics. @q may be NULL. */
void ipc_queue_name(const struct aioqueue *q, const char *role, const char *owner);

bool ipc_queue_has_items(const struct aioqueue *q);
bool ipc_queue_has_room(const struct aioqueue *q, size_t charge);
bool ipc_queue_is_half_empty(const struct aioqueue *q);
static inline bool ipc_queue_is_closed(const struct aioqueue *q)
{
	return atomic_load_explicit(&q->closed, memory_order_relaxed);
}

#endif
