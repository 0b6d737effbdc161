/* Services: order, the end of the stream, errors, back-pressure, those who wait, fork. */
#include <ctype.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/flow/queue.h"
#include "ipc/service/service.h"
#include "tests/peers.h"

#define SHORT 20 /* ms, to wait for what does not come */

/* What the handlers below do and see. */
struct probe {
	struct aioservice *s;
	struct aioqueue *in, *out;
	const struct probe *source;
	sem_t gate;
	atomic_int begun, over, errors;
	_Atomic(uint32_t) last;
	atomic_int result, error; /* of the last thing that a handler tried */
	uint32_t until;
	int verdict; /* of on_error */
};

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

static int put_number(struct aioqueue *q, uint32_t n)
{
	struct aiomsg *m = number(n);
	int r = aioqueue_put(q, m, AIOIPC_FOREVER), error = errno;

	aiomsg_free(m);
	errno = error;
	return r;
}

/* UINT32_MAX: the end. */
static uint32_t get_number(struct aioqueue *q)
{
	struct aiomsg *m;
	uint32_t n = UINT32_MAX;

	if (must(aioqueue_get(q, &m, soon())) == 1) {
		n = number_in(m);
		aiomsg_free(m);
	}
	return n;
}

static void expect_end_of(struct aioqueue *q)
{
	ck_assert_uint_eq(get_number(q), UINT32_MAX);
	must_fail(put_number(q, 0), EPIPE);
}

/* Until so many stand in line. */
static void await_waiters(const struct ipc_waitlist *l, pthread_mutex_t *lock, size_t n)
{
	size_t count;

	do {
		sched_yield();
		count = 0;
		pthread_mutex_lock(lock);
		for (struct ipc_wait_entry *p = l->first; p; p = p->next)
			count++;
		pthread_mutex_unlock(lock);
	} while (count != n);
}

static void await_putters(struct aioqueue *q, size_t n)
{
	await_waiters(&q->putters, &q->put.lock, n);
}

static void await_joiners(struct aioservice *s, size_t n)
{
	await_waiters(&s->joiners, &s->lock, n);
}

static void await(const atomic_int *count, int n)
{
	while (*count < n)
		sched_yield();
}

static void wait_at(sem_t *gate)
{
	while (sem_wait(gate) == -1)
		ck_assert_int_eq(errno, EINTR);
}

static struct aioservice *new_service(struct probe *p, unsigned workers, aioservice_handle *handle)
{
	const struct aioservice_options o = {
		.size = sizeof o,
		.in = p->in,
		.out = p->out,
		.workers = workers,
		.handle = handle,
		.arg = p,
	};

	sem_init(&p->gate, 0, 0);
	return p->s = must(aioservice_new(&o));
}

/* With @most places in each queue; 0: none of that. */
static void make(struct probe *p, size_t in, size_t out, unsigned workers, aioservice_handle *handle)
{
	p->in = in ? must(aioqueue_new(in, 0)) : NULL;
	p->out = out ? must(aioqueue_new(out, 0)) : NULL;
	new_service(p, workers, handle);
}

static void start(struct probe *p, size_t in, size_t out, unsigned workers, aioservice_handle *handle)
{
	make(p, in, out, workers, handle);
	must(aioservice_start(p->s));
}

static void free_queues(struct probe *p)
{
	aioqueue_free(p->in);
	aioqueue_free(p->out);
}

static void finish(struct probe *p)
{
	must(aioservice_close(p->s, soon()));
	free_queues(p);
}

static void fill_with(struct aioqueue *q, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		must(put_number(q, i));
}

/* Handlers. */

static int pass_on(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)arg;
	return aioqueue_put(out, m, AIOIPC_FOREVER);
}

/* Others would have time to come in. */
static int pass_on_alone(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;

	ck_assert_int_eq(p->begun++, p->over);
	sched_yield();
	p->over++;
	return pass_on(m, out, arg);
}

static int count_one(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;

	(void)out;
	p->last = number_in(m);
	p->over++;
	return 0;
}

static int pass_gate(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;

	(void)m, (void)out;
	p->begun++;
	wait_at(&p->gate);
	p->over++;
	return 0;
}

static int generate(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;

	ck_assert_ptr_null(m);
	if (p->begun == (int)p->until)
		return 1;
	p->result = put_number(out, (uint32_t)p->begun++);
	p->error = errno;
	return p->result;
}

static int sleep_for_ever(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;

	(void)m, (void)out;
	p->begun++;
	p->result = aioservice_sleep(AIOIPC_FOREVER);
	p->error = errno;
	p->over++;
	return p->result;
}

TEST(one_worker_keeps_the_order)
{
	struct probe p = {.until = 0};

	make(&p, 1000, 3, 0, pass_on_alone);
	fill_with(p.in, 1000);
	must(aioservice_start(p.s));
	for (uint32_t i = 0; i < 1000; i++)
		ck_assert_uint_eq(get_number(p.out), i);
	aioqueue_close(p.in);
	expect_end_of(p.out);
	must(aioservice_join(p.s, soon()));
	ck_assert_int_eq(aioservice_error(p.s), 0);
	finish(&p);
}

TEST(eight_workers_handle_each_message_once)
{
	enum { N = 10000 };
	struct probe p = {.until = 0};
	unsigned char seen[N] = {0};
	uint32_t n;

	make(&p, N, 10, 8, pass_on);
	fill_with(p.in, N);
	aioqueue_close(p.in);
	must(aioservice_start(p.s));
	while ((n = get_number(p.out)) != UINT32_MAX)
		seen[n]++;
	for (n = 0; n < N; n++)
		ck_assert_uint_eq(seen[n], 1);
	finish(&p);
}

TEST(so_many_workers_handle_at_a_time)
{
	struct probe p = {.until = 0};

	start(&p, 9, 0, 8, pass_gate);
	fill_with(p.in, 9);
	await(&p.begun, 8);
	ck_assert_int_eq(p.over, 0);
	ck_assert_uint_eq(aioqueue_count(p.in), 1);
	for (int i = 0; i < 9; i++)
		sem_post(&p.gate);
	must(aioservice_close(p.s, soon()));
	ck_assert_int_eq(p.over, 9);
	free_queues(&p);
}

static int look_at_signals(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	sigset_t *set = arg;

	(void)m, (void)out;
	return pthread_sigmask(SIG_BLOCK, NULL, set) == 0;
}

TEST(workers_leave_signals_to_the_program)
{
	sigset_t set;
	const struct aioservice_options o = {.size = sizeof o, .handle = look_at_signals, .arg = &set};
	struct aioservice *s = must(aioservice_new(&o));

	must(aioservice_start(s));
	must(aioservice_join(s, soon()));
	must(aioservice_close(s, AIOIPC_NOW));
	for (int sig = 1; sig < SIGRTMAX; sig++)
		if (sig != SIGKILL && sig != SIGSTOP && (sig < 32 || sig >= SIGRTMIN))
			ck_assert_int_eq(sigismember(&set, sig), 1);
}

/* The first message is handled once `in` is closed. */
static int count_when_closed(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;

	while (!ipc_queue_is_closed(p->in))
		sched_yield();
	return count_one(m, out, arg);
}

TEST(close_lets_the_workers_drain)
{
	struct probe p = {.until = 0};

	start(&p, 100, 0, 1, count_when_closed);
	fill_with(p.in, 100);
	must(aioservice_close(p.s, soon()));
	ck_assert_int_eq(p.over, 100);
	ck_assert_uint_eq(p.last, 99);
	ck_assert_uint_eq(aioqueue_count(p.in), 0);
	free_queues(&p);
}

TEST(close_past_its_deadline_frees_nothing)
{
	struct probe p = {.until = 0};

	start(&p, 10, 10, 1, pass_gate);
	fill_with(p.in, 3);
	must_fail(aioservice_close(p.s, 5000), EINVAL);
	must(put_number(p.in, 4));
	await(&p.begun, 1);
	must_fail(aioservice_close(p.s, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aioservice_close(p.s, aioipc_after(SHORT)), ETIMEDOUT);
	must_fail(put_number(p.in, 5), EPIPE);
	ck_assert_int_eq(p.over, 0);
	for (int i = 0; i < 4; i++)
		sem_post(&p.gate);
	must(aioservice_close(p.s, soon()));
	ck_assert_int_eq(p.over, 4);
	expect_end_of(p.out);
	free_queues(&p);
}

static int put_for_ever(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;

	p->result = aioqueue_put(out, m, AIOIPC_FOREVER);
	p->error = errno;
	usleep(SHORT * 1000); /* abort must wait for this */
	p->over++;
	return p->result;
}

TEST(abort_wakes_a_put_and_waits_for_its_handler)
{
	struct probe p = {.until = 0};

	start(&p, 10, 1, 1, put_for_ever);
	fill_with(p.in, 5);
	await_putters(p.out, 1);
	aioservice_abort(p.s);
	ck_assert_int_eq(p.over, 2);
	ck_assert_int_eq(p.result, -1);
	ck_assert_int_eq(p.error, EPIPE);
	expect_end_of(p.in);
	ck_assert_uint_eq(get_number(p.out), 0);
	expect_end_of(p.out);
	free_queues(&p);
}

TEST(abort_wakes_who_sleeps)
{
	struct probe p = {.until = 0};

	start(&p, 10, 0, 4, sleep_for_ever);
	fill_with(p.in, 10);
	await(&p.begun, 4);
	aioservice_abort(p.s);
	ck_assert_int_eq(p.over, 4);
	ck_assert_int_eq(p.result, -1);
	ck_assert_int_eq(p.error, ECANCELED);
	ck_assert_uint_eq(aioqueue_count(p.in), 0);
	free_queues(&p);
}

TEST(a_generator_runs_until_it_is_closed)
{
	struct probe p = {.until = UINT32_MAX};
	uint32_t n = 0, got;

	start(&p, 0, 1000000, 1, generate);
	await(&p.begun, 100);
	must(aioservice_close(p.s, soon()));
	while ((got = get_number(p.out)) != UINT32_MAX)
		ck_assert_uint_eq(got, n++);
	ck_assert_int_eq(p.begun, (int)n);
	free_queues(&p);
}

TEST(a_generator_runs_until_it_is_done)
{
	struct probe p = {.until = 10};

	start(&p, 0, 3, 1, generate);
	for (uint32_t i = 0; i < 10; i++)
		ck_assert_uint_eq(get_number(p.out), i);
	expect_end_of(p.out);
	must(aioservice_join(p.s, soon()));
	ck_assert_int_eq(aioservice_error(p.s), 0);
	finish(&p);
}

static int sleep_a_little(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;

	(void)m, (void)out;
	ck_assert_int_eq(aioservice_sleep(AIOIPC_NOW), 0);
	ck_assert_int_eq(aioservice_sleep(aioipc_after(SHORT)), 0);
	must_fail(aioservice_sleep(5000), EINVAL);
	p->over++;
	return 1;
}

TEST(a_generator_sleeps)
{
	struct probe p = {.until = 0};
	int64_t early = aioipc_after(SHORT);

	must_fail(aioservice_sleep(AIOIPC_NOW), EPERM);
	start(&p, 0, 0, 1, sleep_a_little);
	must(aioservice_join(p.s, soon()));
	ck_assert_int_eq(p.over, 1);
	ck_assert_int_ge(aioipc_after(1), early);
	finish(&p);
}

/* What it was cut short by is no error. */
TEST(a_generator_that_sleeps_wakes_at_once)
{
	for (int by_stop = 0; by_stop < 2; by_stop++) {
		struct probe p = {.until = 0};

		start(&p, 0, 1, 1, sleep_for_ever);
		await(&p.begun, 1);
		if (by_stop) {
			aioservice_stop(p.s);
			must(aioservice_join(p.s, soon()));
			ck_assert_int_eq(aioservice_error(p.s), 0);
		}
		must(aioservice_close(p.s, soon()));
		ck_assert_int_eq(p.begun, 1);
		ck_assert_int_eq(p.error, ECANCELED);
		expect_end_of(p.out);
		free_queues(&p);
	}
}

static int sleep_and_count(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)out;
	if (aioservice_sleep(aioipc_after(5)) == -1)
		return -1;
	return count_when_closed(m, out, arg);
}

TEST(draining_goes_at_the_handler_s_pace)
{
	struct probe p = {.until = 0};

	start(&p, 5, 0, 1, sleep_and_count);
	fill_with(p.in, 5);
	must(aioservice_close(p.s, soon()));
	ck_assert_int_eq(p.over, 5);
	free_queues(&p);
}

/* Fails on every third. */
static int fail_on_some(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;

	if (number_in(m) % 3 != 2)
		return pass_on(m, out, arg);
	errno = p->error;
	return -1;
}

static int judge(struct aioservice *s, struct aiomsg *m, int error, void *arg)
{
	struct probe *p = arg;

	ck_assert_ptr_eq(s, p->s);
	ck_assert_uint_eq(number_in(m) % 3, 2);
	ck_assert_int_eq(error, p->error ? p->error : EIO);
	p->errors++;
	return p->verdict;
}

static void start_failing(struct probe *p, aioservice_error_cb *on_error)
{
	struct aioservice_options o = {
		.size = sizeof o, .handle = fail_on_some, .arg = p, .on_error = on_error};

	p->in = o.in = must(aioqueue_new(10, 0));
	p->out = o.out = must(aioqueue_new(10, 0));
	fill_with(p->in, 10);
	p->s = must(aioservice_new(&o));
	must(aioservice_start(p->s));
}

TEST(after_an_error_it_may_go_on)
{
	struct probe p = {.error = EDOM, .verdict = 0};

	start_failing(&p, judge);
	must(aioservice_close(p.s, soon()));
	ck_assert_int_eq(p.errors, 3);
	ck_assert_uint_eq(aioqueue_count(p.out), 7);
	free_queues(&p);
}

static void expect_stopped(struct probe *p, int error)
{
	must(aioservice_join(p->s, soon()));
	ck_assert_int_eq(aioservice_error(p->s), error);
	must_fail(put_number(p->in, 0), EPIPE);
	ck_assert_uint_eq(get_number(p->out), 0);
	ck_assert_uint_eq(get_number(p->out), 1);
	expect_end_of(p->out);
	must(aioservice_close(p->s, AIOIPC_NOW));
	for (uint32_t i = 3; i < 10; i++)
		ck_assert_uint_eq(get_number(p->in), i);
	expect_end_of(p->in);
	free_queues(p);
}

TEST(after_an_error_it_may_stop)
{
	struct probe asked = {.error = EDOM, .verdict = 1}, unasked = {.error = ENOSPC},
		     silent = {.error = 0};

	start_failing(&asked, judge);
	expect_stopped(&asked, EDOM);
	ck_assert_int_eq(asked.errors, 1);
	start_failing(&unasked, NULL);
	expect_stopped(&unasked, ENOSPC);
	start_failing(&silent, NULL);
	expect_stopped(&silent, EIO);
}

static int want_no_more(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	must(pass_on(m, out, arg));
	return number_in(m) == 1;
}

TEST(a_handler_that_wants_no_more_leaves_the_rest)
{
	struct probe p = {.until = 0};

	make(&p, 10, 10, 1, want_no_more);
	fill_with(p.in, 10);
	must(aioservice_start(p.s));
	must(aioservice_join(p.s, soon()));
	ck_assert_int_eq(aioservice_error(p.s), 0);
	ck_assert_uint_eq(aioqueue_count(p.in), 8);
	must_fail(put_number(p.in, 0), EPIPE);
	ck_assert_uint_eq(aioqueue_count(p.out), 2);
	finish(&p);
}

/* One of them fails: the others are told. */
static int sleep_or_fail(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;

	if (number_in(m) < 3)
		return sleep_for_ever(m, out, arg);
	await(&p->begun, 3);
	errno = EDOM;
	return -1;
}

TEST(an_error_of_one_worker_wakes_the_others)
{
	struct probe p = {.until = 0};

	start(&p, 4, 0, 4, sleep_or_fail);
	fill_with(p.in, 4);
	must(aioservice_join(p.s, soon()));
	ck_assert_int_eq(p.over, 3);
	ck_assert_int_eq(aioservice_error(p.s), EDOM);
	finish(&p);
}

static int fail_at_once(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)m, (void)out, (void)arg;
	errno = EDOM;
	return -1;
}

TEST(an_error_of_one_worker_ends_those_who_wait_for_messages)
{
	struct probe p = {.until = 0};

	start(&p, 4, 0, 4, fail_at_once);
	await_waiters(&p.in->getters, &p.in->put.lock, 4);
	must(put_number(p.in, 1));
	must(aioservice_join(p.s, soon()));
	ck_assert_int_eq(aioservice_error(p.s), EDOM);
	finish(&p);
}

static int shout(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	size_t len;
	const char *text = aiomsg_bytes(m, &len);
	char upper[32];
	struct aiomsg *answer;
	int r;

	(void)arg;
	for (size_t i = 0; i < len; i++)
		upper[i] = (char)toupper((unsigned char)text[i]);
	answer = must(aiomsg_new_bytes(upper, len));
	r = aioqueue_put(out, answer, AIOIPC_FOREVER);
	aiomsg_free(answer);
	return r;
}

static int say_letters(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	char *next = arg;

	ck_assert_ptr_null(m);
	m = must(aiomsg_new_bytes(next, 1));
	must(aioqueue_put(out, m, AIOIPC_FOREVER));
	aiomsg_free(m);
	return ++*next > 'z';
}

static int note_letter(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	char *text = arg;

	(void)out;
	strncat(text, aiomsg_bytes(m, NULL), 1);
	return 0;
}

TEST(the_end_runs_through_a_chain)
{
	char next = 'a', text[32] = "";
	struct aioqueue *one = must(aioqueue_new(2, 0)), *two = must(aioqueue_new(2, 0));
	const struct aioservice_options o[3] = {
		{.size = sizeof *o, .out = one, .handle = say_letters, .arg = &next},
		{.size = sizeof *o, .in = one, .out = two, .handle = shout},
		{.size = sizeof *o, .in = two, .handle = note_letter, .arg = text},
	};
	struct aioservice *s[3];

	for (int i = 0; i < 3; i++) {
		s[i] = must(aioservice_new(&o[i]));
		must(aioservice_start(s[i]));
	}
	aioqueue_free(one);
	aioqueue_free(two);
	must(aioservice_join(s[2], soon()));
	ck_assert_str_eq(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(aioservice_error(s[i]), 0);
		must(aioservice_close(s[i], soon()));
	}
}

/* One that ends early ends those before it. */
TEST(who_puts_where_nobody_takes_any_more_is_told)
{
	struct probe p = {.until = UINT32_MAX};
	struct probe sink = {.until = 0};

	start(&p, 0, 2, 1, generate);
	sink.in = aioqueue_ref(p.out);
	sink.out = must(aioqueue_new(10, 0));
	new_service(&sink, 1, want_no_more);
	must(aioservice_start(sink.s));
	must(aioservice_join(sink.s, soon()));
	must(aioservice_join(p.s, soon()));
	ck_assert_int_eq(aioservice_error(p.s), EPIPE);
	finish(&sink);
	finish(&p);
}

static int slow_sink(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;

	(void)out;
	ck_assert_uint_eq(number_in(m), p->last);
	p->last++;
	p->begun++;
	wait_at(&p->gate);
	return 0;
}

TEST(a_slow_sink_holds_the_whole_chain_back)
{
	enum { N = 200, HELD = 1 + 2 + 1 + 2 + 1 }; /* in hands and in queues */
	struct probe from = {.until = N}, between = {.until = 0}, sink = {.until = 0};

	start(&from, 0, 2, 1, generate);
	between.in = aioqueue_ref(from.out);
	between.out = must(aioqueue_new(2, 0));
	must(aioservice_start(new_service(&between, 1, pass_on)));
	sink.in = aioqueue_ref(between.out);
	must(aioservice_start(new_service(&sink, 1, slow_sink)));
	for (int taken = 1; taken <= N; taken++) {
		await(&sink.begun, taken);
		if (taken + HELD <= N) {
			await(&from.begun, taken - 1 + HELD);
			await_putters(from.out, 1);
			await_putters(between.out, 1);
			ck_assert_int_eq(from.begun, taken - 1 + HELD);
			ck_assert_int_eq(sink.begun, taken);
		}
		sem_post(&sink.gate);
	}
	must(aioservice_join(sink.s, soon()));
	ck_assert_uint_eq(sink.last, N);
	finish(&sink);
	finish(&between);
	finish(&from);
}

#define BLOCK 65536

static int generate_blocks(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	static char data[BLOCK];
	struct probe *p = arg;
	int r;

	if (p->begun == (int)p->until)
		return 1;
	fill(data, sizeof data, (unsigned)p->begun++);
	m = must(aiomsg_new_bytes(data, sizeof data));
	r = aioqueue_put(out, m, AIOIPC_FOREVER);
	aiomsg_free(m);
	return r;
}

/* A connection holds 1 MiB each way and a message, the kernel some more, each queue two, and each hand one. */
#define BLOCKS_HELD (2 * 17 + 30 + 2 * 2 + 2)

static int slow_blocks(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;
	size_t len;

	(void)out;
	usleep(500);
	ck_assert_int_le(p->source->begun, p->begun + BLOCKS_HELD);
	ck_assert(is_filled(aiomsg_bytes(m, &len), BLOCK, (unsigned)p->begun));
	ck_assert_uint_eq(len, BLOCK);
	p->begun++;
	return 0;
}

static struct aiolink *start_link(struct aioend *end, struct aioqueue *in, struct aioqueue *out)
{
	const struct aiolink_options o = {.size = sizeof o, .end = end, .inbox = in, .outbox = out};
	struct aiolink *l = must(aiolink_new(&o));

	must(aiolink_start(l, NULL));
	return l;
}

TEST_WITHIN(a_slow_sink_holds_back_who_is_behind_a_link, 30)
{
	enum { N = 300 };
	struct probe from = {.until = N}, sink = {.source = &from};
	struct aiolink *one, *other;
	struct aioend *a, *b;

	make_ends(PAIR, &a, &b);
	make(&from, 0, 2, 1, generate_blocks);
	make(&sink, 2, 0, 1, slow_blocks);
	one = start_link(a, NULL, from.out);
	other = start_link(b, sink.in, NULL);
	must(aioservice_start(sink.s));
	must(aioservice_start(from.s));
	must(aioservice_join(from.s, soon()));
	aioqueue_close(aiolink_outbox(other));
	must(aioservice_join(sink.s, soon()));
	ck_assert_int_eq(aioservice_error(from.s), 0);
	ck_assert_int_eq(sink.begun, N);
	finish(&from);
	must(aiolink_close(one, soon()));
	must(aiolink_close(other, soon()));
	finish(&sink);
}

static void *join_it(void *arg)
{
	struct probe *p = arg;

	p->begun++;
	must(aioservice_join(p->s, soon()));
	p->over++;
	return NULL;
}

static void join_in_task(void *arg)
{
	join_it(arg);
}

static void open_gate(void *arg)
{
	struct probe *waiters = arg;

	await(&waiters->begun, 5);
	sem_post(&waiters[1].gate);
}

/* A task that joined without parking would keep the gate shut. */
TEST(threads_tasks_and_plain_code_join)
{
	struct event_base *base = new_base();
	struct probe waiters[2] = {{.until = 0}, {.until = 0}}, *p = &waiters[1];
	struct aiotask *task[3];
	pthread_t thread[2];

	start(p, 1, 0, 1, pass_gate);
	waiters[0].s = p->s;
	must(put_number(p->in, 1));
	aioqueue_close(p->in);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, join_it, &waiters[0]), 0);
	for (int i = 0; i < 3; i++)
		task[i] = must(aiotask_spawn(base, join_in_task, &waiters[0]));
	must(aiotask_run(base, open_gate, waiters));
	for (int i = 0; i < 3; i++)
		must(aiotask_join(task[i], soon()));
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
	ck_assert_int_eq(waiters[0].over, 5);
	must(aioservice_join(p->s, AIOIPC_NOW));
	must(aioservice_join(p->s, AIOIPC_FOREVER));
	finish(p);
	event_base_free(base);
}

static void on_signal(int sig)
{
	(void)sig;
}

TEST(join_waits_for_a_deadline_or_a_signal)
{
	struct probe p = {.until = 0};
	const struct sigaction action = {.sa_handler = on_signal};
	const struct itimerval often = {{0, SHORT * 1000}, {0, SHORT * 1000}}, never = {{0, 0}, {0, 0}};

	make(&p, 1, 0, 1, pass_gate);
	must(put_number(p.in, 1));
	must_fail(aioservice_join(p.s, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aioservice_join(p.s, aioipc_after(SHORT)), ETIMEDOUT);
	must_fail(aioservice_join(p.s, 5000), EINVAL);
	must(aioservice_start(p.s));
	must_fail(aioservice_join(p.s, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aioservice_join(p.s, aioipc_after(SHORT)), ETIMEDOUT);
	must(sigaction(SIGALRM, &action, NULL));
	must(setitimer(ITIMER_REAL, &often, NULL));
	must_fail(aioservice_join(p.s, AIOIPC_FOREVER), EINTR);
	must_fail(aioservice_join(p.s, soon()), EINTR);
	must_fail(aioservice_close(p.s, aioipc_after(3 * SHORT)), ETIMEDOUT);
	must(setitimer(ITIMER_REAL, &never, NULL));
	sem_post(&p.gate);
	finish(&p);
}

static void join_and_be_cancelled(void *arg)
{
	struct probe *p = arg;

	p->begun++;
	must_fail(aioservice_join(p->s, AIOIPC_FOREVER), ECANCELED);
	must_fail(aioservice_join(p->s, aioipc_after(SHORT)), ETIMEDOUT);
	p->begun++;
	must_fail(aioservice_close(p->s, AIOIPC_FOREVER), ECANCELED);
	p->begun++;
}

static void until(struct event_base *base, const atomic_int *count, int n)
{
	while (*count < n)
		event_base_loop(base, EVLOOP_NONBLOCK);
	for (int i = 0; i < 4; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

TEST(a_cancelled_task_waits_no_more)
{
	struct event_base *base = new_base();
	struct probe p = {.until = 0}, waiter = {.until = 0};
	struct aiotask *t;

	start(&p, 1, 0, 1, pass_gate);
	must(put_number(p.in, 1));
	waiter.s = p.s;
	t = must(aiotask_spawn(base, join_and_be_cancelled, &waiter));
	until(base, &waiter.begun, 1);
	must(aiotask_cancel(t));
	until(base, &waiter.begun, 2);
	must(aiotask_cancel(t));
	must(aiotask_join(t, soon()));
	ck_assert_int_eq(waiter.begun, 3);
	ck_assert_int_eq(p.over, 0);
	sem_post(&p.gate);
	finish(&p);
	event_base_free(base);
}

/* What others of its base do lets the handler come back. */
static void end_in_task(void *arg)
{
	struct probe *p = arg;

	p->errors++;
	if (p->verdict)
		must(aioservice_close(p->s, soon()));
	else
		aioservice_abort(p->s);
	ck_assert_int_eq(p->over, 1);
	/* a cancel that came while it could not give up is told later */
	if (p->verdict)
		must(aiotask_sleep(AIOIPC_NOW));
	else
		must_fail(aiotask_sleep(AIOIPC_FOREVER), ECANCELED);
}

TEST(close_and_abort_in_a_task_let_others_run)
{
	for (int by_close = 0; by_close < 2; by_close++) {
		struct event_base *base = new_base();
		struct probe p = {.verdict = by_close};
		struct aiotask *t;

		start(&p, 1, 1, 1, pass_gate);
		must(put_number(p.in, 1));
		await(&p.begun, 1);
		t = must(aiotask_spawn(base, end_in_task, &p));
		until(base, &p.errors, 1);
		if (!by_close)
			must(aiotask_cancel(t));
		until(base, &p.errors, 1);
		ck_assert_int_eq(p.over, 0);
		sem_post(&p.gate);
		must(aiotask_join(t, soon()));
		expect_end_of(p.out);
		free_queues(&p);
		event_base_free(base);
	}
}

static int wait_for_itself(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;

	(void)m, (void)out;
	must_fail(aioservice_join(p->s, AIOIPC_FOREVER), EDEADLK);
	must_fail(aioservice_join(p->s, AIOIPC_NOW), EDEADLK);
	must_fail(aioservice_close(p->s, AIOIPC_FOREVER), EDEADLK);
	must_fail(aioservice_start(p->s), EALREADY);
	p->over++;
	aioservice_stop(p->s);
	aioservice_stop(p->s);
	return 0;
}

/* That of another service waits, and frees. */
static int wait_for_other(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = *(struct probe **)arg;

	(void)m, (void)out;
	must(aioservice_join(p->s, soon()));
	must(aioservice_close(p->s, soon()));
	return 1;
}

TEST(a_handler_may_not_wait_for_itself)
{
	struct probe p = {.until = 0}, *address = &p;
	const struct aioservice_options o = {.size = sizeof o, .handle = wait_for_other, .arg = &address};
	struct aioservice *s = must(aioservice_new(&o));

	start(&p, 0, 1, 1, wait_for_itself);
	must(aioservice_start(s));
	must(aioservice_join(s, soon()));
	must(aioservice_close(s, AIOIPC_NOW));
	ck_assert_int_eq(p.over, 1);
	free_queues(&p);
}

/* Whose memory is freed when the last has come back. */
static int abort_itself(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;

	(void)m;
	if (p->begun++ > 0) {
		must_fail(aioservice_sleep(AIOIPC_FOREVER), ECANCELED);
		return -1;
	}
	await(&p->begun, 4);
	aioservice_abort(p->s);
	must_fail(aioservice_sleep(AIOIPC_FOREVER), ECANCELED);
	must_fail(put_number(out, 1), EPIPE);
	p->over++;
	return 0;
}

/* Until it is freed, with its references. */
static void await_freed(struct probe *p)
{
	unsigned refs = 0;

	while (refs != 1) {
		sched_yield();
		pthread_mutex_lock(&p->in->put.lock);
		refs = p->in->refs;
		pthread_mutex_unlock(&p->in->put.lock);
	}
}

TEST(a_handler_may_abort_its_service)
{
	struct probe p = {.until = 0};

	start(&p, 10, 1, 4, abort_itself);
	must(put_number(p.in, 1));
	for (uint32_t i = 0; i < 3; i++)
		must(put_number(p.in, i));
	await(&p.begun, 4);
	while (get_number(p.out) != UINT32_MAX)
		;
	await_freed(&p);
	ck_assert_int_eq(p.begun, 4);
	ck_assert_int_eq(p.over, 1);
	free_queues(&p);
}

static int abort_on_error(struct aioservice *s, struct aiomsg *m, int error, void *arg)
{
	(void)m, (void)arg;
	ck_assert_int_eq(error, EDOM);
	aioservice_abort(s);
	return 0;
}

TEST(so_may_on_error)
{
	struct probe p = {.error = EDOM};

	start_failing(&p, abort_on_error);
	ck_assert_uint_eq(get_number(p.out), 0);
	ck_assert_uint_eq(get_number(p.out), 1);
	expect_end_of(p.out);
	await_freed(&p);
	ck_assert_uint_eq(aioqueue_count(p.in), 0);
	free_queues(&p);
}

static void close_at_end(struct aioqueue *q, void *arg)
{
	struct probe *p = arg;
	struct aiomsg *m;

	ck_assert_int_eq(aioqueue_get(q, &m, AIOIPC_NOW), 0);
	must(aioservice_join(p->s, AIOIPC_NOW));
	must(aioservice_close(p->s, AIOIPC_NOW));
	p->over++;
}

TEST(a_loop_watches_the_end_of_the_outbox)
{
	struct event_base *base = new_base();
	struct probe p = {.until = 0};

	start(&p, 0, 1, 1, sleep_for_ever);
	must(aioqueue_watch(p.out, base, close_at_end, NULL, &p));
	await(&p.begun, 1);
	event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_int_eq(p.over, 0);
	aioservice_stop(p.s);
	until(base, &p.over, 2);
	ck_assert_int_eq(p.over, 2);
	free_queues(&p);
	event_base_free(base);
}

TEST(what_was_not_started_handles_nothing)
{
	for (int by_abort = 0; by_abort < 2; by_abort++) {
		struct probe p = {.until = 0};
		pthread_t thread;

		make(&p, 10, 1, 1, pass_on);
		must(put_number(p.in, 1));
		ck_assert_int_eq(pthread_create(&thread, NULL, join_it, &p), 0);
		await_joiners(p.s, 1);
		if (by_abort)
			aioservice_abort(p.s);
		else
			must(aioservice_close(p.s, AIOIPC_NOW));
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
		ck_assert_uint_eq(aioqueue_count(p.in), by_abort ? 0 : 1);
		must_fail(put_number(p.in, 1), EPIPE);
		expect_end_of(p.out);
		free_queues(&p);
	}
}

TEST(stopped_before_it_was_started)
{
	struct probe p = {.until = 5}, q = {.until = 0};

	make(&p, 0, 10, 3, generate);
	aioservice_stop(p.s);
	must(aioservice_start(p.s));
	must(aioservice_join(p.s, soon()));
	ck_assert_int_eq(p.begun, 0);
	finish(&p);
	make(&q, 10, 10, 1, pass_on);
	must(put_number(q.in, 1));
	aioservice_stop(q.s);
	must(aioservice_start(q.s));
	must_fail(aioservice_start(q.s), EALREADY);
	ck_assert_uint_eq(get_number(q.out), 1);
	finish(&q);
}

static void note(const char *text, void *arg)
{
	(void)text;
	++*(int *)arg;
}

TEST(options_that_are_none)
{
	struct aioqueue *q = must(aioqueue_new(1, 0));
	const struct aioservice_options good = {
		.size = sizeof good, .in = q, .handle = pass_on, .workers = 1024};
	struct aioservice_options bad[4] = {good, good, good, good};
	struct aioservice *s;
	int told = 0;

	bad[0].size++;
	bad[1].handle = NULL;
	bad[2].workers++;
	bad[3].out = q;
	aioipc_set_log(note, &told);
	for (int i = 0; i < 4; i++)
		must_fail(aioservice_new(&bad[i]), EINVAL);
	aioipc_set_log(NULL, NULL);
	ck_assert_int_eq(told, 4);
	s = must(aioservice_new(&good));
	must(aioservice_close(s, AIOIPC_NOW));
	aioqueue_free(q);
	aioservice_stop(NULL);
	aioservice_abort(NULL);
	must(aioservice_close(NULL, AIOIPC_NOW));
}

TEST(a_service_does_not_cross_a_fork)
{
	struct probe p[4] = {{.until = 0}};
	pid_t pid;

	for (int i = 0; i < 4; i++)
		make(&p[i], 10, 10, 2, pass_gate);
	for (int i = 0; i < 2; i++) {
		must(aioservice_start(p[i].s));
		fill_with(p[i].in, 4);
		await(&p[i].begun, 2);
	}
	/* as one of its threads might have them */
	pthread_mutex_lock(&p[0].s->lock);
	pthread_mutex_lock(&p[1].s->lock);
	pid = must(fork());
	if (pid == 0) {
		must_fail(aioservice_start(p[2].s), ECHILD);
		must_fail(aioservice_join(p[0].s, AIOIPC_FOREVER), ECHILD);
		must_fail(aioservice_sleep(AIOIPC_NOW), EPERM);
		ck_assert_int_eq(aioservice_error(p[0].s), ECHILD);
		aioservice_stop(p[0].s);
		must_fail(aioservice_close(p[0].s, AIOIPC_FOREVER), ECHILD);
		aioservice_abort(p[1].s);
		must_fail(aioservice_close(p[2].s, AIOIPC_NOW), ECHILD);
		must_fail(
			aioservice_new(&(struct aioservice_options){
				.size = sizeof(struct aioservice_options), .in = p[3].in, .handle = pass_on}),
			ECHILD);
		aioservice_abort(p[3].s);
		for (int i = 0; i < 4; i++)
			free_queues(&p[i]);
		_exit(0);
	}
	pthread_mutex_unlock(&p[0].s->lock);
	pthread_mutex_unlock(&p[1].s->lock);
	expect_exit(pid, 0);
	for (int i = 0; i < 2; i++)
		for (int n = 0; n < 4; n++)
			sem_post(&p[i].gate);
	for (int i = 0; i < 4; i++)
		finish(&p[i]);
	ck_assert_int_eq(p[0].over + p[1].over, 8);
}

/* Its child has nothing of the service, but may fork, wait and end; one that comes back ends too. */
static int fork_here(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct probe *p = arg;
	pid_t pid = must(fork());
	int status;

	(void)m;
	if (pid == 0 && p->until) {
		must_fail(aioservice_sleep(AIOIPC_NOW), ECHILD);
		must_fail(aioservice_join(p->s, AIOIPC_FOREVER), ECHILD);
		aioservice_abort(p->s);
		must_fail(aioservice_sleep(AIOIPC_NOW), EPERM);
		_exit(0);
	}
	if (pid == 0)
		return 0;
	must(waitpid(pid, &status, 0));
	ck_assert_int_eq(status, 0);
	must(put_number(out, 1));
	return 1;
}

TEST(a_handler_may_fork)
{
	for (uint32_t ends = 0; ends < 2; ends++) {
		struct probe p = {.until = ends};

		start(&p, 0, 2, 1, fork_here);
		ck_assert_uint_eq(get_number(p.out), 1);
		expect_end_of(p.out);
		finish(&p);
	}
}

/* Those who wait are through with it before it goes. */
TEST_WITHIN(closed_while_others_join, 30)
{
	int rounds = harness_slowness() > 1 ? 50 : 500;

	while (rounds--) {
		struct event_base *base = new_base();
		struct probe p = {.until = 0};
		struct aiotask *task;
		pthread_t thread[3];

		start(&p, 1, 0, 2, count_one);
		for (int i = 0; i < 3; i++)
			ck_assert_int_eq(pthread_create(&thread[i], NULL, join_it, &p), 0);
		task = must(aiotask_spawn(base, join_in_task, &p));
		until(base, &p.begun, 4);
		await_joiners(p.s, 4);
		must(aioservice_close(p.s, soon()));
		must(aiotask_join(task, soon()));
		for (int i = 0; i < 3; i++)
			ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
		free_queues(&p);
		event_base_free(base);
	}
}
