/* Sending what is more than a message: see send.c. */
#ifndef IPC_CONN_SEND_H
#define IPC_CONN_SEND_H

#include "ipc/conn/conn.h"

/* As aioconn_send_msg(), inside a public call: @m as a call of this number. */
int ipc_conn_send_call(struct aioconn *c, const struct aiomsg *m, uint64_t id);

#endif
