/* What a stream says of itself where the program keeps statistics. */
#include <stdio.h>
#include <string.h>

#include "ipc/flow/queue.h"
#include "ipc/own/board.h"
#include "ipc/stream/stream.h"

/* Where it is, in the words of an address, without a user and a password. It comes last: a long one is cut. */
static void name_server(struct ipc_row *row, const struct ipc_server *s)
{
	bool is_path = strncmp(s->dial, "unix:", 5) == 0;
	const char *scheme = is_path ? "redis+unix" : s->tls ? "rediss" : "redis";
	char database[24] = "";

	if (s->database)
		snprintf(database, sizeof database, "%s%u", is_path ? "?db=" : "/", s->database);
	ipc_board_name(row, "%s%s%s", scheme, strchr(s->dial, ':'), database);
}

void ipc_stream_take_row(struct aiostream *s)
{
	char name[32];

	s->row = ipc_board_take(IPC_ROW_STREAM, "%s", s->o.stream);
	if (!s->row)
		return;
	if (ipc_stream_is_member(s))
		ipc_board_name(s->row, "group %s", s->o.group);
	else if (!ipc_stream_sends(s))
		ipc_board_name(s->row, "broadcast");
	name_server(s->row, &s->o.server);
	snprintf(name, sizeof name, "stream %lu", ipc_board_id(s->row));
	ipc_queue_name(s->queue, ipc_stream_sends(s) ? "outbox" : "inbox", name);
}

/* It may have an error in any state: what the server refused is asked again. */
static void tell_state(struct aiostream *s)
{
	pthread_mutex_lock(&s->status.lock);
	ipc_row_set(s->row, IPC_STREAM_ROW_ERROR, (uint64_t)(unsigned)s->status.error);
	pthread_mutex_unlock(&s->status.lock);
	ipc_row_set(s->row, IPC_STREAM_ROW_STATE, s->course.told);
}

void ipc_stream_fill_row(struct aiostream *s)
{
	struct ipc_row *row = s->row;

	if (!ipc_board_has(row))
		return;
	tell_state(s);
	ipc_row_set(row, IPC_STREAM_ROW_CONNECTIONS, ipc_counter_get(&s->connections));
	ipc_row_set(row, IPC_STREAM_ROW_SENT, ipc_counter_get(&s->sent));
	ipc_row_set(row, IPC_STREAM_ROW_RESENT, ipc_counter_get(&s->resent));
	ipc_row_set(row, IPC_STREAM_ROW_REFUSED, ipc_counter_get(&s->unsendable));
	ipc_row_set(row, IPC_STREAM_ROW_RECEIVED, ipc_counter_get(&s->received));
	ipc_row_set(row, IPC_STREAM_ROW_AGAIN, ipc_counter_get(&s->again));
	ipc_row_set(row, IPC_STREAM_ROW_ACKED, ipc_counter_get(&s->acked));
	ipc_row_set(row, IPC_STREAM_ROW_NACKED, ipc_counter_get(&s->nacked));
	ipc_row_set(row, IPC_STREAM_ROW_LATE, ipc_counter_get(&s->late));
	ipc_row_set(row, IPC_STREAM_ROW_DEAD, ipc_counter_get(&s->dead));
	ipc_row_set(row, IPC_STREAM_ROW_VANISHED, ipc_counter_get(&s->vanished));
	ipc_row_set(row, IPC_STREAM_ROW_IN_WORK, s->work ? ipc_work_count(s->work) : 0);
}
