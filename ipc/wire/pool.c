/*
 * The pool: per thread and size class a list of free blocks, nothing shared and nothing locked. Not a general
 * allocator: it knows no block but by the size that its owner remembers. Messages and buffers live in it.
 */
#include "ipc/wire/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

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
#define KEPT (256 * 1024) /* bytes of each class that a thread keeps, and at least one block */

struct block {
	struct block *next;
};

enum state { NEW, KEEPS, ENDED };

static _Thread_local struct {
	enum state state;
	struct block *free[CLASSES];
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

static void end_of_thread(void *unused)
{
	(void)unused;
	ipc_pool_drain();
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

/* At a thread's first put: gives it room, unless its end could go unnoticed. Is there some for class @k then? */
static bool start_keeping(unsigned k)
{
	if (cache.state != NEW)
		return false;
	cache.state = ENDED;
	pthread_once(&once, make_key);
	if (keep_nothing() || !have_key || pthread_setspecific(key, &cache) != 0)
		return false;
	cache.state = KEEPS;
	for (unsigned i = 0; i < CLASSES; i++)
		cache.room[i] = most_kept(i);
	return cache.room[k] > 0;
}

void *ipc_pool_get(size_t want, size_t *size)
{
	unsigned k = class_of(want);
	struct block *b;

	if (k >= CLASSES) {
		*size = want;
		return malloc(want);
	}
	*size = class_size(k);
	b = cache.free[k];
	if (!b)
		return malloc(*size);
	cache.free[k] = b->next;
	cache.room[k]++;
	return b;
}

void ipc_pool_put(void *block, size_t size)
{
	unsigned k = class_of(size);
	struct block *b = block;

	if (!b)
		return;
	if (k >= CLASSES || (cache.room[k] == 0 && !start_keeping(k))) {
		free(b);
		return;
	}
	b->next = cache.free[k];
	cache.free[k] = b;
	cache.room[k]--;
}

void ipc_pool_drain(void)
{
	for (unsigned k = 0; k < CLASSES; k++) {
		while (cache.free[k]) {
			struct block *b = cache.free[k];

			cache.free[k] = b->next;
			cache.room[k]++;
			free(b);
		}
	}
}
