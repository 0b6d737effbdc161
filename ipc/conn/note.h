/* What a connection says about calls by itself: see note.c. */
#ifndef IPC_CONN_NOTE_H
#define IPC_CONN_NOTE_H

#include "ipc/conn/conn.h"

/*
 * Queues a refusal, or a cancel, whether there is room or not: 0, also where nothing can be said any more; -1/ENOMEM. How many there may be is
 * bounded by the caller.
 */
int ipc_conn_put_refusal(struct aioconn *c, uint64_t id, uint32_t error, const char *text);
int ipc_conn_put_cancel(struct aioconn *c, uint64_t id);

/* Sends what is owed to calls, answers that were given elsewhere and refusals of those that nobody can answer, while there is room for that: 0, -1/ENOMEM. */
int ipc_conn_pay(struct aioconn *c);

/* Is one of them waiting for that? */
bool ipc_conn_owes(const struct aioconn *c);

/* Has it a bell for who sleeps in poll? Makes one. */
bool ipc_conn_has_bell(struct aioconn *c);

/* While calls of the peer are not answered: has the loop told when one of them is freed, in whatever thread. Tries again later if it must. */
void ipc_conn_mind_desk(struct aioconn *c);

/* Ends a call of ours with @error, and tells the peer. */
void ipc_conn_give_up(struct aioconn *c, struct aiocall *call, int error);

#endif
