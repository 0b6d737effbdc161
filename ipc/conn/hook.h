/*
 * What an owner on a floor above has of a connection: hooks, and these members.
 *
 *   by_hand         Set when the connection is new. The peer's goodbye is not answered. on_close tells CLEAN as soon as everything before
 *                   it is delivered, and sending goes on: until a send fails with EPIPE, or hook->lost is called, or the owner
 *                   finishes, closes or aborts the connection. When a socket can't be written to any more, what came before is
 *                   still read, and then the input ends.
 *   verdict         Set to IPC_MSG_TAKEN in on_msg: the owner keeps the message, and its reference.
 *   bytes_out       How many bytes the kernel took, with preface, headers and delimiters.
 *   bytes_refused   Bytes of messages that sends had accepted, and whose descriptors the kernel then did not pass. The peer never
 *                   sees them. ipc_conn_left() is the sum of both.
 *   left + out.bytes   How many bytes sends accepted in all: after a send returned 0, the place where its message ends in the stream.
 *                   A message has left whole when ipc_conn_left() has reached that place, unless hook->refused was called. When the
 *                   peer is lost, the queue is dropped, and bytes_out stays. A send that failed accepted nothing.
 */
#ifndef IPC_CONN_HOOK_H
#define IPC_CONN_HOOK_H

#include <stdbool.h>
#include <stdint.h>

struct aioconn_limits;

struct ipc_conn_hook {
	const struct ipc_conn_hook_calls *calls;
	struct ipc_conn_hook *next;
};

/*
 * For the owner on a floor above. @gone must be there, the others may be NULL. @owes, @muted, @wrote and @refused must not change
 * the connection.
 */
struct ipc_conn_hook_calls {
	/* The peer has begun to say something, or has said nothing yet; or what it said is whole. Called at each change. */
	void (*owes)(struct ipc_conn_hook *h, bool owes);
	/* The connection is over. Its members can still be read. @h has left the list. */
	void (*gone)(struct ipc_conn_hook *h);
	/* For by_hand only, once, in a turn: the peer left after its clean end, so nothing can be sent any more. Not every system tells this. */
	void (*lost)(struct ipc_conn_hook *h);
	/* The kernel took some bytes. */
	void (*wrote)(struct ipc_conn_hook *h);
	/* The kernel does not pass the descriptors of the message that ends at @end of the stream. That message is not sent. */
	void (*refused)(struct ipc_conn_hook *h, uint64_t end);
	/* Nothing more can be sent: our goodbye is queued, or what was queued is lost. Called once or never. It may leave the list. */
	void (*muted)(struct ipc_conn_hook *h);
};

/* What on_msg did with its message. TAKEN: its reference is the owner's now. KEPT: it goes back to the inbox. */
enum ipc_verdict { IPC_MSG_READ, IPC_MSG_TAKEN, IPC_MSG_KEPT };

/* What a caller says, as ours. Its size may be smaller. -1/EINVAL. */
int ipc_conn_take_limits(struct aioconn_limits *to, const struct aioconn_limits *from);

/* A send of a message with descriptors that has not returned yet. It can still return the error. */
struct ipc_posting {
	uint64_t end; /* where the message ends in the stream */
	int error;    /* the kernel refused it: why */
	struct ipc_posting *next;
};

#endif
