/* What a queue holds, and its locks. See store.h. */
#include "ipc/flow/store.h"

#include <errno.h>
#include <stdlib.h>

#include <aioipc/msg.h>

#include "ipc/os/sleep.h"
#include "ipc/own/board.h"
#include "ipc/own/own.h"

#define SMALLEST 16 /* places in a ring */
#define LOCK_TRIES 16
#define RELAX_MOST 256 /* times between two tries */

/*
 * A lock is held for less time than the kernel needs to put a thread to sleep and wake it. Each try takes the cache line from the
 * holder, so there is more and more time between them.
 */
static void lock(pthread_mutex_t *m)
{
	for (int i = 0, relax = 1; i < LOCK_TRIES; i++) {
		if (pthread_mutex_trylock(m) == 0)
			return;
		for (int k = 0; k < relax; k++)
			ipc_os_relax();
		relax = relax < RELAX_MOST ? 2 * relax : RELAX_MOST;
	}
	pthread_mutex_lock(m);
}

void ipc_queue_lock(struct aioqueue *q)
{
	lock(&q->put.lock);
	lock(&q->get.lock);
}

static void tell(struct ipc_queue_end *end)
{
	atomic_store_explicit(&end->told_bytes, end->bytes, memory_order_relaxed);
	atomic_store_explicit(&end->told, end->at, memory_order_release);
}

/* The caller has the lock of that end. */
__attribute__((cold)) static void tell_row(const struct aioqueue *q, const struct ipc_queue_end *end)
{
	bool puts = end == &q->put;

	ipc_row_set(q->row, puts ? IPC_QUEUE_ROW_PUT : IPC_QUEUE_ROW_GOT, end->at);
	ipc_row_set(q->row, puts ? IPC_QUEUE_ROW_BYTES_PUT : IPC_QUEUE_ROW_BYTES_GOT, end->bytes);
}

__attribute__((cold)) static void tell_whole_row(const struct aioqueue *q)
{
	unsigned flags = (ipc_queue_is_closed(q) ? IPC_QUEUE_ROW_CLOSED : 0U) |
			 (q->getters.first ? IPC_QUEUE_ROW_GETTERS : 0U) |
			 (q->putters.first ? IPC_QUEUE_ROW_PUTTERS : 0U);

	ipc_row_set(q->row, IPC_QUEUE_ROW_FLAGS, flags);
	tell_row(q, &q->put);
	tell_row(q, &q->get);
}

void ipc_queue_name(const struct aioqueue *q, const char *role, const char *owner)
{
	if (q)
		ipc_board_name(q->row, "%s of %s", role, owner);
}

/* Both ends may have moved, in any direction. */
void ipc_queue_unlock(struct aioqueue *q)
{
	bool plain = !ipc_queue_is_closed(q) && !q->getters.first && !q->putters.first && !q->watches;

	if (ipc_store_is_plain(q) != plain)
		atomic_store_explicit(&q->plain, plain, memory_order_relaxed);
	tell(&q->put);
	tell(&q->get);
	q->put.other = q->get.at;
	q->put.other_bytes = q->get.bytes;
	q->get.other = q->put.at;
	if (q->row)
		tell_whole_row(q);
	pthread_mutex_unlock(&q->get.lock);
	pthread_mutex_unlock(&q->put.lock);
}

void ipc_queue_hold(struct aioqueue *q)
{
	atomic_fetch_add_explicit(&q->holds, 1, memory_order_relaxed);
}

void ipc_queue_drop(struct aioqueue *q)
{
	if (atomic_fetch_sub_explicit(&q->holds, 1, memory_order_acq_rel) != 1)
		return;
	ipc_board_give_back(q->row);
	pthread_mutex_destroy(&q->put.lock);
	pthread_mutex_destroy(&q->get.lock);
	free(q->ring);
	free(q);
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
					   (!q->most_bytes || ipc_store_bytes(q) <= q->most_bytes / 2));
}

int ipc_store_grow(struct aioqueue *q)
{
	uint32_t places = q->places ? 2 * q->places : SMALLEST;
	struct aiomsg **ring = places ? reallocarray(NULL, places, sizeof *ring) : NULL;

	if (!ring)
		return -1;
	for (uint64_t at = q->get.at; at != q->put.at; at++)
		ring[at & (places - 1)] = *ipc_store_place(q, at);
	free(q->ring);
	q->ring = ring;
	q->places = places;
	return 0;
}

void ipc_store_push_first(struct aioqueue *q, struct aiomsg *m)
{
	*ipc_store_place(q, --q->get.at) = aiomsg_ref(m);
	q->get.bytes -= ipc_store_charge(m);
}

void ipc_store_drop_all(struct aioqueue *q)
{
	while (ipc_store_count(q) > 0)
		aiomsg_free(ipc_store_pop(q));
}

/* The caller holds the putters' lock only. Looks at what the getters told when what is known of them does not suffice. */
static bool has_plain_room(const struct aioqueue *q, const struct ipc_queue_end *put, size_t charge)
{
	size_t count = (size_t)(put->at - put->other);

	return count + q->lent < q->places &&
	       ipc_store_takes(q, count, put->bytes - put->other_bytes, charge);
}

static bool makes_room(struct aioqueue *q, struct ipc_queue_end *put, size_t charge)
{
	if (has_plain_room(q, put, charge))
		return true;
	put->other = atomic_load_explicit(&q->get.told, memory_order_acquire);
	put->other_bytes = atomic_load_explicit(&q->get.told_bytes, memory_order_relaxed);
	return has_plain_room(q, put, charge);
}

size_t ipc_store_put_plain(struct aioqueue *q, struct aiomsg *const *m, size_t n, bool ref, uint64_t *seen)
{
	struct ipc_queue_end *put = &q->put;
	size_t done = 0;

	lock(&put->lock);
	for (; ipc_store_is_plain(q) && done < n && makes_room(q, put, ipc_store_charge(m[done])); done++) {
		*ipc_store_place(q, put->at++) = ref ? aiomsg_ref(m[done]) : m[done];
		put->bytes += ipc_store_charge(m[done]);
	}
	if (done) {
		tell(put);
		if (q->row)
			tell_row(q, put);
	}
	*seen = put->other;
	pthread_mutex_unlock(&put->lock);
	return done;
}

static bool has_plain_items(struct aioqueue *q, struct ipc_queue_end *get)
{
	if (get->at == get->other)
		get->other = atomic_load_explicit(&q->put.told, memory_order_acquire);
	return get->at != get->other;
}

size_t ipc_store_get_plain(struct aioqueue *q, struct aiomsg **m, size_t n, uint64_t *seen)
{
	struct ipc_queue_end *get = &q->get;
	size_t done = 0;

	lock(&get->lock);
	for (; ipc_store_is_plain(q) && done < n && has_plain_items(q, get); done++) {
		m[done] = *ipc_store_place(q, get->at++);
		get->bytes += ipc_store_charge(m[done]);
	}
	if (done) {
		tell(get);
		if (q->row)
			tell_row(q, get);
	}
	*seen = get->other;
	pthread_mutex_unlock(&get->lock);
	return done;
}
