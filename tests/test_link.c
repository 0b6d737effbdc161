/* Links: what each option, state and call does; that the two queues keep what connections lose. */
#include "tests/peers.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A link and what its callback saw, as letters: c connecting, w waiting, C connected, l closing, E ended. */
struct side {
	struct aiolink *l;
	struct aioqueue *in, *out;
	char states[64];
	unsigned n, ended;
};

static void on_state(struct aiolink *l, enum aiolink_state state, void *arg)
{
	struct side *s = arg;

	(void)l;
	if (s->n < sizeof s->states - 1)
		s->states[s->n++] = "ncwClE"[state];
	s->ended += state == AIOLINK_ENDED;
}

static struct aiolink_options options(enum aiolink_role role, const char *address)
{
	return (struct aiolink_options){
		.size = sizeof(struct aiolink_options), .role = role, .address = address};
}

static void make(struct side *s, const struct aiolink_options *o)
{
	*s = (struct side){.l = must(aiolink_new(o))};
	s->in = aiolink_inbox(s->l);
	s->out = aiolink_outbox(s->l);
	must(aiolink_on_state(s->l, on_state, s));
}

static void start(struct side *s, const struct aiolink_options *o, struct event_base *base)
{
	make(s, o);
	must(aiolink_start(s->l, base));
}

/* Two that talk to each other: one listens, one connects. */
static void start_pair(struct side *server, struct side *client, struct event_base *base,
		       struct aiolink_options o)
{
	char address[64];

	o.role = AIOLINK_LISTEN;
	o.address = "tcp://127.0.0.1:0";
	start(server, &o, base);
	snprintf(address, sizeof address, "%s", aiolink_address(server->l));
	o.role = AIOLINK_CONNECT;
	o.address = address;
	start(client, &o, base);
}

static void put_text(struct aioqueue *q, const char *text)
{
	struct aiomsg *m = must(aiomsg_new_bytes(text, strlen(text)));

	must(aioqueue_put(q, m, soon()));
	aiomsg_free(m);
}

static void expect_from(struct aioqueue *q, const char *text)
{
	struct aiomsg *m;

	ck_assert_int_eq(must(aioqueue_get(q, &m, soon())), 1);
	ck_assert(is_text(m, text));
	aiomsg_free(m);
}

static void expect_end_of(struct aioqueue *q)
{
	struct aiomsg *m;

	ck_assert_int_eq(must(aioqueue_get(q, &m, soon())), 0);
}

TEST(messages_go_both_ways)
{
	struct side server, client;

	start_pair(&server, &client, NULL, options(0, NULL));
	put_text(client.out, "to the server");
	put_text(server.out, "to the client");
	expect_from(server.in, "to the server");
	expect_from(client.in, "to the client");
	must(aiolink_close(client.l, soon()));
	must(aiolink_join(server.l, soon()));
	expect_end_of(server.in);
	must(aiolink_close(server.l, soon()));
	ck_assert_str_eq(client.states, "cClE");
	ck_assert_str_eq(server.states, "cClE");
}

TEST(messages_go_both_ways_on_a_base)
{
	struct event_base *base = new_base();
	struct side server, client;

	start_pair(&server, &client, base, options(0, NULL));
	put_text(client.out, "to the server");
	put_text(server.out, "to the client");
	must(aiolink_wait_connected(server.l, soon()));
	must(aiolink_close(client.l, soon()));
	must(aiolink_join(server.l, soon()));
	expect_from(server.in, "to the server");
	expect_end_of(server.in);
	must(aiolink_close(server.l, AIOIPC_NOW));
	ck_assert_str_eq(client.states, "cClE");
	ck_assert_str_eq(server.states, "cClE");
	event_base_free(base);
}
