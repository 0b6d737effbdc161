/* Pages of a book: each has the places of some messages, one bit a message. See book.h. */
#include "ipc/link/book.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "ipc/loop/knock.h"
#include "ipc/msg/msg.h"
#include "ipc/own/own.h"

#define PLACES 62                   /* on a page: one bit for each message that is done with, and two more: */
#define LEFT (UINT64_C(1) << 62)    /* the book does not need the page any more */
#define WATCHED (UINT64_C(1) << 63) /* who frees a message of this page knocks */
#define ALL (WATCHED - 1)           /* nobody needs the page */

struct page {
	struct ipc_receipt receipt; /* first */
	struct ipc_book *book;
	struct page *next;
	uint64_t first; /* the number of its first message */
	unsigned used;
	_Atomic(uint64_t) done;
};

struct ipc_book {
	atomic_uint refs; /* the link, and each page */
	uint32_t epoch;
	struct ipc_key sender;
	uint64_t had;
	uint64_t torn; /* the first number that was torn out; UINT64_MAX: none */
	struct page *oldest, *newest;
	pthread_mutex_t lock; /* of the next: */
	struct ipc_knock *knock;
};

static bool is_ours(const struct ipc_book *b)
{
	return b->epoch == ipc_epoch();
}

static void unref(struct ipc_book *b)
{
	if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (is_ours(b))
		pthread_mutex_destroy(&b->lock);
	free(b);
}

static void free_if_done(struct page *p, uint64_t done)
{
	struct ipc_book *b;

	if ((done & ALL) != ALL)
		return;
	b = p->book;
	free(p);
	unref(b);
}

static void mark(struct page *p, uint64_t bits)
{
	free_if_done(p, atomic_fetch_or(&p->done, bits) | bits);
}

/* The caller's message keeps the page until it is marked, but not the book behind that. */
static void mark_and_knock(struct page *p, uint64_t bit)
{
	struct ipc_book *b = p->book;

	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	mark(p, bit);
	if (is_ours(b)) {
		pthread_mutex_lock(&b->lock);
		if (b->knock)
			ipc_knock(b->knock);
		pthread_mutex_unlock(&b->lock);
	}
	unref(b);
}

static void on_freed(struct ipc_receipt *r, unsigned place)
{
	struct page *p = (struct page *)(void *)r;
	uint64_t bit = UINT64_C(1) << place, before = atomic_load_explicit(&p->done, memory_order_relaxed);

	do {
		if (before & WATCHED) {
			mark_and_knock(p, bit);
			return;
		}
	} while (!atomic_compare_exchange_weak(&p->done, &before, before | bit));
	free_if_done(p, before | bit);
}

struct ipc_book *ipc_book_new(const struct ipc_key *sender, uint64_t had, struct ipc_knock *knock)
{
	struct ipc_book *b = calloc(1, sizeof *b);

	if (!b)
		return NULL;
	atomic_init(&b->refs, 1);
	b->epoch = ipc_epoch();
	b->sender = *sender;
	b->had = had;
	b->torn = UINT64_MAX;
	b->knock = knock;
	pthread_mutex_init(&b->lock, NULL);
	return b;
}

/* Places that were never used count as done with. */
static void leave_page(struct page *p)
{
	mark(p, LEFT | (ALL & ~((UINT64_C(1) << p->used) - 1)));
}

void ipc_book_leave(struct ipc_book *b)
{
	struct page *p, *next;

	if (!b)
		return;
	if (is_ours(b)) {
		pthread_mutex_lock(&b->lock);
		b->knock = NULL;
		pthread_mutex_unlock(&b->lock);
	}
	for (p = b->oldest; p; p = next) {
		next = p->next;
		leave_page(p);
	}
	unref(b);
}

bool ipc_book_is_of(const struct ipc_book *b, const struct ipc_key *sender)
{
	return b->sender.half[0] == sender->half[0] && b->sender.half[1] == sender->half[1];
}

uint64_t ipc_book_had(const struct ipc_book *b)
{
	return b->had;
}

/* How many of the first messages of a page are done with. */
static unsigned done_with(const struct page *p)
{
	uint64_t open = ~atomic_load_explicit(&p->done, memory_order_acquire) | LEFT;
	unsigned n = (unsigned)__builtin_ctzll(open);

	return n < p->used ? n : p->used;
}

uint64_t ipc_book_taken(struct ipc_book *b)
{
	struct page *p;
	uint64_t taken;

	while ((p = b->oldest) && p->next && done_with(p) == PLACES) { /* the newest stays */
		b->oldest = p->next;
		leave_page(p);
	}
	taken = p ? p->first - 1 + done_with(p) : b->had;
	return taken < b->torn ? taken : b->torn - 1;
}

static int turn_page(struct ipc_book *b)
{
	struct page *p = calloc(1, sizeof *p);

	if (!p)
		return -1;
	p->receipt.freed = on_freed;
	p->book = b;
	p->first = b->had + 1;
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	if (b->newest)
		b->newest->next = p;
	else
		b->oldest = p;
	b->newest = p;
	return 0;
}

int ipc_book_enter(struct ipc_book *b, struct aiomsg *m)
{
	struct page *p = b->newest;

	if (!p || p->used == PLACES) {
		if (b->had - ipc_book_taken(b) >= IPC_BOOK_MOST) {
			errno = EOVERFLOW;
			return -1;
		}
		if (turn_page(b) == -1)
			return -1;
		p = b->newest;
	}
	m->receipt = &p->receipt;
	m->place = (uint8_t)p->used++;
	b->had++;
	return 0;
}

void ipc_book_tear_out(struct aiomsg *m)
{
	struct page *p = (struct page *)(void *)m->receipt;

	if (p && p->first + m->place < p->book->torn)
		p->book->torn = p->first + m->place;
}

bool ipc_book_watch(struct ipc_book *b, uint64_t taken)
{
	if (b->oldest)
		atomic_fetch_or(&b->oldest->done, WATCHED);
	return ipc_book_taken(b) == taken;
}

void ipc_book_look_away(struct ipc_book *b)
{
	if (b->oldest)
		atomic_fetch_and(&b->oldest->done, ~WATCHED);
}
