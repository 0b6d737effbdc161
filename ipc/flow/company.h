/*
 * Who shares a queue: links and services feed one, links take from one, each from when it is made until it has ended or is freed.
 * The last of a side that leaves closes the queue; whoever closes it by hand does so for all.
 */
#ifndef IPC_FLOW_COMPANY_H
#define IPC_FLOW_COMPANY_H

#include <stdatomic.h>
#include <stdbool.h>

struct aioqueue;

enum ipc_side { IPC_FEEDS, IPC_TAKES };

/* NULL is fine, here and below; in a forked child nothing happens. */
void ipc_company_join(struct aioqueue *q, enum ipc_side side);

/*
 * Once for each that joined; @used: it was at work. The last one closes the queue, if any of them ever was. True: nobody of
 * that side is left.
 */
bool ipc_company_leave(struct aioqueue *q, enum ipc_side side, bool used);

/* How many there are now, 1 or more. */
unsigned ipc_company_count(const struct aioqueue *q, enum ipc_side side);

/*
 * Threads that put on behalf of one owner, and may be told to wait no more while the queue stays open for others: who waits for
 * room, or would, is EPIPE.
 */
struct ipc_crew {
	_Atomic(struct aioqueue *) barred; /* from it */
};

/* This thread's; NULL: none. */
void ipc_crew_enlist(struct ipc_crew *crew);
void ipc_crew_bar(struct ipc_crew *crew, struct aioqueue *q);

#endif
