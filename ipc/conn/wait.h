/* Waiting: see wait.c. */
#ifndef IPC_CONN_WAIT_H
#define IPC_CONN_WAIT_H

#include "ipc/conn/life.h"

/* 0, or -1: EINVAL (the deadline), EDEADLK (it would wait in a callback). */
int ipc_conn_wait_allowed(struct aioconn *c, int64_t deadline);

/*
 * Waits once, moves bytes both ways, and calls back what is due. In a task of the base, the loop does that meanwhile. 0: look
 * again. -1: ETIMEDOUT, EINTR, EPIPE (the connection is over), ENOMEM, ECANCELED, EBUSY (another task waits for the same).
 */
int ipc_conn_wait(struct aioconn *c, enum ipc_conn_for what, int64_t deadline);

#endif
