/*
 * Messages that have arrived and go into the inbox. They are put several at a time, which costs less than one by one. Some
 * have to wait here for room. There is little space: the owner stops reading while it is full.
 */
#ifndef IPC_LINK_INCOMING_H
#define IPC_LINK_INCOMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/net/counter.h"

#define IPC_INCOMING_MOST 64

struct aiomsg;
struct aioqueue;

struct ipc_incoming {
	struct aioqueue *queue; /* the owner holds the reference */
	struct aiomsg *m[IPC_INCOMING_MOST];
	size_t count;
	struct ipc_counter in, dropped;
};

static inline bool ipc_incoming_is_full(const struct ipc_incoming *l)
{
	return l->count == IPC_INCOMING_MOST;
}

/* Takes the reference over. The caller sees to it that there is space. */
void ipc_incoming_take(struct ipc_incoming *l, struct aiomsg *m);

/* Puts all. -1: ETIMEDOUT (no room for all; the queue's watch tells when there is), ENOMEM. If the queue is closed, they are dropped. */
int ipc_incoming_put(struct ipc_incoming *l);

/* Drops all that are left, and counts them. */
void ipc_incoming_drop(struct ipc_incoming *l);

#endif
