/* Messages that were received before anyone asked for them, in order. Who owns the inbox keeps it within its limits. */
#ifndef IPC_CONN_INBOX_H
#define IPC_CONN_INBOX_H

#include <stddef.h>
#include <stdint.h>

#include "ipc/msg/msg.h"
#include "ipc/os/os.h"

struct ipc_inbox {
	struct aiomsg **ring; /* from the pool, or @one */
	struct aiomsg *one;   /* room for the message that a callback keeps, so that most need no ring */
	size_t bytes;         /* charged */
	uint32_t block, room, head, count;
	unsigned fds;
	unsigned memories; /* messages in memory */
};

#define IPC_MEMORIES_MOST 64 /* that a user may have wait here */

/*
 * Descriptors that were received, but whose frame is not whole yet. Reading stops while as many as allowed are held. One more
 * read may bring those of the next frame.
 */
struct ipc_loose_fds {
	unsigned n;
	int fd[2 * (IPC_FDS_MOST + IPC_MEMORIES_MOST)];
};

int ipc_inbox_grow(struct ipc_inbox *box);
void ipc_inbox_push(struct ipc_inbox *box,
		    struct aiomsg *m); /* takes the reference over; call prepare before */
void ipc_inbox_unshift(struct ipc_inbox *box, struct aiomsg *m); /* the same, in front */
struct aiomsg *ipc_inbox_shift(struct ipc_inbox *box);
void ipc_inbox_free(struct ipc_inbox *box);

/* Gives an empty ring back, so that an idle connection costs none. */
void ipc_inbox_rest(struct ipc_inbox *box);

/* Makes room for one more. -1/ENOMEM. */
static inline int ipc_inbox_prepare(struct ipc_inbox *box)
{
	return box->count < box->room ? 0 : ipc_inbox_grow(box);
}

#endif
