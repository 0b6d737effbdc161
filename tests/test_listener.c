/* Listeners and their peers: what many clients, few descriptors, forks, and sockets left by the dead make of them. */
#include "tests/peers.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A server: its peers send messages, and get them back. */
struct server {
	struct event_base *base;
	struct aiolistener *l;
	struct aioconn *last;
	unsigned came, went, msgs;
	unsigned causes[4];
	char why[128];
};

static void on_msg(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct server *s = arg;

	s->msgs++;
	if (aioconn_send_msg(c, m) == -1 && errno == EAGAIN)
		aioconn_keep(c);
}

static void on_writable(struct aioconn *c, void *arg)
{
	(void)arg;
	aioconn_resume(c);
}

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct server *s = arg;

	s->went++;
	s->causes[cause]++;
	snprintf(s->why, sizeof s->why, "%s", aioconn_why(c));
	aioconn_abort(c);
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct server *s = arg;

	(void)l;
	s->came++;
	s->last = c;
	must(aioconn_set_callbacks(c, on_msg, on_writable, on_close, s));
}

static void serve_with(struct server *s, const char *address, const struct aiolistener_options *o)
{
	*s = (struct server){.base = new_base()};
	s->l = must(aiolistener_new(address, s->base, o, on_peer, s));
}

static void serve(struct server *s, const char *address)
{
	serve_with(s, address, NULL);
}

static void stop(struct server *s)
{
	run_until(s->base, &s->went, s->came);
	aiolistener_free(s->l);
	event_base_free(s->base);
}

static struct aioconn *join(const struct server *s, struct event_base *base)
{
	return must(aioconn_connect(aiolistener_address(s->l), base, soon()));
}

/* A new client gets its message back. */
static void expect_service(struct server *s)
{
	struct seen seen = {.msgs = 0};
	struct aioconn *c = join(s, s->base);

	see(c, &seen);
	send_text(c, "echo");
	run_until(s->base, &seen.msgs, 1);
	ck_assert_str_eq(seen.text, "echo ");
	aioconn_abort(c);
	run_until(s->base, &s->went, s->came);
}

/* The test's own, in its children too. */
static const char *path(void)
{
	static char text[64];

	if (!*text)
		snprintf(text, sizeof text, "/tmp/aioipc-test-%ld", (long)getpid());
	return text;
}

static const char *path_address(void)
{
	static char text[80];

	snprintf(text, sizeof text, "unix://%s", path());
	return text;
}

static bool is_there(const char *at)
{
	struct stat st;

	return lstat(at, &st) == 0;
}

TEST(serves_at_every_kind_of_address)
{
	char name[64];
	const char *const addresses[] = {"tcp://127.0.0.1:0",
					 "tcp://*:0",
					 path_address(),
					 name,
					 is_known_here("::1") ? "tcp://[::1]:0" : NULL,
					 is_known_here("localhost") ? "tcp://localhost:0" : NULL};
	struct server s;

	snprintf(name, sizeof name, "unix:@aioipc-test-%ld", (long)getpid());
	for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
		if (!addresses[i])
			continue;
		serve(&s, addresses[i]);
		if (strncmp(addresses[i], "unix", 4) == 0) {
			ck_assert_str_eq(aiolistener_address(s.l), addresses[i]);
			ck_assert_int_eq(aiolistener_port(s.l), 0);
		} else {
			ck_assert_int_gt(aiolistener_port(s.l), 0);
		}
		expect_service(&s);
		expect_service(&s);
		stop(&s);
	}
	ck_assert(!is_there(path()));
}

static int no_family; /* sockets of it can not be made; 0: of all they can */

int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);

/* The linker puts this in the library's way. */
int __wrap_socket(int family, int type, int protocol)
{
	if (family != no_family)
		return __real_socket(family, type, protocol);
	errno = EAFNOSUPPORT;
	return -1;
}

/* Many machines have one family only. */
TEST(serves_without_ipv6)
{
	struct server s;

	no_family = AF_INET6;
	serve(&s, "tcp://*:0");
	expect_service(&s);
	stop(&s);
}

TEST(what_can_not_be_listened_on)
{
	struct event_base *base = new_base();
	const uid_t me = getuid();
	struct aiolistener_options o = {.size = sizeof o};

	must_fail(aiolistener_new("tcp://nowhere", base, NULL, on_peer, NULL), EINVAL);
	must_fail(aiolistener_new(NULL, base, NULL, on_peer, NULL), EINVAL);
	must_fail(aiolistener_new("tcp://127.0.0.1:0", NULL, NULL, on_peer, NULL), EINVAL);
	must_fail(aiolistener_new("tcp://127.0.0.1:0", base, NULL, NULL, NULL), EINVAL);
	must_fail(aiolistener_new("tcp://192.0.2.1:0", base, NULL, on_peer, NULL), EADDRNOTAVAIL);
	must_fail(aiolistener_new("unix:///tmp/no-such-folder/x", base, NULL, on_peer, NULL), ENOENT);
	o.size = 4;
	must_fail(aiolistener_new(path_address(), base, &o, on_peer, NULL), EINVAL);
	o = (struct aiolistener_options){.size = sizeof o, .mode = 0600};
	must_fail(aiolistener_new("tcp://127.0.0.1:0", base, &o, on_peer, NULL), EINVAL);
	o.mode = 010600;
	must_fail(aiolistener_new(path_address(), base, &o, on_peer, NULL), EINVAL);
	o = (struct aiolistener_options){.size = sizeof o, .uids = &me, .n_uids = 1};
	must_fail(aiolistener_new("tcp://127.0.0.1:0", base, &o, on_peer, NULL), EINVAL);
	ck_assert(!is_there(path()));
	event_base_free(base);
}

TEST(an_address_is_taken_once)
{
	struct server s;

	serve(&s, "tcp://127.0.0.1:0");
	must_fail(aiolistener_new(aiolistener_address(s.l), s.base, NULL, on_peer, NULL), EADDRINUSE);
	stop(&s);
	serve(&s, path_address());
	must_fail(aiolistener_new(path_address(), s.base, NULL, on_peer, NULL), EADDRINUSE);
	run_now(s.base); /* it was asked whether it lives */
	expect_service(&s);
	stop(&s);
}

/* A port is free again at once, though connections of its last owner are still remembered. */
TEST(a_server_comes_back_at_once)
{
	char address[64];
	struct server s;

	serve(&s, "tcp://127.0.0.1:0");
	snprintf(address, sizeof address, "%s", aiolistener_address(s.l));
	for (int i = 0; i < 3; i++) {
		struct aioconn *c = join(&s, NULL);

		run_until(s.base, &s.came, 1);
		aioconn_abort(s.last); /* closes first */
		s.went++;
		aioconn_abort(c);
		stop(&s);
		serve(&s, address);
	}
	stop(&s);
}

static void leave_dead_socket(const char *at)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = must(socket(AF_UNIX, SOCK_STREAM, 0));

	strcpy(un.sun_path, at);
	must(bind(fd, (struct sockaddr *)&un, sizeof un));
	must(listen(fd, 1));
	close(fd);
}

TEST(a_dead_socket_is_replaced_and_nothing_else)
{
	struct event_base *base = new_base();
	struct server s;
	int fd;

	leave_dead_socket(path());
	serve(&s, path_address());
	expect_service(&s);
	stop(&s);
	ck_assert(!is_there(path()));
	fd = must(open(path(), O_CREAT | O_WRONLY, 0600));
	must_fail(aiolistener_new(path_address(), base, NULL, on_peer, NULL), EADDRINUSE);
	ck_assert(is_there(path()));
	close(fd);
	unlink(path());
	event_base_free(base);
}

/* As a peer that leaves at once: a listener for one peer would have had it. */
TEST(who_listens_is_not_disturbed_by_who_tries_to)
{
	struct server s;

	serve(&s, path_address());
	must_fail(aiolistener_new(path_address(), s.base, NULL, on_peer, NULL), EADDRINUSE);
	expect_service(&s);
	ck_assert_uint_eq(s.came, 1);
	stop(&s);
}

/* Who has the place by now keeps it. */
TEST(only_its_own_socket_is_removed)
{
	struct server s;

	serve(&s, path_address());
	unlink(path());
	leave_dead_socket(path());
	stop(&s);
	ck_assert(is_there(path()));
	unlink(path());
}

/* Who makes a socket has a lock for a moment; one that hangs with it is not waited for. */
TEST(a_lock_that_is_held_is_given_up)
{
	struct event_base *base = new_base();
	char lock[80];
	struct server s;
	int fd;

	snprintf(lock, sizeof lock, "%s.aioipc-lock", path());
	fd = must(open(lock, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	must(flock(fd, LOCK_EX));
	must_fail(aiolistener_new(path_address(), base, NULL, on_peer, NULL), EADDRINUSE);
	ck_assert(!is_there(path()));
	must(flock(fd, LOCK_UN));
	serve(&s, path_address());
	ck_assert(!is_there(lock));
	close(fd);
	fd = must(open(lock, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	must(flock(fd, LOCK_EX));
	stop(&s);
	ck_assert(!is_there(path()));
	ck_assert(is_there(lock));
	close(fd);
	unlink(lock);
	event_base_free(base);
}

TEST(sockets_have_the_mode_that_was_asked_for)
{
	struct aiolistener_options o = {.size = sizeof o, .mode = 0666};
	struct server s;
	struct stat st;

	umask(077);
	serve_with(&s, path_address(), &o);
	must(stat(path(), &st));
	ck_assert_int_eq(st.st_mode & 07777, 0666);
	stop(&s);
	umask(0);
	serve(&s, path_address());
	must(stat(path(), &st));
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	stop(&s);
}

enum { RIVALS = 6, ROUNDS = 10 };

int __real_unlinkat(int folder, const char *name, int flags);
int __wrap_unlinkat(int folder, const char *name, int flags);

/* Between finding it dead and removing it there is time for others to do the same: the linker puts this in the library's way. */
int __wrap_unlinkat(int folder, const char *name, int flags)
{
	const struct timespec nap = {0, 2000000};

	if (!strstr(name, "-lock"))
		nanosleep(&nap, NULL);
	return __real_unlinkat(folder, name, flags);
}

/* Tells whether it got the address, and holds it until told to go. */
static void rival(int go, int tell, int leave)
{
	struct aiolistener *l;
	struct event_base *base = new_base();
	char c;

	must(read(go, &c, 1));
	l = aiolistener_new(path_address(), base, NULL, on_peer, NULL);
	if (!l)
		ck_assert_int_eq(errno, EADDRINUSE);
	c = l ? 'y' : 'n';
	must(write(tell, &c, 1));
	must(read(leave, &c, 1));
	if (l)
		must(aioconn_connect(path_address(), NULL, soon()));
	_exit(l ? 0 : 1); /* as if killed: the socket is dead */
}

TEST_WITHIN(of_many_that_find_a_dead_socket_one_gets_it, 30)
{
	int go[2], tell[2], leave[2], status;
	char c, same[RIVALS] = {0};

	path_address(); /* the parent's pid */
	leave_dead_socket(path());
	for (int round = 0; round < ROUNDS; round++) {
		int winners = 0, holders = 0;

		must(pipe(go));
		must(pipe(tell));
		must(pipe(leave));
		for (int i = 0; i < RIVALS; i++)
			if (must(fork()) == 0)
				rival(go[0], tell[1], leave[0]);
		must(write(go[1], same, RIVALS));
		for (int i = 0; i < RIVALS; i++) {
			must(read(tell[0], &c, 1));
			winners += c == 'y';
		}
		must(write(leave[1], same, RIVALS));
		for (int i = 0; i < RIVALS; i++) {
			must(wait(&status));
			holders += WIFEXITED(status) && WEXITSTATUS(status) == 0;
		}
		ck_assert_int_eq(winners, 1);
		ck_assert_int_eq(holders, 1);
		for (int i = 0; i < 2; i++) {
			close(go[i]);
			close(tell[i]);
			close(leave[i]);
		}
	}
	ck_assert(is_there(path()));
	must(unlink(path()));
}

TEST(a_forked_child_holds_nothing_and_leaves_the_path)
{
	struct server s;
	struct aioconn *c;
	pid_t pid;

	serve(&s, path_address());
	c = join(&s, NULL);
	run_until(s.base, &s.came, 1);
	pid = must(fork());
	if (pid == 0) {
		struct stat st;

		ck_assert(fstat(aioconn_fd(c), &st) == -1 || !S_ISSOCK(st.st_mode));
		for (int fd = 3; fd < 64; fd++)
			ck_assert(fstat(fd, &st) == -1 || !S_ISSOCK(st.st_mode));
		aiolistener_pause(s.l);
		aiolistener_resume(s.l);
		aioconn_abort(s.last);
		aioconn_abort(c);
		aiolistener_free(s.l);
		ck_assert(is_there(path()));
		must(aioipc_base_reinit(s.base));
		event_base_free(s.base);
		_exit(0);
	}
	expect_exit(pid, 0);
	aioconn_abort(c);
	expect_service(&s);
	stop(&s);
	ck_assert(!is_there(path()));
}

/* Its end comes at once, though a child that was forked meanwhile lives on. */
TEST(who_connects_sees_the_end_though_children_live)
{
	struct server s;
	struct aioconn *c;
	int hold[2];
	pid_t pid;
	char byte;

	serve(&s, "tcp://127.0.0.1:0");
	c = join(&s, NULL);
	run_until(s.base, &s.came, 1);
	must(pipe(hold));
	pid = must(fork());
	if (pid == 0) {
		close(hold[1]);
		must(read(hold[0], &byte, 1));
		_exit(0);
	}
	aiolistener_free(s.l);
	aioconn_abort(s.last);
	expect_end(c, ECONNRESET);
	aioconn_abort(c);
	must_fail(aioconn_connect("tcp://127.0.0.1:1", NULL, soon()), ECONNREFUSED);
	close(hold[1]);
	close(hold[0]);
	expect_exit(pid, 0);
	event_base_free(s.base);
}

TEST(peers_over_the_limit_wait)
{
	struct aiolistener_options o = {.size = sizeof o, .peers = 2};
	struct aioconn *c[4];
	struct server s;

	serve_with(&s, "tcp://127.0.0.1:0", &o);
	for (int i = 0; i < 4; i++) {
		c[i] = join(&s, NULL);
		send_text(c[i], "in line");
	}
	run_now(s.base);
	run_until(s.base, &s.msgs, 2);
	run_now(s.base);
	ck_assert_uint_eq(s.came, 2);
	for (unsigned i = 0; i < 4; i++) {
		expect_text(c[i], "in line");
		aioconn_abort(c[i]);
		run_until(s.base, &s.went, i + 1);
		if (i < 2) {
			run_until(s.base, &s.msgs, i + 3);
			ck_assert_uint_eq(s.came, i + 3);
		}
	}
	stop(&s);
}

/* The third waits while two say nothing; when it is known that they do not, the first makes room. */
TEST(silent_peers_make_room)
{
	struct aiolistener_options o = {.size = sizeof o, .silent = 2};
	struct aioconn *c[3];
	struct server s;

	serve_with(&s, path_address(), &o);
	for (int i = 0; i < 3; i++)
		c[i] = join(&s, NULL);
	run_until(s.base, &s.came, 2);
	run_now(s.base);
	ck_assert_uint_eq(s.came, 2);
	run_until(s.base, &s.came, 3);
	run_until(s.base, &s.went, 1);
	ck_assert_uint_eq(s.causes[AIOCONN_LOST], 1);
	ck_assert_ptr_nonnull(strstr(s.why, "silent"));
	expect_end(c[0], ECONNRESET);
	send_text(c[1], "not silent");
	send_text(c[2], "nor this one");
	run_until(s.base, &s.msgs, 2);
	expect_text(c[1], "not silent");
	expect_text(c[2], "nor this one");
	for (int i = 0; i < 3; i++)
		aioconn_abort(c[i]);
	stop(&s);
}

/* One that sends bytes by hand, and the peer behind it is closed. */
static void expect_closed_for_silence(struct server *s, const void *bytes, size_t len)
{
	struct aioconn *c = join(s, NULL), *other;
	unsigned went = s->went, came = s->came;

	must(aioconn_set_framing(c, AIOCONN_BYTES, NULL));
	must(aioconn_send_bytes(c, bytes, len));
	run_until(s->base, &s->came, came + 1);
	run_now(s->base);
	other = join(s, NULL);
	run_until(s->base, &s->came, came + 2);
	run_until(s->base, &s->went, went + 1);
	ck_assert_ptr_nonnull(strstr(s->why, "silent"));
	aioconn_abort(c);
	aioconn_abort(other);
	run_until(s->base, &s->went, went + 2);
}

/* A byte, half a header, half a message, and half a one behind a whole one. */
TEST_WITHIN(who_stops_in_the_middle_is_silent, 40)
{
	struct aiolistener_options o = {.size = sizeof o, .silent = 1};
	unsigned char bytes[PREFACE_LEN + 2 * HEADER_LEN + 8] = PREFACE;
	struct server s;
	size_t len;

	serve_with(&s, path_address(), &o);
	len = PREFACE_LEN + make_frame(bytes + PREFACE_LEN, BYTES, 0, "whole", 5);
	expect_closed_for_silence(&s, bytes, 1);
	expect_closed_for_silence(&s, bytes, PREFACE_LEN + 3);
	expect_closed_for_silence(&s, bytes, len - 1);
	ck_assert_uint_eq(s.msgs, 0);
	make_frame(bytes + len, BYTES, 0, "", 0);
	expect_closed_for_silence(&s, bytes, len + 3);
	ck_assert_uint_eq(s.msgs, 1);
	stop(&s);
}

static struct aioconn *paused[10];

static void pause_it(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct server *s = arg;

	(void)l;
	paused[s->came++] = c;
	must(aioconn_set_callbacks(c, on_msg, NULL, on_close, s));
	aioconn_pause(c);
}

/* Though nobody has listened to them yet. */
TEST(who_speaks_is_not_silent)
{
	struct aiolistener_options o = {.size = sizeof o, .silent = 1};
	struct server s = {.base = new_base()};
	struct aioconn *c[10];

	s.l = must(aiolistener_new(path_address(), s.base, &o, pause_it, &s));
	for (int i = 0; i < 10; i++) {
		c[i] = join(&s, NULL);
		send_text(c[i], "me");
	}
	run_until(s.base, &s.came, 10);
	ck_assert_uint_eq(s.went, 0);
	for (int i = 0; i < 10; i++) {
		aioconn_abort(c[i]);
		aioconn_abort(paused[i]);
	}
	stop(&s);
}

/* With room, silence is nobody's business. */
TEST(silent_peers_stay_while_nobody_waits)
{
	struct aiolistener_options o = {.size = sizeof o, .silent = 1};
	const struct timeval a_while = {1, 200000};
	struct aioconn *c;
	struct server s;

	serve_with(&s, path_address(), &o);
	c = join(&s, NULL);
	run_until(s.base, &s.came, 1);
	must(event_base_loopexit(s.base, &a_while));
	must(event_base_dispatch(s.base));
	ck_assert_uint_eq(s.went, 0);
	aioconn_abort(c);
	stop(&s);
}

static unsigned lines;
static char last_line[256];

static void on_log(const char *text, void *arg)
{
	(void)arg;
	lines++;
	snprintf(last_line, sizeof last_line, "%s", text);
}

TEST(only_allowed_users_get_in)
{
	const uid_t others[] = {getuid() + 1, getuid() + 2}, us[] = {getuid() + 1, getuid()};
	struct aiolistener_options o = {.size = sizeof o, .uids = others, .n_uids = 2};
	struct aioconn *c;
	struct server s;

	aioipc_set_log(on_log, NULL);
	serve_with(&s, path_address(), &o);
	c = join(&s, NULL);
	run_until(s.base, &lines, 1);
	ck_assert_uint_eq(s.came, 0);
	ck_assert_ptr_nonnull(strstr(last_line, "not allowed"));
	expect_end(c, ECONNRESET);
	aioconn_abort(c);
	stop(&s);
	o.uids = us;
	serve_with(&s, path_address(), &o);
	expect_service(&s);
	stop(&s);
}

TEST(a_paused_listener_lets_them_wait)
{
	struct aioconn *c;
	struct server s;

	serve(&s, "tcp://127.0.0.1:0");
	aiolistener_pause(s.l);
	c = join(&s, NULL);
	send_text(c, "later");
	ck_assert_int_eq(must(event_base_loop(s.base, EVLOOP_ONCE)), 1); /* nothing to wait for */
	ck_assert_uint_eq(s.came, 0);
	aiolistener_resume(s.l);
	run_until(s.base, &s.msgs, 1);
	expect_text(c, "later");
	aioconn_abort(c);
	stop(&s);
}

static void free_it(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct server *s = arg;

	on_peer(l, c, arg);
	aiolistener_free(l);
	s->l = NULL;
}

static void abort_it(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct server *s = arg;

	(void)l;
	s->came++;
	s->went++;
	aioconn_abort(c);
}

/* Others stand in line when it is freed, and connections outlive it. */
TEST(callbacks_may_do_anything)
{
	struct server s = {.base = new_base()};
	struct aioconn *c[3];

	s.l = must(aiolistener_new(path_address(), s.base, NULL, free_it, &s));
	for (int i = 0; i < 3; i++)
		c[i] = join(&s, NULL);
	send_text(c[0], "without a listener");
	run_until(s.base, &s.msgs, 1);
	ck_assert_uint_eq(s.came, 1);
	expect_text(c[0], "without a listener");
	expect_end(c[1], ECONNRESET);
	for (int i = 0; i < 3; i++)
		aioconn_abort(c[i]);
	stop(&s);
	s = (struct server){.base = new_base()};
	s.l = must(aiolistener_new(path_address(), s.base, NULL, abort_it, &s));
	for (int i = 0; i < 3; i++)
		c[i] = join(&s, NULL);
	run_until(s.base, &s.went, 3);
	for (int i = 0; i < 3; i++)
		aioconn_abort(c[i]);
	stop(&s);
}

static pid_t child;

static void fork_at_first(struct aiolistener *l, struct aioconn *c, void *arg)
{
	on_peer(l, c, arg);
	if (!child)
		child = must(fork()) ? 1 : -1;
}

/* Who stands in line is the parent's, and there is nothing to complain of. */
TEST(a_callback_may_fork_while_others_wait)
{
	struct server s = {.base = new_base()};
	struct aioconn *c[2];
	int status;

	aioipc_set_log(on_log, NULL);
	s.l = must(aiolistener_new(path_address(), s.base, NULL, fork_at_first, &s));
	for (int i = 0; i < 2; i++)
		c[i] = join(&s, NULL);
	run_until(s.base, &s.came, 1);
	if (child == -1) {
		ck_assert_uint_eq(s.came, 1);
		ck_assert_uint_eq(lines, 0);
		_exit(0);
	}
	must(wait(&status));
	ck_assert_int_eq(status, 0);
	run_until(s.base, &s.came, 2);
	for (int i = 0; i < 2; i++)
		aioconn_abort(c[i]);
	stop(&s);
}

/* What they say, and how that ends for them. */
TEST(strangers_harm_nobody_but_themselves)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum aioconn_cause cause;
	} strangers[] = {
		{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35, AIOCONN_BAD},
		{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11, AIOCONN_BAD}, /* TLS hello */
		{"SSH-2.0-OpenSSH_9.2\r\n", 21, AIOCONN_BAD},
		{"\0\0\0\0\0\0\0\0\0\0\0\0", 12, AIOCONN_BAD},
		{"AIPC\2\0\0\0", 8, AIOCONN_BAD},
		{PREFACE "\xff\xff\xff\xff\2\0\0\0", 16, AIOCONN_BAD},
		{PREFACE "\4\0\0\0\1\0\0\0abcd", 20, AIOCONN_BAD},
		{"AIPC", 4, AIOCONN_LOST}, /* and then leaves */
		{"", 0, AIOCONN_LOST},
	};
	struct aioconn *bystander;
	struct server s;

	serve(&s, "tcp://127.0.0.1:0");
	bystander = join(&s, NULL);
	for (unsigned i = 0; i < sizeof strangers / sizeof *strangers; i++) {
		struct aioconn *c = join(&s, NULL);
		unsigned before = s.causes[strangers[i].cause];

		must(aioconn_set_framing(c, AIOCONN_BYTES, NULL));
		if (strangers[i].len)
			must(aioconn_send_bytes(c, strangers[i].bytes, strangers[i].len));
		if (strangers[i].cause == AIOCONN_LOST)
			aioconn_abort(c);
		run_until(s.base, &s.went, i + 1);
		ck_assert_uint_eq(s.causes[strangers[i].cause], before + 1);
		ck_assert_str_ne(s.why, "");
		if (strangers[i].cause != AIOCONN_LOST)
			aioconn_abort(c);
		send_text(bystander, "well");
		run_until(s.base, &s.msgs, i + 1);
		expect_text(bystander, "well");
	}
	aioconn_abort(bystander);
	stop(&s);
}

/* What it takes while it is out of descriptors, in turns of the loop: a spinning one would take thousands. */
static unsigned turns_in_300_ms(struct event_base *base)
{
	const struct timeval end = {0, 300000};
	unsigned turns = 0;

	must(event_base_loopexit(base, &end));
	while (!event_base_got_exit(base) && turns < 100000) {
		must(event_base_loop(base, EVLOOP_ONCE));
		turns++;
	}
	return turns;
}

static void set_fd_limit(rlim_t n)
{
	struct rlimit r;

	must(getrlimit(RLIMIT_NOFILE, &r));
	r.rlim_cur = n;
	must(setrlimit(RLIMIT_NOFILE, &r));
}

/* Clients are another process: its descriptors do not run out. It tells how many were closed without an answer. */
static void knock(const char *address, int n, int tell, int leave)
{
	struct aioconn *c[64];
	struct aiomsg *m;
	unsigned char closed = 0;
	char byte;

	for (int i = 0; i < n; i++) {
		c[i] = must(aioconn_connect(address, NULL, soon()));
		aioconn_send_bytes(c[i], "echo", 4);
	}
	must(write(tell, "c", 1));
	must(read(leave, &byte, 1));
	for (int i = 0; i < n; i++) {
		if (aioconn_recv(c[i], &m, soon()) == 1)
			aiomsg_free(m);
		else
			closed++;
		aioconn_abort(c[i]);
	}
	must(write(tell, &closed, 1));
	_exit(0);
}

TEST_WITHIN(out_of_descriptors_it_neither_spins_nor_stops, 30)
{
	int tell[2], leave[2], spare[8], n = 0;
	unsigned char closed;
	struct server s;
	pid_t pid;

	if (!harness_has_fds(1024))
		return;
	aioipc_set_log(on_log, NULL);
	serve(&s, path_address());
	must(pipe(tell));
	must(pipe(leave));
	pid = must(fork());
	if (pid == 0)
		knock(path_address(), 32, tell[1], leave[0]);
	must(read(tell[0], &closed, 1));
	set_fd_limit(64);
	while (n < 8 && (spare[n] = dup(0)) != -1)
		n++;
	set_fd_limit((rlim_t)spare[7] + 1 + 12); /* so many get in */
	ck_assert_uint_lt(turns_in_300_ms(s.base), 200);
	ck_assert_uint_ge(s.came, 8);
	ck_assert_uint_lt(s.came, 20);
	ck_assert_uint_eq(lines, 1);
	ck_assert_ptr_nonnull(strstr(last_line, "Too many open files"));
	while (n > 0)
		close(spare[--n]);
	set_fd_limit(1024);
	must(write(leave[1], "l", 1));
	run_until(s.base, &s.msgs, 20);
	while (!is_readable(tell[0]))
		must(event_base_loop(s.base, EVLOOP_ONCE | EVLOOP_NONBLOCK));
	must(read(tell[0], &closed, 1));
	ck_assert_uint_ge(closed, 1);
	ck_assert_uint_lt(closed, 10);
	expect_exit(pid, 0);
	run_until(s.base, &s.went, s.came);
	ck_assert_uint_eq(s.came + closed, 32);
	expect_service(&s);
	stop(&s);
	for (int i = 0; i < 2; i++) {
		close(tell[i]);
		close(leave[i]);
	}
}

/* The server has not read what the client said, and closes: the client gets everything nevertheless. */
enum { ANSWERS = 100, ANSWER_LEN = 20000 };

static void ask_much_then_read(const char *address)
{
	struct aioconn *c = must(aioconn_connect(address, NULL, soon()));

	for (unsigned i = 0; i < 50; i++)
		send_fill(c, 1000, i);
	for (unsigned i = 0; i < ANSWERS; i++)
		expect_fill(c, ANSWER_LEN, i);
	expect_end(c, 0);
	must(aioconn_close(c, soon()));
	_exit(0);
}

static void answer_unasked(struct aiolistener *l, struct aioconn *c, void *arg)
{
	const struct aioconn_limits much = {.size = sizeof much, .outbox = 16 << 20};
	struct server *s = arg;

	(void)l;
	s->came++;
	s->last = c;
	aioconn_pause(c);
	must(aioconn_set_limits(c, &much));
	for (unsigned i = 0; i < ANSWERS; i++)
		send_fill(c, ANSWER_LEN, i);
	if (!s->msgs)
		return;
	must(aioconn_set_callbacks(c, NULL, NULL, on_close, s));
	must(aioconn_finish(c, soon()));
}

static void expect_delivery(const char *address, bool in_background)
{
	struct server s = {.base = new_base(), .msgs = in_background};
	pid_t pid;

	s.l = must(aiolistener_new(address, s.base, NULL, answer_unasked, &s));
	pid = must(fork());
	if (pid == 0)
		ask_much_then_read(aiolistener_address(s.l));
	run_until(s.base, &s.came, 1);
	if (in_background) {
		run_until(s.base, &s.went, 1);
		ck_assert_uint_eq(s.causes[AIOCONN_LOCAL], 1);
	} else {
		must(aioconn_close(s.last, soon()));
		s.went++;
	}
	expect_exit(pid, 0);
	stop(&s);
}

TEST_WITHIN(close_delivers_everything_though_input_is_left, 40)
{
	const char *const addresses[] = {"tcp://127.0.0.1:0", "tcp://[::1]:0", path_address()};

	for (int i = 0; i < 3; i++) {
		expect_delivery(addresses[i], false);
		expect_delivery(addresses[i], true);
	}
}

/* Many clients, of which half die in the middle: by and by in their process, or with it. */
enum { CROWDS = 20 };

struct client {
	struct aioconn *c;
	struct crowd *crowd;
	unsigned sent, got, dies_at;
};

struct crowd {
	struct event_base *base;
	unsigned size, talk, left;
	struct client client[200];
};

static void leave_crowd(struct client *one)
{
	aioconn_abort(one->c);
	if (--one->crowd->left == 0)
		event_base_loopbreak(one->crowd->base);
}

static void next_word(struct client *one)
{
	char text[32];

	snprintf(text, sizeof text, "%u", one->sent++);
	must(aioconn_send_bytes(one->c, text, strlen(text)));
}

static void on_answer(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct client *one = arg;
	char text[32];

	(void)c;
	snprintf(text, sizeof text, "%u", one->got++);
	ck_assert(is_text(m, text));
	if (one->got == one->dies_at)
		leave_crowd(one);
	else if (one->sent < one->crowd->talk)
		next_word(one);
	else if (one->got == one->crowd->talk)
		leave_crowd(one);
}

static void on_lost(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	(void)c;
	(void)arg;
	if (cause != AIOCONN_LOCAL)
		ck_abort_msg("the server ended a client that is well");
}

static void be_crowd(struct crowd *crowd, const char *address, bool killed)
{
	crowd->base = new_base();
	crowd->left = crowd->size;
	srand((unsigned)getpid());
	for (unsigned i = 0; i < crowd->size; i++) {
		struct client *one = &crowd->client[i];

		*one = (struct client){.crowd = crowd,
				       .dies_at = i % 2 ? 1 + (unsigned)rand() % crowd->talk : 0};
		one->c = must(aioconn_connect(address, crowd->base, soon()));
		must(aioconn_set_callbacks(one->c, on_answer, NULL, on_lost, one));
		for (int n = 0; n < 4; n++)
			next_word(one);
	}
	if (killed) {
		for (int n = 0; n < 40; n++)
			must(event_base_loop(crowd->base, EVLOOP_ONCE));
		raise(SIGKILL);
	}
	must(event_base_dispatch(crowd->base));
	_exit(crowd->left ? 1 : 0);
}

static void expect_crowds(const char *address, unsigned each, unsigned talk)
{
	static struct crowd crowd;
	struct server s;
	pid_t pid[CROWDS];

	serve(&s, address);
	crowd = (struct crowd){.size = each, .talk = talk};
	for (int i = 0; i < CROWDS; i++) {
		pid[i] = must(fork());
		if (pid[i] == 0)
			be_crowd(&crowd, aiolistener_address(s.l), i % 5 == 4);
	}
	run_until(s.base, &s.came, CROWDS * each);
	run_until(s.base, &s.went, CROWDS * each);
	for (int i = 0; i < CROWDS; i++)
		i % 5 == 4 ? expect_killed(pid[i], SIGKILL) : expect_exit(pid[i], 0);
	ck_assert_uint_eq(s.causes[AIOCONN_LOST], CROWDS * each);
	ck_assert_uint_ge(s.msgs, CROWDS * each * talk * 2 / 5);
	expect_service(&s);
	stop(&s);
}

TEST_WITHIN(two_thousand_clients_of_which_half_die, 60)
{
	if (!harness_has_fds(2100))
		return;
	unsigned each = harness_slowness() > 1 ? 10 : 100, fds = harness_count_fds();
	size_t heap;

	set_fd_limit(4096);
	expect_crowds(path_address(), each, 100);
	heap = heap_in_use(); /* what is kept for reuse is there by now */
	expect_crowds("tcp://127.0.0.1:0", each, 100);
	ck_assert_uint_eq(harness_count_fds(), fds);
	ck_assert_uint_lt(heap_in_use(), heap + 128 * 1024);
}
