/* Messages on their way out of the outbox. See outgoing.h. */
#include "ipc/link/outgoing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/call.h>
#include <aioipc/queue.h>

#include "ipc/conn/output.h"
#include "ipc/link/book.h"
#include "ipc/link/call.h"
#include "ipc/os/log.h"
#include "ipc/flow/queue.h"
#include "ipc/msg/msg.h"

#define BATCH 64
#define SHARE 16 /* most that is taken at a time from a shared queue */

#define TURN_MESSAGES 1024 /* most in one turn */

#define HELD_BYTES ((size_t)4 << 20) /* most that is not confirmed, beside IPC_BOOK_MOST messages */

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

/* Only where it is bounded. */
static size_t weight(const struct ipc_outgoing *f, const struct aiomsg *m)
{
	return f->confirms ? sizeof *m + m->len : 0;
}

/* May no more be held until some of it is confirmed? */
static bool holds_enough(const struct ipc_outgoing *f)
{
	return f->confirms && (f->count + BATCH > IPC_BOOK_MOST || f->bytes >= HELD_BYTES);
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
	if (holds_enough(f)) {
		errno = EAGAIN;
		return -1;
	}
	if (prepare(f) == -1)
		return -1;
	n = ipc_queue_lend(f->queue, m, share(f));
	for (ssize_t i = 0; i < n; i++) {
		*place(f, f->count++) = (struct ipc_outgoing_place){.m = m[i]};
		f->bytes += weight(f, m[i]);
	}
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
		*place(f, i) = *place(f, i + 1);
	f->bytes -= weight(f, m);
	aiomsg_free(m);
	ipc_queue_gone(f->queue, 1);
}

static uint64_t accepted(const struct aioconn *c)
{
	return ipc_conn_left(c) + c->out.bytes;
}

/* Numbers are for messages: a call ends by its answer or its deadline. */
static bool has_number(const struct ipc_outgoing *f, const struct aiomsg *m)
{
	return f->confirms && !(m->ticket && m->role >= IPC_ANSWER);
}

/* @c has accepted the next message, which ends at @end. */
static void was_given(struct ipc_outgoing *f, uint64_t end)
{
	struct ipc_outgoing_place *p = place(f, f->given++);

	p->end = end;
	if (!p->number && has_number(f, p->m))
		p->number = ++f->last;
	if (p->number)
		f->reached = p->number;
	if (f->torn)
		ipc_counter_add(&f->resent, 1);
	f->torn = false;
}

/* A descriptor can't be sent twice and mean the same. */
static int send_next(struct ipc_outgoing *f, struct aioconn *c, struct aiomsg *m)
{
	if (has_number(f, m) && m->fds && aiomsg_fds(m)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if (m->role != IPC_ASK)
		return aioconn_send_msg(c, m);
	return ipc_link_send_call(f->link, c, m);
}

/* The next message can't be sent, and errno says why. */
static void cannot_send(struct ipc_outgoing *f)
{
	struct aiomsg *m = place(f, f->given)->m;

	if (errno == ESTALE) { /* it answers a call that did not come by this connection */
		aiomsg_send_answer(m);
	} else if (errno != EALREADY &&
		   errno != ECANCELED) { /* not an answer too many, or a call that was given up */
		ipc_log("a message of %zu bytes can't be sent and is dropped: %s", m->len, strerror(errno));
		ipc_counter_add(&f->refused, 1);
	}
	drop(f, f->given);
}

/* 1: @c has accepted all; 0: it has accepted up to @until, which is enough for now; -1. */
static int give(struct ipc_outgoing *f, struct aioconn *c, uint64_t until)
{
	uint64_t end = accepted(c);

	while (f->given < f->count && end < until) {
		if (send_next(f, c, place(f, f->given)->m) == 0) {
			end = accepted(c);
			was_given(f, end);
		} else if (c->way_out >= IPC_OUT_LOST) {
			errno = EPIPE;
			return -1;
		} else if (is_for_later(errno)) {
			return -1;
		} else {
			cannot_send(f);
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
			errno = f->confirms && f->count ? EINPROGRESS : ESHUTDOWN;
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

/* The first @n are not held any more. */
static void let_go(struct ipc_outgoing *f, size_t n)
{
	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		struct aiomsg *m = place(f, i)->m;

		f->bytes -= m ? weight(f, m) : 0;
		aiomsg_free(m);
	}
	f->head = (f->head + n) & (f->places - 1);
	f->count -= n;
	f->given -= n;
	ipc_queue_gone(f->queue, n);
	if (f->count == 0)
		rest(f);
}

/* The first of those that have left are not held any more if they are confirmed, or have no number. */
static void let_confirmed_go(struct ipc_outgoing *f)
{
	size_t n, numbers = 0;

	for (n = 0; n < f->gone && place(f, n)->number < f->first; n++)
		numbers += place(f, n)->number > 0;
	f->gone -= n;
	ipc_counter_add(&f->confirmed, numbers);
	let_go(f, n);
}

/* It has left, and is held until it is confirmed; what has no number is only a place. */
static void hold(struct ipc_outgoing *f, struct ipc_outgoing_place *p)
{
	bool again = p->number && p->number <= f->left;

	ipc_counter_add(again ? &f->resent : &f->out, 1);
	if (p->number > f->left)
		f->left = p->number;
	if (p->number)
		return;
	f->bytes -= weight(f, p->m);
	aiomsg_free(p->m);
	p->m = NULL;
}

/* How many of those that were given have left by now. Mostly it is all. */
static size_t count_left(const struct ipc_outgoing *f, uint64_t bytes)
{
	size_t n = f->given;

	if (n > f->gone && place(f, n - 1)->end <= bytes)
		return n;
	for (n = f->gone; n < f->given && place(f, n)->end <= bytes; n++)
		;
	return n;
}

void ipc_outgoing_left(struct ipc_outgoing *f, uint64_t bytes)
{
	size_t n = count_left(f, bytes);

	if (n > f->gone)
		f->start = place(f, n - 1)->end;
	if (!f->confirms) {
		ipc_counter_add(&f->out, n);
		let_go(f, n);
		return;
	}
	for (size_t i = f->gone; i < n; i++)
		hold(f, place(f, i));
	f->gone = n;
	if (n > 0 && place(f, 0)->number < f->first)
		let_confirmed_go(f);
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

/* Those without a number that have left need no place any more. */
static void close_ranks(struct ipc_outgoing *f)
{
	size_t n = 0, all = f->count;

	for (size_t i = 0; i < all; i++)
		if (place(f, i)->m)
			*place(f, n++) = *place(f, i);
	f->count = n;
	ipc_queue_gone(f->queue, all - n);
}

void ipc_outgoing_back(struct ipc_outgoing *f, uint64_t bytes)
{
	if (!f->queue)
		return;
	ipc_outgoing_left(f, bytes);
	f->torn = !f->confirms && (f->torn || (f->given > 0 && bytes > f->start));
	f->given = f->gone = 0;
	f->start = 0;
	if (f->confirms)
		close_ranks(f);
	else
		ipc_outgoing_give_up(f);
}

void ipc_outgoing_give_up(struct ipc_outgoing *f)
{
	if (!f->queue)
		return;
	unget(f);
	f->bytes = 0;
	free(f->ring);
	f->ring = NULL;
	f->places = 0;
}

int ipc_outgoing_confirmed(struct ipc_outgoing *f, uint64_t taken)
{
	if (taken > f->reached)
		return -1;
	if (taken >= f->first) {
		f->first = taken + 1;
		let_confirmed_go(f);
	}
	return 0;
}

int ipc_outgoing_resume(struct ipc_outgoing *f, uint64_t had, uint64_t taken)
{
	size_t n = 0;

	if (taken > had || had > f->last || had + 1 < f->first)
		return -1;
	for (size_t i = 0; i < f->count; i++)
		if (place(f, i)->number && place(f, i)->number <= had)
			n = i + 1;
	for (size_t i = 0; i < n; i++)
		if (!place(f, i)->number)
			hold(f, place(f, i));
	f->given = f->gone = n;
	f->reached = had;
	if (had > f->left)
		f->left = had;
	return ipc_outgoing_confirmed(f, taken);
}

void ipc_outgoing_forget(struct ipc_outgoing *f)
{
	for (; f->count > 0; f->count--)
		aiomsg_free(place(f, f->count - 1)->m);
	free(f->ring);
}
