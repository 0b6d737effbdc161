/* Messages whose payload lies in memory that is passed on by a descriptor: see grant.c. */
#ifndef IPC_CONN_GRANT_H
#define IPC_CONN_GRANT_H

#include "ipc/conn/conn.h"

/* Tells the peer, if it is time, how many of these messages it may send. */
void ipc_conn_tell_grant(struct aioconn *c);

static inline void ipc_conn_grant(struct aioconn *c)
{
	if (c->memory_most)
		ipc_conn_tell_grant(c);
}

/* May @m travel so? Reads first what the peer said, if that is not known yet. */
bool ipc_conn_may_pass(struct aioconn *c, const struct aiomsg *m);

#endif
