/* Calls, answers, refusals and cancels that came: see sort.c. */
#ifndef IPC_CONN_SORT_H
#define IPC_CONN_SORT_H

#include "ipc/conn/conn.h"

/* @m came, and has a role: 1, it is for the user; 0, it was for the connection, and is gone; -1/ENOMEM: nothing has happened. */
int ipc_conn_sort(struct aioconn *c, struct aiomsg *m);

#endif
