/* Calls over a link: see call.c. */
#ifndef IPC_LINK_CALL_H
#define IPC_LINK_CALL_H

#include <stdbool.h>

struct aioconn;
struct aiolink;
struct aiomsg;

/* A message of the outbox is to be sent as a call: as aioconn_send_msg(); -1/ECANCELED: nobody waits for it any more; EMFILE, ENFILE. */
int ipc_link_send_call(struct aiolink *l, struct aioconn *c, struct aiomsg *m);

/* The link has ended: no call waits any more. */
void ipc_link_end_calls(struct aiolink *l);

#endif
