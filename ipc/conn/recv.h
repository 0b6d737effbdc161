/* What every call that receives begins and ends with. */
#ifndef IPC_CONN_RECV_H
#define IPC_CONN_RECV_H

#include "ipc/conn/conn.h"

/* Enters the connection, and claims the right to wait for input: 0, or -1 with EINVAL, EBADF, EBUSY, EDEADLK, or as ipc_conn_enter(). */
int ipc_conn_begin_receive(struct aioconn *c, int64_t deadline);
void ipc_conn_end_receive(struct aioconn *c);

#endif
