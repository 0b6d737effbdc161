/* What a stream says of itself where the program keeps statistics: as a link does. */
#include <stdio.h>

#include "ipc/flow/queue.h"
#include "ipc/own/board.h"
#include "ipc/stream/stream.h"

void ipc_stream_take_row(struct aiostream *s)
{
	bool sends = ipc_stream_sends(s);
	char name[32];

	s->row = ipc_board_take(IPC_ROW_LINK, "stream %s%s%s", s->o.stream, sends ? "" : " to ",
				sends ? "" : s->o.group);
	if (!s->row)
		return;
	snprintf(name, sizeof name, "link %lu", ipc_board_id(s->row));
	ipc_queue_name(s->queue, sends ? "outbox" : "inbox", name);
}

void ipc_stream_fill_row(struct aiostream *s)
{
	struct ipc_row *row = s->row;

	if (!ipc_board_has(row))
		return;
	pthread_mutex_lock(&s->status.lock);
	ipc_row_set(row, IPC_LINK_ROW_ERROR, (uint64_t)(unsigned)s->status.error);
	pthread_mutex_unlock(&s->status.lock);
	ipc_row_set(row, IPC_LINK_ROW_STATE, s->course.told);
	ipc_row_set(row, IPC_LINK_ROW_CONNECTIONS,
		    ipc_counter_get(&s->connections) / (ipc_stream_is_member(s) ? 2 : 1));
	ipc_row_set(row, IPC_LINK_ROW_MSGS_IN, ipc_counter_get(&s->received));
	ipc_row_set(row, IPC_LINK_ROW_MSGS_OUT, ipc_counter_get(&s->sent));
	ipc_row_set(row, IPC_LINK_ROW_RESENT, ipc_counter_get(&s->resent));
	ipc_row_set(row, IPC_LINK_ROW_REFUSED, ipc_counter_get(&s->unsendable));
	ipc_row_set(row, IPC_LINK_ROW_CONFIRMED, ipc_counter_get(&s->sent) + ipc_counter_get(&s->acked));
}
