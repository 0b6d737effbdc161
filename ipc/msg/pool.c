/*
 * The pool: per thread and size class a list of free blocks, nothing shared and nothing locked; who has too many leaves a
 * bundle of them at the depot, who has none looks there. Not a general allocator: it knows no block but by the size that
 * its owner remembers. Messages and buffers live in it.
 */
#include "ipc/msg/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "ipc/msg/depot.h"

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

#define SMALLEST 7 /* 64 + 128 bytes */
#define LARGEST 17 /* 64 + 128 KiB; what is larger is malloc's */
#define CLASSES (LARGEST - SMALLEST + 1)
#define KEPT (256 * 1024) /* bytes of each class that a thread keeps, and the depot; and at least one block */
#define BUNDLES 16        /* parts of that in which blocks go from thread to thread */

_Static_assert(CLASSES == IPC_DEPOT_CLASSES, "the depot has the pool's classes");

enum state { NEW, KEEPS, ENDED };

static _Thread_local struct {
	enum state state;
	struct ipc_block *free[CLASSES];
	unsigned room[CLASSES]; /* how many more it may keep; 0 before the first put and after the end */
} cache;

static pthread_key_t key;
static bool have_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static size_t class_size(unsigned k)
{
	return IPC_POOL_HEADER + ((size_t)1 << (SMALLEST + k));
}

/* CLASSES or more: too large to be kept. */
static inline unsigned class_of(size_t want)
{
	if (want <= IPC_POOL_HEADER + (1 << SMALLEST))
		return 0;
	return (unsigned)(8 * sizeof(long long)) - (unsigned)__builtin_clzll(want - IPC_POOL_HEADER - 1) -
	       SMALLEST;
}

static unsigned most_kept(unsigned k)
{
	size_t most = KEPT / class_size(k);

	return most ? (unsigned)most : 1;
}

static void drop_list(struct ipc_block *b)
{
	struct ipc_block *next;

	for (; b; b = next) {
		next = b->next;
		free(b);
	}
}

static void drop_own(void)
{
	for (unsigned k = 0; k < CLASSES; k++) {
		drop_list(cache.free[k]);
		cache.free[k] = NULL;
		if (cache.state == KEEPS)
			cache.room[k] = most_kept(k);
	}
}

static void end_of_thread(void *unused)
{
	(void)unused;
	drop_own();
	for (unsigned k = 0; k < CLASSES; k++)
		cache.room[k] = 0;
	cache.state = ENDED;
}

static void make_key(void)
{
	have_key = pthread_key_create(&key, end_of_thread) == 0;
}

/* Tools that look for uses after free see them only if nothing is kept. */
static bool keep_nothing(void)
{
	return SANITIZED || RUNNING_ON_VALGRIND;
}

/* At a thread's first use: gives it room, unless its end could go unnoticed. */
bool ipc_pool_keeps(void)
{
	if (cache.state != NEW)
		return cache.state == KEEPS;
	cache.state = ENDED;
	pthread_once(&once, make_key);
	if (keep_nothing() || !have_key || pthread_setspecific(key, &cache) != 0)
		return false;
	cache.state = KEEPS;
	for (unsigned i = 0; i < CLASSES; i++)
		cache.room[i] = most_kept(i);
	return true;
}

static unsigned bundle_size(unsigned k)
{
	unsigned n = most_kept(k) / BUNDLES;

	return n ? n : 1;
}

/* The list is empty: a bundle that another thread left becomes it. */
static bool fetch(unsigned k)
{
	struct ipc_block *b = ipc_pool_keeps() ? ipc_depot_fetch(k) : NULL;

	if (!b)
		return false;
	cache.free[k] = b;
	cache.room[k] -= b->n;
	return true;
}

/* The list is full: a bundle of those that were put last, and are in the processor's cache, goes. */
static bool leave(unsigned k)
{
	unsigned n = bundle_size(k);
	struct ipc_block *first = cache.free[k], *last = first, *rest;

	for (unsigned i = 1; i < n; i++)
		last = last->next;
	rest = last->next;
	last->next = NULL;
	first->n = n;
	if (!ipc_depot_leave(k, first, most_kept(k) / n)) {
		last->next = rest;
		return false;
	}
	cache.free[k] = rest;
	cache.room[k] += n;
	return true;
}

static bool make_room(unsigned k)
{
	if (cache.state == KEEPS)
		return leave(k);
	return ipc_pool_keeps();
}

/* None is at hand. Apart, so that the common case saves no registers. */
__attribute__((noinline)) static void *get_elsewhere(unsigned k, size_t size)
{
	struct ipc_block *b;

	if (k >= CLASSES || !fetch(k))
		return malloc(size);
	b = cache.free[k];
	cache.free[k] = b->next;
	cache.room[k]++;
	return b;
}

void *ipc_pool_get(size_t want, size_t *size)
{
	unsigned k = class_of(want);
	struct ipc_block *b = k < CLASSES ? cache.free[k] : NULL;

	*size = k < CLASSES ? class_size(k) : want;
	if (!b)
		return get_elsewhere(k, *size);
	cache.free[k] = b->next;
	cache.room[k]++;
	return b;
}

static void keep(unsigned k, struct ipc_block *b)
{
	b->next = cache.free[k];
	cache.free[k] = b;
	cache.room[k]--;
}

__attribute__((noinline)) static void put_elsewhere(unsigned k, struct ipc_block *b)
{
	if (b && k < CLASSES && make_room(k))
		keep(k, b);
	else
		free(b);
}

void ipc_pool_put(void *block, size_t size)
{
	unsigned k = class_of(size);

	if (block && k < CLASSES && cache.room[k])
		keep(k, block);
	else
		put_elsewhere(k, block);
}

void ipc_pool_drain(void)
{
	struct ipc_block *b;

	drop_own();
	for (unsigned k = 0; k < CLASSES; k++)
		while ((b = ipc_depot_fetch(k)))
			drop_list(b);
}
