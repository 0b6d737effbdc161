/* What the loop watches for: see interest.c. */
#ifndef IPC_CONN_INTEREST_H
#define IPC_CONN_INTEREST_H

#include "ipc/conn/conn.h"

/* The state may have changed: tells the loop what to watch for now. */
void ipc_conn_interest(struct aioconn *c);

/* Asks the carrier which events show @what, and keeps the answer for when they come. */
short ipc_conn_shown(struct aioconn *c, enum ipc_carry_wait what);

/* It is about to sleep until there is @what. False: it is there already. */
bool ipc_conn_sleeps(struct aioconn *c, enum ipc_carry_wait what);

#endif
