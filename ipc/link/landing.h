/*
 * Messages that have arrived and go into a queue: some at a time, as that costs less than one by one; and those that have to wait
 * for room in it. It holds few: whoever feeds it stops while it is full.
 */
#ifndef IPC_LINK_LANDING_H
#define IPC_LINK_LANDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/link/counter.h"

#define IPC_LANDING_MOST 64

struct aiomsg;
struct aioqueue;

struct ipc_landing {
	struct aioqueue *queue; /* its owner holds it */
	struct aiomsg *m[IPC_LANDING_MOST];
	size_t count;
	struct ipc_counter in, dropped;
};

static inline bool ipc_landing_is_full(const struct ipc_landing *l)
{
	return l->count == IPC_LANDING_MOST;
}

/* Takes the reference over. Not when it is full. */
void ipc_landing_take(struct ipc_landing *l, struct aiomsg *m);

/* Puts them. -1: ETIMEDOUT (no room for all: the queue's watch tells), ENOMEM. Those for a closed queue are dropped. */
int ipc_landing_put(struct ipc_landing *l);

/* Drops the rest. */
void ipc_landing_drop(struct ipc_landing *l);

#endif
