/* Messages that have arrived and go into the inbox. See incoming.h. */
#include "ipc/link/incoming.h"

#include <errno.h>
#include <string.h>

#include <aioipc/msg.h>
#include "ipc/flow/queue.h"
#include "ipc/link/book.h"

void ipc_incoming_take(struct ipc_incoming *l, struct aiomsg *m)
{
	l->m[l->count++] = m;
}

/* How many were put, or -1. EPIPE is final. */
static ssize_t put_some(struct ipc_incoming *l)
{
	ssize_t n = ipc_queue_hand_over(l->queue, l->m, l->count);

	if (n > 0) {
		l->count -= (size_t)n;
		memmove(l->m, l->m + n, l->count * sizeof l->m[0]);
		ipc_counter_add(&l->in, (uint64_t)n);
	}
	return n;
}

int ipc_incoming_put(struct ipc_incoming *l)
{
	while (l->count > 0) {
		if (put_some(l) >= 0)
			continue;
		if (errno != EPIPE)
			return -1;
		ipc_incoming_drop(l);
	}
	return 0;
}

void ipc_incoming_drop(struct ipc_incoming *l)
{
	ipc_counter_add(&l->dropped, l->count);
	while (l->count > 0) {
		ipc_book_tear_out(l->m[--l->count]);
		aiomsg_free(l->m[l->count]);
	}
}
