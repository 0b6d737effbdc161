/*
 * Messages on their way out: taken from the outbox, in order, and held until the kernel has taken them whole. If the
 * connection breaks first, the rest goes back to the front of the outbox. It serves one connection at a time. Its owner decides when to send, and
 * when a connection is over.
 *
 * When the peer confirms, messages are held until it has done so. Each gets a number when it is first sent: 1, 2, and so on. On the next
 * connection the sending begins behind the last one that the peer had. Calls and their answers have no numbers: they are held until they
 * have left.
 */
#ifndef IPC_LINK_OUTGOING_H
#define IPC_LINK_OUTGOING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/net/counter.h"

struct aioconn;
struct aiolink;
struct aiomsg;
struct aioqueue;

struct ipc_outgoing_place {
	struct aiomsg *m;
	uint64_t end;    /* its last byte in the stream, once the connection has accepted it */
	uint64_t number; /* 0: none. Such a message is NULL when it has left */
};

struct ipc_outgoing {
	struct aiolink *link;   /* sends calls */
	struct aioqueue *queue; /* the owner holds the reference */
	struct ipc_outgoing_place *ring;
	size_t places, head, count; /* places: a power of two, or 0 */
	size_t given;               /* the first so many: the connection has accepted them */
	size_t gone; /* the first so many of these: the kernel has taken them, and they wait to be confirmed */
	uint64_t start; /* where the first begins in the stream */
	bool torn;      /* a part of the queue's first message was written before */
	bool stopped;   /* nothing more is taken, as if the queue had ended: other consumers go on */
	struct ipc_counter out, resent, refused, confirmed;

	bool confirms;
	size_t bytes;     /* held */
	uint64_t last;    /* number that was given to a message */
	uint64_t left;    /* the last that was handed to the kernel, on any connection */
	uint64_t reached; /* the last on this connection, or that the peer had before */
	uint64_t first;   /* that is not confirmed */
};

/*
 * Gives @c as much as it accepts. 1: the queue has nothing more now; 0: go on in the next turn;
 * -1: EAGAIN (@c is full; on_writable tells when it is not. Or too much is not confirmed), EPIPE (the peer is gone), ESHUTDOWN (the queue was closed, and @c has
 * accepted all of it), EINPROGRESS (the same, but not all is confirmed), ENOMEM, EMFILE, ENFILE (try again later). A message that can never be sent is dropped, counted and logged.
 */
int ipc_outgoing_send(struct ipc_outgoing *f, struct aioconn *c);

/* The kernel has taken @bytes of the stream: messages that end there or before have left. */
void ipc_outgoing_left(struct ipc_outgoing *f, uint64_t bytes);

/* The connection could not send the accepted message that ends at @end. It is dropped and counted. */
void ipc_outgoing_refused(struct ipc_outgoing *f, uint64_t end);

/* The connection is over, and the kernel has taken @bytes of its stream. The rest goes back to the queue. */
void ipc_outgoing_back(struct ipc_outgoing *f, uint64_t bytes);

/*
 * For a peer that confirms: it says at the beginning of a connection which number it had last, and which it has confirmed; later it
 * confirms up to a number. -1: it can't have had that.
 */
int ipc_outgoing_resume(struct ipc_outgoing *f, uint64_t had, uint64_t taken);
int ipc_outgoing_confirmed(struct ipc_outgoing *f, uint64_t taken);

/* No connection follows: what is not confirmed goes back to the queue. */
void ipc_outgoing_give_up(struct ipc_outgoing *f);

/* In a forked child: frees its memory. */
void ipc_outgoing_forget(struct ipc_outgoing *f);

#endif
