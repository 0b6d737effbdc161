/* The calls of a peer that were not answered yet: see desk.h. */
#include "ipc/conn/desk.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "ipc/loop/knock.h"
#include "ipc/msg/pool.h"
#include "ipc/msg/ticket.h"
#include "ipc/os/bell.h"
#include "ipc/os/random.h"
#include "ipc/own/own.h"

#define BUCKETS ((size_t)16) /* a power of two */

enum state {
	OPEN, /* waits for its answer; in the table */
	OWED, /* has an answer, or no message is left; in the table, and in the line of those that are owed something */
	ANSWERED, /* over, all three: it is in no list */
	UNWANTED,
	STRANDED, /* the connection is over */
};

struct called {
	struct ipc_ticket ticket; /* first */
	struct ipc_desk *desk;
	uint64_t id;
	size_t block;
	_Atomic(enum state) state; /* changes under the desk's lock */
	struct called *next;       /* in its bucket */
	struct called *next_owed, **at_owed;
	struct aiomsg *answer; /* that it is owed; it holds the ticket */
};

struct ipc_desk {
	atomic_uint refs; /* the connection, and each ticket */
	uint32_t epoch;
	struct ipc_key key;   /* a peer chooses its numbers, but not their buckets */
	pthread_mutex_t lock; /* of all below */
	bool stranded;
	struct called **bucket;
	size_t buckets;
	atomic_size_t count; /* in the table; may be looked at without the lock */
	struct called *owed, **last_owed;
	atomic_bool owes; /* the same of these */
	struct ipc_knock *knock;
	const struct ipc_own *bell;
};

static bool is_ours(const struct ipc_desk *d)
{
	return d->epoch == ipc_epoch();
}

struct ipc_desk *ipc_desk_new(void)
{
	struct ipc_desk *d = calloc(1, sizeof *d);

	if (!d)
		return NULL;
	d->bucket = calloc(BUCKETS, sizeof(struct called *));
	if (!d->bucket) {
		free(d);
		return NULL;
	}
	d->buckets = BUCKETS;
	d->last_owed = &d->owed;
	d->epoch = ipc_epoch();
	atomic_init(&d->refs, 1);
	ipc_os_random_key(&d->key);
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

static void unref(struct ipc_desk *d)
{
	if (atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) > 1)
		return;
	if (is_ours(d))
		pthread_mutex_destroy(&d->lock);
	free(d->bucket);
	free(d);
}

static void free_called(struct called *t)
{
	unref(t->desk);
	ipc_pool_put(t, t->block);
}

/* The table. */

static struct called **bucket_of(const struct ipc_desk *d, uint64_t id)
{
	return &d->bucket[ipc_key_mix(&d->key, id) & (d->buckets - 1)];
}

static struct called *find(const struct ipc_desk *d, uint64_t id)
{
	struct called *t = *bucket_of(d, id);

	while (t && t->id != id)
		t = t->next;
	return t;
}

static void put(struct ipc_desk *d, struct called *t)
{
	struct called **bucket = bucket_of(d, t->id);

	t->next = *bucket;
	*bucket = t;
}

static void take_out(struct ipc_desk *d, struct called *t)
{
	struct called **at = bucket_of(d, t->id);

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	d->count--;
}

/* Twice as many buckets, if there is memory: it works without. */
static void widen(struct ipc_desk *d)
{
	struct called **old = d->bucket, **bucket = calloc(2 * d->buckets, sizeof(struct called *));
	size_t n = d->buckets;

	if (!bucket)
		return;
	d->bucket = bucket;
	d->buckets = 2 * n;
	for (size_t i = 0; i < n; i++)
		for (struct called *t = old[i], *next; t; t = next) {
			next = t->next;
			put(d, t);
		}
	free(old);
}

/* Tickets. */

static struct called *called_of(const struct ipc_ticket *t)
{
	return (struct called *)(uintptr_t)t;
}

static int ticket_check(const struct ipc_ticket *t)
{
	if (is_ours(called_of(t)->desk))
		return 0;
	errno = ECHILD;
	return -1;
}

static bool ticket_wanted(const struct ipc_ticket *t)
{
	return is_ours(called_of(t)->desk) && called_of(t)->state == OPEN;
}

static void owe(struct ipc_desk *d, struct called *t)
{
	t->state = OWED;
	t->next_owed = NULL;
	t->at_owed = d->last_owed;
	*d->last_owed = t;
	d->last_owed = &t->next_owed;
	if (d->owes)
		return;
	d->owes = true;
	if (d->knock)
		ipc_knock(d->knock);
	if (d->bell)
		ipc_os_bell_ring(d->bell->w.fd);
}

static void ticket_dropped(struct ipc_ticket *ticket)
{
	struct called *t = called_of(ticket);
	struct ipc_desk *d = t->desk;
	bool owed = false;

	if (is_ours(d)) {
		pthread_mutex_lock(&d->lock);
		owed = t->state == OPEN;
		if (owed)
			owe(d, t);
		pthread_mutex_unlock(&d->lock);
	}
	if (!owed)
		free_called(t);
}

static int ticket_send(struct ipc_ticket *ticket, struct aiomsg *answer)
{
	struct called *t = called_of(ticket);
	struct ipc_desk *d = t->desk;
	enum state was;

	if (ticket_check(ticket) < 0)
		return -1;
	pthread_mutex_lock(&d->lock);
	was = t->state;
	if (was == OPEN) {
		t->answer = aiomsg_ref(answer);
		owe(d, t);
	}
	pthread_mutex_unlock(&d->lock);
	if (was != ANSWERED && was != OWED)
		return 0;
	errno = EALREADY;
	return -1;
}

static const struct ipc_ticket_ops ops = {ticket_check, ticket_wanted, ticket_dropped, ticket_send};

int ipc_desk_take(struct ipc_desk *d, struct aiomsg *m, uint64_t id)
{
	size_t block;
	struct called *t = ipc_pool_get(sizeof *t, &block);
	bool exists;

	if (!t)
		return -1;
	*t = (struct called){.ticket.ops = &ops, .desk = d, .id = id, .block = block};
	pthread_mutex_lock(&d->lock);
	exists = find(d, id);
	if (!exists) {
		if (d->count >= d->buckets)
			widen(d);
		put(d, t);
		d->count++;
	}
	pthread_mutex_unlock(&d->lock);
	if (exists) {
		ipc_pool_put(t, block);
		errno = EEXIST;
		return -1;
	}
	atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
	ipc_ticket_give(&t->ticket, m, IPC_CALL);
	return 0;
}

size_t ipc_desk_count(const struct ipc_desk *d)
{
	return d ? d->count : 0;
}

/* It is in no list any more. With an answer, it goes with that. */
static void let_go(struct called *t)
{
	struct aiomsg *answer = t->answer;

	t->answer = NULL;
	if (answer)
		aiomsg_free(answer);
	else
		free_called(t);
}

static void leave_owed(struct ipc_desk *d, struct called *t)
{
	*t->at_owed = t->next_owed;
	if (t->next_owed)
		t->next_owed->at_owed = t->at_owed;
	else
		d->last_owed = t->at_owed;
	d->owes = d->owed;
}

bool ipc_desk_cancel(struct ipc_desk *d, uint64_t id)
{
	struct called *t;
	bool owed, known;

	pthread_mutex_lock(&d->lock);
	t = find(d, id);
	known = t;
	owed = t && t->state == OWED;
	if (owed)
		leave_owed(d, t);
	if (t) {
		take_out(d, t);
		t->state = UNWANTED;
	}
	pthread_mutex_unlock(&d->lock);
	if (owed)
		let_go(t);
	return known;
}

int ipc_desk_answer(struct ipc_desk *d, const struct aiomsg *answer, uint64_t *id)
{
	struct called *t = called_of(answer->ticket);
	enum state was;

	if (!d || t->desk != d) {
		errno = ESTALE;
		return -1;
	}
	*id = t->id;
	pthread_mutex_lock(&d->lock);
	was = t->state;
	if (was == OPEN) {
		take_out(d, t);
		t->state = ANSWERED;
	}
	pthread_mutex_unlock(&d->lock);
	if (was != ANSWERED && was != OWED)
		return was == OPEN;
	errno = EALREADY;
	return -1;
}

/* Unless the peer has used its number for another call meanwhile. */
void ipc_desk_not_sent(const struct aiomsg *answer)
{
	struct called *t = called_of(answer->ticket);
	struct ipc_desk *d = t->desk;

	pthread_mutex_lock(&d->lock);
	t->state = d->stranded || find(d, t->id) ? STRANDED : OPEN;
	if (t->state == OPEN) {
		put(d, t);
		d->count++;
	}
	pthread_mutex_unlock(&d->lock);
}

/* What is owed. */

int ipc_desk_owes(struct ipc_desk *d, uint64_t *id, struct aiomsg **answer)
{
	int r = 0;

	if (!d || !d->owes)
		return 0;
	pthread_mutex_lock(&d->lock);
	if (d->owed) {
		*id = d->owed->id;
		*answer = d->owed->answer;
		r = 1;
	}
	pthread_mutex_unlock(&d->lock);
	return r;
}

void ipc_desk_paid(struct ipc_desk *d)
{
	struct called *t;

	pthread_mutex_lock(&d->lock);
	t = d->owed;
	leave_owed(d, t);
	take_out(d, t);
	t->state = ANSWERED;
	pthread_mutex_unlock(&d->lock);
	let_go(t);
}

void ipc_desk_set_knock(struct ipc_desk *d, struct ipc_knock *knock)
{
	if (!is_ours(d)) {
		d->knock = knock;
		return;
	}
	pthread_mutex_lock(&d->lock);
	d->knock = knock;
	pthread_mutex_unlock(&d->lock);
}

struct ipc_knock *ipc_desk_knock(const struct ipc_desk *d)
{
	return d->knock;
}

void ipc_desk_set_bell(struct ipc_desk *d, const struct ipc_own *bell)
{
	if (!is_ours(d)) {
		d->bell = bell;
		return;
	}
	pthread_mutex_lock(&d->lock);
	d->bell = bell;
	pthread_mutex_unlock(&d->lock);
}

/* All are out of the table now. Those that are owed something are returned, as a list. */
static struct called *strand_all(struct ipc_desk *d)
{
	struct called *owed = d->owed;

	for (size_t i = 0; i < d->buckets; i++) {
		for (struct called *t = d->bucket[i]; t; t = t->next)
			t->state = STRANDED;
		d->bucket[i] = NULL;
	}
	d->count = 0;
	d->owed = NULL;
	d->last_owed = &d->owed;
	d->owes = false;
	d->stranded = true;
	return owed;
}

void ipc_desk_strand(struct ipc_desk *d)
{
	struct called *t, *next;

	if (!d || !is_ours(d))
		return;
	pthread_mutex_lock(&d->lock);
	t = strand_all(d);
	pthread_mutex_unlock(&d->lock);
	for (; t; t = next) {
		next = t->next_owed;
		let_go(t);
	}
}

void ipc_desk_close(struct ipc_desk *d)
{
	ipc_desk_strand(d);
	if (d)
		unref(d);
}
