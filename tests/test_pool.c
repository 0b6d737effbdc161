/* The pool: blocks that come back, that are bounded, and that go when their thread ends. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "ipc/wire/pool.h"
#include "tests/harness.h"

/* Every call of malloc and free is counted. */
void *__real_malloc(size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void __wrap_free(void *block);

static _Thread_local unsigned mallocs, frees;

void *__wrap_malloc(size_t size)
{
	mallocs++;
	return __real_malloc(size);
}

void __wrap_free(void *block)
{
	frees++;
	__real_free(block);
}

/* Under ASan and valgrind nothing is kept. */
static bool keeps(void)
{
	size_t size;
	void *block = must(ipc_pool_get(1, &size));
	unsigned before;

	ipc_pool_put(block, size);
	before = mallocs;
	ipc_pool_put(must(ipc_pool_get(1, &size)), size);
	return mallocs == before;
}

TEST(blocks_are_large_enough)
{
	for (size_t want = 0; want < 400000; want += 1 + want / 37) {
		size_t size;
		char *block = must(ipc_pool_get(want, &size));

		ck_assert_uint_ge(size, want);
		memset(block, 1, size);
		ipc_pool_put(block, size);
	}
	ipc_pool_put(NULL, 0);
}

TEST(the_steady_state_needs_no_malloc)
{
	void *block[1000];
	size_t size[1000];
	unsigned before = 0;

	if (!keeps())
		return;
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 1000; i++)
			block[i] = must(ipc_pool_get(100, &size[i]));
		for (int i = 0; i < 1000; i++)
			ipc_pool_put(block[i], size[i]);
		if (round == 0)
			before = mallocs;
	}
	ck_assert_uint_eq(mallocs, before);
}

TEST(what_is_kept_is_bounded)
{
	static void *block[500];
	size_t size, kept = 0;

	for (size_t want = 100; want < 1000000; want *= 2) {
		unsigned before = frees;

		for (int i = 0; i < 500; i++)
			block[i] = must(ipc_pool_get(want, &size));
		for (int i = 0; i < 500; i++)
			ipc_pool_put(block[i], size);
		kept += (500 - (frees - before)) * size;
	}
	ck_assert_uint_le(kept, 3u << 20);
	ipc_pool_drain();
}

static void *put_all(void *blocks)
{
	size_t size = 0;

	for (int i = 0; i < 100; i++)
		ipc_pool_put(((void **)blocks)[i], 192);
	ipc_pool_put(must(ipc_pool_get(100, &size)), size);
	return NULL;
}

/* Got here, put there; LeakSanitizer and valgrind tell if the end of the thread forgets them. */
TEST(another_thread_may_put)
{
	void *block[100];
	pthread_t thread;
	size_t size;

	for (int i = 0; i < 100; i++) {
		block[i] = must(ipc_pool_get(100, &size));
		ck_assert_uint_eq(size, 192);
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, put_all, block), 0);
	pthread_join(thread, NULL);
}
