/*
 * Connecting: to both families, paths and names; refused, to a black hole, with names that nobody knows or that take for
 * ever. getaddrinfo() is ours where a test says so: the linker puts it in the library's way.
 */
#include "tests/peers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ipc/net/dial.h"
#include "ipc/net/local.h"
#include "ipc/os/socket.h"

/* What names are looked up to. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool hang;         /* until hang is false again */
	int hanging;       /* lookups that do */
	int status;        /* EAI_... */
	int error;         /* errno beside EAI_SYSTEM */
	const char *first; /* a number that comes before the real ones */
	bool on;
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		       struct addrinfo **found);

static void hang(void)
{
	pthread_mutex_lock(&names.lock);
	names.hanging++;
	pthread_cond_broadcast(&names.changed);
	while (names.hang)
		pthread_cond_wait(&names.changed, &names.lock);
	names.hanging--;
	pthread_cond_broadcast(&names.changed);
	pthread_mutex_unlock(&names.lock);
}

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		       struct addrinfo **found)
{
	struct addrinfo numbers = *hints;
	int r;

	if (!names.on || (hints->ai_flags & AI_NUMERICHOST))
		return __real_getaddrinfo(host, port, hints, found);
	hang();
	errno = names.error;
	if (names.status)
		return names.status;
	numbers.ai_flags |= AI_NUMERICHOST;
	if (!names.first)
		return __real_getaddrinfo("127.0.0.1", port, &numbers, found);
	r = __real_getaddrinfo(names.first, port, &numbers, found);
	ck_assert_int_eq(r, 0);
	return __real_getaddrinfo("127.0.0.1", port, &numbers, &(*found)->ai_next);
}

static void wait_for_hanging(int n)
{
	pthread_mutex_lock(&names.lock);
	while (names.hanging != n)
		pthread_cond_wait(&names.changed, &names.lock);
	pthread_mutex_unlock(&names.lock);
}

static int count_hanging(void)
{
	int n;

	pthread_mutex_lock(&names.lock);
	n = names.hanging;
	pthread_mutex_unlock(&names.lock);
	return n;
}

static void let_go(void)
{
	pthread_mutex_lock(&names.lock);
	names.hang = false;
	pthread_cond_broadcast(&names.changed);
	pthread_mutex_unlock(&names.lock);
	wait_for_hanging(0);
}

/* Plain sockets that listen, to be connected to. */

static int listen_inet(const char *host, int backlog, int *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof in;
	int fd = must(socket(AF_INET, SOCK_STREAM, 0));

	must(inet_pton(AF_INET, host, &in.sin_addr));
	must(bind(fd, (struct sockaddr *)&in, sizeof in));
	if (backlog >= 0)
		must(listen(fd, backlog));
	must(getsockname(fd, (struct sockaddr *)&in, &len));
	*port = ntohs(in.sin_port);
	return fd;
}

static int listen_unix(const char *name, int backlog)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
	int fd = must(socket(AF_UNIX, SOCK_STREAM, 0));

	memcpy(un.sun_path + 1, name, strlen(name));
	must(bind(fd, (struct sockaddr *)&un, len));
	must(listen(fd, backlog));
	return fd;
}

static const char *tcp_address(const char *host, int port)
{
	static char text[64];

	snprintf(text, sizeof text, "tcp://%s:%d", host, port);
	return text;
}

static const char *unix_name(void)
{
	static char text[64];

	snprintf(text, sizeof text, "aioipc-test-%ld", (long)getpid());
	return text;
}

static const char *unix_address(void)
{
	static char text[80];

	snprintf(text, sizeof text, "unix:@%s", unix_name());
	return text;
}

/* The connection talks with what is accepted from @listening. */
static void expect_talk(struct aioconn *c, int listening)
{
	int fd = must(accept(listening, NULL, NULL));

	send_text(c, "hello");
	get_preface(fd);
	expect_frame(fd, BYTES, "hello");
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, BYTES, 0, "you", 3);
	expect_text(c, "you");
	aioconn_abort(c);
	close(fd);
	close(listening);
}

TEST(connects_to_a_number_and_a_unix_name)
{
	int port, fd = listen_inet("127.0.0.1", 1, &port), on = 0;
	socklen_t len = sizeof on;
	struct aioconn *c = must(aioconn_connect(tcp_address("127.0.0.1", port), NULL, soon()));
	char peer[64];

	must(aioconn_peer_address(c, peer, sizeof peer));
	ck_assert_str_eq(peer, tcp_address("127.0.0.1", port));
	must(getsockopt(aioconn_fd(c), IPPROTO_TCP, TCP_NODELAY, &on, &len));
	ck_assert_int_eq(on, 1);
	ck_assert_int_eq(must(fcntl(aioconn_fd(c), F_GETFD)), FD_CLOEXEC);
	expect_talk(c, fd);
	fd = listen_unix(unix_name(), 1);
	c = must(aioconn_connect(unix_address(), NULL, AIOIPC_NOW));
	must(aioconn_peer_address(c, peer, sizeof peer));
	ck_assert_str_eq(peer, unix_address());
	expect_talk(c, fd);
}

TEST(connects_to_a_name)
{
	int port, fd;

	if (!is_known_here("localhost"))
		return;
	fd = listen_inet("127.0.0.1", 1, &port);
	expect_talk(must(aioconn_connect(tcp_address("localhost", port), NULL, soon())), fd);
}

TEST(the_addresses_of_a_name_are_tried_in_turn)
{
	int port, fd = listen_inet("127.0.0.1", 1, &port);

	names.on = true;
	names.first = "127.0.0.2";
	expect_talk(must(aioconn_connect(tcp_address("two.example", port), NULL, soon())), fd);
}

TEST(nobody_listens)
{
	char path[80], address[96];
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int port, fd = listen_inet("127.0.0.1", -1, &port);

	must_fail(aioconn_connect(tcp_address("127.0.0.1", port), NULL, soon()), ECONNREFUSED);
	names.on = true;
	names.first = "127.0.0.2";
	must_fail(aioconn_connect(tcp_address("two.example", port), NULL, soon()), ECONNREFUSED);
	close(fd);
	must_fail(aioconn_connect(unix_address(), NULL, soon()), ECONNREFUSED);
	snprintf(path, sizeof path, "/tmp/%s", unix_name());
	snprintf(address, sizeof address, "unix://%s", path);
	must_fail(aioconn_connect(address, NULL, soon()), ENOENT);
	fd = must(socket(AF_UNIX, SOCK_STREAM, 0));
	strcpy(un.sun_path, path);
	must(bind(fd, (struct sockaddr *)&un, sizeof un));
	close(fd);
	must_fail(aioconn_connect(address, NULL, soon()), ECONNREFUSED);
	unlink(path);
}

TEST(what_is_no_address_is_refused_at_once)
{
	must_fail(aioconn_connect(NULL, NULL, soon()), EINVAL);
	must_fail(aioconn_connect("tcp://nowhere", NULL, soon()), EINVAL);
	must_fail(aioconn_connect("tcp://127.0.0.1:0", NULL, soon()), EINVAL);
	must_fail(aioconn_connect("tcp://127.0.0.1:1", NULL, 5000), EINVAL);
}

/* Its queue is full, so it answers nothing: each is a black hole. */
static int fill_backlog(const char *address, int most, struct aioconn **c)
{
	int n = 0;

	while (n < most && (c[n] = aioconn_connect(address, NULL, aioipc_after(50))))
		n++;
	ck_assert_int_lt(n, most);
	ck_assert_int_eq(errno, ETIMEDOUT);
	return n;
}

static void drain(struct aioconn **c, int n, int fd)
{
	while (n > 0)
		aioconn_abort(c[--n]);
	close(fd);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void expect_black_hole(const char *address)
{
	const struct itimerval in_50_ms = {.it_value = {0, 50000}};
	const struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

	must_fail(aioconn_connect(address, NULL, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aioconn_connect(address, NULL, aioipc_after(20)), ETIMEDOUT);
	must(sigaction(SIGALRM, &sa, NULL));
	must(setitimer(ITIMER_REAL, &in_50_ms, NULL));
	must_fail(aioconn_connect(address, NULL, AIOIPC_FOREVER), EINTR);
}

TEST(a_black_hole_takes_no_longer_than_the_deadline)
{
	struct aioconn *c[16];
	int port, fd = listen_inet("127.0.0.1", 0, &port), n;

	n = fill_backlog(tcp_address("127.0.0.1", port), 16, c);
	expect_black_hole(tcp_address("127.0.0.1", port));
	drain(c, n, fd);
	fd = listen_unix(unix_name(), 0);
	n = fill_backlog(unix_address(), 16, c);
	expect_black_hole(unix_address());
	drain(c, n, fd);
}

struct late {
	int listening;
	struct aioconn *c[16];
};

static void *make_room(void *arg)
{
	struct late *late = arg;
	const struct timespec nap = {0, 30000000};

	nanosleep(&nap, NULL); /* not waited for: whether it comes early or late, the client must get in */
	for (int i = 0; i < 2; i++)
		close(must(accept(late->listening, NULL, NULL)));
	return NULL;
}

TEST(a_full_unix_backlog_is_waited_for)
{
	struct late late = {.listening = listen_unix(unix_name(), 0)};
	int n = fill_backlog(unix_address(), 16, late.c);
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, make_room, &late), 0);
	aioconn_abort(must(aioconn_connect(unix_address(), NULL, soon())));
	pthread_join(thread, NULL);
	drain(late.c, n, late.listening);
}

TEST(a_name_that_nobody_knows)
{
	names.on = true;
	names.status = EAI_NONAME;
	must_fail(aioconn_connect("tcp://nobody.example:1", NULL, soon()), ENOENT);
	names.status = EAI_AGAIN;
	must_fail(aioconn_connect("tcp://nobody.example:1", NULL, soon()), EHOSTUNREACH);
	names.status = EAI_MEMORY;
	must_fail(aioconn_connect("tcp://nobody.example:1", NULL, soon()), ENOMEM);
	names.status = EAI_SYSTEM;
	names.error = EMFILE;
	must_fail(aioconn_connect("tcp://nobody.example:1", NULL, soon()), EMFILE);
	names.error = EIO;
	must_fail(aioconn_connect("tcp://nobody.example:1", NULL, soon()), EHOSTUNREACH);
}

static char logged[256];

static void on_log(const char *text, void *arg)
{
	(void)arg;
	snprintf(logged, sizeof logged, "%s", text);
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	(void)l;
	(void)arg;
	aioconn_abort(c);
}

TEST(what_is_wrong_is_said_in_words)
{
	struct event_base *base = new_base();
	struct ipc_dial_wait w;
	struct ipc_dial *d;

	aioipc_set_log(on_log, NULL);
	must_fail(aioconn_connect("tcp://nowhere", NULL, soon()), EINVAL);
	ck_assert_str_eq(logged, "connect to tcp://nowhere: no port");
	names.on = true;
	names.status = EAI_NONAME;
	must_fail(aioconn_connect("tcp://nobody.example:1", NULL, soon()), ENOENT);
	ck_assert_ptr_nonnull(strstr(logged, "tcp://nobody.example:1: "));
	names.status = EAI_SYSTEM;
	names.error = EMFILE;
	must_fail(aioconn_connect("tcp://somebody.example:1", NULL, soon()), EMFILE);
	ck_assert_ptr_nonnull(strstr(logged, strerror(EMFILE)));
	names.status = EAI_NONAME;
	must_fail(aiolistener_new("tcp://nobody.example:0", base, NULL, on_peer, NULL), ENOENT);
	ck_assert_ptr_nonnull(strstr(logged, "listen on tcp://nobody.example:0: "));
	event_base_free(base);
	d = must(ipc_dial_new(unix_address()));
	ck_assert_str_eq(ipc_dial_why(d), "");
	must_fail(ipc_dial_step(d, &w), ECONNREFUSED);
	ck_assert_str_eq(ipc_dial_why(d), strerror(ECONNREFUSED));
	must_fail(ipc_dial_step(d, &w), ECONNREFUSED);
	ipc_dial_free(d);
}

/* The thread stays behind, with no descriptor. */
TEST(a_lookup_that_takes_for_ever_is_given_up)
{
	unsigned fds = harness_count_fds();

	names.on = names.hang = true;
	do /* one that gave up before the thread came to it was never looked up */
		must_fail(aioconn_connect("tcp://slow.example:1", NULL, aioipc_after(20)), ETIMEDOUT);
	while (count_hanging() == 0);
	ck_assert_uint_eq(harness_count_fds(), fds);
	let_go();
}

/* The steps, as a link does them on its base. */
TEST(steps_never_block)
{
	int port, fd = listen_inet("127.0.0.1", 1, &port);
	struct ipc_dial *d = must(ipc_dial_new(tcp_address("slow.example", port)));
	struct ipc_dial_wait w;

	names.on = names.hang = true;
	ck_assert_int_eq(ipc_dial_step(d, &w), 0);
	ck_assert_int_eq(ipc_dial_step(d, &w), 0);
	ck_assert_uint_eq(w.n, 1);
	ck_assert_int_eq(is_readable(w.fd[0].fd), 0);
	must_fail(ipc_dial_open(d, NULL), ENOTCONN);
	wait_for_hanging(1);
	let_go();
	while (must(ipc_dial_step(d, &w)) == 0)
		ck_assert_int_eq(poll(w.fd, w.n, 8000), 1);
	expect_talk(must(ipc_dial_open(d, NULL)), fd);
	ipc_dial_free(d);
}

TEST(giving_up_leaves_nothing_in_any_state)
{
	struct aioconn *c[16];
	int port, fd = listen_inet("127.0.0.1", 0, &port), n;
	struct ipc_dial *d;
	struct ipc_dial_wait w;

	ipc_dial_free(NULL);
	ipc_dial_free(must(ipc_dial_new(tcp_address("name.example", port))));
	names.on = names.hang = true;
	d = must(ipc_dial_new(tcp_address("name.example", port)));
	ck_assert_int_eq(ipc_dial_step(d, &w), 0);
	ipc_dial_free(d);
	let_go();
	n = fill_backlog(tcp_address("127.0.0.1", port), 16, c);
	d = must(ipc_dial_new(tcp_address("127.0.0.1", port)));
	ck_assert_int_eq(ipc_dial_step(d, &w), 0);
	ipc_dial_free(d);
	drain(c, n, fd);
	fd = listen_inet("127.0.0.1", 1, &port);
	d = must(ipc_dial_new(tcp_address("127.0.0.1", port)));
	while (must(ipc_dial_step(d, &w)) == 0)
		;
	ipc_dial_free(d);
	close(fd);
}

/* Where it says it comes from, as its peer sees it. */
static void come_from(const char *text, const char *seen)
{
	int port, fd = listen_inet("127.0.0.1", 1, &port), peer;
	struct ipc_dial *d = must(ipc_dial_new(tcp_address("127.0.0.1", port)));
	struct sockaddr_in sa;
	socklen_t len = sizeof sa;
	struct ipc_dial_wait w;
	struct ipc_local local;
	const char *why;

	must(ipc_local_read(&local, text, &why));
	ipc_dial_from(d, &local);
	while (must(ipc_dial_step(d, &w)) == 0)
		;
	peer = must(accept(fd, (struct sockaddr *)&sa, &len));
	ck_assert_str_eq(inet_ntoa(sa.sin_addr), seen);
	ipc_dial_free(d);
	close(peer);
	close(fd);
}

TEST(it_comes_from_where_it_is_told_to)
{
	come_from("tcp://127.0.0.1:0", "127.0.0.1");
	come_from("tcp://127.0.0.9:0", "127.0.0.9");
	come_from("tcp://*:0", "127.0.0.1");
}

/* The port is its own again at once, though the kernel still keeps its last connection for a while. */
TEST(a_port_of_its_own_serves_for_the_next_connection)
{
	int port, own, fd = listen_inet("127.0.0.1", 1, &port), reserved = listen_inet("127.0.0.1", 1, &own);
	char text[64];

	close(reserved);
	snprintf(text, sizeof text, "tcp://127.0.0.1:%d", own);
	for (int i = 0; i < 3; i++) {
		struct ipc_dial *d = must(ipc_dial_new(tcp_address("127.0.0.1", port)));
		struct sockaddr_in sa;
		socklen_t len = sizeof sa;
		struct ipc_dial_wait w;
		struct ipc_local local;
		const char *why;
		int peer;

		must(ipc_local_read(&local, text, &why));
		ipc_dial_from(d, &local);
		while (must(ipc_dial_step(d, &w)) == 0)
			;
		peer = must(accept(fd, (struct sockaddr *)&sa, &len));
		ck_assert_int_eq(ntohs(sa.sin_port), own);
		ipc_dial_free(d);
		close(peer);
	}
	close(fd);
}

TEST(where_it_can_not_come_from)
{
	int port, fd = listen_inet("127.0.0.1", 1, &port);
	struct ipc_dial *d = must(ipc_dial_new(tcp_address("127.0.0.1", port)));
	struct ipc_dial_wait w;
	struct ipc_local local;
	const char *why;

	must_fail(ipc_local_read(&local, "unix:@name", &why), EINVAL);
	must_fail(ipc_local_read(&local, "tcp://localhost:0", &why), EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "number"));
	must_fail(ipc_local_read(&local, "127.0.0.1", &why), EINVAL);
	must(ipc_local_read(&local, "tcp://192.0.2.1:0", &why));
	ipc_dial_from(d, &local);
	must_fail(ipc_dial_step(d, &w), EADDRNOTAVAIL);
	ipc_dial_free(d);
	d = must(ipc_dial_new(tcp_address("127.0.0.1", port)));
	must(ipc_local_read(&local, "tcp://[::1]:0", &why));
	ipc_dial_from(d, &local);
	must_fail(ipc_dial_step(d, &w), EADDRNOTAVAIL);
	ipc_dial_free(d);
	close(fd);
}

/* In the child there is nothing left of it. */
TEST(a_fork_in_the_middle)
{
	int port, fd = listen_inet("127.0.0.1", 1, &port);
	struct ipc_dial *d = must(ipc_dial_new(tcp_address("slow.example", port)));
	unsigned fds = harness_count_fds();
	struct ipc_dial_wait w;
	pid_t pid;

	names.on = names.hang = true;
	ck_assert_int_eq(ipc_dial_step(d, &w), 0);
	wait_for_hanging(1);
	pid = must(fork());
	if (pid == 0) {
		ck_assert_uint_eq(harness_count_fds(), fds);
		must_fail(ipc_dial_step(d, &w), ECHILD);
		ipc_dial_free(d);
		_exit(0);
	}
	expect_exit(pid, 0);
	let_go();
	ipc_dial_free(d);
	close(fd);
}

struct inside {
	struct event_base *base;
	const char *hole, *good;
	bool ran;
};

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct inside *in = arg;

	(void)fd;
	(void)what;
	must_fail(aioconn_connect(in->hole, in->base, AIOIPC_FOREVER), EDEADLK);
	must_fail(aioconn_connect(in->hole, in->base, aioipc_after(10)), ETIMEDOUT);
	aioconn_abort(must(aioconn_connect(in->good, in->base, AIOIPC_FOREVER)));
	in->ran = true;
}

TEST(in_a_callback_it_may_not_wait_for_ever)
{
	struct aioconn *c[16];
	int port, hole = listen_inet("127.0.0.1", 0, &port), good = listen_unix(unix_name(), 4), n;
	struct inside in = {
		.base = new_base(), .hole = tcp_address("127.0.0.1", port), .good = unix_address()};
	const struct timeval now = {0, 0};

	n = fill_backlog(in.hole, 16, c);
	must(event_base_once(in.base, -1, EV_TIMEOUT, on_turn, &in, &now));
	must(event_base_dispatch(in.base));
	ck_assert(in.ran);
	event_base_free(in.base);
	drain(c, n, hole);
	close(good);
}

/* Bound to the port that it connects to, as the kernel may choose by itself for a client of a server that is down. */
TEST(a_socket_does_not_talk_to_itself)
{
	int port, fd = listen_inet("127.0.0.1", -1, &port);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	must(inet_pton(AF_INET, "127.0.0.1", &in.sin_addr));
	must(ipc_os_connect(fd, (struct sockaddr *)&in, sizeof in));
	must_fail(ipc_os_connected(fd), ECONNREFUSED);
	close(fd);
}

struct two {
	struct event_base *base;
	const char *hole;
	struct aiotask *connecting;
	bool canceled;
};

static void connect_in_task(void *arg)
{
	struct two *two = arg;

	must_fail(aioconn_connect(two->hole, two->base, AIOIPC_FOREVER), ECANCELED);
	two->canceled = true;
}

static void cancel_the_other(void *arg)
{
	struct two *two = arg;

	must(aiotask_sleep(aioipc_after(10)));
	ck_assert(!two->canceled);
	must(aiotask_cancel(two->connecting));
}

TEST(a_task_that_connects_lets_others_run)
{
	struct two two = {.base = new_base(), .hole = "tcp://slow.example:1"};

	names.on = names.hang = true;
	two.connecting = must(aiotask_spawn(two.base, connect_in_task, &two));
	must(aiotask_run(two.base, cancel_the_other, &two));
	must(aiotask_join(two.connecting, soon()));
	ck_assert(two.canceled);
	let_go();
	event_base_free(two.base);
}
