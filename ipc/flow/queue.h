/* The inside of a queue, for the files of ipc/flow. */
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

/* What every message changes has a line of the cache for itself. */
struct aioqueue {
	uint32_t epoch;
	unsigned refs;           /* 0: what is left of it belongs to its watches, and to who waits */
	size_t parked;           /* calls that wait: what they need of it stays until they are through */
	size_t most, most_bytes; /* 0: no limit */
	atomic_bool closed;      /* may be looked at without the lock */
	bool discarded;
	struct aiomsg **ring; /* NULL before the first message */
	uint32_t places;      /* in it; a power of two */
	size_t lent;          /* messages that may come back: places are kept for them */
	struct ipc_waitlist getters, putters;
	struct ipc_flow_watch *watches; /* who was served last is the last */
	struct {
		atomic_uint n; /* may be looked at without the lock */
		bool used;
	} sharers[2]; /* enum ipc_side */

	_Alignas(IPC_CACHE_LINE) pthread_mutex_t lock; /* of all but what never changes */
	atomic_size_t count;                           /* may be looked at without it */
	size_t bytes;
	uint32_t head;
	struct ipc_spin get_spin, put_spin;
};

/* 0, or -1/ECHILD: another process's. */
int ipc_queue_check(const struct aioqueue *q);

void ipc_queue_lock(struct aioqueue *q);
void ipc_queue_unlock(struct aioqueue *q);

/* As aioqueue_put_all() with AIOIPC_NOW, but the references of those that were put are the queue's from then on. */
ssize_t ipc_queue_hand_over(struct aioqueue *q, struct aiomsg *const *m, size_t n);

/*
 * Taking messages that may have to be given back. lend: takes what is there without waiting, as aioqueue_get_all() with
 * AIOIPC_NOW. For each of them one of the two follows. unget: back to the front, the first first, also when the queue is full or closed; it
 * borrows them, and can't fail, as their places were kept; what was discarded stays so. gone: @n are not coming back.
 */
ssize_t ipc_queue_lend(struct aioqueue *q, struct aiomsg **m, size_t n);
void ipc_queue_unget(struct aioqueue *q, struct aiomsg *const *m, size_t n);
void ipc_queue_gone(struct aioqueue *q, size_t n);

/* Gives a reference back. */
void ipc_queue_unref_and_unlock(struct aioqueue *q);

/* When nobody has a reference and nobody watches, it goes. */
void ipc_queue_unlock_or_destroy(struct aioqueue *q);

bool ipc_queue_has_items(const struct aioqueue *q);
bool ipc_queue_has_room(const struct aioqueue *q, size_t charge);
bool ipc_queue_is_half_empty(const struct aioqueue *q);
bool ipc_queue_is_closed(const struct aioqueue *q);

#endif
