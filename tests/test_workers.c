/* Services whose workers are processes: results, order, deaths at any moment, limits, retry, the end, descriptors, forks in between. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <aioipc/proc.h>
#include "tests/peers.h"
#include "tests/works.h"

#include "ipc/os/os.h"

#define SEED 12345u /* of the storms */

/* What handlers and the test both see. */
static struct shared {
	atomic_int inits, finis, calls, tries[64];
	atomic_int at_work;
	_Atomic(pid_t) pid, parent; /* of the last worker that ran a handler */
} * shared;

/* What on_error was told. */
static struct told {
	int n, error, status;
	uint32_t number; /* of the message */
	int verdict;
} told;

static int plain_memory; /* workers see what it was at aioservice_new() */

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

static int on_error(struct aioservice *s, struct aiomsg *m, int error, void *arg)
{
	(void)arg;
	told.n++;
	told.error = error;
	told.status = aioservice_worker_status(s);
	told.number = m ? number_in(m) : UINT32_MAX;
	return told.verdict;
}

static struct aioservice_options options_of(struct works *w, unsigned workers, aioservice_handle *handle)
{
	struct aioservice_options o = works_options(w, 4096, workers, handle);

	shared = must(mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	o.on_error = on_error;
	return o;
}

static void finish(struct works *w)
{
	works_end(w);
	munmap(shared, sizeof *shared);
}

static void await(const atomic_int *count, int n)
{
	while (*count < n)
		sched_yield();
}

/* Until nobody has this number any more, or a zombie of somebody else's. */
static void await_death(pid_t pid)
{
	char path[64], state;
	FILE *f;

	for (;;) {
		snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
		f = fopen(path, "r");
		if (!f)
			return;
		state = 'Z';
		if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
			state = 'Z';
		fclose(f);
		if (state == 'Z')
			return;
		sched_yield();
	}
}

/* Handlers. */

static int twice(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)arg;
	shared->pid = getpid();
	shared->parent = getppid();
	shared->calls++;
	return put_number(out, 2 * number_in(m));
}

static int die_at_7(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	if (number_in(m) == 7) {
		put_number(out, 7); /* is not seen */
		raise(SIGKILL);
	}
	return twice(m, out, arg);
}

static int exit_at_7(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	if (number_in(m) == 7)
		_exit(3);
	return twice(m, out, arg);
}

static int fail_at_7(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	if (number_in(m) == 7) {
		put_number(out, 7); /* is not seen */
		errno = EDOM;
		return -1;
	}
	return twice(m, out, arg);
}

static int hang_at_7(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	while (number_in(m) == 7)
		pause();
	return twice(m, out, arg);
}

static int hang(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)m;
	(void)out;
	(void)arg;
	shared->pid = getpid();
	shared->parent = getppid();
	shared->at_work++;
	while (pause() == -1)
		;
	return 0;
}

/* The first two tries of every message end the worker. */
static int third_time(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	if (++shared->tries[number_in(m)] < 3)
		raise(SIGKILL);
	return twice(m, out, arg);
}

static int fail_twice(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	if (++shared->tries[number_in(m)] < 3)
		return -1;
	return twice(m, out, arg);
}

static int one_is_enough(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	twice(m, out, arg);
	return 1;
}

static int note_init(void *arg)
{
	(void)arg;
	shared->inits++;
	return 0;
}

static void note_fini(void *arg)
{
	(void)arg;
	shared->finis++;
}

/* All of 0 .. n - 1 twice, but @missing. */
static void expect_all_but(struct works *w, uint32_t n, uint32_t missing)
{
	bool *seen = must(calloc(n, sizeof *seen));
	uint32_t got, count = 0;

	while ((got = get_number(w->out)) != UINT32_MAX) {
		ck_assert_uint_lt(got / 2, n);
		ck_assert_uint_ne(got / 2, missing);
		ck_assert(!seen[got / 2]);
		seen[got / 2] = true;
		count++;
	}
	ck_assert_uint_eq(count, missing < n ? n - 1 : n);
	free(seen);
}

static void expect_all(struct works *w, uint32_t n)
{
	expect_all_but(w, n, UINT32_MAX);
}

TEST(forked_workers_handle_every_message)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 3, twice);
	struct aioservice_stats stats;

	works_begin(&w, &o);
	put_up_to(w.in, 2000);
	aioqueue_close(w.in);
	expect_all(&w, 2000);
	ck_assert_int_ne(shared->pid, getpid());
	ck_assert_int_ne(shared->parent, getpid()); /* the fork server's */
	must(aioservice_join(w.s, soon()));
	stats = works_stats(&w);
	ck_assert_uint_eq(stats.jobs, 2000);
	ck_assert_uint_eq(stats.lost + stats.failed + stats.retried + stats.restarts + stats.late, 0);
	ck_assert_uint_eq(stats.starts, 3);
	ck_assert_uint_eq(stats.workers + stats.busy, 0);
	ck_assert_int_eq(aioservice_error(w.s), 0);
	finish(&w);
}

TEST(results_come_in_the_order_of_the_messages)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 4, twice);

	o.in_order = true;
	works_begin(&w, &o);
	put_up_to(w.in, 3000);
	aioqueue_close(w.in);
	for (uint32_t i = 0; i < 3000; i++)
		ck_assert_uint_eq(get_number(w.out), 2 * i);
	ck_assert_uint_eq(get_number(w.out), UINT32_MAX);
	finish(&w);
}

TEST(a_worker_that_dies_loses_its_own_message_only)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, die_at_7);

	works_begin(&w, &o);
	put_up_to(w.in, 500);
	aioqueue_close(w.in);
	expect_all_but(&w, 500, 7);
	ck_assert_int_eq(told.n, 1);
	ck_assert_int_eq(told.error, EOWNERDEAD);
	ck_assert_uint_eq(told.number, 7);
	ck_assert(WIFSIGNALED(told.status) && WTERMSIG(told.status) == SIGKILL);
	must(aioservice_join(w.s, soon()));
	ck_assert_uint_eq(works_stats(&w).lost, 1);
	ck_assert_int_eq(aioservice_error(w.s), 0);
	finish(&w);
}

TEST(on_error_is_told_the_exit_status)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 1, exit_at_7);

	works_begin(&w, &o);
	put_up_to(w.in, 20);
	aioqueue_close(w.in);
	expect_all_but(&w, 20, 7);
	ck_assert_int_eq(told.error, EOWNERDEAD);
	ck_assert(WIFEXITED(told.status) && WEXITSTATUS(told.status) == 3);
	finish(&w);
}

TEST(a_handler_that_fails_is_told_and_has_no_results)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, fail_at_7);

	works_begin(&w, &o);
	put_up_to(w.in, 100);
	aioqueue_close(w.in);
	expect_all_but(&w, 100, 7);
	ck_assert_int_eq(told.error, EDOM);
	ck_assert_int_eq(told.status, -1);
	must(aioservice_join(w.s, soon()));
	ck_assert_uint_eq(works_stats(&w).failed, 1);
	ck_assert_uint_eq(works_stats(&w).restarts, 0);
	finish(&w);
}

TEST(an_error_that_nobody_forgives_stops_the_service)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 1, die_at_7);
	uint32_t i;

	o.on_error = NULL;
	works_begin(&w, &o);
	for (i = 0; put_number(w.in, i) == 0;)
		i += i < 7;
	ck_assert_int_eq(errno, EPIPE);
	for (i = 0; get_number(w.out) != UINT32_MAX; i++)
		;
	ck_assert_uint_eq(i, 7);
	must(aioservice_join(w.s, soon()));
	ck_assert_int_eq(aioservice_error(w.s), EOWNERDEAD);
	ck_assert_uint_gt(aioqueue_count(w.in), 0);
	finish(&w);
}

TEST(messages_whose_worker_died_are_tried_again)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, third_time);

	o.retries = 2;
	o.in_order = true;
	works_begin(&w, &o);
	put_up_to(w.in, 6);
	aioqueue_close(w.in);
	for (uint32_t i = 0; i < 6; i++)
		ck_assert_uint_eq(get_number(w.out), 2 * i);
	ck_assert_uint_eq(get_number(w.out), UINT32_MAX);
	ck_assert_int_eq(told.n, 0);
	must(aioservice_join(w.s, soon()));
	/* a worker that is killed before it reads loses one too */
	ck_assert_uint_ge(works_stats(&w).lost, 12);
	ck_assert_uint_eq(works_stats(&w).lost, works_stats(&w).retried);
	finish(&w);
}

TEST(on_error_may_have_a_message_tried_again)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, fail_twice);

	told.verdict = AIOSERVICE_RETRY;
	works_begin(&w, &o);
	put_up_to(w.in, 20);
	aioqueue_close(w.in);
	expect_all(&w, 20);
	ck_assert_int_eq(told.n, 40);
	must(aioservice_join(w.s, soon()));
	ck_assert_uint_eq(works_stats(&w).retried, 40);
	finish(&w);
}

TEST(threads_try_again_too)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 1, fail_twice);

	o.kind = AIOSERVICE_THREADS;
	o.init = note_init;
	o.fini = note_fini;
	told.verdict = AIOSERVICE_RETRY;
	works_begin(&w, &o);
	put_up_to(w.in, 20);
	aioqueue_close(w.in);
	expect_all(&w, 20);
	ck_assert_int_eq(told.n, 40);
	must(aioservice_join(w.s, soon()));
	ck_assert_int_eq(shared->inits, 1);
	ck_assert_int_eq(shared->finis, 1);
	ck_assert_uint_eq(works_stats(&w).jobs, 20);
	ck_assert_uint_eq(works_stats(&w).failed, 40);
	finish(&w);
}

TEST(a_worker_that_takes_too_long_is_killed)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, hang_at_7);

	o.limit = 2000 * (int64_t)harness_slowness();
	works_begin(&w, &o);
	put_up_to(w.in, 50);
	aioqueue_close(w.in);
	expect_all_but(&w, 50, 7);
	ck_assert_int_eq(told.n, 1);
	ck_assert_int_eq(told.error, ETIMEDOUT);
	ck_assert(WIFSIGNALED(told.status) && WTERMSIG(told.status) == SIGKILL);
	must(aioservice_join(w.s, soon()));
	ck_assert_uint_eq(works_stats(&w).late, 1);
	finish(&w);
}

TEST(a_worker_is_replaced_after_its_number_of_messages)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 1, twice);

	o.jobs_each = 3;
	o.in_order = true;
	o.init = note_init;
	o.fini = note_fini;
	works_begin(&w, &o);
	put_up_to(w.in, 10);
	aioqueue_close(w.in);
	for (uint32_t i = 0; i < 10; i++)
		ck_assert_uint_eq(get_number(w.out), 2 * i);
	ck_assert_uint_eq(get_number(w.out), UINT32_MAX);
	must(aioservice_join(w.s, soon()));
	ck_assert_int_eq(shared->inits, 4);
	ck_assert_int_eq(shared->finis, 4);
	ck_assert_uint_eq(works_stats(&w).starts, 4);
	ck_assert_uint_eq(works_stats(&w).restarts, 3);
	ck_assert_uint_eq(works_stats(&w).lost, 0);
	finish(&w);
}

static int refuse(void *arg)
{
	(void)arg;
	errno = EXDEV;
	return -1;
}

TEST(init_that_fails_stops_the_service)
{
	for (int kind = AIOSERVICE_THREADS; kind <= AIOSERVICE_FORKED; kind++) {
		struct works w;
		struct aioservice_options o = options_of(&w, 3, twice);

		o.kind = (enum aioservice_kind)kind;
		o.init = refuse;
		o.fini = note_fini;
		put_up_to(w.in, 10);
		works_begin(&w, &o);
		ck_assert_uint_eq(get_number(w.out), UINT32_MAX);
		must(aioservice_join(w.s, soon()));
		ck_assert_int_eq(aioservice_error(w.s), EXDEV);
		ck_assert_uint_eq(aioqueue_count(w.in), 10);
		ck_assert_int_eq(shared->finis, 0);
		finish(&w);
	}
}

static int crash(void *arg)
{
	(void)arg;
	shared->inits++;
	_exit(1);
}

TEST(workers_that_never_get_ready_stop_the_service)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 4, twice);

	o.init = crash;
	put_up_to(w.in, 10);
	works_begin(&w, &o);
	must(aioservice_join(w.s, soon()));
	ck_assert_int_eq(aioservice_error(w.s), EOWNERDEAD);
	ck_assert_int_ge(shared->inits, 16);
	ck_assert_int_lt(shared->inits, 30);
	ck_assert_uint_eq(aioqueue_count(w.in), 10);
	finish(&w);
}

TEST(a_handler_that_is_done_leaves_the_rest)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 1, one_is_enough);

	put_up_to(w.in, 100);
	works_begin(&w, &o);
	ck_assert_uint_eq(get_number(w.out), 0);
	ck_assert_uint_eq(get_number(w.out), UINT32_MAX);
	must(aioservice_join(w.s, soon()));
	ck_assert_int_eq(aioservice_error(w.s), 0);
	ck_assert_uint_eq(aioqueue_count(w.in), 99);
	ck_assert_uint_eq(get_number(w.in), 1);
	finish(&w);
}

/* A worker that has others at hand gives them back, in order. */
static int done_at_50(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	return number_in(m) == 50 ? one_is_enough(m, out, arg) : twice(m, out, arg);
}

TEST(messages_that_a_worker_had_at_hand_go_back_in_order)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 1, done_at_50);

	put_up_to(w.in, 100);
	works_begin(&w, &o);
	expect_all(&w, 51);
	must(aioservice_join(w.s, soon()));
	for (uint32_t i = 51; i < 100; i++)
		ck_assert_uint_eq(get_number(w.in), i);
	ck_assert_uint_eq(get_number(w.in), UINT32_MAX);
	finish(&w);
}

static int count_to_20(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	static uint32_t n;

	(void)arg;
	if (m)
		abort();
	if (n == 20)
		return 1;
	return put_number(out, 2 * n++);
}

TEST(a_forked_generator_goes_on_until_it_is_done)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 1, count_to_20);

	o.in = NULL;
	works_begin(&w, &o);
	expect_all(&w, 20);
	must(aioservice_join(w.s, soon()));
	ck_assert_int_eq(aioservice_error(w.s), 0);
	finish(&w);
}

static int many(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < 500; i++)
		put_number(out, 2 * (500 * number_in(m) + i));
	return 0;
}

TEST(a_message_may_have_many_results)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, many);

	works_begin(&w, &o);
	put_up_to(w.in, 8);
	aioqueue_close(w.in);
	expect_all(&w, 8 * 500);
	finish(&w);
}

static int back(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)arg;
	return aioqueue_put(out, m, AIOIPC_NOW);
}

TEST(large_messages_go_both_ways)
{
	const size_t len = 5 << 20;
	char *data = must(malloc(len));
	struct aiomsg *m, *got;
	struct works w;
	struct aioservice_options o = options_of(&w, 2, back);

	memset(data, 'x', len);
	m = must(aiomsg_new_bytes(data, len));
	works_begin(&w, &o);
	for (int i = 0; i < 6; i++)
		must(aioqueue_put(w.in, m, soon()));
	for (int i = 0; i < 6; i++) {
		ck_assert_int_eq(must(aioqueue_get(w.out, &got, soon())), 1);
		ck_assert_int_eq(memcmp(aiomsg_bytes(got, NULL), data, len), 0);
		aiomsg_free(got);
	}
	aiomsg_free(m);
	free(data);
	finish(&w);
}

/* Results wait for room; nothing is lost, and the service takes no more meanwhile. */
TEST(a_full_queue_stops_the_workers)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, twice);

	aioqueue_free(w.out);
	o.out = w.out = must(aioqueue_new(2, 0));
	works_begin(&w, &o);
	put_up_to(w.in, 1000);
	aioqueue_close(w.in);
	await(&shared->calls, 2);
	while (aioqueue_count(w.out) < 2)
		sched_yield();
	expect_all(&w, 1000);
	finish(&w);
}

TEST(abort_kills_those_at_work)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 3, hang);
	pid_t pid;

	works_begin(&w, &o);
	put_up_to(w.in, 10);
	await(&shared->at_work, 3);
	pid = shared->pid;
	aioservice_abort(w.s);
	must_fail(kill(pid, 0), ESRCH);
	ck_assert_uint_eq(get_number(w.out), UINT32_MAX);
	ck_assert_int_eq(told.n, 0);
	aioqueue_free(w.in);
	aioqueue_free(w.out);
}

TEST(abort_with_a_full_queue)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, twice);

	aioqueue_free(w.out);
	o.out = w.out = must(aioqueue_new(1, 0));
	works_begin(&w, &o);
	put_up_to(w.in, 100);
	await(&shared->calls, 3);
	aioservice_abort(w.s);
	aioqueue_free(w.in);
	aioqueue_free(w.out);
}

static int abort_service(struct aioservice *s, struct aiomsg *m, int error, void *arg)
{
	(void)m;
	(void)error;
	(void)arg;
	aioservice_abort(s);
	return 0;
}

TEST(on_error_may_abort_the_service)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, die_at_7);

	o.on_error = abort_service;
	works_begin(&w, &o);
	put_up_to(w.in, 8);
	while (get_number(w.out) != UINT32_MAX)
		;
	aioqueue_free(w.in);
	aioqueue_free(w.out);
}

TEST(a_service_that_was_not_started_ends)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, twice);

	w.s = must(aioservice_new(&o));
	finish(&w);
	o = options_of(&w, 2, twice);
	w.s = must(aioservice_new(&o));
	aioservice_abort(w.s);
	aioqueue_free(w.in);
	aioqueue_free(w.out);
}

/* Descriptors travel to a worker and back. */
static int pass(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	int fd = aiomsg_take_fd(m), pipe_fd[2], r;
	struct aiomsg *answer = number(2 * number_in(m));

	(void)arg;
	if (fd == -1 || pipe(pipe_fd) == -1 || write(fd, "to", 2) != 2 || write(pipe_fd[1], "from", 4) != 4)
		return -1;
	close(fd);
	close(pipe_fd[1]);
	r = aiomsg_add_fd(answer, pipe_fd[0]);
	close(pipe_fd[0]);
	if (r == 0)
		r = aioqueue_put(out, answer, AIOIPC_NOW);
	aiomsg_free(answer);
	return r;
}

static void expect_to_read(int fd, const char *text)
{
	char buf[16] = "";

	ck_assert_int_eq(must(read(fd, buf, sizeof buf - 1)), (ssize_t)strlen(text));
	ck_assert_str_eq(buf, text);
	must(close(fd));
}

TEST(descriptors_travel_both_ways)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, pass);
	struct aiomsg *m;
	int fd[30][2];

	o.in_order = true;
	works_begin(&w, &o);
	for (uint32_t i = 0; i < 30; i++) {
		m = number(i);
		must(pipe(fd[i]));
		must(aiomsg_add_fd(m, fd[i][1]));
		must(close(fd[i][1]));
		must(aioqueue_put(w.in, m, soon()));
		aiomsg_free(m);
	}
	for (uint32_t i = 0; i < 30; i++) {
		ck_assert_int_eq(must(aioqueue_get(w.out, &m, soon())), 1);
		ck_assert_uint_eq(number_in(m), 2 * i);
		expect_to_read(must(aiomsg_take_fd(m)), "from");
		expect_to_read(fd[i][0], "to");
		aiomsg_free(m);
	}
	ck_assert_int_eq(told.n, 0);
	finish(&w);
}

static int memory(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)m;
	(void)arg;
	return put_number(out, (uint32_t)plain_memory);
}

TEST(workers_see_the_memory_as_it_was_when_the_service_was_made)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 1, memory);

	plain_memory = 1;
	w.s = must(aioservice_new(&o));
	plain_memory = 2;
	must(aioservice_start(w.s));
	put_up_to(w.in, 1);
	ck_assert_uint_eq(get_number(w.out), 1);
	finish(&w);
}

static int groups(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)m;
	(void)arg;
	return put_number(out, (uint32_t)getpgrp());
}

TEST(ctrl_c_does_not_reach_workers_unless_wanted)
{
	for (int with = 0; with < 2; with++) {
		struct works w;
		struct aioservice_options o = options_of(&w, 1, groups);

		o.with_terminal = with;
		works_begin(&w, &o);
		put_up_to(w.in, 1);
		ck_assert_int_eq(get_number(w.out) == (uint32_t)getpgrp(), with);
		finish(&w);
	}
}

static int count_fds(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)m;
	return put_number(out, fcntl(*(int *)arg, F_GETFD) != -1);
}

TEST(workers_have_the_descriptors_of_the_program_unless_not_wanted)
{
	for (int only = 0; only < 2; only++) {
		struct works w;
		struct aioservice_options o = options_of(&w, 1, count_fds);
		int fd = must(fcntl(0, F_DUPFD, 100));

		o.arg = &fd;
		o.only_ends = only;
		works_begin(&w, &o);
		put_up_to(w.in, 1);
		ck_assert_int_eq(get_number(w.out), !only);
		must(close(fd));
		finish(&w);
	}
}

/* The one that fails stops the other, which sleeps. */
static int sleep_or_fail(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)out;
	(void)arg;
	shared->at_work++;
	if (number_in(m) == 1) {
		await(&shared->at_work, 2);
		errno = EDOM;
		return -1;
	}
	return aioservice_sleep(AIOIPC_FOREVER);
}

TEST(a_handler_that_sleeps_is_told_that_the_service_stops)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, sleep_or_fail);

	told.verdict = -1;
	works_begin(&w, &o);
	put_up_to(w.in, 2);
	must(aioservice_join(w.s, soon()));
	ck_assert_int_eq(aioservice_error(w.s), EDOM);
	ck_assert_int_eq(told.n, 1);
	finish(&w);
}

static int short_sleep(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	return aioservice_sleep(aioipc_after(1)) == -1 ? -1 : twice(m, out, arg);
}

TEST(handlers_sleep_on_while_a_closed_queue_is_emptied)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, short_sleep);

	put_up_to(w.in, 20);
	aioqueue_close(w.in);
	works_begin(&w, &o);
	expect_all(&w, 20);
	ck_assert_int_eq(told.n, 0);
	finish(&w);
}

TEST(a_fork_of_the_program_takes_nothing_along)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, twice);
	pid_t pid;

	works_begin(&w, &o);
	put_up_to(w.in, 100);
	ck_assert_uint_lt(get_number(w.out), 200);
	pid = must(fork());
	if (pid == 0) {
		for (int fd = 0; fd < 256; fd++)
			ck_assert(!ipc_os_is_placeholder(fd));
		must_fail(aioservice_join(w.s, soon()), ECHILD);
		must_fail(aioservice_close(w.s, soon()), ECHILD);
		_exit(0);
	}
	aioqueue_close(w.in);
	for (int i = 1; i < 100; i++)
		ck_assert_uint_ne(get_number(w.out), UINT32_MAX);
	ck_assert_uint_eq(get_number(w.out), UINT32_MAX);
	expect_exit(pid, 0);
	finish(&w);
}

TEST(forks_while_the_service_is_at_work)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, twice);

	works_begin(&w, &o);
	put_up_to(w.in, 2000);
	aioqueue_close(w.in);
	for (int i = 0; i < 20; i++) {
		pid_t pid = must(fork());

		if (pid == 0)
			_exit(0);
		expect_exit(pid, 0);
	}
	expect_all(&w, 2000);
	finish(&w);
}

/* The worker hangs at work when its program is killed. */
TEST(workers_end_with_their_program)
{
	int alive[2];
	char c;
	pid_t pid;

	must(pipe(alive));
	pid = must(fork());
	if (pid == 0) {
		struct works w;
		struct aioservice_options o = options_of(&w, 2, hang);

		works_begin(&w, &o);
		put_up_to(w.in, 2);
		await(&shared->at_work, 2);
		kill(getpid(), SIGKILL);
	}
	must(close(alive[1]));
	ck_assert_int_eq(must(read(alive[0], &c, 1)), 0); /* fork server and workers have it too */
	must(waitpid(pid, NULL, 0));
	must(close(alive[0]));
}

TEST(without_its_fork_server_a_service_ends)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 2, hang);
	pid_t worker;

	works_begin(&w, &o);
	put_up_to(w.in, 2);
	await(&shared->at_work, 2);
	worker = shared->pid;
	must(kill(shared->parent, SIGKILL));
	must(aioservice_join(w.s, soon()));
	ck_assert_int_eq(aioservice_error(w.s), EOWNERDEAD);
	await_death(worker);
	finish(&w);
}

/* Each worker kills another one at random, so that they die at any moment: while they read, handle, answer. */
static int storm(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	static unsigned seed; /* each worker has its own: the next from SEED on */

	(void)arg;
	if (!seed)
		seed = SEED + (unsigned)shared->inits++;
	if (rand_r(&seed) % 8 == 0 && shared->pid)
		kill(shared->pid, SIGKILL);
	shared->pid = getpid();
	return put_number(out, 2 * number_in(m));
}

static int is_dead(struct aioservice *s, struct aiomsg *m, int error, void *arg)
{
	on_error(s, m, error, arg);
	ck_assert_int_eq(error, EOWNERDEAD);
	ck_assert(WIFSIGNALED(told.status) && WTERMSIG(told.status) == SIGKILL);
	return AIOSERVICE_RETRY;
}

static void weather_storm(unsigned workers, bool in_order, uint32_t n)
{
	struct works w;
	struct aioservice_options o = options_of(&w, workers, storm);

	o.in_order = in_order;
	o.on_error = is_dead;
	o.retries = 1;
	works_begin(&w, &o);
	put_up_to(w.in, n);
	aioqueue_close(w.in);
	if (in_order)
		for (uint32_t i = 0; i < n; i++)
			ck_assert_uint_eq(get_number(w.out), 2 * i);
	expect_all(&w, in_order ? 0 : n);
	must(aioservice_join(w.s, soon()));
	ck_assert_uint_gt(works_stats(&w).restarts, 0);
	ck_assert_uint_eq(works_stats(&w).jobs, n);
	finish(&w);
}

TEST_WITHIN(a_storm_of_kills_loses_nothing, 30)
{
	weather_storm(4, false, 1000);
}

TEST_WITHIN(a_storm_of_kills_keeps_the_order, 30)
{
	weather_storm(3, true, 1000);
}

/* Executed workers: tests/inheritor has their handler. */

static struct aioservice_options executed(struct works *w, const char *path, char *const *argv)
{
	struct aioservice_options o = options_of(w, 2, NULL);

	o.kind = AIOSERVICE_EXECUTED;
	o.path = path;
	o.argv = argv;
	return o;
}

static char *const work[] = {"inheritor", "work", NULL};

TEST(executed_workers_handle_every_message)
{
	struct works w;
	struct aioservice_options o = executed(&w, "tests/inheritor", work);

	o.in_order = true;
	works_begin(&w, &o);
	put_up_to(w.in, 300);
	aioqueue_close(w.in);
	for (uint32_t i = 0; i < 300; i++)
		if (i != 7)
			ck_assert_uint_eq(get_number(w.out), 2 * i);
	ck_assert_uint_eq(get_number(w.out), UINT32_MAX);
	ck_assert_int_eq(told.n, 1);
	ck_assert_uint_eq(told.number, 7);
	ck_assert(WIFSIGNALED(told.status) && WTERMSIG(told.status) == SIGKILL);
	finish(&w);
}

TEST(executed_workers_are_killed_when_late_and_at_abort)
{
	struct works w;
	struct aioservice_options o = executed(&w, "tests/inheritor", work);

	o.limit = 1000 * (int64_t)harness_slowness();
	works_begin(&w, &o);
	must(put_number(w.in, 1000)); /* hangs */
	while (told.n == 0 && works_stats(&w).late == 0)
		sched_yield();
	must(put_number(w.in, 1000));
	aioservice_abort(w.s);
	aioqueue_free(w.in);
	aioqueue_free(w.out);
}

TEST(a_program_that_is_not_there_stops_the_service)
{
	struct works w;
	struct aioservice_options o = executed(&w, "tests/no such program", work);

	put_up_to(w.in, 3);
	works_begin(&w, &o);
	must(aioservice_join(w.s, soon()));
	ck_assert_int_eq(aioservice_error(w.s), ENOENT);
	ck_assert_uint_eq(aioqueue_count(w.in), 3);
	finish(&w);
}

TEST(a_program_that_is_no_worker_stops_the_service)
{
	static char *const argv[] = {"true", NULL};
	struct works w;
	struct aioservice_options o = executed(&w, "/bin/true", argv);

	works_begin(&w, &o);
	must(aioservice_join(w.s, soon()));
	ck_assert_int_eq(aioservice_error(w.s), EOWNERDEAD);
	finish(&w);
}

TEST(a_worker_needs_a_service)
{
	struct aioservice_options o = {.size = sizeof o, .handle = twice};

	must_fail(aioservice_worker(&o), ENOENT);
	o.handle = NULL;
	must_fail(aioservice_worker(&o), EINVAL);
}

static void expect_invalid(struct aioservice_options o)
{
	must_fail(aioservice_new(&o), EINVAL);
}

TEST(options_that_do_not_go_together)
{
	static char *const argv[] = {"x", NULL};
	const struct aioservice_options threads = {.size = sizeof threads, .handle = twice};
	struct aioservice_options o = threads;

	o.limit = 1;
	expect_invalid(o);
	o = threads;
	o.in_order = true;
	expect_invalid(o);
	o = threads;
	o.path = "/bin/true";
	expect_invalid(o);
	o = threads;
	o.kind = (enum aioservice_kind)3;
	expect_invalid(o);
	o.kind = AIOSERVICE_FORKED;
	o.limit = -1;
	expect_invalid(o);
	o.kind = AIOSERVICE_EXECUTED;
	o.limit = 0;
	expect_invalid(o);
	o.path = "/bin/true";
	o.argv = argv;
	expect_invalid(o);
	o.handle = NULL;
	o.argv = NULL;
	expect_invalid(o);
}

/* A program of 0.1 knows the members up to arg, and stats may be shorter. */
TEST(older_sizes_are_accepted)
{
	struct works w;
	struct aioservice_options o = options_of(&w, 1, twice);
	struct {
		size_t size;
		uint64_t jobs;
	} stats = {.size = sizeof stats};

	o.size = offsetof(struct aioservice_options, kind);
	o.kind = (enum aioservice_kind)77;
	works_begin(&w, &o);
	put_up_to(w.in, 10);
	aioqueue_close(w.in);
	expect_all(&w, 10);
	ck_assert_int_eq(shared->pid, getpid());
	must(aioservice_join(w.s, soon()));
	must(aioservice_stats(w.s, (struct aioservice_stats *)(void *)&stats));
	ck_assert_uint_eq(stats.jobs, 10);
	stats.size = 1;
	must_fail(aioservice_stats(w.s, (struct aioservice_stats *)(void *)&stats), EINVAL);
	finish(&w);
}
