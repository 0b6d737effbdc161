/* A turn of the loop: see turn.c. */
#ifndef IPC_CONN_TURN_H
#define IPC_CONN_TURN_H

#include "ipc/conn/conn.h"

/* Calls back what is due. Not inside a callback. */
void ipc_conn_turn(struct aioconn *c);

/* The callbacks of the watches: of the descriptors, which are turns, too; of @awake; of the next deadline of a call. */
void ipc_conn_on_event(short what, void *arg);
void ipc_conn_on_awake(short what, void *arg);
void ipc_conn_on_call_timer(short what, void *arg);

/* While its owner dozes, what the peer writes wakes nobody, where the carrier can do that; the owner asks for it in time. */
void ipc_conn_doze(struct aioconn *c, bool on);
void ipc_conn_hear(struct aioconn *c);

/* The next deadline of a call may be another one now. */
void ipc_conn_time_calls(struct aioconn *c);

#endif
