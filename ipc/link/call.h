/* Calls over a link: see call.c. */
#ifndef IPC_LINK_CALL_H
#define IPC_LINK_CALL_H

#include <stdbool.h>

struct aioconn;
struct aiolink;
struct aiomsg;

/* A message of the outbox is to be sent as a call: as aioconn_send_msg(); -1/ECANCELED: nobody waits for it any more; EMFILE, ENFILE. */
int ipc_link_send_call(struct aiolink *l, struct aioconn *c, struct aiomsg *m);

/* The loop can tell of calls that have callbacks, where it makes any. -1/ENOMEM. */
int ipc_link_equip_calls(struct aiolink *l);

/* Calls the callbacks of those that are over, and asks again what was lost and may be repeated. In the thread of the loop. The caller holds the link. */
void ipc_link_tell_calls(struct aiolink *l);

/* In a forked child: frees those that have callbacks. */
void ipc_link_forget_calls(struct aiolink *l);

/* The link has ended: no call waits any more. */
void ipc_link_end_calls(struct aiolink *l);

#endif
