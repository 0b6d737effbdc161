/* Sending what is more than a message: see send.c. */
#ifndef IPC_CONN_SEND_H
#define IPC_CONN_SEND_H

#include "ipc/conn/conn.h"

/* How long a message or a line can be that is sent. */
size_t ipc_conn_most(const struct aioconn *c);

/* As aioconn_send_msg(), inside a public call: @m as a call of this number. */
int ipc_conn_send_call(struct aioconn *c, const struct aiomsg *m, uint64_t id);

/*
 * A frame of a link that confirms: @data is its payload. It needs room as a message does; where there is none, on_writable tells. 0, or -1: EAGAIN,
 * ENOMEM, EPIPE and the like.
 */
int ipc_conn_send_confirming(struct aioconn *c, uint8_t kind, const unsigned char *data, size_t len);

/* Can anything be sent? 0, or -1 with the errno of a send. */
int ipc_conn_may_send(const struct aioconn *c);

/* Without a base, a message is written before the call returns, if the call may wait so long. */
void ipc_conn_write_out(struct aioconn *c);

#endif
