/*
 * Messages on their way out of a queue: taken from it, in order, and held until the kernel has them whole. Those that it has not
 * when their connection breaks go back to the front of the queue, as if they had never left. It sends over one
 * connection at a time, and decides nothing: when to send, and when a connection is over, is its owner's.
 */
#ifndef IPC_LINK_FLIGHT_H
#define IPC_LINK_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/link/counter.h"

struct aioconn;
struct aiomsg;
struct aioqueue;

struct ipc_flight_place {
	struct aiomsg *m;
	uint64_t end; /* where it ends in the stream of bytes, once the connection has it */
};

struct ipc_flight {
	struct aioqueue *queue; /* its owner holds it */
	struct ipc_flight_place *ring;
	size_t places, head, count; /* places: a power of two; 0 while it is empty for long */
	size_t given;               /* of count, how many the connection has */
	uint64_t start;             /* where the first begins */
	bool torn;                  /* the queue's first was written in part */
	bool stopped; /* nothing more is taken, as if the queue had ended: others go on with it */
	struct ipc_counter out, resent, refused;
};

/*
 * Gives @c what it has room for. 1: that is all, but for what is in the queue; 0: go on in the next turn;
 * -1: EAGAIN (@c is full: on_writable tells), EPIPE (the peer is gone), ESHUTDOWN (the queue was closed, and all of it is given),
 * ENOMEM, EMFILE, ENFILE (try again later). What can't be sent at all is dropped, counted, and told to the log.
 */
int ipc_flight_send(struct ipc_flight *f, struct aioconn *c);

/* The kernel has taken @bytes of the stream: what ends there has left. */
void ipc_flight_left(struct ipc_flight *f, uint64_t bytes);

/* The connection had accepted the one that ends at @end, and could not send it: it is dropped, and counted. */
void ipc_flight_refused(struct ipc_flight *f, uint64_t end);

/* The connection is over, and the kernel took @bytes of it: the rest goes back. */
void ipc_flight_back(struct ipc_flight *f, uint64_t bytes);

/* In a forked child: frees its memory. */
void ipc_flight_forget(struct ipc_flight *f);

#endif
