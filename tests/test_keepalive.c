/* TCP and peers that vanish: what the kernel is asked to do about them, by default and as the options say. */
#include "tests/peers.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "ipc/net/dial.h"
#include "ipc/net/socket.h"

static int option(const struct aioconn *c, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof value;

	must(getsockopt(aioconn_fd(c), level, name, &value, &len));
	return value;
}

static void expect_default(const struct aioconn *c)
{
	ck_assert_int_eq(option(c, SOL_SOCKET, SO_KEEPALIVE), 1);
	ck_assert_int_eq(option(c, IPPROTO_TCP, TCP_KEEPIDLE), 60);
	ck_assert_int_eq(option(c, IPPROTO_TCP, TCP_KEEPINTVL), 10);
	ck_assert_int_eq(option(c, IPPROTO_TCP, TCP_KEEPCNT), 6);
	ck_assert_int_eq(option(c, IPPROTO_TCP, TCP_USER_TIMEOUT), 300 * 1000);
}

struct server {
	struct event_base *base;
	struct aiolistener *l;
	struct aioconn *peer, *client;
	unsigned came, went;
	enum aioconn_cause cause;
};

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct server *s = arg;

	s->went++;
	s->cause = cause;
	aioconn_abort(c);
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct server *s = arg;

	(void)l;
	s->came++;
	s->peer = c;
	must(aioconn_set_callbacks(c, NULL, NULL, on_close, s));
}

static void serve(struct server *s, const char *address, const struct aiolistener_options *o)
{
	*s = (struct server){.base = new_base()};
	s->l = must(aiolistener_new(address, s->base, o, on_peer, s));
	s->client = must(aioconn_connect(aiolistener_address(s->l), NULL, soon()));
	run_until(s->base, &s->came, 1);
}

static void stop(struct server *s)
{
	aioconn_abort(s->client);
	run_until(s->base, &s->went, s->came);
	aiolistener_free(s->l);
	event_base_free(s->base);
}

TEST(both_sides_ask_by_default)
{
	struct server s;

	serve(&s, "tcp://127.0.0.1:0", NULL);
	expect_default(s.peer);
	expect_default(s.client);
	stop(&s);
}

TEST(a_unix_socket_is_not_bothered)
{
	struct server s;

	serve(&s, "unix:@aioipc-test-keepalive", NULL);
	ck_assert_int_eq(option(s.client, SOL_SOCKET, SO_KEEPALIVE), 0);
	ck_assert_int_eq(option(s.peer, SOL_SOCKET, SO_KEEPALIVE), 0);
	stop(&s);
}

TEST(a_listener_is_told_when_to_ask)
{
	struct aiolistener_options o = {.size = sizeof o, .keepalive = 30500, .user_timeout = 45000};
	struct server s;

	serve(&s, "tcp://127.0.0.1:0", &o);
	ck_assert_int_eq(option(s.peer, IPPROTO_TCP, TCP_KEEPIDLE), 30);
	ck_assert_int_eq(option(s.peer, IPPROTO_TCP, TCP_KEEPINTVL), 5);
	ck_assert_int_eq(option(s.peer, IPPROTO_TCP, TCP_USER_TIMEOUT), 45000);
	stop(&s);
	o.keepalive = o.user_timeout = 1;
	serve(&s, "tcp://127.0.0.1:0", &o);
	ck_assert_int_eq(option(s.peer, IPPROTO_TCP, TCP_KEEPIDLE), 1);
	ck_assert_int_eq(option(s.peer, IPPROTO_TCP, TCP_KEEPINTVL), 1);
	ck_assert_int_eq(option(s.peer, IPPROTO_TCP, TCP_USER_TIMEOUT), 1);
	stop(&s);
	o.keepalive = o.user_timeout = INT64_MAX;
	serve(&s, "tcp://127.0.0.1:0", &o);
	ck_assert_int_eq(option(s.peer, IPPROTO_TCP, TCP_KEEPIDLE), 32767);
	ck_assert_int_ge(option(s.peer, IPPROTO_TCP, TCP_USER_TIMEOUT), 32767000);
	stop(&s);
}

TEST(a_listener_may_leave_it)
{
	struct aiolistener_options o = {
		.size = sizeof o, .keepalive = AIOIPC_FOREVER, .user_timeout = AIOIPC_FOREVER};
	struct server s;

	serve(&s, "tcp://127.0.0.1:0", &o);
	ck_assert_int_eq(option(s.peer, SOL_SOCKET, SO_KEEPALIVE), 0);
	ck_assert_int_eq(option(s.peer, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
	o.keepalive = -2;
	must_fail(aiolistener_new("tcp://127.0.0.1:0", s.base, &o, on_peer, NULL), EINVAL);
	o = (struct aiolistener_options){.size = sizeof o, .user_timeout = INT64_MIN};
	must_fail(aiolistener_new("tcp://127.0.0.1:0", s.base, &o, on_peer, NULL), EINVAL);
	stop(&s);
}

/* A program that knows the options of 0.1 has the defaults. */
TEST(older_options_are_silent_about_it)
{
	struct aiolistener_options o = {.size = offsetof(struct aiolistener_options, keepalive),
					.keepalive = 1};
	struct server s;

	serve(&s, "tcp://127.0.0.1:0", &o);
	expect_default(s.peer);
	stop(&s);
}

TEST(an_attempt_is_told_when_to_ask)
{
	const struct ipc_os_keepalive k = {.idle = 12000, .timeout = AIOIPC_FOREVER};
	struct ipc_dial_wait w;
	struct ipc_dial *d;
	struct aioconn *c;
	struct server s;

	serve(&s, "tcp://127.0.0.1:0", NULL);
	d = must(ipc_dial_new(aiolistener_address(s.l)));
	ipc_dial_keep_alive(d, &k);
	while (must(ipc_dial_step(d, &w)) == 0)
		run_now(s.base);
	c = must(ipc_dial_open(d, NULL));
	ipc_dial_free(d);
	ck_assert_int_eq(option(c, IPPROTO_TCP, TCP_KEEPIDLE), 12);
	ck_assert_int_eq(option(c, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
	run_until(s.base, &s.came, 2);
	aioconn_abort(c);
	stop(&s);
}

/* The client's kernel answers, and its program takes nothing: that much is told without a cable to pull. */
TEST_WITHIN(who_takes_nothing_is_lost, 30)
{
	static char much[1 << 20];
	struct aiolistener_options o = {.size = sizeof o, .user_timeout = 500};
	const struct aioconn_limits limits = {.size = sizeof limits, .outbox = (size_t)64 << 20};
	struct server s;

	serve(&s, "tcp://127.0.0.1:0", &o);
	must(aioconn_set_limits(s.peer, &limits));
	for (int i = 0; i < 16; i++)
		must(aioconn_send_bytes(s.peer, much, sizeof much));
	run_until(s.base, &s.went, 1);
	ck_assert_int_eq(s.cause, AIOCONN_LOST);
	stop(&s);
}
