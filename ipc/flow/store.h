/*
 * What a queue holds: a ring of messages with its limits, and the lock that guards it. No call waits here: queue.c makes calls
 * wait for messages and for room.
 */
#ifndef IPC_FLOW_STORE_H
#define IPC_FLOW_STORE_H

#include "ipc/flow/queue.h"
#include "ipc/msg/msg.h"

#define IPC_STORE_OVERHEAD 64 /* bytes that each message counts beside its own */

/* Only the holder of the lock changes the count, so this needs no atomic addition. */
static inline size_t ipc_store_count(const struct aioqueue *q)
{
	return atomic_load_explicit(&q->count, memory_order_relaxed);
}

static inline void ipc_store_set_count(struct aioqueue *q, size_t count)
{
	atomic_store_explicit(&q->count, count, memory_order_relaxed);
}

/* How many bytes the message counts. */
static inline size_t ipc_store_charge(const struct aiomsg *m)
{
	return m->len + IPC_STORE_OVERHEAD;
}

/* Is there room for a message that counts @charge bytes? An empty queue takes any. */
static inline bool ipc_store_has_room(const struct aioqueue *q, size_t charge)
{
	size_t count = ipc_store_count(q);

	if (count == 0)
		return true;
	if (q->most && count >= q->most)
		return false;
	return !q->most_bytes || (q->bytes < q->most_bytes && charge <= q->most_bytes - q->bytes);
}

/* Makes the ring larger. -1/ENOMEM */
int ipc_store_grow(struct aioqueue *q);

/* Puts at the back. The reference is the store's. -1/ENOMEM */
static inline int ipc_store_push(struct aioqueue *q, struct aiomsg *m)
{
	size_t count = ipc_store_count(q);

	if (count + q->lent == q->places && ipc_store_grow(q) == -1)
		return -1;
	q->ring[(q->head + count) & (q->places - 1)] = m;
	q->bytes += ipc_store_charge(m);
	ipc_store_set_count(q, count + 1);
	return 0;
}

/* Takes the first message. There is one. */
static inline struct aiomsg *ipc_store_pop(struct aioqueue *q)
{
	struct aiomsg *m = q->ring[q->head];

	q->head = (q->head + 1) & (q->places - 1);
	q->bytes -= ipc_store_charge(m);
	ipc_store_set_count(q, ipc_store_count(q) - 1);
	return m;
}

/* Puts at the front, into a place that was kept for it. Borrows the message. */
void ipc_store_push_first(struct aioqueue *q, struct aiomsg *m);

void ipc_store_drop_all(struct aioqueue *q);

#endif
