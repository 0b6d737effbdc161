/* Worker processes that have messages at hand: what a death costs, that answers don't wait for long jobs, limits, the end, large results. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "tests/peers.h"
#include "tests/works.h"

#include "ipc/os/os.h"

#define SEED 4711u   /* of the killer */
#define NUMBERS 4000 /* messages that a killer is let loose on */

/* What handlers and the test both see. */
static struct shared {
	atomic_int at_work, may_go_on;
	_Atomic(pid_t) pid; /* of the last worker that ran a handler */
} * shared;

struct tally {
	struct works w;
	bool seen[NUMBERS]; /* results */
	bool lost[NUMBERS]; /* what on_error was told of */
	unsigned n_seen, n_lost;
};

/* False: the end. */
static bool get_number(struct tally *t, uint32_t *n)
{
	struct aiomsg *m;

	if (must(aioqueue_get(t->w.out, &m, soon())) == 0)
		return false;
	*n = number_in(m);
	ck_assert_uint_lt(*n, NUMBERS);
	ck_assert(!t->seen[*n]);
	t->seen[*n] = true;
	t->n_seen++;
	aiomsg_free(m);
	return true;
}

static int on_error(struct aioservice *s, struct aiomsg *m, int error, void *arg)
{
	struct tally *t = arg;
	uint32_t n = number_in(m);

	(void)s;
	ck_assert_int_eq(error, EOWNERDEAD);
	ck_assert_uint_lt(n, NUMBERS);
	ck_assert(!t->lost[n]);
	t->lost[n] = true;
	t->n_lost++;
	return 0;
}

static struct aioservice_options options_of(struct tally *t, unsigned workers, aioservice_handle *handle)
{
	struct aioservice_options o = works_options(&t->w, NUMBERS, workers, handle);

	shared = must(mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	o.on_error = on_error;
	o.arg = t;
	return o;
}

static void finish(struct tally *t)
{
	works_end(&t->w);
	munmap(shared, sizeof *shared);
	free(t);
}

static int echo(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)arg;
	shared->pid = getpid();
	return aioqueue_put(out, m, AIOIPC_NOW);
}

/* Short, but not so short that all is over before a kill. */
static int spin(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	int64_t until = ipc_os_now() + 50000;

	while (ipc_os_now() < until)
		;
	return echo(m, out, arg);
}

/* Workers are killed all the while, at any moment. Each message comes back, or on_error was told of it, and each death cost at most one. */
static void expect_one_lost_for_each_kill(bool in_order)
{
	struct tally *t = must(calloc(1, sizeof *t));
	struct aioservice_options o = options_of(t, 3, spin);
	unsigned seed = SEED, until_kill = 1;
	uint32_t n, last = 0;
	pid_t killed = 0;

	o.in_order = in_order;
	put_up_to(t->w.in, NUMBERS);
	aioqueue_close(t->w.in);
	works_begin(&t->w, &o);
	while (get_number(t, &n)) {
		ck_assert(!in_order || n >= last);
		last = n;
		until_kill -= until_kill > 0;
		if (until_kill > 0 || shared->pid == killed)
			continue;
		killed = shared->pid;
		kill(killed, SIGKILL);
		until_kill = 1 + (unsigned)rand_r(&seed) % 100;
	}
	must(aioservice_join(t->w.s, soon()));
	for (n = 0; n < NUMBERS; n++)
		ck_assert_int_eq(t->seen[n] + t->lost[n], 1);
	ck_assert_uint_eq(works_stats(&t->w).lost, t->n_lost);
	ck_assert_uint_le(t->n_lost, works_stats(&t->w).starts);
	ck_assert_uint_ge(works_stats(&t->w).restarts, 10);
	finish(t);
}

TEST_WITHIN(each_kill_loses_at_most_one_message, 60)
{
	expect_one_lost_for_each_kill(false);
}

TEST_WITHIN(each_kill_loses_at_most_one_message_in_order, 60)
{
	expect_one_lost_for_each_kill(true);
}

/* All but the last are short; that one goes on when the test says so. */
static int last_is_long(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	if (number_in(m) % 500 == 499)
		while (!shared->may_go_on)
			sched_yield();
	return echo(m, out, arg);
}

TEST(answers_do_not_wait_for_the_long_job_behind_them)
{
	struct tally *t = must(calloc(1, sizeof *t));
	struct aioservice_options o = options_of(t, 1, last_is_long);
	uint32_t n;

	put_up_to(t->w.in, 600);
	works_begin(&t->w, &o);
	for (int i = 0; i < 499; i++)
		ck_assert(get_number(t, &n));
	ck_assert(!t->seen[499]);
	shared->may_go_on = 1;
	for (int i = 499; i < 600; i++)
		ck_assert(get_number(t, &n));
	finish(t);
}

/* The service gives many at hand while they are short. */
static int slow_from_200_on(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	if (number_in(m) >= 200)
		nanosleep(&(struct timespec){0, 20000000}, NULL);
	return echo(m, out, arg);
}

TEST(the_limit_of_each_message_counts_from_its_own_beginning)
{
	struct tally *t = must(calloc(1, sizeof *t));
	struct aioservice_options o = options_of(t, 1, slow_from_200_on);
	uint32_t n;

	o.limit = 1000 * (int64_t)harness_slowness();
	put_up_to(t->w.in, 280);
	aioqueue_close(t->w.in);
	works_begin(&t->w, &o);
	while (get_number(t, &n))
		;
	ck_assert_uint_eq(t->n_seen, 280);
	must(aioservice_join(t->w.s, soon()));
	ck_assert_uint_eq(works_stats(&t->w).late, 0);
	finish(t);
}

/* One sleeps, with others at hand. Then the other worker fails. */
static int sleep_or_fail(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	uint32_t n = number_in(m);

	if (n == 100) {
		shared->at_work = 1;
		return aioservice_sleep(AIOIPC_FOREVER);
	}
	if (n < 300)
		return echo(m, out, arg);
	while (!shared->at_work)
		sched_yield();
	errno = EDOM;
	return -1;
}

static int stop_it(struct aioservice *s, struct aiomsg *m, int error, void *arg)
{
	struct tally *t = arg;

	(void)s;
	(void)m;
	t->n_lost++;
	ck_assert_int_eq(error, EDOM);
	return -1;
}

TEST(a_sleeper_with_messages_at_hand_is_told_that_the_service_stops)
{
	struct tally *t = must(calloc(1, sizeof *t));
	struct aioservice_options o = options_of(t, 2, sleep_or_fail);
	uint32_t n;

	o.on_error = stop_it;
	works_begin(&t->w, &o);
	put_up_to(t->w.in, 500);
	while (get_number(t, &n))
		;
	must(aioservice_join(t->w.s, soon()));
	ck_assert_int_eq(aioservice_error(t->w.s), EDOM);
	ck_assert_uint_ge(t->n_lost, 1);
	finish(t);
}

#define LARGE ((size_t)300 * 1024)

static int long_answer(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	static char data[LARGE];
	uint32_t n = number_in(m);
	struct aiomsg *answer;
	int r;

	(void)arg;
	memset(data, (int)n, sizeof data);
	memcpy(data, &n, sizeof n);
	answer = aiomsg_new_bytes(data, sizeof data);
	if (!answer)
		return -1;
	r = aioqueue_put(out, answer, AIOIPC_NOW);
	aiomsg_free(answer);
	return r;
}

TEST(results_may_be_much_larger_than_messages)
{
	struct tally *t = must(calloc(1, sizeof *t));
	struct aioservice_options o = options_of(t, 2, long_answer);
	struct aiomsg *m;
	unsigned count = 0;

	put_up_to(t->w.in, 300);
	aioqueue_close(t->w.in);
	works_begin(&t->w, &o);
	while (must(aioqueue_get(t->w.out, &m, soon())) == 1) {
		size_t len;
		const unsigned char *data = aiomsg_bytes(m, &len);

		ck_assert_uint_eq(len, LARGE);
		ck_assert_uint_eq(data[sizeof(uint32_t)], number_in(m) & 0xff);
		ck_assert_uint_eq(data[LARGE - 1], number_in(m) & 0xff);
		count++;
		aiomsg_free(m);
	}
	ck_assert_uint_eq(count, 300);
	finish(t);
}

/* Where files may not be so large, there is no shared memory either. */
TEST(workers_need_no_shared_memory)
{
	struct tally *t = must(calloc(1, sizeof *t));
	struct aioservice_options o = options_of(t, 2, echo);
	struct rlimit before;
	uint32_t n;

	must(getrlimit(RLIMIT_FSIZE, &before));
	must(setrlimit(RLIMIT_FSIZE, &(struct rlimit){256 * 1024, before.rlim_max}));
	works_begin(&t->w, &o);
	put_up_to(t->w.in, 300);
	aioqueue_close(t->w.in);
	while (get_number(t, &n))
		;
	ck_assert_uint_eq(t->n_seen, 300);
	must(setrlimit(RLIMIT_FSIZE, &before));
	finish(t);
}
