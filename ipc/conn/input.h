/* Reading: see input.c. */
#ifndef IPC_CONN_INPUT_H
#define IPC_CONN_INPUT_H

#include "ipc/conn/conn.h"

/* The peer said goodbye, and the end that its carrier says comes behind that. */
bool ipc_conn_awaits_end(const struct aioconn *c);

/* Is input read now, if some comes? */
bool ipc_conn_is_read(const struct aioconn *c);

/* Is there input that no descriptor shows, and that is to be read now? */
bool ipc_conn_at_hand(struct aioconn *c);

/* The same, after some more looks. A look costs less than to ask the clock, or to go round the loop. */
bool ipc_conn_comes(struct aioconn *c);

/* Reads once: 1 something came, 0 nothing came, or the end did, -1/ENOMEM. */
int ipc_conn_fill(struct aioconn *c);

/*
 * The last read, of bytes in bulk, filled its room: more waits, most likely, and is read without asking for it. To ask the loop, or poll, takes
 * a seventh of the time of 64 KiB. @shares: others are on the loop, so only a few times in a row. False: there is nothing new.
 */
bool ipc_conn_read_on(struct aioconn *c, bool shares);

#endif
