/* What a queue holds, and its lock. See store.h. */
#include "ipc/flow/store.h"

#include <errno.h>
#include <stdlib.h>

#include <aioipc/msg.h>

#include "ipc/os/sleep.h"
#include "ipc/own/own.h"

#define SMALLEST 16 /* places in a ring */
#define LOCK_SPINS 200

/* The lock is held for less time than the kernel needs to put a thread to sleep and wake it. */
void ipc_queue_lock(struct aioqueue *q)
{
	for (int i = 0; i < LOCK_SPINS; i++) {
		if (pthread_mutex_trylock(&q->lock) == 0)
			return;
		ipc_os_relax();
	}
	pthread_mutex_lock(&q->lock);
}

void ipc_queue_unlock(struct aioqueue *q)
{
	pthread_mutex_unlock(&q->lock);
}

int ipc_queue_check(const struct aioqueue *q)
{
	if (q->epoch == ipc_epoch())
		return 0;
	errno = ECHILD;
	return -1;
}

bool ipc_queue_has_items(const struct aioqueue *q)
{
	return ipc_store_count(q) > 0;
}

bool ipc_queue_has_room(const struct aioqueue *q, size_t charge)
{
	return ipc_store_has_room(q, charge);
}

bool ipc_queue_is_half_empty(const struct aioqueue *q)
{
	return ipc_store_count(q) == 0 || ((!q->most || ipc_store_count(q) <= q->most / 2) &&
					   (!q->most_bytes || q->bytes <= q->most_bytes / 2));
}

int ipc_store_grow(struct aioqueue *q)
{
	uint32_t places = q->places ? 2 * q->places : SMALLEST;
	struct aiomsg **ring = places ? reallocarray(NULL, places, sizeof *ring) : NULL;

	if (!ring)
		return -1;
	for (size_t i = 0; i < ipc_store_count(q); i++)
		ring[i] = q->ring[(q->head + i) & (q->places - 1)];
	free(q->ring);
	q->ring = ring;
	q->places = places;
	q->head = 0;
	return 0;
}

void ipc_store_push_first(struct aioqueue *q, struct aiomsg *m)
{
	q->head = (q->head - 1) & (q->places - 1);
	q->ring[q->head] = aiomsg_ref(m);
	q->bytes += ipc_store_charge(m);
	ipc_store_set_count(q, ipc_store_count(q) + 1);
}

void ipc_store_drop_all(struct aioqueue *q)
{
	while (ipc_store_count(q) > 0)
		aiomsg_free(ipc_store_pop(q));
}

void ipc_queue_unlock_or_destroy(struct aioqueue *q)
{
	bool over = q->refs == 0 && q->parked == 0 && !q->watches;

	ipc_queue_unlock(q);
	if (!over)
		return;
	pthread_mutex_destroy(&q->lock);
	free(q->ring);
	free(q);
}
