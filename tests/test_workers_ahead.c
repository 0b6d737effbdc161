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

#include <aioipc/service.h>

#include "tests/peers.h"

#include "ipc/os/os.h"

#define SEED 4711u   /* of the killer */
#define NUMBERS 4000 /* messages that a killer is let loose on */

/* What handlers and the test both see. */
static struct shared {
	atomic_int at_work, may_go_on;
	_Atomic(pid_t) pid; /* of the last worker that ran a handler */
} * shared;

struct works {
	struct aioqueue *in, *out;
	struct aioservice *s;
	bool seen[NUMBERS]; /* results */
	bool lost[NUMBERS]; /* what on_error was told of */
	unsigned n_seen, n_lost;
};

static uint32_t number_in(const struct aiomsg *m)
{
	uint32_t n;

	memcpy(&n, aiomsg_bytes(m, NULL), sizeof n);
	return n;
}

static void put_numbers(struct works *w, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct aiomsg *m = must(aiomsg_new_bytes(&i, sizeof i));

		must(aioqueue_put(w->in, m, soon()));
		aiomsg_free(m);
	}
}

/* False: the end. */
static bool get_number(struct works *w, uint32_t *n)
{
	struct aiomsg *m;

	if (must(aioqueue_get(w->out, &m, soon())) == 0)
		return false;
	*n = number_in(m);
	ck_assert_uint_lt(*n, NUMBERS);
	ck_assert(!w->seen[*n]);
	w->seen[*n] = true;
	w->n_seen++;
	aiomsg_free(m);
	return true;
}

static int on_error(struct aioservice *s, struct aiomsg *m, int error, void *arg)
{
	struct works *w = arg;
	uint32_t n = number_in(m);

	(void)s;
	ck_assert_int_eq(error, EOWNERDEAD);
	ck_assert_uint_lt(n, NUMBERS);
	ck_assert(!w->lost[n]);
	w->lost[n] = true;
	w->n_lost++;
	return 0;
}

static struct aioservice_options options_of(struct works *w, unsigned workers, aioservice_handle *handle)
{
	*w = (struct works){.s = NULL};
	shared = must(mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	w->in = must(aioqueue_new(NUMBERS, 0));
	w->out = must(aioqueue_new(NUMBERS, 0));
	return (struct aioservice_options){
		.size = sizeof(struct aioservice_options),
		.in = w->in,
		.out = w->out,
		.kind = AIOSERVICE_FORKED,
		.workers = workers,
		.handle = handle,
		.on_error = on_error,
		.arg = w,
	};
}

static void begin(struct works *w, const struct aioservice_options *o)
{
	w->s = must(aioservice_new(o));
	must(aioservice_start(w->s));
}

static void finish(struct works *w)
{
	must(aioservice_close(w->s, soon()));
	aioqueue_free(w->in);
	aioqueue_free(w->out);
	munmap(shared, sizeof *shared);
}

static struct aioservice_stats stats_of(struct works *w)
{
	struct aioservice_stats stats = {.size = sizeof stats};

	must(aioservice_stats(w->s, &stats));
	return stats;
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
	struct works *w = must(malloc(sizeof *w));
	struct aioservice_options o = options_of(w, 3, spin);
	unsigned seed = SEED, until_kill = 1;
	uint32_t n, last = 0;
	pid_t killed = 0;

	o.in_order = in_order;
	put_numbers(w, NUMBERS);
	aioqueue_close(w->in);
	begin(w, &o);
	while (get_number(w, &n)) {
		ck_assert(!in_order || n >= last);
		last = n;
		until_kill -= until_kill > 0;
		if (until_kill > 0 || shared->pid == killed)
			continue;
		killed = shared->pid;
		kill(killed, SIGKILL);
		until_kill = 1 + (unsigned)rand_r(&seed) % 100;
	}
	must(aioservice_join(w->s, soon()));
	for (n = 0; n < NUMBERS; n++)
		ck_assert_int_eq(w->seen[n] + w->lost[n], 1);
	ck_assert_uint_eq(stats_of(w).lost, w->n_lost);
	ck_assert_uint_le(w->n_lost, stats_of(w).starts);
	ck_assert_uint_ge(stats_of(w).restarts, 10);
	finish(w);
	free(w);
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
	struct works *w = must(malloc(sizeof *w));
	struct aioservice_options o = options_of(w, 1, last_is_long);
	uint32_t n;

	put_numbers(w, 600);
	begin(w, &o);
	for (int i = 0; i < 499; i++)
		ck_assert(get_number(w, &n));
	ck_assert(!w->seen[499]);
	shared->may_go_on = 1;
	for (int i = 499; i < 600; i++)
		ck_assert(get_number(w, &n));
	finish(w);
	free(w);
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
	struct works *w = must(malloc(sizeof *w));
	struct aioservice_options o = options_of(w, 1, slow_from_200_on);
	uint32_t n;

	o.limit = 1000 * (int64_t)harness_slowness();
	put_numbers(w, 280);
	aioqueue_close(w->in);
	begin(w, &o);
	while (get_number(w, &n))
		;
	ck_assert_uint_eq(w->n_seen, 280);
	must(aioservice_join(w->s, soon()));
	ck_assert_uint_eq(stats_of(w).late, 0);
	finish(w);
	free(w);
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
	struct works *w = arg;

	(void)s;
	(void)m;
	w->n_lost++;
	ck_assert_int_eq(error, EDOM);
	return -1;
}

TEST(a_sleeper_with_messages_at_hand_is_told_that_the_service_stops)
{
	struct works *w = must(malloc(sizeof *w));
	struct aioservice_options o = options_of(w, 2, sleep_or_fail);
	uint32_t n;

	o.on_error = stop_it;
	begin(w, &o);
	put_numbers(w, 500);
	while (get_number(w, &n))
		;
	must(aioservice_join(w->s, soon()));
	ck_assert_int_eq(aioservice_error(w->s), EDOM);
	ck_assert_uint_ge(w->n_lost, 1);
	finish(w);
	free(w);
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
	struct works *w = must(malloc(sizeof *w));
	struct aioservice_options o = options_of(w, 2, long_answer);
	struct aiomsg *m;
	unsigned count = 0;

	put_numbers(w, 300);
	aioqueue_close(w->in);
	begin(w, &o);
	while (must(aioqueue_get(w->out, &m, soon())) == 1) {
		size_t len;
		const unsigned char *data = aiomsg_bytes(m, &len);

		ck_assert_uint_eq(len, LARGE);
		ck_assert_uint_eq(data[sizeof(uint32_t)], number_in(m) & 0xff);
		ck_assert_uint_eq(data[LARGE - 1], number_in(m) & 0xff);
		count++;
		aiomsg_free(m);
	}
	ck_assert_uint_eq(count, 300);
	finish(w);
	free(w);
}

/* Where files may not be so large, there is no shared memory either. */
TEST(workers_need_no_shared_memory)
{
	struct works *w = must(malloc(sizeof *w));
	struct aioservice_options o = options_of(w, 2, echo);
	struct rlimit before;
	uint32_t n;

	must(getrlimit(RLIMIT_FSIZE, &before));
	must(setrlimit(RLIMIT_FSIZE, &(struct rlimit){256 * 1024, before.rlim_max}));
	begin(w, &o);
	put_numbers(w, 300);
	aioqueue_close(w->in);
	while (get_number(w, &n))
		;
	ck_assert_uint_eq(w->n_seen, 300);
	must(setrlimit(RLIMIT_FSIZE, &before));
	finish(w);
	free(w);
}
