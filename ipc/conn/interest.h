/* What the loop watches for: see interest.c. */
#ifndef IPC_CONN_INTEREST_H
#define IPC_CONN_INTEREST_H

#include "ipc/conn/conn.h"

/* The state may have changed: tells the loop what to watch for now. */
void ipc_conn_interest(struct aioconn *c);

#endif
