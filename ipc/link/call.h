/* Calls over a link: see call.c. */
#ifndef IPC_LINK_CALL_H
#define IPC_LINK_CALL_H

#include <stdbool.h>

struct aioconn;
struct aiolink;
struct aiomsg;

/* A message of the outbox is to be sent as a call: as aioconn_send_msg(); -1/ECANCELED: nobody waits for it any more. */
int ipc_link_send_call(struct aioconn *c, struct aiomsg *m);

/* In the thread of the loop, once calls were sent: from now on the peer is told of those that are given up. */
void ipc_link_mind_calls(struct aiolink *l);

/* The link has ended: no call waits any more. */
void ipc_link_end_calls(struct aiolink *l);

#endif
