/* Streams and a real server: what is sent is there, what is there is received, and is had until it is acknowledged. */
#include "tests/engine.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <aioipc/stream.h>

#include "tests/links.h"

static struct engine engine;

static struct aiostream *start(const struct aiostream_options *given, struct event_base *base)
{
	struct aiostream_options o = *given;
	struct aiostream *s;

	o.size = sizeof o;
	if (!o.address)
		o.address = engine.address;
	if (!o.stream)
		o.stream = "s";
	if (!o.reconnect_first) {
		o.reconnect_first = 5;
		o.reconnect_most = 50;
	}
	s = must(aiostream_new(&o));
	must(aiostream_start(s, base));
	return s;
}

static struct aiostream *start_sender(void)
{
	return start(&(struct aiostream_options){.group = NULL}, NULL);
}

static struct aiostream *start_member(const char *name)
{
	return start(&(struct aiostream_options){.group = "g", .member = name, .from_start = true}, NULL);
}

static struct aiomsg *next(struct aiostream *s)
{
	struct aiomsg *m = NULL;

	ck_assert_int_eq(aioqueue_get(aiostream_queue(s), &m, soon()), 1);
	return m;
}

static struct aiostream_stats stats_of(struct aiostream *s)
{
	struct aiostream_stats t = {.size = sizeof t};

	must(aiostream_stats(s, &t));
	return t;
}

TEST(what_is_put_in_is_appended_in_order)
{
	struct aiostream *s;

	if (!engine_is_there())
		return;
	engine_start(&engine);
	s = start_sender();
	put_word(aiostream_queue(s), "one");
	put_word(aiostream_queue(s), "two");
	put_word(aiostream_queue(s), "three");
	must(aiostream_close(s, soon()));
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 3);
	engine_ask(&engine, "XGROUP", "CREATE", "s", "g", "0", NULL);
	ck_assert_ptr_nonnull(strstr(engine_ask(&engine, "XREADGROUP", "GROUP", "g", "me", "COUNT", "1",
						"STREAMS", "s", ">", NULL),
				     " m one"));
	engine_end(&engine);
}

TEST(what_others_append_is_received_and_acknowledged)
{
	struct aiostream *s;
	struct aiomsg *m;
	char id[64];

	if (!engine_is_there())
		return;
	engine_start(&engine);
	snprintf(id, sizeof id, "%s", engine_ask(&engine, "XADD", "s", "*", "m", "hello", NULL));
	s = start_member("me");
	m = next(s);
	ck_assert(is_text(m, "hello"));
	ck_assert_str_eq(aiomsg_id(m), id);
	ck_assert_uint_eq(aiomsg_tries(m), 1);
	ck_assert_int_eq(engine_number(&engine, "XPENDING", "s", "g", NULL), 1);
	must(aiomsg_ack(m));
	must_fail(aiomsg_ack(m), EALREADY);
	aiomsg_free(m);
	while (engine_number(&engine, "XPENDING", "s", "g", NULL) != 0)
		nap(1);
	ck_assert_uint_eq(stats_of(s).received, 1);
	must(aiostream_close(s, soon()));
	engine_end(&engine);
}

TEST(both_at_once)
{
	struct aiostream *to, *from;
	struct aiomsg *m;
	enum { N = 5000 };

	if (!engine_is_there())
		return;
	engine_start(&engine);
	to = start_sender();
	from = start_member(NULL);
	put_numbers(aiostream_queue(to), "n", 0, 500);
	for (int i = 500; i < N; i += 500)
		put_numbers(aiostream_queue(to), "n", (unsigned)i, (unsigned)i + 500);
	for (int i = 0; i < N; i++) {
		m = next(from);
		must(aiomsg_ack(m));
		aiomsg_free(m);
	}
	must(aiostream_close(to, soon()));
	must(aiostream_close(from, soon()));
	ck_assert_int_eq(engine_number(&engine, "XPENDING", "s", "g", NULL), 0);
	engine_end(&engine);
}
