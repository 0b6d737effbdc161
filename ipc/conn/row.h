/* The row of a connection, where the program keeps statistics: see ipc/own/board.h. */
#ifndef IPC_CONN_ROW_H
#define IPC_CONN_ROW_H

#include "ipc/conn/conn.h"

void ipc_conn_take_row(struct aioconn *c);
void ipc_conn_fill_row(struct aioconn *c) __attribute__((cold));

/* Its numbers or states may have changed. Keeps errno. */
static inline void ipc_conn_tell_row(struct aioconn *c)
{
	if (c->row)
		ipc_conn_fill_row(c);
}

#endif
