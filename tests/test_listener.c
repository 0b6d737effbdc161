/* Listeners and their peers: what many clients, few descriptors, forks, and sockets left by the dead make of them. */
#include "tests/peers.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
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
	if (aioconn_send_msg(c, m) == -1)
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

static const char *path(void)
{
	static char text[64];

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
	const char *const addresses[] = {"tcp://127.0.0.1:0", "tcp://[::1]:0", "tcp://localhost:0",
					 "tcp://*:0",         path_address(),  name};
	struct server s;

	snprintf(name, sizeof name, "unix:@aioipc-test-%ld", (long)getpid());
	for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
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
