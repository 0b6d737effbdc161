/* Ending a connection from here: see finish.c. */
#ifndef IPC_CONN_FINISH_H
#define IPC_CONN_FINISH_H

#include "ipc/conn/conn.h"

/* 0, or -1 when there is nothing to end: the deadline is wrong, or it is the parent's connection, which is only freed. */
int ipc_conn_may_end(struct aioconn *c, int64_t deadline);

/* Says goodbye. What still comes in is dropped from now on. -1/ENOMEM. */
int ipc_conn_begin_close(struct aioconn *c);

/* Is it too early to close the descriptors? TCP throws away what was sent if input is left, so input is read until its end. */
bool ipc_conn_undelivered(const struct aioconn *c);

/* The time is up and only the peer's end is missing: does its system have all that was sent? Then closing loses nothing. */
bool ipc_conn_all_arrived(const struct aioconn *c);

/* A turn of a connection that is finishing: ends it when all has left, or when its deadline has passed. */
void ipc_conn_finish_turn(struct aioconn *c);

#endif
