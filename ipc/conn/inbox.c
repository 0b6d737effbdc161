/* Messages that were received before anyone asked for them: a ring of references that grows. Its owner keeps it within limits. */
#include "ipc/conn/inbox.h"

#include "ipc/msg/pool.h"

/* Charged for each message besides its payload: the least memory that a message takes. */
#define OVERHEAD ((size_t)192)
#define ROOM ((size_t)16) /* a power of two, so that places wrap by a mask */

int ipc_inbox_grow(struct ipc_inbox *box)
{
	size_t want = box->room ? box->room * 2 : ROOM, block, i;
	struct aiomsg **ring;

	ring = ipc_pool_get(want * sizeof(struct aiomsg *), &block);
	if (!ring)
		return -1;
	for (i = 0; i < box->count; i++)
		ring[i] = box->ring[(box->head + i) & (box->room - 1)];
	ipc_pool_put(box->ring, box->block);
	box->ring = ring;
	box->block = block;
	box->room = want;
	box->head = 0;
	return 0;
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
	return m;
}

void ipc_inbox_free(struct ipc_inbox *box)
{
	struct aiomsg *m;

	while ((m = ipc_inbox_shift(box)))
		aiomsg_free(m);
	ipc_pool_put(box->ring, box->block);
	box->ring = NULL;
	box->room = 0;
}
