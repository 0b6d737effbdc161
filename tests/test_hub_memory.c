/*
 * A hub has the bytes of a message once, however many members wait for them: neither the allocations that a message costs nor the bytes that
 * are held grow with the members. Linked so that every malloc, calloc and realloc of the library comes by here.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/msg/pool.h"
#include "tests/peers.h"

#define MOST 30
#define OUTBOX ((size_t)1 << 20)

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

static unsigned allocations;

void *__wrap_malloc(size_t size)
{
	allocations++;
	return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	allocations++;
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	allocations++;
	return __real_realloc(old, size);
}

struct crowd {
	struct event_base *base;
	struct aiohub *hub;
	unsigned n;
	struct aioconn *member[MOST];
	int fd[MOST];
};

static void gather(struct crowd *w, unsigned n, enum aioconn_framing framing)
{
	struct aiohub_options o = {.size = sizeof o};

	*w = (struct crowd){.base = new_base(), .n = n};
	o.base = w->base;
	w->hub = must(aiohub_new(&o));
	for (unsigned i = 0; i < n; i++) {
		int small = 4096;

		w->fd[i] = raw_reader(PAIR, w->base, &w->member[i]);
		must(setsockopt(aioconn_fd(w->member[i]), SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
		must(aioconn_set_framing(w->member[i], framing, NULL));
		must(aiohub_join(w->hub, w->member[i]));
	}
	run_now(w->base);
}

static void disperse(struct crowd *w)
{
	aiohub_free(w->hub);
	for (unsigned i = 0; i < w->n; i++) {
		aioconn_abort(w->member[i]);
		must(close(w->fd[i]));
	}
	event_base_free(w->base);
}

static void send_one(struct crowd *w, size_t len)
{
	static char data[100000];
	struct aiomsg *m = must(aiomsg_new_bytes(data, len));

	ck_assert_int_ge(must(aiohub_send(w->hub, m)), 0);
	aiomsg_free(m);
}

/* What is held for members that read nothing, when each has a full queue. */
static size_t held_by(unsigned members, size_t len, enum aioconn_framing framing)
{
	struct crowd w;
	size_t before;

	gather(&w, members, framing);
	before = heap_in_use();
	for (size_t sent = 0; sent < 2 * OUTBOX; sent += len)
		send_one(&w, len);
	run_now(w.base);
	for (unsigned i = 0; i < members; i++) {
		struct aioconn_stats s = {.size = sizeof s};

		must(aioconn_stats(w.member[i], &s));
		ck_assert_uint_gt(s.queued_out, OUTBOX / 2);
	}
	before = heap_in_use() - before;
	disperse(&w);
	return before;
}

/* For each member there is its list of what it waits for, and nothing of what that is. */
static void bytes_are_held_once(size_t len, enum aioconn_framing framing)
{
	size_t few = held_by(2, len, framing), many = held_by(MOST, len, framing);

	ck_assert_uint_lt(few, 2 * OUTBOX);
	ck_assert_uint_lt(many, 2 * OUTBOX + MOST * 8192);
}

TEST(small_messages_are_held_once)
{
	bytes_are_held_once(100, AIOCONN_MESSAGES);
}

TEST(lines_are_held_once)
{
	bytes_are_held_once(2000, AIOCONN_LINES);
}

TEST(large_messages_are_held_once)
{
	bytes_are_held_once(60000, AIOCONN_MESSAGES);
}

TEST(bytes_are_held_once_without_a_frame)
{
	bytes_are_held_once(10000, AIOCONN_BYTES);
}

/* The members from @first on read everything. */
static void drain(struct crowd *w, unsigned first)
{
	static char buf[200000];

	run_now(w->base);
	for (unsigned i = first; i < w->n; i++)
		while (recv(w->fd[i], buf, sizeof buf, MSG_DONTWAIT) > 0)
			run_now(w->base);
}

/* How often memory is allocated for ten messages to members that all read. */
static unsigned cost_with(unsigned members, size_t len)
{
	struct crowd w;
	unsigned before = 0, cost;

	gather(&w, members, AIOCONN_MESSAGES);
	for (int i = 0; i < 20; i++) {
		if (i == 10)
			before = allocations;
		send_one(&w, len);
		drain(&w, 0);
	}
	cost = allocations - before;
	disperse(&w);
	return cost;
}

/* With valgrind or a sanitizer each block of the pool is allocated anew: for each member the list of what it waits for. */
static bool pool_keeps(void)
{
	size_t size;
	void *block = must(ipc_pool_get(1, &size));
	unsigned before;

	ipc_pool_put(block, size);
	before = allocations;
	block = must(ipc_pool_get(1, &size));
	ipc_pool_put(block, size);
	return allocations == before;
}

TEST(members_cost_no_allocations)
{
	static const size_t sizes[] = {100, 3000, 20000};
	unsigned lists = pool_keeps() ? 0 : 10 * 4 * MOST;

	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_le(cost_with(MOST, sizes[i]), cost_with(1, sizes[i]) + lists);
	ck_assert_uint_gt(allocations, 0);
}

/* A member that misses most of what is sent keeps no block of memory for each message that it gets. */
TEST(who_gets_little_holds_little)
{
	enum { ROUNDS = 200, BETWEEN = 400 };
	struct crowd w;
	struct aiomsg *m = must(aiomsg_new_bytes((char[100]){0}, 100));
	size_t before;

	gather(&w, 2, AIOCONN_MESSAGES);
	before = heap_in_use();
	for (int i = 0; i < ROUNDS; i++) {
		send_one(&w, 100);
		for (int n = 0; n < BETWEEN; n++)
			must(aiohub_send_others(w.hub, w.member[0], m));
		drain(&w, 1);
	}
	ck_assert_uint_lt(heap_in_use() - before, OUTBOX);
	aiomsg_free(m);
	disperse(&w);
}
