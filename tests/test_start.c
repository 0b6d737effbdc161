/* Forked children: what they become before their body runs, and what they print. */
#include <aioipc.h>

#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/end/end.h"
#include "tests/harness.h"
#include "tests/no_fork.h"

static int finish(struct aioproc *p)
{
	int status;

	must(aioproc_join(p, &status, AIOIPC_FOREVER));
	aioproc_free(p);
	ck_assert_msg(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static int seven(void *arg)
{
	(void)arg;
	return 7;
}

static int in_usr(void *arg)
{
	char *cwd = getcwd(NULL, 0);
	bool is = cwd && strcmp(cwd, "/usr") == 0;

	(void)arg;
	free(cwd);
	return is;
}

static int leads(void *arg)
{
	(void)arg;
	return (getpgrp() == getpid()) | (getsid(0) == getpid()) << 1;
}

static int start_opts(int (*body)(void *arg), void *arg, const struct aioproc_options *o)
{
	return finish(must(aioproc_start_opts(body, arg, NULL, 0, o)));
}

TEST(options)
{
	struct aioproc_options o = {.size = sizeof(o)};

	ck_assert_int_eq(start_opts(leads, NULL, NULL), 0);
	ck_assert_int_eq(start_opts(leads, NULL, &o), 0);
	o.new_group = true;
	ck_assert_int_eq(start_opts(leads, NULL, &o), 1);
	o.new_session = true;
	ck_assert_int_eq(start_opts(leads, NULL, &o), 3);
	o = (struct aioproc_options){.size = sizeof(o), .cwd = "/usr"};
	ck_assert_int_eq(start_opts(in_usr, NULL, &o), 1);
	ck_assert_int_eq(start_opts(in_usr, NULL, NULL), 0);
}

static int is_other_user(void *arg)
{
	uid_t r, e, s;

	(void)arg;
	getresuid(&r, &e, &s);
	return r == 54321 && e == 54321 && s == 54321 && getegid() == 54322 && getgroups(0, NULL) == 0 &&
	       setuid(0) == -1;
}

/* From threads too: the other ones are not in the child, and stay what they are in the parent. */
TEST(other_user)
{
	struct aioproc_options o = {.size = sizeof(o), .set_ids = true, .uid = 54321, .gid = 54322};
	struct aioend *a, *b;

	if (geteuid() == 0 && !harness_has_users())
		return;
	must(aiosockpair(&a, &b));
	if (geteuid() == 0) {
		ck_assert_int_eq(start_opts(is_other_user, NULL, &o), 1);
		ck_assert_int_eq(geteuid(), 0);
		must(setresuid(54321, 54321, 0));
	}
	must_fail(aioproc_start_opts(is_other_user, NULL, &b, 1, &o), EPERM);
	must_fail(waitpid(-1, NULL, 0), ECHILD);
	aioend_free(a);
	aioend_free(b);
}

static int echo_byte(void *arg)
{
	struct aioend *end = arg;
	char c;

	return read(end->own.r.fd, &c, 1) == 1 && write(end->own.w.fd, &c, 1) == 1 ? 0 : 1;
}

/* What could not start took nothing with it. */
TEST(ends_stay_when_an_option_fails)
{
	struct aioproc_options o = {.size = sizeof(o), .cwd = "/no/such/folder"};
	struct aioend *a, *b;
	char c = 0;

	if (!forks_can_fail())
		return;
	must(aiosockpair(&a, &b));
	must_fail(aioproc_start_opts(echo_byte, b, &b, 1, &o), ENOENT);
	must_fail(waitpid(-1, NULL, 0), ECHILD);
	forks_fail(true);
	must_fail(aioproc_start_opts(echo_byte, b, &b, 1, &o), EAGAIN);
	forks_fail(false);
	o.size++;
	must_fail(aioproc_start_opts(echo_byte, b, &b, 1, &o), EINVAL);
	o = (struct aioproc_options){.size = sizeof(o), .cwd = "/"};
	must(write(a->own.w.fd, "x", 1));
	ck_assert_int_eq(finish(must(aioproc_start_opts(echo_byte, b, &b, 1, &o))), 0);
	must_fail(aioproc_start_opts(echo_byte, b, &b, 1, &o), EBADF);
	ck_assert_int_eq(must(read(a->own.r.fd, &c, 1)), 1);
	ck_assert_int_eq(must(read(a->own.r.fd, &c, 1)), 0);
	aioend_free(a);
	aioend_free(b);
}

TEST(no_descriptor_for_options)
{
	struct aioproc_options o = {.size = sizeof(o), .new_group = true};
	struct rlimit was, none;

	must(getrlimit(RLIMIT_NOFILE, &was));
	none = was;
	none.rlim_cur = 0;
	must(setrlimit(RLIMIT_NOFILE, &none));
	must_fail(aioproc_start_opts(seven, NULL, NULL, 0, &o), EMFILE);
	must(setrlimit(RLIMIT_NOFILE, &was));
	ck_assert_int_eq(start_opts(seven, NULL, &o), 7);
}

/* 0, 1, 2, and the two of the end that moved: their number; with a bit when more are open, or less. */
static int only_these(void *arg)
{
	struct aioend *end = arg;
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	if (fcntl(end->own.r.fd, F_GETFD) == -1 || fcntl(end->own.w.fd, F_GETFD) == -1)
		return 100;
	return (int)n;
}

/* Of a library that knows nothing of forks, say, and of a base that the parent watches with. */
TEST(only_ends)
{
	struct aioproc_options o = {.size = sizeof(o), .only_ends = true};
	struct event_base *base = must(event_base_new());
	int fd = must(open("/dev/null", O_RDONLY));
	int far = must(fcntl(fd, F_DUPFD, harness_has_fds(1000) ? 900 : 100));
	struct aioend *a, *b, *c, *d;
	struct aioconn *conn;

	must(aioduplex(&a, &b));
	must(aiosockpair(&c, &d));
	conn = must(aioend_open(c, base));
	must(event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE));
	ck_assert_int_eq(finish(must(aioproc_start_opts(only_these, b, &b, 1, &o))), 5);
	ck_assert(fcntl(far, F_GETFD) != -1);
	aioconn_abort(conn);
	event_base_free(base);
	aioend_free(a);
	aioend_free(b);
	aioend_free(d);
	close(fd);
	close(far);
}

struct inherited {
	struct event_base *base;
	struct aioconn *conn;
	struct aioend *end;
};

/* What libevent had open is somebody else's by now, and must not be closed. */
static int refuses_the_base(void *arg)
{
	struct inherited *i = arg;
	int fd[20];

	for (int n = 0; n < 20; n++)
		fd[n] = open("/dev/null", O_RDONLY);
	if (aioend_open(i->end, i->base) || errno != ECHILD)
		return 1;
	if (aioipc_base_reinit(i->base) != -1 || errno != ECHILD)
		return 2;
	aioconn_abort(i->conn);
	for (int n = 0; n < 20; n++)
		if (fcntl(fd[n], F_GETFD) == -1)
			return 3;
	return 0;
}

TEST(an_inherited_base_is_refused_when_its_descriptors_are_closed)
{
	struct aioproc_options o = {.size = sizeof(o), .only_ends = true};
	struct inherited i = {.base = must(event_base_new())};
	struct aioend *a, *b, *c;

	must(aiosockpair(&a, &b));
	must(aiosockpair(&c, &i.end));
	i.conn = must(aioend_open(a, i.base));
	ck_assert_int_eq(finish(must(aioproc_start_opts(refuses_the_base, &i, &i.end, 1, &o))), 0);
	aioconn_abort(i.conn);
	event_base_free(i.base);
	aioend_free(b);
	aioend_free(c);
	aioend_free(i.end);
}

/* A child with nothing but its ends can go on: a base of its own, connections on it. */
static int talk(void *arg)
{
	struct event_base *base = event_base_new();
	struct aioconn *c = aioend_open(arg, base);
	int r;

	r = !c || aioconn_send(c, "i", 7) == -1 || aioconn_close(c, aioipc_after(5000)) == -1;
	event_base_free(base);
	return r;
}

TEST(a_child_with_only_its_ends_can_use_a_base)
{
	struct aioproc_options o = {
		.size = sizeof(o), .only_ends = true, .die_with_parent = true, .new_session = true};
	struct aioend *a, *b;
	struct aioproc *p;
	struct aioconn *c;
	struct aiomsg *m;
	int32_t i = 0;

	must(aiosockpair(&a, &b));
	p = must(aioproc_start_opts(talk, b, &b, 1, &o));
	aioend_free(b);
	c = must(aioend_open(a, NULL));
	ck_assert_int_eq(aioconn_recv(c, &m, AIOIPC_FOREVER), 1);
	must(aiomsg_unpack(m, "i", &i));
	ck_assert_int_eq(i, 7);
	aiomsg_free(m);
	aioconn_abort(c);
	ck_assert_int_eq(finish(p), 0);
}

static int sleep_on(void *arg)
{
	(void)arg;
	while (pause() == -1)
		;
	return 0;
}

TEST(dies_with_its_parent)
{
	struct aioproc_options o = {.size = sizeof(o), .die_with_parent = true};
	struct aioend *rx, *tx;
	pid_t pid;
	char c;

	must(aiopipe(&rx, &tx));
	must(aioend_detach(tx));
	pid = must(fork());
	if (pid == 0) {
		must(aioproc_start_opts(sleep_on, NULL, &tx, 1, &o));
		_exit(0);
	}
	must(waitpid(pid, NULL, 0));
	ck_assert_int_eq(must(read(rx->own.r.fd, &c, 1)), 0);
	aioend_free(rx);
	aioend_free(tx);
}

static void caught(int sig)
{
	(void)sig;
}

/* What signals the group, as a terminal does, reaches those that have none of their own. */
TEST(a_group_of_its_own_is_not_hit)
{
	struct aioproc_options o = {.size = sizeof(o), .new_group = true};
	struct aioproc *with, *without;
	pid_t pid = must(fork());
	int status;

	if (pid == 0) {
		signal(SIGINT, caught);
		must(setpgid(0, 0));
		with = must(aioproc_start_opts(sleep_on, NULL, NULL, 0, &o));
		without = must(aioproc_start(sleep_on, NULL));
		must(kill(0, SIGINT));
		must(aioproc_join(without, &status, AIOIPC_FOREVER));
		ck_assert_int_eq(WTERMSIG(status), SIGINT);
		must_fail(aioproc_join(with, &status, AIOIPC_NOW), ETIMEDOUT);
		must(kill(-aioproc_pid(with), SIGTERM));
		must(aioproc_join(with, &status, AIOIPC_FOREVER));
		ck_assert_int_eq(WTERMSIG(status), SIGTERM);
		_exit(0);
	}
	must(waitpid(pid, &status, 0));
	ck_assert_int_eq(status, 0);
}

/* A stream that another thread has to itself. */
struct held {
	FILE *f;
	pthread_barrier_t both;
};

static void *hold(void *arg)
{
	struct held *h = arg;

	flockfile(h->f);
	pthread_barrier_wait(&h->both);
	pthread_barrier_wait(&h->both);
	funlockfile(h->f);
	return NULL;
}

static void beside_a_thread_that_holds(FILE *f)
{
	struct held h = {.f = f};
	pthread_t t;

	ck_assert_int_eq(pthread_barrier_init(&h.both, NULL, 2), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, hold, &h), 0);
	pthread_barrier_wait(&h.both);
	ck_assert_int_eq(finish(must(aioproc_start(seven, NULL))), 7);
	pthread_barrier_wait(&h.both);
	pthread_join(t, NULL);
	pthread_barrier_destroy(&h.both);
}

TEST(no_stream_is_waited_for)
{
	beside_a_thread_that_holds(stdin);
	beside_a_thread_that_holds(stdout);
	beside_a_thread_that_holds(stderr);
}

/* Text that a program prints comes out of a pipe. */
static int capture(int *out)
{
	int p[2];

	fflush(stdout);
	must(pipe(p));
	*out = must(dup(STDOUT_FILENO));
	must(dup2(p[1], STDOUT_FILENO));
	close(p[1]);
	return p[0];
}

static const char *captured(int in, int out)
{
	static char text[200];
	size_t n = 0;
	ssize_t got;

	fflush(stdout);
	must(dup2(out, STDOUT_FILENO));
	close(out);
	while ((got = must(read(in, text + n, sizeof(text) - 1 - n))) > 0)
		n += (size_t)got;
	text[n] = '\0';
	close(in);
	return text;
}

/* While another thread holds stdout what the parent has printed stays in its buffer; the child must not print it too. */
TEST(what_is_inherited_is_not_printed_twice)
{
	int out, in = capture(&out);

	printf("once ");
	beside_a_thread_that_holds(stdout);
	ck_assert_str_eq(captured(in, out), "once ");
}

static int print_more(void *arg)
{
	printf("child ");
	return seven(arg);
}

TEST(order_of_what_is_printed)
{
	int out, in = capture(&out);

	printf("before ");
	finish(must(aioproc_start(print_more, NULL)));
	printf("after ");
	ck_assert_str_eq(captured(in, out), "before child after ");
}

/* Other streams are the caller's business: the child ends without a look at them. */
TEST(other_streams_are_left_alone)
{
	char text[20] = "";
	FILE *mine;
	int p[2];

	must(pipe(p));
	mine = must(fdopen(p[1], "w"));
	fprintf(mine, "once");
	finish(must(aioproc_start(seven, NULL)));
	fclose(mine);
	ck_assert_int_eq(must(read(p[0], text, sizeof(text) - 1)), 4);
	close(p[0]);
}

/* The child prints and has a thread that prints too: what it printed itself is there. */
static void *chatter(void *arg)
{
	atomic_bool *stop = arg;

	while (!*stop)
		fprintf(stderr, "%s", "");
	return NULL;
}

static int print_beside_a_thread(void *arg)
{
	static atomic_bool stop;
	pthread_t t;

	(void)arg;
	pthread_create(&t, NULL, chatter, &stop);
	printf("child ");
	return 0;
}

TEST(a_child_with_threads_prints_all)
{
	int out, in = capture(&out);

	finish(must(aioproc_start(print_beside_a_thread, NULL)));
	ck_assert_str_eq(captured(in, out), "child ");
}

/* A child that is dead, and held by a debugger, until the returned process is told to let go. */
static pid_t debugger(pid_t pid, int *let_go)
{
	int told[2], go[2];
	pid_t tracer;
	char c;

	must(pipe(told));
	must(pipe(go));
	tracer = must(fork());
	if (tracer == 0) {
		close(go[1]);
		if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0 && write(told[1], "", 1) == 1)
			(void)!read(go[0], &c, 1);
		_exit(0);
	}
	close(go[0]);
	close(told[1]);
	*let_go = go[1];
	if (read(told[0], &c, 1) != 1) {
		must(waitpid(tracer, NULL, 0));
		tracer = -1; /* not allowed here */
	}
	close(told[0]);
	return tracer;
}

static double cpu(void)
{
	struct rusage u;

	must(getrusage(RUSAGE_SELF, &u));
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct watched {
	struct event_base *base;
	struct aioproc *p;
	int status, let_go;
};

static void on_exit_cb(struct aioproc *p, int status, void *arg)
{
	struct watched *w = arg;

	(void)p;
	w->status = status;
}

static void let_go(evutil_socket_t fd, short what, void *arg)
{
	struct watched *w = arg;

	(void)fd;
	(void)what;
	close(w->let_go);
}

/* Also as a task. */
static void join_held(void *arg)
{
	struct watched *w = arg;

	must_fail(aioproc_join(w->p, NULL, aioipc_after(500)), ETIMEDOUT);
	close(w->let_go);
	must(aioproc_join(w->p, &w->status, AIOIPC_FOREVER));
}

enum way { PLAIN, ON_BASE, IN_TASK };

/* With little time on a crowded processor one that spins still makes thousands of turns. */
static void count_turns(struct watched *w)
{
	int turns = 0;

	while (w->status == -1 && event_base_loop(w->base, EVLOOP_ONCE) == 0)
		turns++;
	ck_assert_int_lt(turns, 100);
}

static void wait_until_it_lets_go(struct watched *w, enum way way)
{
	struct timeval half = {0, 500000};

	if (way == PLAIN) {
		join_held(w);
		return;
	}
	if (way == ON_BASE) {
		must(event_base_once(w->base, -1, EV_TIMEOUT, let_go, w, &half));
		must(aioproc_on_exit(w->p, w->base, on_exit_cb, w));
	} else {
		aiotask_free(must(aiotask_spawn(w->base, join_held, w)));
	}
	count_turns(w);
}

/* Half a second and more for one that is dead already, and it must not be spent. */
static void wait_for_a_held_one(enum way way)
{
	struct watched w = {.base = must(event_base_new()), .status = -1};
	pid_t tracer;
	double before;

	w.p = must(aioproc_start(sleep_on, NULL));
	tracer = debugger(aioproc_pid(w.p), &w.let_go);
	must(aioproc_kill(w.p, SIGKILL));
	before = cpu();
	if (tracer != -1) {
		wait_until_it_lets_go(&w, way);
		ck_assert_int_eq(WTERMSIG(w.status), SIGKILL);
		ck_assert_msg(cpu() - before < 0.2 * harness_slowness(), "%.2f s of processor time",
			      cpu() - before);
		must(waitpid(tracer, NULL, 0));
	} else {
		close(w.let_go);
		must(aioproc_join(w.p, NULL, AIOIPC_FOREVER));
	}
	aioproc_free(w.p);
	event_base_free(w.base);
}

TEST(a_debugger_holds_the_dead_child)
{
	wait_for_a_held_one(PLAIN);
}

TEST(a_debugger_holds_the_dead_child_on_a_base)
{
	wait_for_a_held_one(ON_BASE);
}

TEST(a_debugger_holds_the_dead_child_in_a_task)
{
	wait_for_a_held_one(IN_TASK);
}
