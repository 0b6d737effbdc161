/* Queues between threads: order, bounds, the end, and those who wait. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <aioipc/msg.h>
#include <aioipc/queue.h>

#include "ipc/flow/queue.h"
#include "ipc/msg/msg.h"
#include "tests/harness.h"

#define SHORT 20 /* ms, to wait for what does not come */

static struct aiomsg *number(uint32_t n)
{
	return must(aiomsg_new_bytes(&n, sizeof n));
}

static uint32_t number_in(const struct aiomsg *m)
{
	uint32_t n;

	memcpy(&n, aiomsg_bytes(m, NULL), sizeof n);
	return n;
}

static int put_number(struct aioqueue *q, uint32_t n, int64_t deadline)
{
	struct aiomsg *m = number(n);
	int result = aioqueue_put(q, m, deadline);
	int error = errno;

	aiomsg_free(m);
	errno = error;
	return result;
}

static int get_number(struct aioqueue *q, int64_t deadline)
{
	struct aiomsg *m;
	uint32_t n;

	ck_assert_int_eq(must(aioqueue_get(q, &m, deadline)), 1);
	n = number_in(m);
	aiomsg_free(m);
	return (int)n;
}

static void drop_one(struct aioqueue *q)
{
	struct aiomsg *m;

	ck_assert_int_eq(must(aioqueue_get(q, &m, AIOIPC_NOW)), 1);
	aiomsg_free(m);
}

static size_t length_of(struct aioqueue *q, struct ipc_waitlist *l)
{
	size_t n = 0;

	ipc_queue_lock(q);
	for (struct ipc_wait_entry *w = l->first; w; w = w->next)
		n++;
	ipc_queue_unlock(q);
	return n;
}

/* Until so many stand in line. */
static void await_waiters(struct aioqueue *q, struct ipc_waitlist *l, size_t n)
{
	while (length_of(q, l) != n)
		sched_yield();
}

/* A thread that makes one call, and how it went. */
struct caller {
	pthread_t thread;
	struct aioqueue *q;
	struct aiomsg *m;
	int64_t deadline;
	int result, error;
};

static void *get_one(void *arg)
{
	struct caller *c = arg;

	c->result = aioqueue_get(c->q, &c->m, c->deadline);
	c->error = errno;
	return NULL;
}

static void *put_one(void *arg)
{
	struct caller *c = arg;

	c->result = aioqueue_put(c->q, c->m, c->deadline);
	c->error = errno;
	return NULL;
}

static void begin(struct caller *c, struct aioqueue *q, void *(*call)(void *))
{
	c->q = q;
	if (!c->deadline)
		c->deadline = AIOIPC_FOREVER;
	ck_assert_int_eq(pthread_create(&c->thread, NULL, call, c), 0);
}

static void end(struct caller *c)
{
	ck_assert_int_eq(pthread_join(c->thread, NULL), 0);
}

TEST(messages_come_out_as_they_went_in)
{
	struct aioqueue *q = must(aioqueue_new(100, 0));

	for (uint32_t i = 0; i < 100; i++)
		must(put_number(q, i, AIOIPC_NOW));
	ck_assert_uint_eq(aioqueue_count(q), 100);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(get_number(q, AIOIPC_NOW), i);
	ck_assert_uint_eq(aioqueue_count(q), 0);
	aioqueue_free(q);
}

TEST(put_borrows_and_takes_a_reference)
{
	struct aioqueue *q = must(aioqueue_new(2, 0));
	struct aiomsg *m = number(7), *got;

	must(aioqueue_put(q, m, AIOIPC_NOW));
	ck_assert(!ipc_msg_unshared(m));
	ck_assert_int_eq(must(aioqueue_get(q, &got, AIOIPC_NOW)), 1);
	ck_assert_ptr_eq(got, m);
	aiomsg_free(got);
	ck_assert(ipc_msg_unshared(m));
	must(aioqueue_put(q, m, AIOIPC_NOW));
	aioqueue_free(q);
	ck_assert(ipc_msg_unshared(m));
	aiomsg_free(m);
}

TEST(a_full_queue_refuses_and_an_empty_one_has_nothing)
{
	struct aioqueue *q = must(aioqueue_new(2, 0));
	struct aiomsg *m = (struct aiomsg *)q;
	int64_t past = aioipc_after(1);

	must_fail(aioqueue_get(q, &m, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aioqueue_get(q, &m, aioipc_after(SHORT)), ETIMEDOUT);
	must_fail(aioqueue_get(q, &m, past), ETIMEDOUT);
	must_fail(aioqueue_get(q, &m, 5000), EINVAL);
	ck_assert_ptr_eq(m, q);
	must(put_number(q, 1, AIOIPC_NOW));
	must(put_number(q, 2, past));
	must_fail(put_number(q, 3, AIOIPC_NOW), ETIMEDOUT);
	must_fail(put_number(q, 3, past), ETIMEDOUT);
	must_fail(put_number(q, 3, aioipc_after(SHORT)), ETIMEDOUT);
	must_fail(put_number(q, 3, 5000), EINVAL);
	ck_assert_int_eq(get_number(q, past), 1);
	must(put_number(q, 4, AIOIPC_NOW));
	ck_assert_int_eq(get_number(q, AIOIPC_NOW), 2);
	ck_assert_int_eq(get_number(q, AIOIPC_NOW), 4);
	aioqueue_free(q);
	must_fail(aioqueue_new(0, 0), EINVAL);
}

TEST(bytes_are_bounded_too)
{
	struct aioqueue *q = must(aioqueue_new(0, 3 * (64 + 100)));
	struct aiomsg *small = must(aiomsg_new_bytes("", 0)), *hundred, *huge;
	char data[5000] = "";

	hundred = must(aiomsg_new_bytes(data, 100));
	huge = must(aiomsg_new_bytes(data, sizeof data));
	must(aioqueue_put(q, hundred, AIOIPC_NOW));
	must(aioqueue_put(q, hundred, AIOIPC_NOW));
	must_fail(aioqueue_put(q, huge, AIOIPC_NOW), ETIMEDOUT);
	must(aioqueue_put(q, hundred, AIOIPC_NOW));
	must_fail(aioqueue_put(q, small, AIOIPC_NOW), ETIMEDOUT);
	for (int i = 0; i < 3; i++)
		drop_one(q);
	must(aioqueue_put(q, huge, AIOIPC_NOW));
	must_fail(aioqueue_put(q, small, AIOIPC_NOW), ETIMEDOUT);
	aioqueue_free(q);
	aiomsg_free(small);
	aiomsg_free(hundred);
	aiomsg_free(huge);
}

TEST(batches)
{
	struct aioqueue *q = must(aioqueue_new(5, 0));
	struct aiomsg *in[8], *out[8];

	for (uint32_t i = 0; i < 8; i++)
		in[i] = number(i);
	ck_assert_int_eq(aioqueue_put_all(q, in, 0, AIOIPC_NOW), 0);
	ck_assert_int_eq(aioqueue_get_all(q, out, 0, AIOIPC_NOW), 0);
	must_fail(aioqueue_get_all(q, out, 8, AIOIPC_NOW), ETIMEDOUT);
	ck_assert_int_eq(aioqueue_put_all(q, in, 8, AIOIPC_NOW), 5);
	must_fail(aioqueue_put_all(q, in, 8, AIOIPC_NOW), ETIMEDOUT);
	ck_assert_int_eq(aioqueue_get_all(q, out, 3, AIOIPC_NOW), 3);
	ck_assert_int_eq(aioqueue_put_all(q, in + 5, 3, aioipc_after(SHORT)), 3);
	ck_assert_int_eq(aioqueue_get_all(q, out + 3, 5, AIOIPC_NOW), 5);
	ck_assert_mem_eq(in, out, sizeof in);
	for (uint32_t i = 0; i < 8; i++) {
		aiomsg_free(in[i]);
		aiomsg_free(out[i]);
	}
	aioqueue_free(q);
}

static void *put_eight(void *arg)
{
	struct caller *c = arg;
	struct aiomsg *m[8];

	for (int i = 0; i < 8; i++)
		m[i] = c->m;
	c->result = (int)aioqueue_put_all(c->q, m, 8, c->deadline);
	c->error = errno;
	return NULL;
}

TEST(a_batch_waits_for_room_piece_by_piece)
{
	struct aioqueue *q = must(aioqueue_new(2, 0));
	struct caller all = {.m = number(1)}, cut = {.m = number(2)}, none = {.m = number(3)};

	begin(&all, q, put_eight);
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(get_number(q, AIOIPC_FOREVER), 1);
	end(&all);
	ck_assert_int_eq(all.result, 8);
	begin(&cut, q, put_eight);
	await_waiters(q, &q->putters, 1);
	begin(&none, q, put_eight);
	await_waiters(q, &q->putters, 2);
	drop_one(q);
	aioqueue_close(q);
	end(&cut);
	end(&none);
	ck_assert_int_eq(cut.result, 3);
	ck_assert_int_eq(none.result, -1);
	ck_assert_int_eq(none.error, EPIPE);
	ck_assert_uint_eq(aioqueue_count(q), 2);
	aioqueue_free(q);
	aiomsg_free(all.m);
	aiomsg_free(cut.m);
	aiomsg_free(none.m);
}

TEST(closing_lets_the_rest_out)
{
	struct aioqueue *q = must(aioqueue_new(2, 0));
	struct aiomsg *m = NULL;

	must(put_number(q, 1, AIOIPC_NOW));
	must(put_number(q, 2, AIOIPC_NOW));
	aioqueue_close(q);
	aioqueue_close(q);
	must_fail(put_number(q, 3, AIOIPC_FOREVER), EPIPE);
	ck_assert_int_eq(get_number(q, AIOIPC_FOREVER), 1);
	must_fail(put_number(q, 3, AIOIPC_NOW), EPIPE);
	ck_assert_int_eq(get_number(q, AIOIPC_NOW), 2);
	ck_assert_int_eq(aioqueue_get(q, &m, AIOIPC_FOREVER), 0);
	ck_assert_int_eq(aioqueue_get(q, &m, AIOIPC_NOW), 0);
	ck_assert_ptr_null(m);
	aioqueue_free(q);
	aioqueue_free(NULL);
	aioqueue_close(NULL);
	aioqueue_discard(NULL);
}

TEST(discarding_drops_the_rest)
{
	struct aioqueue *q = must(aioqueue_new(2, 0));
	struct aiomsg *m = number(1);

	must(aioqueue_put(q, m, AIOIPC_NOW));
	must(aioqueue_put(q, m, AIOIPC_NOW));
	aioqueue_close(q);
	aioqueue_discard(q);
	ck_assert(ipc_msg_unshared(m));
	ck_assert_uint_eq(aioqueue_count(q), 0);
	must_fail(aioqueue_put(q, m, AIOIPC_NOW), EPIPE);
	aiomsg_free(m);
	ck_assert_int_eq(aioqueue_get(q, &m, AIOIPC_FOREVER), 0);
	aioqueue_free(q);
}

static void wake_all(void (*stop)(struct aioqueue *q), bool full)
{
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct ipc_waitlist *l = full ? &q->putters : &q->getters;
	struct caller c[8] = {{0}};

	if (full)
		must(put_number(q, 1, AIOIPC_NOW));
	for (size_t i = 0; i < 8; i++) {
		c[i].m = full ? number(2) : NULL;
		begin(&c[i], q, full ? put_one : get_one);
	}
	await_waiters(q, l, 8);
	stop(q);
	for (size_t i = 0; i < 8; i++) {
		end(&c[i]);
		ck_assert_int_eq(c[i].result, full ? -1 : 0);
		if (full)
			ck_assert_int_eq(c[i].error, EPIPE);
		aiomsg_free(c[i].m);
	}
	ck_assert_uint_eq(aioqueue_count(q), full && stop == aioqueue_close ? 1 : 0);
	aioqueue_free(q);
}

TEST(the_end_wakes_all_who_wait)
{
	wake_all(aioqueue_close, false);
	wake_all(aioqueue_close, true);
	wake_all(aioqueue_discard, false);
	wake_all(aioqueue_discard, true);
}

TEST(waiting_to_get_is_first_come_first_served)
{
	struct aioqueue *q = must(aioqueue_new(8, 0));
	struct caller c[4] = {{0}};

	for (size_t i = 0; i < 4; i++) {
		begin(&c[i], q, get_one);
		await_waiters(q, &q->getters, i + 1);
	}
	for (uint32_t i = 0; i < 4; i++)
		must(put_number(q, i, AIOIPC_NOW));
	for (uint32_t i = 0; i < 4; i++) {
		end(&c[i]);
		ck_assert_uint_eq(number_in(c[i].m), i);
		aiomsg_free(c[i].m);
	}
	aioqueue_free(q);
}

TEST(waiting_to_put_is_first_come_first_served)
{
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct caller c[4] = {{0}};

	must(put_number(q, 0, AIOIPC_NOW));
	for (uint32_t i = 0; i < 4; i++) {
		c[i].m = number(i + 1);
		begin(&c[i], q, put_one);
		await_waiters(q, &q->putters, i + 1);
	}
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(get_number(q, AIOIPC_NOW), i);
	for (size_t i = 0; i < 4; i++) {
		end(&c[i]);
		ck_assert_int_eq(c[i].result, 0);
		aiomsg_free(c[i].m);
	}
	aioqueue_free(q);
}

/* A large one that does not fit holds up the small one behind it, until it gives up. */
TEST(who_gives_up_makes_way)
{
	struct aioqueue *q = must(aioqueue_new(0, 300));
	char data[1000] = "";
	struct caller large = {.m = must(aiomsg_new_bytes(data, sizeof data)),
			       .deadline = aioipc_after(50 * SHORT)};
	struct caller small = {.m = number(2)};

	must(put_number(q, 1, AIOIPC_NOW));
	begin(&large, q, put_one);
	await_waiters(q, &q->putters, 1);
	begin(&small, q, put_one);
	end(&large);
	end(&small);
	ck_assert_int_eq(large.result, -1);
	ck_assert_int_eq(large.error, ETIMEDOUT);
	ck_assert_int_eq(small.result, 0);
	ck_assert_int_eq(get_number(q, AIOIPC_NOW), 1);
	ck_assert_int_eq(get_number(q, AIOIPC_NOW), 2);
	aioqueue_free(q);
	aiomsg_free(large.m);
	aiomsg_free(small.m);
}

static void take_note(int sig)
{
	(void)sig;
}

/* signal(2) sets SA_RESTART: a handler ran nevertheless. */
TEST(a_signal_ends_get_and_not_put)
{
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct caller get = {0}, put = {.m = number(2)};

	signal(SIGUSR1, take_note);
	begin(&get, q, get_one);
	await_waiters(q, &q->getters, 1);
	while (length_of(q, &q->getters) > 0)
		pthread_kill(get.thread, SIGUSR1);
	end(&get);
	ck_assert_int_eq(get.result, -1);
	ck_assert_int_eq(get.error, EINTR);
	must(put_number(q, 1, AIOIPC_NOW));
	begin(&put, q, put_one);
	await_waiters(q, &q->putters, 1);
	for (int i = 0; i < 100; i++)
		pthread_kill(put.thread, SIGUSR1);
	ck_assert_int_eq(get_number(q, AIOIPC_NOW), 1);
	end(&put);
	ck_assert_int_eq(put.result, 0);
	ck_assert_int_eq(get_number(q, AIOIPC_NOW), 2);
	aioqueue_free(q);
	aiomsg_free(put.m);
}

/* Who waits keeps what it needs of the queue; the ends are as of one that was discarded. */
TEST(who_waits_does_not_mind_that_it_is_freed)
{
	for (int full = 0; full < 2; full++) {
		struct aioqueue *q = must(aioqueue_new(1, 0));
		struct caller c[8] = {{0}};

		if (full)
			must(put_number(q, 1, AIOIPC_NOW));
		for (size_t i = 0; i < 8; i++) {
			c[i].m = full ? number(2) : NULL;
			begin(&c[i], q, full ? put_one : get_one);
		}
		await_waiters(q, full ? &q->putters : &q->getters, 8);
		aioqueue_free(q);
		for (size_t i = 0; i < 8; i++) {
			end(&c[i]);
			ck_assert_int_eq(c[i].result, full ? -1 : 0);
			if (full)
				ck_assert_int_eq(c[i].error, EPIPE);
			aiomsg_free(c[i].m);
		}
	}
}

TEST(a_forked_child_may_free_it_and_nothing_else)
{
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct aiomsg *m = number(1), *got;
	struct caller put = {.m = m};
	pid_t pid;

	must(aioqueue_put(q, m, AIOIPC_NOW));
	begin(&put, q, put_one);
	await_waiters(q, &q->putters, 1);
	ipc_queue_lock(q);
	pid = must(fork());
	if (pid == 0) {
		must_fail(aioqueue_put(q, m, AIOIPC_FOREVER), ECHILD);
		must_fail(aioqueue_get(q, &got, AIOIPC_FOREVER), ECHILD);
		aioqueue_close(q);
		aioqueue_discard(q);
		aioqueue_free(q);
		_exit(0);
	}
	ipc_queue_unlock(q);
	ck_assert_int_eq(must(waitpid(pid, NULL, 0)), pid);
	ck_assert_int_eq(get_number(q, AIOIPC_NOW), 1);
	end(&put);
	aioqueue_free(q);
	aiomsg_free(m);
}

TEST(it_lives_until_the_last_free)
{
	struct aioqueue *q = must(aioqueue_new(1, 0));

	ck_assert_ptr_eq(aioqueue_ref(q), q);
	aioqueue_free(q);
	must(put_number(q, 1, AIOIPC_NOW));
	ck_assert_int_eq(get_number(q, AIOIPC_NOW), 1);
	aioqueue_free(q);
}

/* Lending: for who may have to give back. */

static void free_all(struct aiomsg *const *m, size_t n)
{
	while (n > 0)
		aiomsg_free(m[--n]);
}

/* Lends @n, and as many as that come back in front of @more that are put meanwhile. */
static void lend_and_unget(struct aioqueue *q, size_t n, size_t back, uint32_t more)
{
	struct aiomsg *m[100];
	uint32_t first, next = 0;

	while (put_number(q, next, AIOIPC_NOW) == 0)
		next++;
	ck_assert_int_eq(must(ipc_queue_lend(q, m, n)), (ssize_t)n);
	first = (uint32_t)(n - back);
	while (more-- > 0)
		must(put_number(q, next++, AIOIPC_NOW));
	ipc_queue_gone(q, first);
	ipc_queue_unget(q, m + first, back);
	free_all(m, n);
	ck_assert_uint_eq(aioqueue_count(q), next - first);
	must_fail(put_number(q, 0, AIOIPC_NOW), ETIMEDOUT);
	while (first < next)
		ck_assert_int_eq(get_number(q, AIOIPC_NOW), (int)first++);
	ck_assert_uint_eq(q->lent, 0);
	ck_assert_uint_eq(q->put.bytes, q->get.bytes);
}

TEST(what_was_lent_comes_back_to_the_front)
{
	struct aioqueue *q = must(aioqueue_new(32, 0));

	for (uint32_t i = 0; i < 40; i++) {
		lend_and_unget(q, 16, 16, 16);
		lend_and_unget(q, 32, 20, 32);
		lend_and_unget(q, 5, 0, 5);
		lend_and_unget(q, 1, 1, 1);
		must(put_number(q, i, AIOIPC_NOW));
		drop_one(q); /* so that they begin somewhere else */
	}
	ck_assert_uint_le(q->places, 64);
	aioqueue_free(q);
}

TEST(lending_waits_for_nothing)
{
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct aiomsg *m[2];

	must_fail(ipc_queue_lend(q, m, 2), ETIMEDOUT);
	must(put_number(q, 1, AIOIPC_NOW));
	ck_assert_int_eq(must(ipc_queue_lend(q, m, 2)), 1);
	must(put_number(q, 2, AIOIPC_NOW));
	aioqueue_close(q);
	ipc_queue_unget(q, m, 1);
	aiomsg_free(m[0]);
	ck_assert_int_eq(get_number(q, AIOIPC_NOW), 1);
	ck_assert_int_eq(get_number(q, AIOIPC_NOW), 2);
	ck_assert_int_eq(must(ipc_queue_lend(q, m, 2)), 0);
	aioqueue_free(q);
}

TEST(what_comes_back_goes_to_who_waits)
{
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct caller c = {0};
	struct aiomsg *m;

	must(put_number(q, 1, AIOIPC_NOW));
	ck_assert_int_eq(must(ipc_queue_lend(q, &m, 1)), 1);
	begin(&c, q, get_one);
	await_waiters(q, &q->getters, 1);
	ipc_queue_unget(q, &m, 1);
	end(&c);
	ck_assert_int_eq(c.result, 1);
	ck_assert_ptr_eq(c.m, m);
	aiomsg_free(m);
	aiomsg_free(c.m);
	aioqueue_free(q);
}

TEST(what_comes_back_to_a_discarded_queue_is_dropped)
{
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct aiomsg *m;

	must(put_number(q, 1, AIOIPC_NOW));
	ck_assert_int_eq(must(ipc_queue_lend(q, &m, 1)), 1);
	aioqueue_discard(q);
	ipc_queue_unget(q, &m, 1);
	ck_assert_uint_eq(aioqueue_count(q), 0);
	aiomsg_free(m);
	aioqueue_free(q);
}

TEST(what_is_handed_over_is_the_queue_s)
{
	struct aioqueue *q = must(aioqueue_new(2, 0));
	struct aiomsg *m[3];

	for (int i = 0; i < 3; i++)
		m[i] = must(aiomsg_new("i", (int32_t)i));
	ck_assert_int_eq(must(ipc_queue_hand_over(q, m, 3)), 2);
	must_fail(ipc_queue_hand_over(q, m + 2, 1), ETIMEDOUT);
	drop_one(q);
	aioqueue_close(q);
	must_fail(ipc_queue_hand_over(q, m + 2, 1), EPIPE);
	aiomsg_free(m[2]);
	drop_one(q);
	aioqueue_free(q);
}

static size_t got_some(struct aioqueue *q, size_t n, size_t bytes, int64_t deadline)
{
	struct aiomsg *m[8];
	ssize_t got = must(aioqueue_get_some(q, m, n, bytes, deadline));

	for (ssize_t i = 0; i < got; i++)
		aiomsg_free(m[i]);
	return (size_t)got;
}

TEST(some_are_taken_up_to_so_many_bytes)
{
	struct aioqueue *q = must(aioqueue_new(10, 0));
	struct aiomsg *m;

	for (uint32_t i = 0; i < 8; i++)
		must(put_number(q, i, AIOIPC_NOW)); /* 4 bytes each */
	ck_assert_uint_eq(got_some(q, 8, 8, AIOIPC_NOW), 2);
	ck_assert_uint_eq(got_some(q, 8, 11, AIOIPC_FOREVER), 2);
	ck_assert_uint_eq(got_some(q, 8, 3, AIOIPC_FOREVER), 1);
	ck_assert_uint_eq(got_some(q, 2, 0, AIOIPC_NOW), 2);
	ck_assert_uint_eq(got_some(q, 8, SIZE_MAX, AIOIPC_NOW), 1);
	must_fail(aioqueue_get_some(q, &m, 1, 1, AIOIPC_NOW), ETIMEDOUT);
	aioqueue_close(q);
	ck_assert_uint_eq(got_some(q, 8, 1, AIOIPC_FOREVER), 0);
	aioqueue_free(q);
}
