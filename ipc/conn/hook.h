/* Who is told what becomes of a connection: the hooks of owners on floors above, and a send that has not returned yet. */
#ifndef IPC_CONN_HOOK_H
#define IPC_CONN_HOOK_H

#include <stdbool.h>
#include <stdint.h>

/*
 * For the owner on a floor above. @gone must be there, the others may be NULL. @owes, @wrote and @refused must not change
 * the connection.
 */
struct ipc_conn_hook {
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
	struct ipc_conn_hook *next;
};

/* A send of a message with descriptors that has not returned yet. It can still return the error. */
struct ipc_posting {
	uint64_t end; /* where the message ends in the stream */
	int error;    /* the kernel refused it: why */
	struct ipc_posting *next;
};

#endif
