/* What the loop watches for: see interest.c. */
#ifndef IPC_CONN_INTEREST_H
#define IPC_CONN_INTEREST_H

#include "ipc/conn/conn.h"

/*
 * So often a connection reads in one pass of the loop what no descriptor shows. An answer to it may itself be answered before the pass is over,
 * and others on the base are to have their turn.
 */
#define IPC_CONN_IN_A_ROW 16

/* The state may have changed: tells the loop what to watch for now. */
void ipc_conn_interest(struct aioconn *c);

/* Asks the carrier which events show @what, and keeps the answer for when they come. */
short ipc_conn_shown(struct aioconn *c, enum ipc_carry_wait what);

/* It is about to sleep until there is @what. False: it is there already. */
bool ipc_conn_sleeps(struct aioconn *c, enum ipc_carry_wait what);

#endif
