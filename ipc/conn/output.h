/* Writing: see output.c. */
#ifndef IPC_CONN_OUTPUT_H
#define IPC_CONN_OUTPUT_H

#include "ipc/conn/conn.h"

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
