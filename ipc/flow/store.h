/*
 * What a queue holds: a ring of messages with its limits, and the locks that guard it. No call waits here: queue.c makes calls
 * wait for messages and for room.
 */
#ifndef IPC_FLOW_STORE_H
#define IPC_FLOW_STORE_H

#include "ipc/flow/queue.h"
#include "ipc/msg/msg.h"

#define IPC_STORE_OVERHEAD 64 /* bytes that each message counts beside its own */

/* The caller holds the lock, here and below. */
static inline size_t ipc_store_count(const struct aioqueue *q)
{
	return (size_t)(q->put.at - q->get.at);
}

static inline size_t ipc_store_bytes(const struct aioqueue *q)
{
	return q->put.bytes - q->get.bytes;
}

static inline struct aiomsg **ipc_store_place(const struct aioqueue *q, uint64_t at)
{
	return &q->ring[at & (q->places - 1)];
}

/* How many bytes the message counts. */
static inline size_t ipc_store_charge(const struct aiomsg *m)
{
	return m->len + IPC_STORE_OVERHEAD;
}

/* Does a queue that holds @count messages of @bytes take one more that counts @charge bytes? An empty queue takes any. */
static inline bool ipc_store_takes(const struct aioqueue *q, size_t count, size_t bytes, size_t charge)
{
	if (count == 0)
		return true;
	if (q->most && count >= q->most)
		return false;
	return !q->most_bytes || (bytes < q->most_bytes && charge <= q->most_bytes - bytes);
}

static inline bool ipc_store_has_room(const struct aioqueue *q, size_t charge)
{
	return ipc_store_takes(q, ipc_store_count(q), ipc_store_bytes(q), charge);
}

/* Makes the ring larger. -1/ENOMEM */
int ipc_store_grow(struct aioqueue *q);

/* Puts at the back. The reference is the store's. -1/ENOMEM */
static inline int ipc_store_push(struct aioqueue *q, struct aiomsg *m)
{
	if (ipc_store_count(q) + q->lent == q->places && ipc_store_grow(q) == -1)
		return -1;
	*ipc_store_place(q, q->put.at++) = m;
	q->put.bytes += ipc_store_charge(m);
	return 0;
}

/* Takes the first message. There is one. */
static inline struct aiomsg *ipc_store_pop(struct aioqueue *q)
{
	struct aiomsg *m = *ipc_store_place(q, q->get.at++);

	q->get.bytes += ipc_store_charge(m);
	return m;
}

/* Puts at the front, into a place that was kept for it. Borrows the message. */
void ipc_store_push_first(struct aioqueue *q, struct aiomsg *m);

void ipc_store_drop_all(struct aioqueue *q);

/* Settled while the caller holds the lock of an end. */
static inline bool ipc_store_is_plain(const struct aioqueue *q)
{
	return atomic_load_explicit(&q->plain, memory_order_relaxed);
}

/*
 * For a caller without the lock: they put, or get, by the lock of that end, as many of @n messages as can be while the queue is plain.
 * *@seen is where the other end stood. Returns how many.
 */
size_t ipc_store_put_plain(struct aioqueue *q, struct aiomsg *const *m, size_t n, bool ref, uint64_t *seen);
size_t ipc_store_get_plain(struct aioqueue *q, struct aiomsg **m, size_t n, uint64_t *seen);

#endif
