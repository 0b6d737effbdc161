/* Messages on their way out of the outbox. See outgoing.h. */
#include "ipc/link/outgoing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/call.h>
#include <aioipc/queue.h>

#include "ipc/conn/output.h"
#include "ipc/link/call.h"
#include "ipc/os/log.h"
#include "ipc/flow/queue.h"
#include "ipc/msg/msg.h"

#define BATCH 64
#define SHARE 16 /* most that is taken at a time from a shared queue */

#define TURN_MESSAGES 1024 /* most in one turn */

static struct ipc_outgoing_place *place(const struct ipc_outgoing *f, size_t i)
{
	return &f->ring[(f->head + i) & (f->places - 1)];
}

/* Makes room for another batch. */
static int prepare(struct ipc_outgoing *f)
{
	size_t places = f->places ? 2 * f->places : 2 * (size_t)BATCH;
	struct ipc_outgoing_place *ring;

	if (f->places - f->count >= BATCH)
		return 0;
	ring = reallocarray(NULL, places, sizeof *ring);
	if (!ring)
		return -1;
	for (size_t i = 0; i < f->count; i++)
		ring[i] = *place(f, i);
	free(f->ring);
	f->ring = ring;
	f->places = places;
	f->head = 0;
	return 0;
}

/* The ring is empty: free it if it is large. */
static void rest(struct ipc_outgoing *f)
{
	if (f->places <= 2 * (size_t)BATCH)
		return;
	free(f->ring);
	f->ring = NULL;
	f->places = 0;
}

static bool is_alone(const struct ipc_outgoing *f)
{
	return ipc_sharers_count(f->queue, IPC_CONSUMERS) == 1;
}

/* How many to take now. Other consumers that are idle get the same. */
static size_t share(const struct ipc_outgoing *f)
{
	size_t takers = ipc_sharers_count(f->queue, IPC_CONSUMERS), n;

	if (takers == 1)
		return BATCH;
	n = (aioqueue_count(f->queue) + takers - 1) / takers;
	return n < 1 ? 1 : n < SHARE ? n : SHARE;
}

/* Takes the next messages: how many; 0 at the end; -1: ETIMEDOUT (none now), ENOMEM. */
static ssize_t fetch(struct ipc_outgoing *f)
{
	struct aiomsg *m[BATCH];
	ssize_t n;

	if (f->stopped)
		return 0;
	if (prepare(f) == -1)
		return -1;
	n = ipc_queue_lend(f->queue, m, share(f));
	for (ssize_t i = 0; i < n; i++)
		place(f, f->count + (size_t)i)->m = m[i];
	f->count += n > 0 ? (size_t)n : 0;
	return n;
}

static bool is_for_later(int error)
{
	return error == EAGAIN || error == EPIPE || error == ENOMEM || error == EMFILE || error == ENFILE;
}

/* Drops message @i, which can't be sent. */
static void drop(struct ipc_outgoing *f, size_t i)
{
	struct aiomsg *m = place(f, i)->m;

	for (f->count--; i < f->count; i++)
		place(f, i)->m = place(f, i + 1)->m;
	aiomsg_free(m);
	ipc_queue_gone(f->queue, 1);
}

static uint64_t accepted(const struct aioconn *c)
{
	return ipc_conn_left(c) + c->out.bytes;
}

static int send_one(struct ipc_outgoing *f, struct aioconn *c, struct aiomsg *m)
{
	if (m->role != IPC_ASK)
		return aioconn_send_msg(c, m);
	f->asked = true;
	return ipc_link_send_call(c, m);
}

/* 1: @c has accepted all; 0: it has accepted up to @until, which is enough for now; -1. */
static int give(struct ipc_outgoing *f, struct aioconn *c, uint64_t until)
{
	while (f->given < f->count && accepted(c) < until) {
		struct aiomsg *m = place(f, f->given)->m;

		if (send_one(f, c, m) == 0) {
			place(f, f->given)->end = accepted(c);
			f->given++;
			ipc_counter_add(&f->resent, f->torn);
			f->torn = false;
		} else if (c->way_out >= IPC_OUT_LOST) {
			errno = EPIPE;
			return -1;
		} else if (is_for_later(errno)) {
			return -1;
		} else if (errno == ESTALE) { /* it answers a call that did not come by @c */
			aiomsg_send_answer(m);
			drop(f, f->given);
		} else if (errno == EALREADY ||
			   errno == ECANCELED) { /* an answer too many, or a call that was given up */
			drop(f, f->given);
		} else {
			ipc_log("a message of %zu bytes can't be sent and is dropped: %s", m->len,
				strerror(errno));
			drop(f, f->given);
			ipc_counter_add(&f->refused, 1);
		}
	}
	return f->given == f->count;
}

/* Gives and fetches in turn. With other consumers, it takes one share only: the queue knows whose turn is next. */
static int send_all(struct ipc_outgoing *f, struct aioconn *c)
{
	uint64_t until = accepted(c) + IPC_CONN_BATCH;
	size_t most = is_alone(f) ? TURN_MESSAGES : BATCH;

	for (size_t sent = 0; sent < most; sent += BATCH) {
		int r = give(f, c, until);
		ssize_t n;

		if (r < 1)
			return r;
		n = fetch(f);
		if (n == -1 && errno == ETIMEDOUT)
			return 1;
		if (n == 0)
			errno = ESHUTDOWN;
		if (n <= 0)
			return -1;
	}
	return give(f, c, until);
}

int ipc_outgoing_send(struct ipc_outgoing *f, struct aioconn *c)
{
	int r = send_all(f, c), error = errno;

	ipc_outgoing_left(f, ipc_conn_left(c));
	errno = error;
	return r;
}

void ipc_outgoing_left(struct ipc_outgoing *f, uint64_t bytes)
{
	size_t n;

	for (n = 0; n < f->given && place(f, n)->end <= bytes; n++) {
		f->start = place(f, n)->end;
		aiomsg_free(place(f, n)->m);
	}
	if (n == 0)
		return;
	f->head = (f->head + n) & (f->places - 1);
	f->count -= n;
	f->given -= n;
	ipc_counter_add(&f->out, n);
	ipc_queue_gone(f->queue, n);
	if (f->count == 0)
		rest(f);
}

void ipc_outgoing_refused(struct ipc_outgoing *f, uint64_t end)
{
	for (size_t i = 0; i < f->given; i++)
		if (place(f, i)->end == end) {
			f->given--;
			drop(f, i);
			ipc_counter_add(&f->refused, 1);
			return;
		}
}

/* Puts all back, the last first, so that their order stays. */
static void unget(struct ipc_outgoing *f)
{
	struct aiomsg *m[BATCH];

	while (f->count > 0) {
		size_t n = f->count < BATCH ? f->count : BATCH;

		for (size_t i = 0; i < n; i++)
			m[i] = place(f, f->count - n + i)->m;
		f->count -= n;
		ipc_queue_unget(f->queue, m, n);
		for (size_t i = 0; i < n; i++)
			aiomsg_free(m[i]);
	}
}

void ipc_outgoing_back(struct ipc_outgoing *f, uint64_t bytes)
{
	if (!f->queue)
		return;
	ipc_outgoing_left(f, bytes);
	f->torn = f->torn || (f->given > 0 && bytes > f->start);
	f->given = 0;
	f->start = 0;
	unget(f);
	free(f->ring);
	f->ring = NULL;
	f->places = 0;
}

void ipc_outgoing_forget(struct ipc_outgoing *f)
{
	for (; f->count > 0; f->count--)
		aiomsg_free(place(f, f->count - 1)->m);
	free(f->ring);
}
