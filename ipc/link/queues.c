/* The queues of a link: whose they are, who shares them, and when the link leaves them. */
#include <aioipc/queue.h>

#include "ipc/flow/queue.h"
#include "ipc/flow/sharers.h"
#include "ipc/link/link.h"

#define QUEUE_MESSAGES 1024
#define QUEUE_BYTES ((size_t)1 << 20)

/* A given queue, or a new one. None, where the direction needs none. */
static int take_queue(struct aioqueue **to, struct aioqueue *given, bool needed)
{
	if (!needed)
		return 0;
	if (given && ipc_queue_check(given) == -1)
		return -1;
	*to = given ? aioqueue_ref(given) : aioqueue_new(QUEUE_MESSAGES, QUEUE_BYTES);
	return *to ? 0 : -1;
}

int ipc_link_take_queues(struct aiolink *l, const struct aiolink_options *o)
{
	if (take_queue(&l->inbox, o->inbox, o->direction != AIOLINK_SEND) == -1)
		return -1;
	return take_queue(&l->outbox, o->outbox, o->direction != AIOLINK_RECV);
}

void ipc_link_join_queues(struct aiolink *l)
{
	l->incoming.queue = l->inbox;
	l->outgoing.queue = l->outbox;
	ipc_sharers_join(l->inbox, IPC_PRODUCERS);
	ipc_sharers_join(l->outbox, IPC_CONSUMERS);
}

void ipc_link_leave_inbox(struct aiolink *l)
{
	if (!l->left_inbox)
		ipc_sharers_leave(l->inbox, IPC_PRODUCERS, true);
	l->left_inbox = true;
}

void ipc_link_leave_outbox(struct aiolink *l)
{
	if (!l->outbox || l->left_outbox)
		return;
	l->left_outbox = true;
	l->outgoing.stopped = !ipc_sharers_leave(l->outbox, IPC_CONSUMERS, true);
}

bool ipc_link_nothing_left(const struct aiolink *l)
{
	if (!l->outbox)
		return true;
	return l->outgoing.count == 0 && (l->outgoing.stopped || aioqueue_count(l->outbox) == 0);
}

/* The queues that it made end with it, or with their last sharer. Those that it was given stay as they were. */
void ipc_link_leave_unused_queues(struct aiolink *l)
{
	ipc_sharers_leave(l->inbox, IPC_PRODUCERS, l->made_inbox);
	ipc_sharers_leave(l->outbox, IPC_CONSUMERS, l->made_outbox);
}
