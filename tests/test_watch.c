/* Watches on event bases, and what a fork may not do to them. */
#include <aioipc.h>

#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/end/end.h"
#include "ipc/loop/here.h"
#include "ipc/loop/wait.h"
#include "ipc/loop/watch.h"
#include "tests/harness.h"

static int status_of(pid_t pid)
{
	int status;

	ck_assert_int_eq(must(waitpid(pid, &status, 0)), pid);
	return status;
}

struct seen {
	struct ipc_watch *w;
	int calls;
	short what;
	int fd; /* read from it */
};

static void see(short what, void *arg)
{
	struct seen *s = arg;
	char c;

	s->calls++;
	s->what |= what;
	if (what & EV_READ && read(s->fd, &c, 1) != 1)
		ipc_watch_want(s->w, 0);
}

static void turn(struct event_base *base)
{
	ck_assert_int_ne(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK), -1);
}

TEST(wants_soon_and_after)
{
	struct event_base *base = must(event_base_new());
	struct seen s = {0};
	struct aioend *a, *b;

	must(aiosockpair(&a, &b));
	s.fd = a->own.r.fd;
	s.w = must(ipc_watch_new(base, s.fd, see, &s));
	must(write(b->own.w.fd, "xyz", 3));
	turn(base);
	ck_assert_int_eq(s.calls, 0);
	must(ipc_watch_want(s.w, EV_READ));
	turn(base);
	ck_assert_int_eq(s.calls, 1);
	must(ipc_watch_want(s.w, EV_READ | EV_WRITE));
	turn(base);
	ck_assert_int_eq(s.calls, 2);
	ck_assert_int_eq(s.what, EV_READ | EV_WRITE);
	must(ipc_watch_want(s.w, 0));
	s.what = 0;
	ipc_watch_soon(s.w);
	ipc_watch_soon(s.w);
	must(ipc_watch_want(s.w, EV_WRITE));
	must(ipc_watch_want(s.w, 0));
	turn(base);
	turn(base);
	ck_assert_int_eq(s.calls, 3);
	ck_assert_int_eq(s.what, EV_TIMEOUT);
	must(ipc_watch_after(s.w, INT64_C(3600000000000)));
	must(ipc_watch_after(s.w, 1000000));
	ck_assert_int_eq(event_base_dispatch(base), 1);
	ck_assert_int_eq(s.calls, 4);
	ipc_watch_free(s.w);
	ipc_watch_free(NULL);
	must_fail(ipc_watch_new(base, 999, see, &s), EBADF);
	event_base_free(base);
	aioend_free(a);
	aioend_free(b);
}

TEST(blind_it_still_fires_soon_and_after)
{
	struct event_base *base = must(event_base_new());
	struct seen s = {0};
	int fd[2], number;

	must(ipc_os_pipe(fd));
	number = s.fd = fd[0];
	s.w = must(ipc_watch_new(base, number, see, &s));
	must(ipc_watch_want(s.w, EV_READ));
	ipc_watch_soon(s.w);
	ipc_watch_blind(s.w);
	must(close(number));
	must(close(fd[1]));
	turn(base);
	turn(base);
	ck_assert_int_eq(s.calls, 1);
	ck_assert_int_eq(s.what, EV_TIMEOUT);
	ck_assert_int_eq(must(ipc_os_placeholder()), number); /* the number is another file's */
	must(ipc_watch_after(s.w, 0));
	turn(base);
	ck_assert_int_eq(s.calls, 2);
	ck_assert_int_eq(event_base_dispatch(base), 1);
	ipc_watch_free(s.w);
	must(close(number));
	event_base_free(base);
}

static void free_itself(short what, void *arg)
{
	struct seen *s = arg;

	s->what = what;
	s->calls++;
	ck_assert(ipc_in_callback(ipc_here.calling));
	ipc_watch_free(s->w);
}

TEST(freed_in_its_callback)
{
	struct event_base *base = must(event_base_new());
	struct seen s = {0};

	for (int i = 0; i < 2; i++) {
		s.w = must(ipc_watch_new(base, -1, free_itself, &s));
		if (i == 0)
			ipc_watch_soon(s.w);
		else
			must(ipc_watch_after(s.w, 0));
		must(event_base_dispatch(base));
		ck_assert_int_eq(s.calls, i + 1);
		ck_assert_ptr_null(ipc_here.calling);
	}
	event_base_free(base);
}

/* A base of some kind with watches on a pair, and with a pipe and a signal of the user's. */
struct scene {
	struct event_base *base;
	struct aioend *a, *b, *c, *d;
	struct seen on_a, on_c, on_none;
	struct event *user, *sig;
	int pipe[2], user_calls, sig_calls;
};

static void user_reads(evutil_socket_t fd, short what, void *arg)
{
	struct scene *s = arg;
	char c;

	(void)what;
	must(read(fd, &c, 1));
	s->user_calls++;
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct scene *s = arg;

	(void)fd;
	(void)what;
	s->sig_calls++;
}

static struct event_base *base_of(const char *method)
{
	struct event_config *config = must(event_config_new());
	struct event_base *base;

	if (strcmp(method, "changelist") == 0) {
		must(event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST));
		method = "epoll";
	}
	if (strcmp(method, "epoll") != 0)
		must(event_config_avoid_method(config, "epoll"));
	if (strcmp(method, "poll") != 0)
		must(event_config_avoid_method(config, "poll"));
	if (strcmp(method, "select") != 0)
		must(event_config_avoid_method(config, "select"));
	base = must(event_base_new_with_config(config));
	event_config_free(config);
	ck_assert(strncmp(event_base_get_method(base), method, strlen(method)) == 0);
	return base;
}

static void set(struct scene *s, const char *method)
{
	*s = (struct scene){.base = base_of(method)};
	must(aiosockpair(&s->a, &s->b));
	must(aioduplex(&s->c, &s->d));
	s->on_a.fd = s->a->own.r.fd;
	s->on_c.fd = s->c->own.r.fd;
	s->on_a.w = must(ipc_watch_new(s->base, s->on_a.fd, see, &s->on_a));
	s->on_c.w = must(ipc_watch_new(s->base, s->on_c.fd, see, &s->on_c));
	s->on_none.w = must(ipc_watch_new(s->base, -1, see, &s->on_none));
	must(ipc_watch_want(s->on_a.w, EV_READ));
	ipc_watch_soon(s->on_none.w);
	must(ipc_watch_after(s->on_c.w, 0));
	must(pipe(s->pipe));
	s->user = must(event_new(s->base, s->pipe[0], EV_READ | EV_PERSIST, user_reads, s));
	must(event_add(s->user, NULL));
	s->sig = must(evsignal_new(s->base, SIGUSR1, on_signal, s));
	must(event_add(s->sig, NULL));
}

static void free_ours(struct scene *s)
{
	ipc_watch_free(s->on_a.w);
	ipc_watch_free(s->on_c.w);
	ipc_watch_free(s->on_none.w);
	aioend_free(s->a);
	aioend_free(s->b);
	aioend_free(s->c);
	aioend_free(s->d);
}

static void free_all(struct scene *s)
{
	free_ours(s);
	event_free(s->user);
	event_free(s->sig);
	event_base_free(s->base);
	close(s->pipe[0]);
	close(s->pipe[1]);
}

/* The parent's base works as ever. */
static void still_works(struct scene *s)
{
	int before = s->on_a.calls;

	must(write(s->b->own.w.fd, "x", 1));
	turn(s->base);
	ck_assert_int_eq(s->on_a.calls, before + 1);
	must(write(s->pipe[1], "u", 1));
	turn(s->base);
	ck_assert_int_eq(s->user_calls, 1);
	raise(SIGUSR1);
	turn(s->base);
	ck_assert_int_eq(s->sig_calls, 1);
}

/* In the child: the base is its own now, the user's events work in it, ours are silent. */
static void works_in_the_child(struct scene *s)
{
	int p[2];

	must_fail(ipc_watch_want(s->on_a.w, EV_WRITE), ECHILD);
	must_fail(ipc_watch_after(s->on_a.w, 0), ECHILD);
	must(pipe(p));
	must(dup2(p[0], s->pipe[0]));
	must(aioipc_base_reinit(s->base));
	turn(s->base);
	must(write(p[1], "u", 1));
	raise(SIGUSR1);
	turn(s->base);
	turn(s->base);
	ck_assert_int_eq(s->user_calls, 1);
	ck_assert_int_eq(s->sig_calls, 1);
	ck_assert_int_eq(s->on_a.calls + s->on_c.calls + s->on_none.calls, 0);
	close(p[0]);
	close(p[1]);
}

/* Only libevent holds on to a number, and only until the base is made anew or ours is freed. */
static void child_makes_it_its_own(struct scene *s, bool free_first)
{
	must_fail(fcntl(s->on_c.fd, F_GETFD), EBADF);
	ck_assert(ipc_os_is_placeholder(s->on_a.fd));
	if (free_first) {
		free_ours(s);
		must_fail(fcntl(s->on_a.fd, F_GETFD), EBADF);
	}
	works_in_the_child(s);
	must_fail(fcntl(s->on_a.fd, F_GETFD), EBADF);
	ck_assert_int_eq(must(aioipc_base_reinit(s->base)), 0);
	if (!free_first)
		free_ours(s);
	event_free(s->user);
	event_free(s->sig);
	event_base_free(s->base);
	_exit(0);
}

static void inherited_base(const char *method)
{
	struct scene s;
	pid_t pid[2];

	set(&s, method);
	for (int i = 0; i < 2; i++) {
		pid[i] = must(fork());
		if (pid[i] == 0)
			child_makes_it_its_own(&s, i);
		ck_assert_int_eq(status_of(pid[i]), 0);
	}
	still_works(&s);
	must(aioipc_base_reinit(s.base));
	free_all(&s);
}

TEST(inherited_base_epoll)
{
	inherited_base("epoll");
}

TEST(inherited_base_epoll_with_changelist)
{
	inherited_base("changelist");
}

TEST(inherited_base_poll)
{
	inherited_base("poll");
}

TEST(inherited_base_select)
{
	inherited_base("select");
}

/* It frees what it inherited and touches the base no more. */
TEST(child_that_frees_all_does_no_harm)
{
	struct scene s;
	pid_t pid;

	set(&s, "epoll");
	pid = must(fork());
	if (pid == 0) {
		free_ours(&s);
		_exit(0);
	}
	ck_assert_int_eq(status_of(pid), 0);
	still_works(&s);
	free_all(&s);
}

/* The base was made anew, but not by us: what was due in the parent stays silent. */
TEST(dead_watches_are_silent)
{
	struct scene s;
	pid_t pid;

	set(&s, "epoll");
	pid = must(fork());
	if (pid == 0) {
		must(event_reinit(s.base));
		turn(s.base);
		turn(s.base);
		ck_assert_int_eq(s.on_a.calls + s.on_c.calls + s.on_none.calls, 0);
		_exit(0);
	}
	ck_assert_int_eq(status_of(pid), 0);
	turn(s.base);
	turn(s.base);
	ck_assert_int_eq(s.on_c.calls, 1);
	ck_assert_int_eq(s.on_none.calls, 1);
	free_all(&s);
}

/* The child's first watch makes the base the child's; nothing of it gets into the parent's epoll. */
TEST(opening_on_an_inherited_base)
{
	struct seen mine = {0};
	struct aioend *a, *b;
	struct scene s;
	pid_t pid;

	if (!ipc_os_one_thread())
		return; /* the thread sanitizer has one of its own */
	set(&s, "epoll");
	pid = must(fork());
	if (pid == 0) {
		must(aiosockpair(&a, &b));
		mine.fd = a->own.r.fd;
		mine.w = must(ipc_watch_new(s.base, mine.fd, see, &mine));
		must(ipc_watch_want(mine.w, EV_READ));
		must(write(b->own.w.fd, "x", 1));
		turn(s.base);
		ck_assert_int_eq(mine.calls, 1);
		ck_assert_int_eq(s.on_a.calls + s.on_none.calls, 0);
		must(aioipc_base_reinit(s.base));
		ipc_watch_free(mine.w);
		aioend_free(a);
		aioend_free(b);
		free_all(&s);
		_exit(0);
	}
	ck_assert_int_eq(status_of(pid), 0);
	still_works(&s);
	free_all(&s);
}

static void *open_on_it(void *arg)
{
	struct scene *s = arg;
	struct aioend *a, *b;

	must_fail(ipc_watch_base_ok(s->base), ECHILD);
	must_fail(ipc_watch_new(s->base, -1, see, NULL), ECHILD);
	must(aiosockpair(&a, &b));
	must_fail(aioend_open(a, s->base), ECHILD);
	must(write(b->own.w.fd, "x", 1));
	ck_assert_int_eq(must(read(a->own.r.fd, &(char){0}, 1)), 1);
	aioend_free(a);
	aioend_free(b);
	return NULL;
}

TEST(opening_on_an_inherited_base_beside_other_threads)
{
	struct scene s;
	pthread_t t;
	pid_t pid;

	if (!ipc_os_one_thread())
		return; /* the thread sanitizer has one of its own */
	set(&s, "epoll");
	pid = must(fork());
	if (pid == 0) {
		ck_assert_int_eq(pthread_create(&t, NULL, open_on_it, &s), 0);
		pthread_join(t, NULL);
		while (!ipc_os_one_thread())
			sched_yield();
		must(ipc_watch_base_ok(s.base));
		_exit(0);
	}
	ck_assert_int_eq(status_of(pid), 0);
	still_works(&s);
	free_all(&s);
}

/* Not made anew, it was freed: what comes to its place is no inherited one. */
TEST(new_base_at_the_address_of_an_inherited_one)
{
	struct event_base *base;
	struct seen mine = {0};
	struct scene s;
	pid_t pid;

	if (!ipc_os_one_thread())
		return; /* the thread sanitizer has one of its own */
	set(&s, "poll");
	pid = must(fork());
	if (pid == 0) {
		event_base_free(s.base);
		base = base_of("poll");
		mine.w = must(ipc_watch_new(base, -1, see, &mine));
		ipc_watch_soon(mine.w);
		turn(base);
		ck_assert_int_eq(mine.calls, 1);
		ipc_watch_free(mine.w);
		event_base_free(base);
		_exit(0);
	}
	ck_assert_int_eq(status_of(pid), 0);
	free_all(&s);
}

/* The descriptors' table is full when the child's handler wants a placeholder. */
TEST(child_without_a_descriptor_left)
{
	struct rlimit l;
	struct scene s;
	pid_t pid;

	set(&s, "epoll");
	must(ipc_watch_want(s.on_c.w, EV_READ));
	must(getrlimit(RLIMIT_NOFILE, &l));
	l.rlim_cur = (rlim_t)must(dup(0));
	close((int)l.rlim_cur);
	pid = must(fork());
	if (pid == 0) {
		ck_assert(ipc_os_is_placeholder(s.on_a.fd) && ipc_os_is_placeholder(s.on_c.fd));
		_exit(0);
	}
	ck_assert_int_eq(status_of(pid), 0);
	must(setrlimit(RLIMIT_NOFILE, &l));
	pid = must(fork());
	if (pid == 0) {
		ck_assert(ipc_os_is_placeholder(s.on_a.fd) && ipc_os_is_placeholder(s.on_c.fd));
		_exit(0);
	}
	ck_assert_int_eq(status_of(pid), 0);
	free_all(&s);
}

#define MANY 50000

/* As many timers, an hour away. */
static void watch_much(struct event_base *base, struct ipc_watch **w)
{
	for (int i = 0; i < MANY; i++) {
		w[i] = must(ipc_watch_new(base, -1, see, NULL));
		must(ipc_watch_after(w[i], INT64_C(3600000000000)));
	}
}

static void free_much(struct ipc_watch **w)
{
	for (int i = 0; i < MANY; i++)
		ipc_watch_free(w[i]);
}

/* What one watch costs does not depend on how many were inherited: each of these would take minutes else. */
TEST_WITHIN(many_inherited_watches, 30)
{
	static struct ipc_watch *old[MANY], *fresh[MANY];
	struct event_base *base = must(event_base_new()), *own;
	pid_t pid[2];

	watch_much(base, old);
	for (int i = 0; i < 2; i++) {
		pid[i] = must(fork());
		if (pid[i] == 0) {
			own = must(event_base_new());
			watch_much(own, fresh);
			if (i == 1)
				free_much(old);
			must(aioipc_base_reinit(base));
			if (i == 0)
				free_much(old);
			free_much(fresh);
			event_base_free(own);
			event_base_free(base);
			_exit(0);
		}
	}
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(status_of(pid[i]), 0);
	free_much(old);
	event_base_free(base);
}

/* Pipes that can be opened in this process. */
static int room_for_pipes(void)
{
	int n, p[2];

	for (n = 0; pipe(p) == 0; n++)
		;
	return n;
}

#define PAIRS 50

struct full {
	struct event_base *base;
	struct aioconn *c[2 * PAIRS];
};

/* Connections on a base, and room for one pipe beside them. */
static void fill(struct full *f)
{
	struct rlimit l;
	struct aioend *a, *b;

	f->base = must(event_base_new());
	for (int i = 0; i < PAIRS; i++) {
		must(aiosockpair(&a, &b));
		f->c[2 * i] = must(aioend_open(a, f->base));
		f->c[2 * i + 1] = must(aioend_open(b, f->base));
	}
	must(getrlimit(RLIMIT_NOFILE, &l));
	l.rlim_cur = (rlim_t)must(dup(0)) + 2;
	close((int)l.rlim_cur - 2);
	must(setrlimit(RLIMIT_NOFILE, &l));
}

static void empty(struct full *f)
{
	for (int i = 0; i < 2 * PAIRS; i++)
		aioconn_abort(f->c[i]);
}

static int opens_many(void *arg)
{
	struct full *f = arg;

	ck_assert_int_ge(room_for_pipes(), PAIRS);
	empty(f);
	return 0;
}

static int starts(int (*body)(void *arg), void *arg)
{
	struct aioproc *p = must(aioproc_start(body, arg));
	int status;

	must(aioproc_join(p, &status, AIOIPC_FOREVER));
	aioproc_free(p);
	return status;
}

TEST(started_child_has_the_numbers_of_its_parents_connections)
{
	struct full f;

	fill(&f);
	ck_assert_int_eq(starts(opens_many, &f), 0);
	empty(&f);
	event_base_free(f.base);
}

#define CROWD 400

static int reports_faults(void *arg)
{
	const int *to = arg;
	struct rusage r;

	must(getrusage(RUSAGE_SELF, &r));
	must(write(*to, &r.ru_minflt, sizeof(r.ru_minflt)));
	return 0;
}

/* The page faults of a child before its function begins. */
static long faults_of_a_child(void)
{
	int fd[2];
	long n;

	must(ipc_os_pipe(fd));
	ck_assert_int_eq(starts(reports_faults, &fd[1]), 0);
	ck_assert_int_eq(must(read(fd[0], &n, sizeof(n))), sizeof(n));
	ipc_fd_close_pipe(fd);
	return n;
}

/* What is written to is copied, page by page. */
TEST(started_child_does_not_write_to_each_connection_of_its_parent)
{
	static struct aioconn *c[CROWD];
	struct event_base *base;
	struct aioend *a, *b;
	long few, many;

	if (!harness_has_fds(CROWD + 50) || !harness_forks_with_memory())
		return;
	base = must(event_base_new());
	few = faults_of_a_child();
	for (int i = 0; i < CROWD; i += 2) {
		must(aiosockpair(&a, &b));
		c[i] = must(aioend_open(a, base));
		c[i + 1] = must(aioend_open(b, base));
	}
	many = faults_of_a_child();
	ck_assert_msg(many - few < CROWD / 8, "%ld faults, %ld with %d connections", few, many, CROWD);
	for (int i = 0; i < CROWD; i++)
		aioconn_abort(c[i]);
	event_base_free(base);
}

/* Started children, one below the other. The last one watches another file where the first one's parent watched one. */
struct dig {
	struct scene s;
	int deeper;
};

/* A placeholder is there for the file of this process's parent; what an ancestor had on that number goes. */
static void lets_its_ancestors_go(struct scene *s)
{
	ck_assert(ipc_os_is_placeholder(s->on_a.fd));
	free_ours(s);
	ck_assert(ipc_os_is_placeholder(s->on_a.fd));
	must(aioipc_base_reinit(s->base));
	ck_assert(ipc_os_is_placeholder(s->on_a.fd));
	_exit(0);
}

static int watches_that_number(struct scene *s)
{
	struct event_base *base;
	struct seen seen = {0};
	pid_t pid;

	must(dup2(s->pipe[0], s->on_a.fd));
	base = must(event_base_new());
	seen.w = must(ipc_watch_new(base, s->on_a.fd, see, &seen));
	must(ipc_watch_want(seen.w, EV_READ));
	pid = must(fork());
	if (pid == 0)
		lets_its_ancestors_go(s);
	return status_of(pid);
}

static int digs(void *arg)
{
	struct dig *d = arg;

	must_fail(fcntl(d->s.on_a.fd, F_GETFD), EBADF);
	return d->deeper-- ? starts(digs, d) : watches_that_number(&d->s);
}

TEST(ancestors_watch_closes_no_placeholder_of_another)
{
	struct dig d;

	set(&d.s, "epoll");
	for (int depth = 0; depth < 3; depth++) {
		d.deeper = depth;
		ck_assert_int_eq(starts(digs, &d), 0);
	}
	still_works(&d.s);
	free_all(&d.s);
}

TEST(forked_child_has_the_numbers_of_what_it_frees)
{
	struct full f;
	pid_t pid;

	fill(&f);
	for (int i = 0; i < 2; i++) {
		pid = must(fork());
		if (pid == 0) {
			if (i == 0)
				empty(&f);
			else
				must(aioipc_base_reinit(f.base));
			ck_assert_int_ge(room_for_pipes(), PAIRS);
			_exit(0);
		}
		ck_assert_int_eq(status_of(pid), 0);
	}
	empty(&f);
	event_base_free(f.base);
}

/* A number that someone closed and opened again behind our back stays as it is, in the child too. */
TEST(reused_number_gets_no_placeholder)
{
	struct scene s;
	pid_t pid;

	set(&s, "epoll");
	must(dup2(s.pipe[1], s.on_a.fd));
	pid = must(fork());
	if (pid == 0) {
		must(write(s.on_a.fd, "u", 1));
		_exit(0);
	}
	ck_assert_int_eq(status_of(pid), 0);
	must(read(s.pipe[0], &(char){0}, 1));
	close(s.on_a.fd);
	free_all(&s);
}
