/* Tasks by themselves: how they run, wait, are woken, cancelled and joined, and end. With connections: test_task_conn.c. */
#include <aioipc.h>

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "ipc/task/task.h"
#include "tests/harness.h"

#ifdef __SANITIZE_ADDRESS__
#define ASAN 1
#else
#define ASAN 0
#endif

static struct event_base *base;
static char trace[256];
static struct aiotask *other;

static void note(const char *what)
{
	strcat(trace, what);
}

static void say(void *arg)
{
	note(arg);
}

static struct aiotask *spawn(void (*fn)(void *), void *arg)
{
	return must(aiotask_spawn(base, fn, arg));
}

static void join(struct aiotask *t)
{
	must(aiotask_join(t, AIOIPC_FOREVER));
}

/* The test itself as a task. */
static void run(void (*fn)(void *), void *arg)
{
	base = must(event_base_new());
	must(aiotask_run(base, fn, arg));
	event_base_free(base);
}

TEST(runs_a_function_to_its_end)
{
	ck_assert_ptr_null(aiotask_self());
	run(say, "a");
	ck_assert_str_eq(trace, "a");
}

static void say_and_yield(void *arg)
{
	for (int i = 0; i < 3; i++) {
		note(arg);
		must(aiotask_sleep(AIOIPC_NOW));
	}
}

static void spawn_three(void *arg)
{
	struct aiotask *t[] = {spawn(say_and_yield, "a"), spawn(say_and_yield, "b"),
			       spawn(say_and_yield, "c")};

	(void)arg;
	note("0");
	for (int i = 0; i < 3; i++)
		join(t[i]);
}

TEST(tasks_run_in_the_order_in_which_they_became_ready)
{
	run(spawn_three, NULL);
	ck_assert_str_eq(trace, "0abcabcabc");
}

static void sleep_and_say(void *arg)
{
	must(aiotask_sleep(aioipc_after((int64_t)((*(char *)arg == 'b' ? 20 : 60) * harness_slowness()))));
	note(arg);
}

static void sleep_for_ever(void *arg)
{
	aiotask_sleep(AIOIPC_FOREVER);
	note(arg);
}

static void sleep_side_by_side(void *arg)
{
	struct aiotask *a = spawn(sleep_and_say, "a"), *b = spawn(sleep_and_say, "b");

	(void)arg;
	join(a);
	join(b);
}

TEST(sleeping_lets_others_go_on)
{
	int64_t late = aioipc_after(60);

	run(sleep_side_by_side, NULL);
	ck_assert_str_eq(trace, "ba");
	ck_assert_int_ge(aioipc_after(1), late);
}

TEST(sleep_outside_a_task_sleeps_the_process)
{
	int64_t late = aioipc_after(20);

	must(aiotask_sleep(late));
	ck_assert_int_ge(aioipc_after(1), late);
	must(aiotask_sleep(AIOIPC_NOW));
	must_fail(aiotask_sleep(20), EINVAL);
}

static void park_and_say(void *arg)
{
	must(aiotask_park(AIOIPC_FOREVER));
	note(arg);
}

static void wake_in_time_and_early(void *arg)
{
	struct aiotask *t = spawn(park_and_say, "p");

	(void)arg;
	must(aiotask_sleep(AIOIPC_NOW));
	note("w");
	must(aiotask_wake(t));
	join(t);
	t = spawn(park_and_say, "q");
	must(aiotask_wake(t)); /* it has not even begun */
	must(aiotask_wake(t));
	join(t);
	must(aiotask_wake(aiotask_self()));
	must(aiotask_wake(aiotask_self()));
	must(aiotask_park(AIOIPC_FOREVER));
	must_fail(aiotask_park(aioipc_after(1)), ETIMEDOUT);
	must_fail(aiotask_park(AIOIPC_NOW), ETIMEDOUT);
	must_fail(aiotask_park(5), EINVAL);
}

TEST(a_wake_ends_the_park_or_the_next_one)
{
	run(wake_in_time_and_early, NULL);
	ck_assert_str_eq(trace, "wpq");
	must_fail(aiotask_park(AIOIPC_FOREVER), EPERM);
}

static void sleep_while_woken(void *arg)
{
	struct aiotask *t = spawn(sleep_and_say, "b");

	(void)arg;
	must(aiotask_sleep(AIOIPC_NOW));
	must(aiotask_wake(t));
	must(aiotask_sleep(AIOIPC_NOW));
	must(aiotask_sleep(AIOIPC_NOW));
	ck_assert_str_eq(trace, "");
	join(t);
}

TEST(a_wake_does_not_shorten_a_sleep)
{
	run(sleep_while_woken, NULL);
	ck_assert_str_eq(trace, "b");
}

/* Cancelling. */

static void cancelled_park(void *arg)
{
	(void)arg;
	must_fail(aiotask_park(AIOIPC_FOREVER), ECANCELED);
	must_fail(aiotask_park(aioipc_after(1)), ETIMEDOUT);
	note("p");
}

static void cancelled_sleep(void *arg)
{
	(void)arg;
	must_fail(aiotask_sleep(AIOIPC_FOREVER), ECANCELED);
	must(aiotask_sleep(aioipc_after(1)));
	note("s");
}

static void cancelled_yield(void *arg)
{
	(void)arg;
	must_fail(aiotask_sleep(AIOIPC_NOW), ECANCELED);
	must(aiotask_sleep(AIOIPC_NOW));
	note("y");
}

static void cancelled_join(void *arg)
{
	struct aiotask *t = spawn(park_and_say, "j");

	(void)arg;
	must_fail(aiotask_join(t, AIOIPC_FOREVER), ECANCELED);
	must(aiotask_wake(t));
	join(t);
}

static void cancel_each(void *arg)
{
	void (*fn[])(void *) = {cancelled_park, cancelled_sleep, cancelled_yield, cancelled_join};

	(void)arg;
	for (size_t early = 0; early < 2; early++)
		for (size_t i = 0; i < sizeof fn / sizeof *fn; i++) {
			struct aiotask *t = spawn(fn[i], NULL);

			if (!early)
				must(aiotask_sleep(AIOIPC_NOW));
			must(aiotask_cancel(t));
			must(aiotask_cancel(t));
			join(t);
		}
}

TEST(cancel_ends_each_wait_once_also_when_it_comes_early)
{
	run(cancel_each, NULL);
	ck_assert_str_eq(trace, "psyjpsyj");
}

static void cancel_ended(void *arg)
{
	struct aiotask *t = spawn(say, "e");

	(void)arg;
	must(aiotask_sleep(AIOIPC_NOW));
	must_fail(aiotask_cancel(t), ESRCH);
	must_fail(aiotask_wake(t), ESRCH);
	join(t);
}

TEST(cancelling_a_task_that_ended_is_told)
{
	run(cancel_ended, NULL);
}

static void kept(void *arg)
{
	must_fail(aiotask_park(AIOIPC_FOREVER), ECANCELED);
	must(aiotask_park(AIOIPC_FOREVER));
	note(arg);
}

static void cancel_then_wake(void *arg)
{
	struct aiotask *t = spawn(kept, "k");

	(void)arg;
	must(aiotask_sleep(AIOIPC_NOW));
	must(aiotask_cancel(t));
	must(aiotask_wake(t));
	join(t);
}

TEST(what_comes_first_ends_a_park)
{
	run(cancel_then_wake, NULL);
	ck_assert_str_eq(trace, "k");
}

/* Joining. */

static void join_self(void *arg)
{
	(void)arg;
	must_fail(aiotask_join(aiotask_self(), AIOIPC_FOREVER), EDEADLK);
	must_fail(aiotask_join(aiotask_self(), AIOIPC_NOW), EDEADLK);
}

TEST(a_task_cannot_join_itself)
{
	run(join_self, NULL);
}

static void join_other(void *arg)
{
	(void)arg;
	must_fail(aiotask_join(other, AIOIPC_FOREVER), EDEADLK);
	note("d");
}

static void join_in_a_circle(void *arg)
{
	struct aiotask *t;

	(void)arg;
	other = aiotask_self();
	t = spawn(join_other, NULL);
	join(t);
}

TEST(tasks_cannot_join_in_a_circle)
{
	run(join_in_a_circle, NULL);
	ck_assert_str_eq(trace, "d");
}

static void join_as_second(void *arg)
{
	(void)arg;
	must_fail(aiotask_join(other, AIOIPC_FOREVER), EBUSY);
	must(aiotask_wake(other));
}

static void join_twice(void *arg)
{
	struct aiotask *t;

	(void)arg;
	other = spawn(park_and_say, "a");
	t = spawn(join_as_second, NULL);
	join(other);
	join(t);
}

TEST(the_second_joiner_is_refused_and_the_first_unharmed)
{
	run(join_twice, NULL);
	ck_assert_str_eq(trace, "a");
}

TEST(join_outside_a_task_runs_the_base_until_the_deadline)
{
	struct aiotask *t;

	base = must(event_base_new());
	t = spawn(park_and_say, "a");
	must_fail(aiotask_join(t, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aiotask_join(t, aioipc_after(5)), ETIMEDOUT);
	must_fail(aiotask_join(t, 5), EINVAL);
	must(aiotask_wake(t));
	must(aiotask_join(t, aioipc_after(5000)));
	ck_assert_str_eq(trace, "a");
	event_base_free(base);
}

static void join_in_callback(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	must_fail(aiotask_join(arg, AIOIPC_FOREVER), EDEADLK);
	must_fail(aiotask_join(arg, aioipc_after(1000)), EDEADLK);
	must_fail(aiotask_join(arg, AIOIPC_NOW), ETIMEDOUT);
	must(aiotask_wake(arg));
}

static void join_ended_in_callback(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	must(aiotask_join(arg, AIOIPC_FOREVER));
	note("j");
}

static void once(event_callback_fn cb, void *arg)
{
	struct timeval soon = {0, 1000};

	must(event_base_once(base, -1, EV_TIMEOUT, cb, arg, &soon));
}

TEST(join_in_a_callback_is_refused_when_it_could_not_end)
{
	struct aiotask *t;

	base = must(event_base_new());
	t = spawn(park_and_say, "a");
	once(join_in_callback, t);
	must(event_base_dispatch(base));
	ck_assert_str_eq(trace, "a");
	once(join_ended_in_callback, t);
	must(event_base_dispatch(base));
	ck_assert_str_eq(trace, "aj");
	event_base_free(base);
}

static void stop_loop(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	must(event_base_loopbreak(arg));
}

TEST(join_returns_when_the_loop_is_told_to_stop)
{
	struct aiotask *t;

	base = must(event_base_new());
	t = spawn(park_and_say, "a");
	once(stop_loop, base);
	must_fail(aiotask_join(t, AIOIPC_FOREVER), EINTR);
	must(aiotask_wake(t));
	join(t);
	event_base_free(base);
}

static void join_of_another_base(void *arg)
{
	join(arg);
	note("j");
}

TEST(a_task_joins_one_of_another_base)
{
	struct event_base *second = must(event_base_new());
	struct aiotask *t = must(aiotask_spawn(second, say, "b")), *joiner;

	base = must(event_base_new());
	joiner = spawn(join_of_another_base, t);
	must_fail(aiotask_join(joiner, aioipc_after(1)), ETIMEDOUT);
	must(event_base_dispatch(second));
	join(joiner);
	ck_assert_str_eq(trace, "bj");
	event_base_free(second);
	event_base_free(base);
}

static void run_inside(void *arg)
{
	must(aiotask_run(base, say, "b"));
	must(aiotask_run(arg, say, "c"));
	note("d");
}

TEST(run_works_inside_a_task_and_with_another_base)
{
	struct event_base *second = must(event_base_new());

	note("a");
	run(run_inside, second);
	ck_assert_str_eq(trace, "abcd");
	event_base_free(second);
}

/* Handles. */

static void free_own_handle(void *arg)
{
	(void)arg;
	aiotask_free(aiotask_self());
	must(aiotask_sleep(AIOIPC_NOW));
	note("f");
}

TEST(a_task_without_a_handle_goes_on)
{
	base = must(event_base_new());
	aiotask_free(NULL);
	aiotask_free(spawn(say_and_yield, "a"));
	spawn(free_own_handle, NULL);
	must(event_base_dispatch(base));
	ck_assert_str_eq(trace, "aafa");
	event_base_free(base);
}

TEST(the_loop_goes_on_as_long_as_there_are_tasks)
{
	base = must(event_base_new());
	aiotask_free(spawn(sleep_and_say, "b"));
	must(event_base_dispatch(base));
	ck_assert_str_eq(trace, "b");
	event_base_free(base);
}

TEST(wrong_arguments_are_refused)
{
	base = must(event_base_new());
	must_fail(aiotask_spawn(NULL, say, NULL), EINVAL);
	must_fail(aiotask_spawn(base, NULL, NULL), EINVAL);
	must_fail(aiotask_set_stack_size(100), EINVAL);
	event_base_free(base);
}

/* Callbacks beside tasks. */

static int ticks;

static void tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	ticks++;
}

static void yield_until_ticked(void *arg)
{
	(void)arg;
	while (ticks < 5)
		must(aiotask_sleep(AIOIPC_NOW));
}

TEST(tasks_that_never_rest_do_not_starve_callbacks)
{
	struct timeval ms = {0, 1000};
	struct event *timer;

	base = must(event_base_new());
	timer = must(event_new(base, -1, EV_PERSIST, tick, NULL));
	must(event_add(timer, &ms));
	aiotask_free(spawn(yield_until_ticked, NULL));
	aiotask_free(spawn(yield_until_ticked, NULL));
	must(aiotask_run(base, yield_until_ticked, NULL));
	event_free(timer);
	event_base_free(base);
}

static void wake_from_callback(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	ck_assert_ptr_null(aiotask_self());
	must(aiotask_wake(arg));
}

TEST(a_callback_wakes_a_task)
{
	struct aiotask *t;

	base = must(event_base_new());
	t = spawn(park_and_say, "a");
	once(wake_from_callback, t);
	join(t);
	ck_assert_str_eq(trace, "a");
	event_base_free(base);
}

/* Other threads. */

static void *try_from_outside(void *arg)
{
	must_fail(aiotask_wake(arg), EBUSY);
	must_fail(aiotask_cancel(arg), EBUSY);
	must_fail(aiotask_join(arg, AIOIPC_FOREVER), EBUSY);
	must_fail(aiotask_spawn(base, say, "x"), EBUSY);
	return NULL;
}

static void call_from_outside(void *arg)
{
	pthread_t thread;

	(void)arg;
	ck_assert_int_eq(pthread_create(&thread, NULL, try_from_outside, aiotask_self()), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

TEST(another_thread_is_refused)
{
	run(call_from_outside, NULL);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct aiotask *waits;
static unsigned given, taken;

static void *give(void *arg)
{
	for (unsigned i = 0; i < 10000; i++) {
		pthread_mutex_lock(&lock);
		given++;
		if (waits)
			ipc_task_wake_shared(waits);
		pthread_mutex_unlock(&lock);
	}
	return arg;
}

static void take(void *arg)
{
	(void)arg;
	must(ipc_task_share());
	while (taken < 20000) {
		pthread_mutex_lock(&lock);
		while (given == taken) {
			waits = aiotask_self();
			pthread_mutex_unlock(&lock);
			must(ipc_task_park(AIOIPC_FOREVER));
			pthread_mutex_lock(&lock);
			waits = NULL;
		}
		taken = given;
		pthread_mutex_unlock(&lock);
	}
}

TEST(no_wake_of_another_thread_is_lost)
{
	pthread_t thread[2];

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, give, NULL), 0);
	run(take, NULL);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
}

/* Many. */

static size_t resident_kib(void)
{
	size_t pages = 0;
	FILE *f = must(fopen("/proc/self/statm", "r"));

	ck_assert_int_eq(fscanf(f, "%*u %zu", &pages), 1);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

/* Kernels before 6.13 have no MADV_GUARD_INSTALL, and no more than 16000 tasks. */
static bool cheap_guards(void)
{
	size_t len = (size_t)sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool yes;

	ck_assert_ptr_ne(page, MAP_FAILED);
	yes = madvise(page, len, 102) == 0;
	munmap(page, len);
	return yes;
}

static unsigned woken;

static void park_once(void *arg)
{
	(void)arg;
	must(aiotask_park(AIOIPC_FOREVER));
	woken++;
}

TEST_WITHIN(a_hundred_thousand_parked_tasks_fit_into_two_gigabytes, 60)
{
	unsigned n = ASAN || harness_slowness() > 1 ? 4000 : cheap_guards() ? 100000 : 15000;
	struct aiotask **t = must(calloc(n, sizeof(struct aiotask *)));

	base = must(event_base_new());
	for (unsigned i = 0; i < n; i++)
		t[i] = spawn(park_once, NULL);
	must_fail(aiotask_join(t[n - 1], aioipc_after(1)), ETIMEDOUT);
	must(event_base_loop(base, EVLOOP_NONBLOCK));
	if (n == 100000)
		ck_assert_uint_lt(resident_kib(), 2u * 1024 * 1024);
	for (unsigned i = 0; i < n; i++)
		must(aiotask_wake(t[i]));
	for (unsigned i = 0; i < n; i++)
		join(t[i]);
	ck_assert_uint_eq(woken, n);
	free(t);
	event_base_free(base);
}

static void count(void *arg)
{
	(void)arg;
	woken++;
}

static void spawn_and_join(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20000; i++)
		join(spawn(count, NULL));
}

TEST(stacks_are_used_again)
{
	size_t before;

	run(spawn_and_join, NULL);
	before = resident_kib();
	run(spawn_and_join, NULL);
	ck_assert_uint_eq(woken, 40000);
	if (!ASAN && harness_slowness() <= 1) /* they keep what is freed for a while */
		ck_assert_uint_lt(resident_kib(), before + 8 * 1024);
}

/* Stacks. */

static int deep(int n)
{
	volatile char frame[1000];

	frame[0] = (char)n;
	return n == 0 ? 0 : deep(n - 1) + frame[0];
}

static void dig(void *arg)
{
	deep(*(int *)arg);
	note("d");
}

TEST(the_stack_size_can_be_set)
{
	int depth = 1000;

	must(aiotask_set_stack_size((size_t)8 << 20));
	run(dig, &depth);
	ck_assert_str_eq(trace, "d");
}

/* Each gets one of its own size, of those that are kept as well. */
TEST(stacks_of_several_sizes_side_by_side)
{
	const size_t sizes[] = {128 << 10, 8 << 20, 16 << 10};
	int depths[] = {50, 1000, 1};

	for (int i = 0; i < 12; i++) {
		must(aiotask_set_stack_size(sizes[i % 3]));
		run(dig, &depths[i % 3]);
	}
	ck_assert_str_eq(trace, "dddddddddddd");
}

static void overflow(void *arg)
{
	int depth = 1000000;

	(void)arg;
	dig(&depth);
}

static const char *overflow_report(int fd, pid_t pid)
{
	static char report[65536];
	size_t n = 0;
	ssize_t r;
	int status;

	while (n < sizeof report - 1 && (r = read(fd, report + n, sizeof report - 1 - n)) > 0)
		n += (size_t)r;
	close(fd);
	must(waitpid(pid, &status, 0));
	ck_assert(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
	if (WIFSIGNALED(status))
		ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
	return report;
}

TEST(an_overrun_stack_is_noticed_at_once)
{
	struct rlimit no_core = {0, 0};
	const char *report;
	int fd[2];
	pid_t pid;

	must(pipe(fd));
	pid = must(fork());
	if (pid == 0) {
		close(fd[0]);
		setrlimit(RLIMIT_CORE, &no_core);
		if (!ASAN)
			signal(SIGSEGV, SIG_DFL);
		must(dup2(fd[1], 2));
		base = must(event_base_new());
		aiotask_free(spawn(park_and_say, "a"));
		aiotask_run(base, overflow, NULL);
		_exit(0);
	}
	close(fd[1]);
	report = overflow_report(fd[0], pid);
	if (ASAN)
		ck_assert_ptr_nonnull(strstr(report, "stack-overflow"));
}

/* Of a frame that is larger than its stack only the far end is touched. */
__attribute__((noinline)) static int touch_far(size_t size)
{
	volatile char buf[size];

	buf[0] = 1;
	return buf[0];
}

static void leap(void *arg)
{
	_exit(touch_far(*(size_t *)arg));
}

/* Its neighbour below would not notice. */
TEST(a_frame_does_not_leap_over_the_guard)
{
	size_t sizes[] = {140 << 10, 200 << 10, 600 << 10, 1 << 20};
	struct rlimit no_core = {0, 0};
	int status;
	pid_t pid;

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		pid = must(fork());
		if (pid == 0) {
			setrlimit(RLIMIT_CORE, &no_core);
			signal(SIGSEGV, SIG_DFL);
			base = must(event_base_new());
			for (int n = 0; n < 20; n++)
				aiotask_free(spawn(park_and_say, "a"));
			aiotask_run(base, leap, &sizes[i]);
			_exit(2);
		}
		must(waitpid(pid, &status, 0));
		ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	}
}

/* Fork. */

static void check_child(struct aiotask *self, struct aiotask *parked)
{
	struct event_base *fresh = must(event_base_new());

	ck_assert_ptr_null(aiotask_self());
	must_fail(aiotask_join(parked, AIOIPC_FOREVER), ECHILD);
	must_fail(aiotask_wake(parked), ECHILD);
	must_fail(aiotask_cancel(self), ECHILD);
	aiotask_free(parked);
	must(aiotask_sleep(aioipc_after(1)));
	must(aiotask_run(fresh, say, "c"));
	event_base_free(fresh);
}

static void fork_inside(void *arg)
{
	struct aiotask *self = aiotask_self(), *parked = spawn(park_and_say, "p");
	int status;
	pid_t pid;

	(void)arg;
	must(aiotask_sleep(AIOIPC_NOW));
	pid = must(fork());
	if (pid == 0) {
		check_child(self, parked);
		ck_assert_str_eq(trace, "c");
		_exit(7);
	}
	must(waitpid(pid, &status, 0));
	ck_assert_int_eq(WEXITSTATUS(status), 7);
	must(aiotask_wake(parked));
	join(parked);
}

TEST(in_a_forked_child_the_parents_tasks_are_dead)
{
	run(fork_inside, NULL);
	ck_assert_str_eq(trace, "p");
}

static int child_pid;

static void fork_and_return(void *arg)
{
	*(int *)arg = child_pid = must(fork());
}

TEST(a_child_forked_in_a_task_comes_back_to_the_loop)
{
	int pid = -1, status;
	struct aiotask *t;

	base = must(event_base_new());
	t = spawn(fork_and_return, &pid);
	must(event_base_loop(base, EVLOOP_NONBLOCK));
	if (pid == 0) {
		must_fail(aiotask_join(t, AIOIPC_NOW), ECHILD);
		must(aioipc_base_reinit(base));
		must(aiotask_run(base, say, "c"));
		event_base_free(base);
		_exit(!strcmp(trace, "c") ? 7 : 1);
	}
	must(waitpid(pid, &status, 0));
	ck_assert_int_eq(WEXITSTATUS(status), 7);
	join(t);
	event_base_free(base);
}

static int use_a_normal_stack(void *arg)
{
	char big[1 << 20];

	(void)arg;
	memset(big, 7, sizeof big);
	return aiotask_self() ? 1 : big[sizeof big - 1];
}

static void start_and_join(void *arg)
{
	struct aioproc *p = must(aioproc_start(use_a_normal_stack, NULL));
	int status;

	must(aioproc_join(p, &status, AIOIPC_FOREVER));
	ck_assert_int_eq(WEXITSTATUS(status), 7);
	aioproc_free(p);
	note(arg);
}

TEST(a_child_started_in_a_task_has_a_normal_stack)
{
	run(start_and_join, "a");
	ck_assert_str_eq(trace, "a");
}

/* A base that is freed too early. */

TEST(tasks_of_a_freed_base_are_dead)
{
	struct aiotask *t, *asleep;

	base = must(event_base_new());
	t = spawn(park_and_say, "a");
	asleep = spawn(sleep_for_ever, "b");
	aiotask_free(spawn(park_and_say, "c"));
	must(event_base_loop(base, EVLOOP_NONBLOCK));
	event_base_free(base);
	must_fail(aiotask_join(t, AIOIPC_FOREVER), EDEADLK);
	must_fail(aiotask_wake(t), ESRCH);
	must_fail(aiotask_cancel(asleep), ESRCH);
	aiotask_free(t);
	aiotask_free(asleep);
	run(say, "d");
	ck_assert_str_eq(trace, "d");
}

TEST(a_base_in_the_place_of_a_freed_one_starts_anew)
{
	base = must(event_base_new());
	aiotask_free(spawn(park_and_say, "a"));
	must(event_base_loop(base, EVLOOP_NONBLOCK));
	event_base_free(base);
	for (int i = 0; i < 100; i++)
		run(say, i ? "" : "b");
	ck_assert_str_eq(trace, "b");
}
