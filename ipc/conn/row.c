/* What a connection says of itself where the program keeps statistics. */
#include "ipc/conn/row.h"

#include <stdio.h>
#include <string.h>

#include "ipc/os/address.h"
#include "ipc/os/os.h"
#include "ipc/own/board.h"

#define WHO_SIZE 96

typedef int address_fn(int fd, char *buf, size_t size);

/* A socket without a name has none to show, nor has what is no socket. */
static bool has_address(int fd, address_fn *address, char who[WHO_SIZE])
{
	return address(fd, who, WHO_SIZE) == 0 && strcmp(who, "unix:") != 0 && strcmp(who, "tcp:") != 0;
}

void ipc_conn_take_row(struct aioconn *c)
{
	const struct ipc_own *own = &c->carrier.own;
	int fd = ipc_conn_fd(c);
	char who[WHO_SIZE];
	bool named;
	pid_t pid;

	c->row = ipc_board_take(IPC_ROW_CONN, "%s", "");
	if (!c->row)
		return;
	named = has_address(fd, ipc_address_of_peer, who) || has_address(fd, ipc_address_of_socket, who);
	/* the two of a pair look as if this process, or its parent, were the peer */
	if (named && ipc_os_peer_cred(fd, &pid, NULL, NULL) == 0)
		ipc_row_set(c->row, IPC_CONN_ROW_PEER, (uint64_t)pid);
	if (!named)
		snprintf(who, sizeof who, "%s", own->r.kind == IPC_FD_UNIX ? "socket pair" : "pipe or file");
	ipc_board_name(c->row, "%s", who);
	ipc_row_set(c->row, IPC_CONN_ROW_FD, (uint64_t)fd);
	ipc_conn_fill_row(c);
}

static unsigned flags_of(const struct aioconn *c)
{
	return (c->paused ? IPC_CONN_ROW_PAUSED : 0U) | (c->blocked ? IPC_CONN_ROW_BLOCKED : 0U) |
	       (c->life != IPC_LIFE_OPEN || c->way_out >= IPC_OUT_GOODBYE ? IPC_CONN_ROW_CLOSING : 0U);
}

void ipc_conn_fill_row(struct aioconn *c)
{
	struct ipc_row *row = c->row;
	int error = errno;

	if (ipc_board_has(row)) {
		ipc_row_set(row, IPC_CONN_ROW_FLAGS, flags_of(c));
		ipc_row_set(row, IPC_CONN_ROW_END, c->way_in >= IPC_IN_ENDED ? 1 + (uint64_t)c->cause : 0);
		ipc_row_set(row, IPC_CONN_ROW_MSGS_IN, c->msgs_in);
		ipc_row_set(row, IPC_CONN_ROW_MSGS_OUT, c->msgs_out);
		ipc_row_set(row, IPC_CONN_ROW_BYTES_IN, c->bytes_in);
		ipc_row_set(row, IPC_CONN_ROW_BYTES_OUT, c->bytes_out);
		ipc_row_set(row, IPC_CONN_ROW_HELD_IN, c->inbox.bytes + ipc_in_held(&c->in));
		ipc_row_set(row, IPC_CONN_ROW_HELD_OUT, c->out.bytes);
		ipc_row_set(row, IPC_CONN_ROW_LIMIT_IN, c->inbox_limit);
		ipc_row_set(row, IPC_CONN_ROW_LIMIT_OUT, c->outbox_limit);
		ipc_row_set(row, IPC_CONN_ROW_REFUSED, c->refusals);
		ipc_row_set(row, IPC_CONN_ROW_CALLS_IN, c->calls_in);
		ipc_row_set(row, IPC_CONN_ROW_CALLS_OUT, c->calls_out);
		ipc_row_set(row, IPC_CONN_ROW_UNANSWERED, ipc_desk_count(c->desk));
		ipc_row_set(row, IPC_CONN_ROW_IN_FLIGHT, c->flight ? c->flight->count : 0);
	}
	errno = error;
}
