/* Calls for owners of a connection on floors above: see call.c. */
#ifndef IPC_CONN_CALL_H
#define IPC_CONN_CALL_H

#include "ipc/conn/conn.h"

/* As aioconn_call_later(), without its checks of arguments. */
struct aiocall *ipc_conn_call(struct aioconn *c, const struct aiomsg *m, aiocall_cb *cb, void *arg,
			      int64_t deadline);

#endif
