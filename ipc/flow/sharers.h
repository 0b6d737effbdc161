/*
 * Who shares a queue. Links and services are producers of a queue, links are consumers, each from when it is made until it
 * has ended or is freed. The last one of a side that leaves closes the queue. A user who closes the queue closes it for all.
 */
#ifndef IPC_FLOW_SHARERS_H
#define IPC_FLOW_SHARERS_H

#include <stdatomic.h>
#include <stdbool.h>

struct aioqueue;

enum ipc_side { IPC_PRODUCERS, IPC_CONSUMERS };

/* @q may be NULL, here and below. In a forked child nothing happens. */
void ipc_sharers_join(struct aioqueue *q, enum ipc_side side);

/*
 * Each one that joined leaves once. @used: it was started. The last one closes the queue, if at least one of its side was ever started.
 * True: nobody of that side is left.
 */
bool ipc_sharers_leave(struct aioqueue *q, enum ipc_side side, bool used);

/* How many there are now; 1 where nobody joined. */
unsigned ipc_sharers_count(const struct aioqueue *q, enum ipc_side side);

/*
 * A crew: threads that put messages for one owner. The owner can bar its crew from a queue that stays open for others: a put of
 * the crew that waits for room, or would have to, fails with EPIPE.
 */
struct ipc_crew {
	_Atomic(struct aioqueue *) barred; /* from this queue */
};

/* The calling thread belongs to @crew from now on; NULL: to none. Both are in queue.c. */
void ipc_crew_enlist(struct ipc_crew *crew);
void ipc_crew_bar(struct ipc_crew *crew, struct aioqueue *q);

#endif
