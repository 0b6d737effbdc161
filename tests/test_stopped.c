/*
 * A process that waits is stopped and continued, as by Ctrl-Z, a debugger or a frozen cgroup. No wait ends by that, a message that came in time
 * is received however long it took, and a handler that runs is told apart from it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/links.h"

/* How the child waits. */
enum way { PLAIN, ON_A_BASE, IN_A_TASK, BASELESS_IN_A_TASK, WAYS };

static struct event_base *base;
static struct aioconn *conn;
static int64_t deadline;
static int tells; /* a pipe: the child is about to wait */
static enum way way;

static void open_conn(struct aioend *end)
{
	if (way != PLAIN)
		base = new_base();
	conn = open_end(end, way == ON_A_BASE || way == IN_A_TASK ? base : NULL);
}

static void in_this_way(void (*fn)(void *arg), void *arg)
{
	if (way < IN_A_TASK)
		fn(arg);
	else
		must(aiotask_run(base, fn, arg));
}

/* Whether that was too early is judged by the parent, who knows when it sent. */
static void receive(void *arg)
{
	struct aiomsg *m;
	int got;

	(void)arg;
	must(write(tells, &deadline, sizeof deadline));
	got = aioconn_recv(conn, &m, deadline);
	if (got < 0 && errno == ETIMEDOUT)
		_exit(EXIT_FAILURE);
	ck_assert_int_eq(got, 1);
	aiomsg_free(m);
}

static void wait_for_message(struct aioend *end, void *ms)
{
	deadline = ms ? aioipc_after(*(int *)ms) : AIOIPC_FOREVER;
	open_conn(end);
	in_this_way(receive, NULL);
	aioconn_abort(conn);
	if (base)
		event_base_free(base);
}

static pid_t start_waiter(enum transport t, struct aioconn **peer, void (*body)(struct aioend *, void *),
			  void *arg, int *told)
{
	struct aioend *ours, *theirs;
	int fd[2];
	pid_t pid;

	must(pipe2(fd, O_CLOEXEC));
	tells = fd[1];
	make_ends(t, &ours, &theirs);
	*peer = open_end(ours, NULL);
	pid = start_child(body, theirs, arg);
	close(fd[1]);
	*told = fd[0];
	return pid;
}

/* False: it had ended before. */
static bool stop(pid_t pid)
{
	int status;

	must(kill(pid, SIGSTOP));
	must(waitpid(pid, &status, WUNTRACED));
	return WIFSTOPPED(status);
}

static void stop_for_a_moment(pid_t pid)
{
	ck_assert(stop(pid));
	must(kill(pid, SIGCONT));
	nap(2);
}

static void each_way(void (*body)(enum transport t))
{
	for (enum transport t = PIPE; t <= PAIR; t++)
		for (way = PLAIN; way < WAYS; way++)
			body(t);
}

static void stop_receiver(enum transport t, int *ms)
{
	struct aioconn *peer;
	int64_t until;
	int told;
	pid_t pid = start_waiter(t, &peer, wait_for_message, ms, &told);

	ck_assert_int_eq(must(read(told, &until, sizeof until)), sizeof until);
	for (int i = 0; i < 5; i++)
		stop_for_a_moment(pid);
	must(aioconn_send(peer, "i", 1));
	expect_exit(pid, 0);
	aioconn_abort(peer);
	close(told);
}

static void for_ever(enum transport t)
{
	stop_receiver(t, NULL);
}

static void for_a_minute(enum transport t)
{
	static int minute = 60000;

	stop_receiver(t, &minute);
}

TEST(a_receiver_goes_on_waiting)
{
	each_way(for_ever);
	each_way(for_a_minute);
}

static bool is_past(int64_t until)
{
	return aioipc_after(1) > until;
}

/* The message is there before the deadline, and the process not. False: that could not be arranged, everything took too long. */
static bool stop_over_deadline(enum transport t, int ms)
{
	struct aioconn *peer;
	int64_t until;
	bool in_time = false;
	int told, status;
	pid_t pid = start_waiter(t, &peer, wait_for_message, &ms, &told);

	ck_assert_int_eq(must(read(told, &until, sizeof until)), sizeof until);
	if (stop(pid)) {
		must(aioconn_send(peer, "i", 1));
		in_time = !is_past(until);
		while (!is_past(until))
			nap(1);
		must(kill(pid, SIGCONT));
		must(waitpid(pid, &status, 0));
	}
	if (in_time)
		ck_assert_int_eq(status, 0);
	aioconn_abort(peer);
	close(told);
	return in_time;
}

static void over_deadline(enum transport t)
{
	int ms = 50;

	while (!stop_over_deadline(t, ms))
		ms *= 2;
}

TEST_WITHIN(a_message_in_time_is_received_after_the_deadline, 30)
{
	each_way(over_deadline);
}

/* Others who wait. */

static void join_and_sleep(void *arg)
{
	struct aioproc *p = must(aioproc_start_with(arg, NULL, NULL, 0));
	int status;

	must(write(tells, &deadline, sizeof deadline));
	must(aiotask_sleep(aioipc_after(20)));
	must(aioproc_join(p, &status, AIOIPC_FOREVER));
	aioproc_free(p);
}

static int sleeps(void *arg)
{
	(void)arg;
	nap(20);
	return 0;
}

static void wait_for_child(struct aioend *end, void *arg)
{
	(void)arg;
	open_conn(end);
	in_this_way(join_and_sleep, (void *)sleeps);
	aioconn_abort(conn);
	if (base)
		event_base_free(base);
}

static void *put_later(void *q)
{
	nap(20);
	put_word(q, "word");
	return NULL;
}

static void wait_for_item(struct aioend *end, void *arg)
{
	struct aioqueue *q = must(aioqueue_new(10, 0));
	pthread_t thread;

	(void)arg;
	aioend_free(end);
	must(pthread_create(&thread, NULL, put_later, q));
	must(write(tells, &deadline, sizeof deadline));
	expect_word(q, "word");
	pthread_join(thread, NULL);
	aioqueue_free(q);
}

static void stop_while(void (*body)(struct aioend *end, void *arg))
{
	struct aioconn *peer;
	int64_t until;
	int told;
	pid_t pid = start_waiter(PAIR, &peer, body, NULL, &told);

	ck_assert_int_eq(must(read(told, &until, sizeof until)), sizeof until);
	for (int i = 0; i < 5; i++) {
		int status;

		kill(pid, SIGSTOP);
		must(waitpid(pid, &status, WUNTRACED));
		if (!WIFSTOPPED(status)) {
			ck_assert_int_eq(status, 0);
			pid = -1;
			break;
		}
		kill(pid, SIGCONT);
		nap(2);
	}
	if (pid != -1)
		expect_exit(pid, 0);
	aioconn_abort(peer);
	close(told);
}

TEST(who_joins_a_child_or_sleeps_goes_on)
{
	for (way = PLAIN; way < WAYS; way++)
		stop_while(wait_for_child);
}

TEST(who_waits_for_a_queue_goes_on)
{
	stop_while(wait_for_item);
}

/* Handlers. */

static volatile sig_atomic_t handled;

static void handle(int sig)
{
	(void)sig;
	handled = 1;
}

static void wait_for_handler(struct aioend *end, void *flags)
{
	struct sigaction sa = {.sa_handler = handle, .sa_flags = *(int *)flags};
	struct aiomsg *m;
	int r;

	deadline = AIOIPC_FOREVER;
	open_conn(end);
	must(sigaction(SIGUSR1, &sa, NULL));
	must(write(tells, &deadline, sizeof deadline));
	r = aioconn_recv(conn, &m, AIOIPC_FOREVER);
	ck_assert_int_eq(r, -1);
	ck_assert_int_eq(errno, EINTR);
	ck_assert_int_eq(handled, 1);
	must(write(tells, &deadline, sizeof deadline));
	while ((r = aioconn_recv(conn, &m, AIOIPC_FOREVER)) == -1 && errno == EINTR)
		;
	ck_assert_int_eq(r, 1);
	aiomsg_free(m);
	aioconn_abort(conn);
	if (base)
		event_base_free(base);
}

/* A signal that comes before the wait ends none: they come until one was told. */
static void handlers_are_told(enum transport t, int flags)
{
	struct aioconn *peer;
	int64_t until;
	int told;
	pid_t pid = start_waiter(t, &peer, wait_for_handler, &flags, &told);

	ck_assert_int_eq(must(read(told, &until, sizeof until)), sizeof until);
	for (int i = 0; i < 5; i++)
		stop_for_a_moment(pid);
	do {
		must(kill(pid, SIGUSR1));
		nap(2);
	} while (!is_readable(told));
	ck_assert_int_eq(must(read(told, &until, sizeof until)), sizeof until);
	must(aioconn_send(peer, "i", 1));
	expect_exit(pid, 0);
	aioconn_abort(peer);
	close(told);
}

TEST(a_handler_ends_a_wait_and_nothing_else_does)
{
	for (enum transport t = PIPE; t <= PAIR; t++)
		for (way = PLAIN; way <= ON_A_BASE; way++) {
			handlers_are_told(t, 0);
			handlers_are_told(t, SA_RESTART);
		}
}

/* A sandbox: what is open goes on working, where nothing can be opened any more. */

static void echo_in_sandbox(struct aioend *end, void *limit)
{
	struct rlimit most = {*(rlim_t *)limit, *(rlim_t *)limit};
	struct aiomsg *m;

	open_conn(end);
	must(setrlimit(RLIMIT_NOFILE, &most));
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(must(aioconn_recv(conn, &m, i ? AIOIPC_FOREVER : soon())), 1);
		must(aioconn_send_msg(conn, m));
		aiomsg_free(m);
	}
	must_fail(aioconn_recv(conn, &m, aioipc_after(5)), ETIMEDOUT);
	must(aioconn_close(conn, soon()));
	_exit(0);
}

TEST(waiting_needs_no_right_to_open_descriptors)
{
	static rlim_t limit;

	for (enum transport t = DUPLEX; t <= PAIR; t++)
		for (way = PLAIN; way <= ON_A_BASE; way++)
			for (limit = 0; limit < 3; limit++) {
				struct aioconn *peer;
				int told;
				pid_t pid = start_waiter(t, &peer, echo_in_sandbox, &limit, &told);

				for (int i = 0; i < 2; i++) {
					send_text(peer, "again");
					expect_text(peer, "again");
				}
				expect_end(peer, 0);
				expect_exit(pid, 0);
				aioconn_abort(peer);
				close(told);
			}
}
