/*
 * Names with several addresses, of which some are dead, and names that nobody
 * answers for: who connects gets through to what lives, and what is given up
 * leaves nothing behind. getaddrinfo() is ours.
 */
#include "tests/peers.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/net/dial.h"

enum { MOST = 16 };

/* What every name is looked up to; and names that hang until they are let go.
 */
static struct {
	struct sockaddr_storage sa[MOST];
	struct addrinfo ai[MOST];
	int n;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const char *hangs; /* names that begin so; NULL none */
	unsigned hanging, asked;
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		       struct addrinfo **found);

static struct addrinfo *copy(const struct addrinfo *ai)
{
	struct addrinfo *to;
	char host[64];
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	char port[8];

	if (!ai)
		return NULL;
	ck_assert_int_eq(getnameinfo(ai->ai_addr, ai->ai_addrlen, host, sizeof host, port, sizeof port,
				     NI_NUMERICHOST | NI_NUMERICSERV),
			 0);
	ck_assert_int_eq(__real_getaddrinfo(host, port, &hints, &to), 0);
	to->ai_next = copy(ai->ai_next);
	return to;
}

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		       struct addrinfo **found)
{
	if (hints->ai_flags & AI_NUMERICHOST)
		return __real_getaddrinfo(host, port, hints, found);
	pthread_mutex_lock(&names.lock);
	names.asked++;
	names.hanging++;
	pthread_cond_broadcast(&names.changed);
	while (names.hangs && strncmp(host, names.hangs, strlen(names.hangs)) == 0)
		pthread_cond_wait(&names.changed, &names.lock);
	names.hanging--;
	pthread_cond_broadcast(&names.changed);
	pthread_mutex_unlock(&names.lock);
	*found = copy(names.n ? &names.ai[0] : NULL);
	return *found ? 0 : EAI_NONAME;
}

static unsigned asked(void)
{
	unsigned n;

	pthread_mutex_lock(&names.lock);
	n = names.asked;
	pthread_mutex_unlock(&names.lock);
	return n;
}

static void let_go(void)
{
	pthread_mutex_lock(&names.lock);
	names.hangs = NULL;
	pthread_cond_broadcast(&names.changed);
	while (names.hanging)
		pthread_cond_wait(&names.changed, &names.lock);
	pthread_mutex_unlock(&names.lock);
}

/* A socket that is bound there, and the name's next address. */
static int add_address(const char *host, in_port_t port, int backlog)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = port};
	int fd = must(socket(AF_INET, SOCK_STREAM, 0)), on = 1, i = names.n++;
	socklen_t len = sizeof sa;

	must(inet_pton(AF_INET, host, &sa.sin_addr));
	must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
	must(bind(fd, (struct sockaddr *)&sa, sizeof sa));
	if (backlog >= 0)
		must(listen(fd, backlog));
	must(getsockname(fd, (struct sockaddr *)&sa, &len));
	memcpy(&names.sa[i], &sa, sizeof sa);
	names.ai[i] = (struct addrinfo){
		.ai_family = AF_INET, .ai_addr = (struct sockaddr *)&names.sa[i], .ai_addrlen = sizeof sa};
	if (i)
		names.ai[i - 1].ai_next = &names.ai[i];
	return fd;
}

static in_port_t port_of(int i)
{
	return ((struct sockaddr_in *)&names.sa[i])->sin_port;
}

/* Its queue is full: the kernel answers no more. */
struct hole {
	int fd, client[4];
};

static struct hole add_hole(const char *host, in_port_t port)
{
	struct hole h = {.fd = add_address(host, port, 0)};
	int i = names.n - 1;

	for (int k = 0; k < 4; k++) {
		h.client[k] = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
		connect(h.client[k], (struct sockaddr *)&names.sa[i], sizeof(struct sockaddr_in));
	}
	return h;
}

static void fill_hole(struct hole *h)
{
	for (int k = 0; k < 4; k++)
		close(h->client[k]);
	close(h->fd);
}

static unsigned threads(void)
{
	DIR *d = must(opendir("/proc/self/task"));
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

/* One that found nothing to do is not gone at once. The limit of the test is the limit of this. */
static void expect_threads(unsigned most)
{
	while (threads() > most)
		poll(NULL, 0, 1);
}

TEST(a_dead_first_address_is_passed_by)
{
	struct hole h = add_hole("127.0.0.2", 0);
	int live = add_address("127.0.0.1", port_of(0), 8);

	aioconn_abort(must(aioconn_connect("tcp://two.example:1", NULL, soon())));
	close(live);
	fill_hole(&h);
}

/* Little time is shared by all of them. */
TEST(eight_dead_addresses_leave_time_for_the_ninth)
{
	struct hole h[8];
	char host[16];
	int live;

	for (int i = 0; i < 8; i++) {
		snprintf(host, sizeof host, "127.0.0.%d", i + 2);
		h[i] = add_hole(host, i ? port_of(0) : 0);
	}
	live = add_address("127.0.0.1", port_of(0), 8);
	aioconn_abort(must(aioconn_connect("tcp://nine.example:1", NULL, aioipc_after(2000))));
	close(live);
	for (int i = 0; i < 8; i++)
		fill_hole(&h[i]);
}

TEST(a_refused_address_is_passed_by_at_once)
{
	int refuses = add_address("127.0.0.2", 0, -1), live = add_address("127.0.0.1", port_of(0), 8);
	struct ipc_dial *d = must(ipc_dial_new("tcp://two.example:1"));
	struct ipc_dial_wait w;

	while (must(ipc_dial_step(d, &w)) == 0)
		ck_assert_int_eq(poll(w.fd, w.n, 8000), 1); /* no time has to pass */
	ipc_dial_free(d);
	close(refuses);
	close(live);
}

/* One says no, of the other nothing is heard: the former is told, but not
 * before there is no hope. */
TEST(the_most_telling_reason_is_told)
{
	struct hole h = add_hole("127.0.0.2", 0);
	int refuses = add_address("127.0.0.1", port_of(0), -1);

	must_fail(aioconn_connect("tcp://two.example:1", NULL, aioipc_after(600)), ETIMEDOUT);
	fill_hole(&h);
	must_fail(aioconn_connect("tcp://two.example:1", NULL, soon()), ECONNREFUSED);
	close(refuses);
}

static void on_state(struct aiolink *l, enum aiolink_state state, void *arg)
{
	(void)l;
	if (state == AIOLINK_CONNECTED)
		*(unsigned *)arg = 1;
}

TEST(a_link_passes_a_dead_first_address)
{
	struct hole h = add_hole("127.0.0.2", 0);
	int live = add_address("127.0.0.1", port_of(0), 8);
	struct aiolink_options o = {.size = sizeof o,
				    .address = "tcp://two.example:1",
				    .reconnect_first = 50,
				    .reconnect_most = 100,
				    .connect_limit = 300};
	struct event_base *base = new_base();
	struct aiolink *l = must(aiolink_new(&o));
	unsigned connected = 0;

	must(aiolink_on_state(l, on_state, &connected));
	must(aiolink_start(l, base));
	run_until(base, &connected, 1);
	aiolink_abort(l);
	event_base_free(base);
	close(live);
	fill_hole(&h);
}

/* As many as may be are tried, then the descriptors are gone: who is being
 * called may still answer. */
TEST(without_descriptors_those_that_are_tried_go_on)
{
	struct hole h = add_hole("127.0.0.2", 0);
	int live = add_address("127.0.0.1", port_of(0), 8);
	struct ipc_dial *d = must(ipc_dial_new("tcp://two.example:1"));
	struct rlimit all, few;
	struct ipc_dial_wait w;

	while (must(ipc_dial_step(d, &w)) == 0 && w.fd[0].events == POLLIN)
		poll(w.fd, w.n, 8000);
	must(getrlimit(RLIMIT_NOFILE, &all));
	few = all;
	few.rlim_cur = 3;
	must(setrlimit(RLIMIT_NOFILE, &few));
	ck_assert_int_eq(poll(NULL, 0, 300), 0);
	ck_assert_int_eq(ipc_dial_step(d, &w), 0);
	must(setrlimit(RLIMIT_NOFILE, &all));
	while (must(ipc_dial_step(d, &w)) == 0)
		poll(w.fd, w.n, (int)(w.ns / 1000000 + 1));
	ipc_dial_free(d);
	close(live);
	fill_hole(&h);
}

/* Attempt after attempt: one thread, one question, and no descriptor. */
TEST(a_dead_name_server_keeps_one_thread)
{
	unsigned fds = harness_count_fds(), with_one;

	names.hangs = "dead";
	do
		must_fail(aioconn_connect("tcp://dead.example:1", NULL, aioipc_after(5)), ETIMEDOUT);
	while (asked() == 0);
	with_one = threads();
	for (int i = 0; i < 20; i++)
		must_fail(aioconn_connect("tcp://dead.example:1", NULL, aioipc_after(5)), ETIMEDOUT);
	ck_assert_uint_eq(asked(), 1);
	expect_threads(with_one);
	ck_assert_uint_eq(harness_count_fds(), fds);
	for (int i = 0; i < 20; i++) {
		char address[64];

		snprintf(address, sizeof address, "tcp://dead%d.example:1", i);
		must_fail(aioconn_connect(address, NULL, aioipc_after(5)), ETIMEDOUT);
	}
	expect_threads(with_one + 3);
	let_go();
}

TEST_WITHIN(a_dead_name_does_not_hold_up_others, 30)
{
	int live = add_address("127.0.0.1", 0, 8);

	names.hangs = "dead";
	must_fail(aioconn_connect("tcp://dead.example:1", NULL, aioipc_after(5)), ETIMEDOUT);
	aioconn_abort(must(aioconn_connect("tcp://live.example:1", NULL, soon())));
	let_go();
	close(live);
}

/* The child has no such thread: it starts its own. */
TEST(a_child_looks_names_up_by_itself)
{
	int live = add_address("127.0.0.1", 0, 8);
	pid_t pid;

	names.hangs = "dead";
	must_fail(aioconn_connect("tcp://dead.example:1", NULL, aioipc_after(5)), ETIMEDOUT);
	pid = must(fork());
	if (pid == 0) {
		names.hangs = NULL;
		pthread_cond_init(&names.changed, NULL); /* nobody waits here */
		aioconn_abort(must(aioconn_connect("tcp://dead.example:1", NULL, soon())));
		_exit(0);
	}
	expect_exit(pid, 0);
	let_go();
	close(live);
}
