/* What a link says of itself where the program keeps statistics. */
#include <stdio.h>

#include "ipc/flow/queue.h"
#include "ipc/link/link.h"
#include "ipc/own/board.h"

void ipc_link_take_row(struct aiolink *l)
{
	char name[32];

	l->row = ipc_board_take(IPC_ROW_LINK, "%s", l->o.address ? l->o.address : "of an end");
	if (!l->row)
		return;
	snprintf(name, sizeof name, "link %lu", ipc_board_id(l->row));
	ipc_queue_name(l->inbox, "inbox", name);
	ipc_queue_name(l->outbox, "outbox", name);
}

static void tell_state(struct aiolink *l)
{
	pthread_mutex_lock(&l->status.lock);
	ipc_row_set(l->row, IPC_LINK_ROW_ERROR, (uint64_t)(unsigned)l->status.error);
	pthread_mutex_unlock(&l->status.lock);
	ipc_row_set(l->row, IPC_LINK_ROW_STATE, l->course.told);
}

void ipc_link_fill_row(struct aiolink *l)
{
	struct ipc_row *row = l->row;

	if (!ipc_board_has(row))
		return;
	if (atomic_load_explicit(&row->value[IPC_LINK_ROW_STATE], memory_order_relaxed) != l->course.told)
		tell_state(l);
	ipc_row_set(row, IPC_LINK_ROW_CONNECTIONS, ipc_counter_get(&l->connections));
	ipc_row_set(row, IPC_LINK_ROW_MSGS_IN, ipc_counter_get(&l->incoming.in));
	ipc_row_set(row, IPC_LINK_ROW_MSGS_OUT, ipc_counter_get(&l->outgoing.out));
	ipc_row_set(row, IPC_LINK_ROW_RESENT, ipc_counter_get(&l->outgoing.resent));
	ipc_row_set(row, IPC_LINK_ROW_UNSURE, ipc_counter_get(&l->unsure));
	ipc_row_set(row, IPC_LINK_ROW_REFUSED, ipc_counter_get(&l->outgoing.refused));
	ipc_row_set(row, IPC_LINK_ROW_DROPPED, ipc_counter_get(&l->incoming.dropped));
	ipc_row_set(row, IPC_LINK_ROW_CONFIRMED, ipc_counter_get(&l->outgoing.confirmed));
}
