/* Messages that were received before anyone asked for them: a ring of references that grows. Its owner keeps it within limits. */
#include "ipc/conn/inbox.h"

#include "ipc/msg/pool.h"

/* Charged for each message besides its payload: the least memory that a message takes. */
#define OVERHEAD ((size_t)192)
#define ROOM ((size_t)16) /* a power of two, so that places wrap by a mask */

/* A ring from the pool is given back. */
static void use_ring(struct ipc_inbox *box, struct aiomsg **ring, size_t block, size_t room)
{
	if (box->ring != &box->one)
		ipc_pool_put(box->ring, box->block);
	box->ring = ring;
	box->block = (uint32_t)block;
	box->room = (uint32_t)room;
	box->head = 0;
}

int ipc_inbox_grow(struct ipc_inbox *box)
{
	size_t want = box->room > 1 ? box->room * 2 : ROOM, block, i;
	struct aiomsg **ring;

	if (box->room == 0) {
		use_ring(box, &box->one, 0, 1);
		return 0;
	}
	ring = ipc_pool_get(want * sizeof(struct aiomsg *), &block);
	if (!ring)
		return -1;
	for (i = 0; i < box->count; i++)
		ring[i] = box->ring[(box->head + i) & (box->room - 1)];
	use_ring(box, ring, block, want);
	return 0;
}

void ipc_inbox_rest(struct ipc_inbox *box)
{
	if (box->count == 0 && box->room > 1)
		use_ring(box, &box->one, 0, 1);
}

/* Descriptors count as they came, even if a holder takes some out meanwhile. */
static unsigned fds_of(const struct aiomsg *m)
{
	return m->fds ? m->fds->n : 0;
}

static void charge(struct ipc_inbox *box, const struct aiomsg *m)
{
	box->count++;
	box->bytes += OVERHEAD + m->len;
	box->fds += fds_of(m);
	box->memories += m->memory;
}

void ipc_inbox_push(struct ipc_inbox *box, struct aiomsg *m)
{
	box->ring[(box->head + box->count) & (box->room - 1)] = m;
	charge(box, m);
}

void ipc_inbox_unshift(struct ipc_inbox *box, struct aiomsg *m)
{
	box->head = (box->head - 1) & (box->room - 1);
	box->ring[box->head] = m;
	charge(box, m);
}

struct aiomsg *ipc_inbox_shift(struct ipc_inbox *box)
{
	struct aiomsg *m;

	if (box->count == 0)
		return NULL;
	m = box->ring[box->head];
	box->head = (box->head + 1) & (box->room - 1);
	box->count--;
	box->bytes -= OVERHEAD + m->len;
	box->fds -= fds_of(m);
	box->memories -= m->memory;
	return m;
}

void ipc_inbox_free(struct ipc_inbox *box)
{
	struct aiomsg *m;

	while ((m = ipc_inbox_shift(box)))
		aiomsg_free(m);
	use_ring(box, NULL, 0, 0);
}
