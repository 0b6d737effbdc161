/* Writing: see output.c. */
#ifndef IPC_CONN_OUTPUT_H
#define IPC_CONN_OUTPUT_H

#include "ipc/conn/conn.h"

/*
 * So much that waits for the end of the turn leaves now. With the message that reaches it, this is still below 64 KiB where
 * messages are small: one packet on the loopback, and one read for the peer.
 */
#define IPC_CONN_BATCH ((size_t)60 * 1024)

/* Would the queue take so many bytes more? An empty one takes any message. */
static inline bool ipc_conn_has_room(const struct aioconn *c, size_t size)
{
	return c->out.bytes == 0 || (c->out.bytes + size <= c->outbox_limit && c->out.fds < IPC_FDS_MOST);
}

/*
 * The same for a callback, which is told by on_writable when there is. Unless the user said how long the queue may be, it is given less
 * room: what waits is then still in the processor's cache when it is written.
 */
#define IPC_CONN_LARGE ((size_t)16 * 1024)
#define IPC_CONN_LARGE_MOST ((size_t)128 * 1024)
#define IPC_CONN_SMALL_MOST ((size_t)64 * 1024)

static inline bool ipc_conn_has_room_told(const struct aioconn *c, size_t size)
{
	size_t most = size < IPC_CONN_LARGE ? IPC_CONN_SMALL_MOST : IPC_CONN_LARGE_MOST;

	if (c->outbox_set || c->out.bytes + size <= most)
		return ipc_conn_has_room(c, size);
	return c->out.bytes == 0;
}

/* How much of what sends accepted is not in the queue any more: see hook.h. */
static inline uint64_t ipc_conn_left(const struct aioconn *c)
{
	return c->bytes_out + c->bytes_refused;
}

/* Is something to be written: messages, or the end? */
static inline bool ipc_conn_has_output(const struct aioconn *c)
{
	return c->out.count || c->way_out == IPC_OUT_GOODBYE;
}

/* Writes what the kernel takes: 0, or -1 with ipc_conn_send_error(). */
int ipc_conn_flush(struct aioconn *c);

/* A write failed with errno: 0 it may work later, -1 as flush. */
int ipc_conn_not_written(struct aioconn *c);

void ipc_conn_tell_wrote(struct aioconn *c); /* tells the hooks that the kernel took something */

/* Queues our goodbye, after which nothing can be sent: 0, -1/ENOMEM. */
int ipc_conn_say_goodbye(struct aioconn *c);

/* Reading would tell that the peer left, but it is over, or never was. Writing is not over. */
bool ipc_conn_only_writes(const struct aioconn *c);

/* Where that is so: loses the peer if it is gone. */
void ipc_conn_check_reader(struct aioconn *c);

#endif
