/* Children: started by fork with their ends, joined, watched, killed, let go. */
#include <aioipc.h>

#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/end/end.h"
#include "ipc/end/proc.h"
#include "tests/harness.h"
#include "tests/no_fork.h"

static int return_arg(void *arg)
{
	return (int)(intptr_t)arg;
}

static int wait_for_ever(void *arg)
{
	(void)arg;
	while (pause() == -1)
		;
	return 0;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) != -1;
}

static int join_status(struct aioproc *p)
{
	int status;

	must(aioproc_join(p, &status, AIOIPC_FOREVER));
	return status;
}

/* Its exit status; frees it. */
static int finish(struct aioproc *p)
{
	int status = join_status(p);

	aioproc_free(p);
	ck_assert_msg(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

/* Has it been waited for? */
static void wait_reaped(pid_t pid)
{
	while (kill(pid, 0) == 0)
		sched_yield();
	ck_assert_int_eq(errno, ESRCH);
}

TEST(body_s_value_is_the_status)
{
	struct aioproc *p = must(aioproc_start(return_arg, (void *)42));
	pid_t pid = aioproc_pid(p);

	ck_assert_int_eq(WEXITSTATUS(join_status(p)), 42);
	ck_assert_int_eq(WEXITSTATUS(join_status(p)), 42);
	must(aioproc_join(p, NULL, AIOIPC_NOW));
	ck_assert_int_eq(aioproc_pid(p), pid);
	must_fail(aioproc_kill(p, SIGTERM), ESRCH);
	aioproc_free(p);
	aioproc_free(NULL);
}

TEST(a_zombie_is_not_killed)
{
	struct aioproc *p = must(aioproc_start(return_arg, (void *)1));
	siginfo_t info;

	must(waitid(P_PID, (id_t)aioproc_pid(p), &info, WEXITED | WNOWAIT));
	must_fail(aioproc_kill(p, SIGTERM), ESRCH);
	ck_assert_int_eq(WEXITSTATUS(join_status(p)), 1);
	aioproc_free(p);
}

struct two {
	struct aioend *mine, *theirs;
};

static int echo_byte(void *arg)
{
	struct two *t = arg;
	int fd = t->mine->own.r.fd;
	char c;

	if (is_open(t->theirs->own.r.fd) && t->theirs->own.r.fd != fd)
		return 2;
	if (read(fd, &c, 1) != 1 || write(fd, &c, 1) != 1)
		return 3;
	return read(fd, &c, 1) == 0 ? 0 : 4;
}

TEST(start_takes_the_detached_ends)
{
	struct aioproc *p;
	struct two t;
	char c = 0;

	must(aiosockpair(&t.mine, &t.theirs));
	must(aioend_detach(t.mine));
	p = must(aioproc_start(echo_byte, &t));
	must_fail(aioend_reclaim(t.mine), EBADF);
	aioend_free(t.mine);
	must(write(t.theirs->own.w.fd, "x", 1));
	must(read(t.theirs->own.r.fd, &c, 1));
	ck_assert_int_eq(c, 'x');
	aioend_free(t.theirs);
	ck_assert_int_eq(finish(p), 0);
}

struct four {
	int a, b, c, d;
};

static int which_are_open(void *arg)
{
	struct four *f = arg;

	return is_open(f->a) | is_open(f->b) << 1 | is_open(f->c) << 2 | is_open(f->d) << 3;
}

TEST(start_with_moves_exactly_these)
{
	struct aioend *a, *b, *c, *d, *list[2];
	struct aioproc *p;
	struct four f;

	must(aiopipe(&a, &b));
	must(aiopipe(&c, &d));
	f = (struct four){a->own.r.fd, b->own.w.fd, c->own.r.fd, d->own.w.fd};
	must(aioend_detach(b));
	must(aioend_detach(c));
	list[0] = a;
	list[1] = c;
	p = must(aioproc_start_with(which_are_open, &f, list, 2));
	ck_assert_int_eq(finish(p), 1 | 4);
	ck_assert(!is_open(f.a) && is_open(f.b) && !is_open(f.c) && is_open(f.d));
	must_fail(aioproc_start_with(which_are_open, &f, list, 2), EBADF);
	must(aioend_reclaim(b));
	p = must(aioproc_start_with(which_are_open, &f, NULL, 0));
	ck_assert_int_eq(finish(p), 0);
	aioend_free(a);
	aioend_free(b);
	aioend_free(c);
	aioend_free(d);
}

static void *start_with_of_another(void *arg)
{
	struct aioend *end = arg;

	must_fail(aioproc_start_with(return_arg, NULL, &end, 1), EBUSY);
	return NULL;
}

TEST(start_with_leaves_what_another_thread_detached)
{
	struct aioend *a, *b;
	pthread_t t;

	must(aiopipe(&a, &b));
	must(aioend_detach(a));
	ck_assert_int_eq(pthread_create(&t, NULL, start_with_of_another, a), 0);
	pthread_join(t, NULL);
	ck_assert(is_open(a->own.r.fd));
	must(aioend_reclaim(a));
	aioend_free(a);
	aioend_free(b);
}

TEST(a_fork_that_fails_changes_nothing)
{
	struct aioend *a, *b;

	if (!forks_can_fail())
		return;
	must(aiosockpair(&a, &b));
	must(aioend_detach(a));
	forks_fail(true);
	must_fail(aioproc_start(return_arg, NULL), EAGAIN);
	must_fail(aioproc_start_with(return_arg, NULL, &b, 1), EAGAIN);
	must_fail(fork(), EAGAIN);
	forks_fail(false);
	ck_assert(is_open(a->own.r.fd) && is_open(b->own.r.fd));
	must(aioend_reclaim(a));
	must_fail(aioend_reclaim(b), EINVAL);
	aioend_free(a);
	aioend_free(b);
}

static void ignore(int sig)
{
	(void)sig;
}

static int signals_are_default(void *arg)
{
	struct sigaction sa;
	sigset_t mask;

	(void)arg;
	sigaction(SIGUSR1, NULL, &sa);
	if (sa.sa_handler != SIG_DFL)
		return 1;
	sigaction(SIGUSR2, NULL, &sa);
	if (sa.sa_handler != SIG_IGN)
		return 2;
	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int sig = 1; sig < NSIG; sig++)
		if (sigismember(&mask, sig) == 1)
			return 100 + sig;
	return 0;
}

TEST(child_has_default_signals_and_the_parent_keeps_its_own)
{
	struct sigaction sa = {.sa_handler = ignore};
	sigset_t mask, after;

	must(sigaction(SIGUSR1, &sa, NULL));
	sa.sa_handler = SIG_IGN;
	must(sigaction(SIGUSR2, &sa, NULL));
	sigemptyset(&mask);
	sigaddset(&mask, SIGHUP);
	must(sigprocmask(SIG_BLOCK, &mask, NULL));
	ck_assert_int_eq(finish(must(aioproc_start(signals_are_default, NULL))), 0);
	must(sigaction(SIGUSR1, NULL, &sa));
	ck_assert(sa.sa_handler == ignore);
	must(sigprocmask(SIG_SETMASK, NULL, &after));
	ck_assert(sigismember(&after, SIGHUP) && !sigismember(&after, SIGTERM));
}

static int print_more(void *arg)
{
	(void)arg;
	printf("child ");
	return 0;
}

TEST(buffered_output_comes_once_and_whole)
{
	char text[64] = "";
	int p[2], out;

	must(pipe(p));
	out = must(dup(STDOUT_FILENO));
	must(dup2(p[1], STDOUT_FILENO));
	printf("parent ");
	ck_assert_int_eq(finish(must(aioproc_start(print_more, NULL))), 0);
	fflush(stdout);
	must(dup2(out, STDOUT_FILENO));
	close(out);
	close(p[1]);
	must(read(p[0], text, sizeof(text) - 1));
	ck_assert_str_eq(text, "parent child ");
	close(p[0]);
}

/* Runs @test as on a kernel without pidfds; the threads that stand in for them close their ends when they end. */
static void without_pidfd(void (*test)(void))
{
	unsigned before = harness_count_fds();

	ipc_proc_no_pidfd = true;
	test();
	while (harness_count_fds() > before)
		sched_yield();
}

static void join_has_deadlines(void)
{
	struct aioproc *p = must(aioproc_start(wait_for_ever, NULL));
	int status = 77;

	must_fail(aioproc_join(p, &status, 5000), EINVAL);
	must_fail(aioproc_join(p, &status, -2), EINVAL);
	must_fail(aioproc_join(p, &status, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aioproc_join(p, &status, aioipc_after(-1)), ETIMEDOUT);
	must_fail(aioproc_join(p, &status, aioipc_after(20)), ETIMEDOUT);
	ck_assert_int_eq(status, 77);
	must(aioproc_kill(p, SIGTERM));
	must(aioproc_join(p, &status, aioipc_after(INT64_MAX)));
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	aioproc_free(p);
}

TEST(join_with_deadline)
{
	join_has_deadlines();
}

TEST(join_with_deadline_without_pidfd)
{
	without_pidfd(join_has_deadlines);
}

/* Also under SA_RESTART. */
static void join_ends_with_eintr(void)
{
	struct sigaction sa = {.sa_handler = ignore, .sa_flags = SA_RESTART};
	struct itimerval soon = {.it_interval = {0, 20000}, .it_value = {0, 20000}}, never = {0};
	struct aioproc *p = must(aioproc_start(wait_for_ever, NULL));

	must(sigaction(SIGALRM, &sa, NULL));
	must(setitimer(ITIMER_REAL, &soon, NULL));
	must_fail(aioproc_join(p, NULL, AIOIPC_FOREVER), EINTR);
	must_fail(aioproc_join(p, NULL, aioipc_after(100000)), EINTR);
	must(setitimer(ITIMER_REAL, &never, NULL));
	must(aioproc_kill(p, SIGKILL));
	ck_assert_int_eq(WTERMSIG(join_status(p)), SIGKILL);
	aioproc_free(p);
}

TEST(signal_interrupts_join)
{
	join_ends_with_eintr();
}

TEST(signal_interrupts_join_without_pidfd)
{
	without_pidfd(join_ends_with_eintr);
}

TEST(someone_else_waited)
{
	struct aioproc *p = must(aioproc_start(return_arg, NULL));

	must(waitpid(aioproc_pid(p), NULL, 0));
	must_fail(aioproc_join(p, NULL, AIOIPC_FOREVER), ECHILD);
	must_fail(aioproc_join(p, NULL, AIOIPC_NOW), ECHILD);
	must_fail(aioproc_kill(p, SIGKILL), ESRCH);
	aioproc_free(p);
}

TEST(sigchld_ignored)
{
	struct aioproc *p;

	signal(SIGCHLD, SIG_IGN);
	p = must(aioproc_start(return_arg, NULL));
	must_fail(aioproc_join(p, NULL, AIOIPC_FOREVER), ECHILD);
	aioproc_free(p);
}

TEST(a_handle_belongs_to_the_process_that_made_it)
{
	struct aioproc *p = must(aioproc_start(wait_for_ever, NULL));
	pid_t pid = must(fork());

	if (pid == 0) {
		must_fail(aioproc_join(p, NULL, AIOIPC_NOW), ECHILD);
		must_fail(aioproc_kill(p, SIGKILL), ECHILD);
		must_fail(aioproc_on_exit(p, NULL, NULL, NULL), ECHILD);
		aioproc_free(p);
		_exit(0);
	}
	must(waitpid(pid, NULL, 0));
	must(aioproc_kill(p, SIGKILL));
	ck_assert_int_eq(WTERMSIG(join_status(p)), SIGKILL);
	aioproc_free(p);
}

static void let_run(void)
{
	struct aioproc *p = must(aioproc_start(wait_for_ever, NULL));
	pid_t pid = aioproc_pid(p);

	must_fail(aioproc_join(p, NULL, aioipc_after(1)), ETIMEDOUT);
	aioproc_free(p);
	must(kill(pid, 0));
	must(kill(pid, SIGKILL));
	wait_reaped(pid);
	p = must(aioproc_start(return_arg, NULL));
	pid = aioproc_pid(p);
	aioproc_free(p);
	wait_reaped(pid);
}

TEST(freed_child_runs_on_and_leaves_no_zombie)
{
	let_run();
}

TEST(freed_child_without_pidfd)
{
	without_pidfd(let_run);
}

TEST_WITHIN(many_children, 60)
{
	struct aioproc *p[30];

	for (int round = 0; round < 10; round++) {
		for (intptr_t i = 0; i < 30; i++)
			p[i] = must(aioproc_start(return_arg, (void *)i));
		for (int i = 0; i < 30; i++)
			ck_assert_int_eq(finish(p[i]), i);
	}
}

struct exits {
	struct event_base *base;
	int calls, status;
	bool free_it;
};

static void on_exit_cb(struct aioproc *p, int status, void *arg)
{
	struct exits *e = arg;

	e->calls++;
	e->status = status;
	if (e->free_it)
		aioproc_free(p);
}

/* The loop of its own comes to an end: the callback was the last thing to wait for. */
static void exit_is_told(void)
{
	struct exits e = {.base = must(event_base_new())};
	struct event_base *other = must(event_base_new());
	struct aioproc *p = must(aioproc_start(return_arg, (void *)5));

	must(aioproc_on_exit(p, e.base, on_exit_cb, &e));
	must_fail(aioproc_on_exit(p, other, on_exit_cb, &e), EBUSY);
	must(event_base_dispatch(e.base));
	ck_assert_int_eq(e.calls, 1);
	ck_assert_int_eq(WEXITSTATUS(e.status), 5);
	ck_assert_int_eq(WEXITSTATUS(join_status(p)), 5);
	must(aioproc_on_exit(p, other, on_exit_cb, &e));
	ck_assert_int_eq(e.calls, 1);
	must(event_base_dispatch(other));
	ck_assert_int_eq(e.calls, 2);
	aioproc_free(p);
	event_base_free(other);
	event_base_free(e.base);
}

TEST(on_exit_calls_once)
{
	exit_is_told();
}

TEST(on_exit_without_pidfd)
{
	without_pidfd(exit_is_told);
}

/* Before it is asked for, or while it is. */
TEST(on_exit_tells_that_someone_else_waited)
{
	for (int early = 0; early < 2; early++) {
		struct exits e = {.base = must(event_base_new())};
		struct aioproc *p = must(aioproc_start(wait_for_ever, NULL));

		if (!early)
			must(aioproc_on_exit(p, e.base, on_exit_cb, &e));
		must(aioproc_kill(p, SIGKILL));
		must(waitpid(aioproc_pid(p), NULL, 0));
		if (early)
			must(aioproc_on_exit(p, e.base, on_exit_cb, &e));
		must(event_base_dispatch(e.base));
		ck_assert_int_eq(e.calls, 1);
		ck_assert_int_eq(e.status, -1);
		must_fail(aioproc_join(p, NULL, AIOIPC_NOW), ECHILD);
		aioproc_free(p);
		event_base_free(e.base);
	}
}

TEST(on_exit_may_free)
{
	struct exits e = {.base = must(event_base_new()), .free_it = true};
	struct aioproc *p = must(aioproc_start(wait_for_ever, NULL));

	must(aioproc_on_exit(p, e.base, on_exit_cb, &e));
	must(event_base_loop(e.base, EVLOOP_NONBLOCK));
	ck_assert_int_eq(e.calls, 0);
	must(aioproc_kill(p, SIGTERM));
	must(event_base_dispatch(e.base));
	ck_assert_int_eq(e.calls, 1);
	ck_assert_int_eq(WTERMSIG(e.status), SIGTERM);
	event_base_free(e.base);
}

TEST(on_exit_is_told_after_join_too)
{
	struct exits e = {.base = must(event_base_new())};
	struct aioproc *p = must(aioproc_start(return_arg, (void *)9));

	must(aioproc_on_exit(p, e.base, on_exit_cb, &e));
	join_status(p);
	must(event_base_dispatch(e.base));
	ck_assert_int_eq(e.calls, 1);
	ck_assert_int_eq(WEXITSTATUS(e.status), 9);
	aioproc_free(p);
	event_base_free(e.base);
}

TEST(on_exit_taken_back)
{
	struct exits e = {.base = must(event_base_new())};
	struct aioproc *p = must(aioproc_start(return_arg, NULL));

	must(aioproc_on_exit(p, e.base, on_exit_cb, &e));
	must(aioproc_on_exit(p, NULL, NULL, NULL));
	ck_assert_int_eq(event_base_dispatch(e.base), 1);
	join_status(p);
	ck_assert_int_eq(e.calls, 0);
	must(aioproc_on_exit(p, e.base, on_exit_cb, &e));
	aioproc_free(p);
	ck_assert_int_eq(event_base_dispatch(e.base), 1);
	ck_assert_int_eq(e.calls, 0);
	event_base_free(e.base);
}

static void join_for_ever(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	must_fail(aioproc_join(arg, NULL, AIOIPC_FOREVER), EDEADLK);
	must_fail(aioproc_join(arg, NULL, aioipc_after(1)), ETIMEDOUT);
	must(aioproc_kill(arg, SIGKILL));
}

TEST(join_for_ever_in_a_callback_is_a_deadlock)
{
	struct exits e = {.base = must(event_base_new()), .free_it = true};
	struct aioproc *p = must(aioproc_start(wait_for_ever, NULL));

	must(aioproc_on_exit(p, e.base, on_exit_cb, &e));
	must(event_base_once(e.base, -1, EV_TIMEOUT, join_for_ever, p, NULL));
	must(event_base_dispatch(e.base));
	ck_assert_int_eq(e.calls, 1);
	event_base_free(e.base);
}

TEST(no_descriptor_left_for_a_notice)
{
	struct aioproc *p = must(aioproc_start(wait_for_ever, NULL));
	struct event_base *base = must(event_base_new());
	struct rlimit was, none;

	must(getrlimit(RLIMIT_NOFILE, &was));
	none = was;
	none.rlim_cur = 0;
	must(setrlimit(RLIMIT_NOFILE, &none));
	must_fail(aioproc_join(p, NULL, AIOIPC_FOREVER), EMFILE);
	must_fail(aioproc_join(p, NULL, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aioproc_on_exit(p, base, on_exit_cb, NULL), EMFILE);
	must(aioproc_kill(p, SIGKILL));
	must(setrlimit(RLIMIT_NOFILE, &was));
	ck_assert_int_eq(WTERMSIG(join_status(p)), SIGKILL);
	aioproc_free(p);
	event_base_free(base);
}

/* No exit: to a leak checker the other threads' memory would be lost in the child. */
static int kill_itself(void *arg)
{
	(void)arg;
	return raise(SIGKILL);
}

static void *start_and_join(void *arg)
{
	struct two *t = arg;
	struct aioproc *p;

	for (int i = 0; i < 50; i++) {
		must(aiosockpair(&t->mine, &t->theirs));
		p = must(aioproc_start_with(kill_itself, NULL, &t->theirs, 1));
		aioend_free(t->theirs);
		ck_assert_int_eq(must(read(t->mine->own.r.fd, &(char){0}, 1)), 0);
		ck_assert_int_eq(WTERMSIG(join_status(p)), SIGKILL);
		aioproc_free(p);
		aioend_free(t->mine);
	}
	return NULL;
}

TEST_WITHIN(threads_start_children_side_by_side, 60)
{
	static struct two ends[4];
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, start_and_join, &ends[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}
