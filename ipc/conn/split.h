/* Messages out of the bytes that came: see split.c. */
#ifndef IPC_CONN_SPLIT_H
#define IPC_CONN_SPLIT_H

#include "ipc/conn/conn.h"

/* The next message, from the inbox or from the bytes behind it: 1, 0 none, -1/ENOMEM. Ends the connection where the stream is broken. */
int ipc_conn_next_any(struct aioconn *c, struct aiomsg **m);

static inline int ipc_conn_next(struct aioconn *c, struct aiomsg **m)
{
	if (!c->inbox.count && !c->unsorted && !c->trace && ipc_in_common(&c->in, m) == 1)
		return 1;
	return ipc_conn_next_any(c, m);
}

/* Took @m out of the bytes by itself, and it has a role: 1, it is the user's; 0, it is gone; -1/ENOMEM, it is kept for another try. */
int ipc_conn_sorted(struct aioconn *c, struct aiomsg *m);

/* Moves messages that are whole to the inbox, while there is room: 0, -1/ENOMEM. */
int ipc_conn_stow(struct aioconn *c);

/* Everything that came is split, and nothing more comes: ends the connection. */
void ipc_conn_end_of_stream(struct aioconn *c);

#endif
