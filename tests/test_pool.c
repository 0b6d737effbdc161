/* The pool: blocks that come back, also by way of the depot, that are bounded, and that go when their thread ends. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/msg/pool.h"
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
	ck_assert_uint_le(kept, 6u << 20);
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

/* One thread gets what another puts: in turns, for so many rounds. */
#define ROUND 500

struct exchange {
	pthread_barrier_t barrier;
	void *block[ROUND];
	size_t size;
	int rounds;
};

static void *put_rounds(void *arg)
{
	struct exchange *e = arg;

	for (int round = 0; round < e->rounds; round++) {
		pthread_barrier_wait(&e->barrier);
		for (int i = 0; i < ROUND; i++)
			ipc_pool_put(e->block[i], e->size);
		pthread_barrier_wait(&e->barrier);
	}
	return NULL;
}

static unsigned get_rounds(struct exchange *e, int last)
{
	unsigned before = 0;

	for (int round = 0; round < e->rounds; round++) {
		if (round == e->rounds - last)
			before = mallocs;
		for (int i = 0; i < ROUND; i++)
			memset(e->block[i] = must(ipc_pool_get(100, &e->size)), 1, e->size);
		pthread_barrier_wait(&e->barrier);
		pthread_barrier_wait(&e->barrier);
	}
	return mallocs - before;
}

TEST(blocks_find_their_way_to_the_thread_that_needs_them)
{
	struct exchange e = {.rounds = 20};
	pthread_t thread;
	unsigned more;

	if (!keeps())
		return;
	pthread_barrier_init(&e.barrier, NULL, 2);
	ck_assert_int_eq(pthread_create(&thread, NULL, put_rounds, &e), 0);
	more = get_rounds(&e, 10);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&e.barrier);
	ck_assert_uint_eq(more, 0);

	/* what came from there counts as kept */
	more = frees;
	for (int i = 0; i < 6 * ROUND; i++)
		ipc_pool_put(must(malloc(e.size)), e.size);
	ck_assert_uint_ge((frees - more) * e.size, 6 * ROUND * e.size - (512u << 10));
	ipc_pool_drain();
}

static atomic_bool enough;

/* Puts what it did not get, and the other way round. */
static void *run_over(void *get)
{
	size_t size = 0;

	while (!atomic_load(&enough)) {
		if (get)
			free(must(ipc_pool_get(100, &size)));
		else
			ipc_pool_put(must(malloc(192)), 192);
	}
	return NULL;
}

/* Whatever the threads of the parent were at, the pool works in the child. */
TEST(a_fork_at_any_moment)
{
	pthread_t thread[2];
	size_t size;
	int status;

	if (!keeps() || !harness_forks_with_memory())
		return;
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, run_over, i ? &enough : NULL), 0);
	for (int i = 0; i < 100; i++) {
		pid_t pid = must(fork());

		if (pid == 0) {
			for (int n = 0; n < 3000; n++)
				ipc_pool_put(must(malloc(192)), 192);
			for (int n = 0; n < 3000; n++)
				memset(must(ipc_pool_get(100, &size)), 1, 192);
			_exit(0);
		}
		ck_assert_int_eq(must(waitpid(pid, &status, 0)), pid);
		ck_assert_int_eq(status, 0);
	}
	atomic_store(&enough, true);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
}
