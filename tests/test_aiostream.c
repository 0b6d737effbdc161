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

/* Given again. */

static void begin(void)
{
	engine = (struct engine){.args = {NULL}};
	engine_start(&engine);
}

/* Tells whether there was one within @ms. */
static bool comes_within(struct aiostream *s, int64_t ms)
{
	struct aiomsg *m;

	if (aioqueue_get(aiostream_queue(s), &m, aioipc_after(ms)) != 1)
		return false;
	aiomsg_free(m);
	return true;
}

static void ack_next(struct aiostream *s, const char *text, unsigned tries)
{
	struct aiomsg *m = next(s);

	ck_assert(is_text(m, text));
	ck_assert_uint_eq(aiomsg_tries(m), tries);
	must(aiomsg_ack(m));
	aiomsg_free(m);
}

static void add(const char *text)
{
	engine_ask(&engine, "XADD", "s", "*", "m", text, NULL);
}

static void await_pending(const char *n)
{
	char summary[64];

	for (;;) {
		snprintf(summary, sizeof summary, "%s", engine_ask(&engine, "XPENDING", "s", "g", NULL));
		summary[strcspn(summary, " ")] = '\0';
		if (strcmp(summary, n) == 0)
			break;
		nap(2);
	}
}

TEST(what_is_given_back_comes_again)
{
	struct aiostream *s;
	struct aiomsg *m;
	char id[64];

	if (!engine_is_there())
		return;
	begin();
	add("a");
	s = start_member(NULL);
	m = next(s);
	snprintf(id, sizeof id, "%s", aiomsg_id(m));
	must(aiomsg_nack(m, 0));
	must_fail(aiomsg_nack(m, 0), EALREADY);
	must_fail(aiomsg_nack(m, -1), EINVAL);
	aiomsg_free(m);
	m = next(s);
	ck_assert_str_eq(aiomsg_id(m), id);
	ck_assert_uint_eq(aiomsg_tries(m), 2);
	aiomsg_free(m); /* without an answer */
	ack_next(s, "a", 3);
	await_pending("0");
	ck_assert_uint_eq(stats_of(s).nacked, 2);
	ck_assert_uint_eq(stats_of(s).again, 2);
	must(aiostream_close(s, soon()));
	engine_end(&engine);
}

TEST(what_is_given_back_for_later_comes_later)
{
	struct aiostream *s;
	struct aiomsg *m;
	int64_t from;

	if (!engine_is_there())
		return;
	begin();
	add("a");
	s = start_member(NULL);
	m = next(s);
	from = aioipc_after(300);
	must(aiomsg_nack(m, 300));
	aiomsg_free(m);
	m = next(s);
	ck_assert_int_ge(aioipc_after(1), from - 5);
	must(aiomsg_ack(m));
	aiomsg_free(m);
	must(aiostream_close(s, soon()));
	engine_end(&engine);
}

TEST(what_a_dead_member_had_is_taken_over_after_its_lease)
{
	struct aiostream_options o = {.group = "g", .from_start = true, .lease = 150};
	struct aiostream *dead, *other;
	struct aiomsg *m;

	if (!engine_is_there())
		return;
	begin();
	add("a");
	add("b");
	dead = start(&o, NULL);
	m = next(dead);
	aiostream_abort(dead);
	must_fail(aiomsg_ack(m), EPIPE);
	aiomsg_free(m);
	other = start(&o, NULL);
	ack_next(other, "a", 2);
	ack_next(other, "b", 2);
	must(aiostream_close(other, soon()));
	ck_assert_int_eq(engine_number(&engine, "XPENDING", "s", "g", NULL), 0);
	engine_end(&engine);
}

TEST(a_member_with_the_same_name_has_again_what_it_had)
{
	struct aiostream *s;

	if (!engine_is_there())
		return;
	begin();
	add("a");
	s = start_member("me");
	aiomsg_free(next(s));
	aiostream_abort(s);
	s = start_member("me");
	ack_next(s, "a", 2);
	add("b");
	ack_next(s, "b", 1);
	must(aiostream_close(s, soon()));
	engine_end(&engine);
}

TEST(a_lease_is_renewed)
{
	int64_t lease = (int64_t)(500 * harness_slowness());
	struct aiostream_options o = {.group = "g", .from_start = true, .lease = lease, .prefetch = 1};
	struct aiostream *s, *other;
	struct aiomsg *m;

	if (!engine_is_there())
		return;
	begin();
	s = start(&o, NULL);
	add("a");
	m = next(s);
	other = start(&o, NULL);
	ck_assert(!comes_within(other, 4 * lease));
	must(aiomsg_ack(m));
	aiomsg_free(m);
	must(aiostream_close(s, soon()));
	ck_assert(!comes_within(other, 2 * lease));
	must(aiostream_close(other, soon()));
	engine_end(&engine);
}

TEST(a_handler_that_hangs_loses_its_lease)
{
	struct aiostream_options o = {
		.group = "g", .from_start = true, .lease = 150, .prefetch = 1, .handle_limit = 100};
	struct aiostream *s, *other;
	struct aiomsg *m;

	if (!engine_is_there())
		return;
	begin();
	s = start(&o, NULL);
	add("a");
	m = next(s);
	other = start(&o, NULL);
	ack_next(other, "a", 2);
	await_pending("0");
	must(aiomsg_ack(m));
	aiomsg_free(m);
	must(aiostream_close(s, soon()));
	must(aiostream_close(other, soon()));
	engine_end(&engine);
}

TEST(who_is_late_is_told)
{
	struct aiostream *s;
	struct aiomsg *m;

	if (!engine_is_there())
		return;
	begin();
	add("a");
	s = start_member(NULL);
	m = next(s);
	engine_ask(&engine, "XACK", "s", "g", aiomsg_id(m), NULL);
	must(aiomsg_ack(m));
	aiomsg_free(m);
	while (stats_of(s).late == 0)
		nap(2);
	ck_assert_uint_eq(stats_of(s).acked, 0);
	must(aiostream_close(s, soon()));
	engine_end(&engine);
}

/* Dead letters. */

TEST(what_was_tried_too_often_is_a_dead_letter)
{
	struct aiostream_options o = {.group = "g", .from_start = true, .tries = 3};
	struct aiostream *s;
	char id[64], due[128];

	if (!engine_is_there())
		return;
	begin();
	snprintf(id, sizeof id, "%s", engine_ask(&engine, "XADD", "s", "*", "m", "poison", "x", "y", NULL));
	add("good");
	s = start(&o, NULL);
	for (unsigned i = 0; i < 3; i++) {
		struct aiomsg *m = next(s);

		if (is_text(m, "good")) {
			must(aiomsg_ack(m));
			i--;
		}
		aiomsg_free(m);
	}
	engine_await(&engine, "1", "XLEN", "s:dead", NULL);
	await_pending("0");
	snprintf(due, sizeof due, " m poison x y id %s tries 3", id);
	ck_assert_ptr_nonnull(strstr(engine_ask(&engine, "XRANGE", "s:dead", "-", "+", NULL), due));
	while (stats_of(s).dead == 0)
		nap(2);
	ck_assert(!comes_within(s, 50));
	must(aiostream_close(s, soon()));
	engine_end(&engine);
}

TEST(what_is_no_message_is_a_dead_letter)
{
	struct aiostream *s;

	if (!engine_is_there())
		return;
	begin();
	engine_ask(&engine, "XADD", "s", "*", "name", "value", NULL);
	engine_ask(&engine, "XADD", "s", "*", "m", "no image", "k", "tpl", NULL);
	add("good");
	s = start_member(NULL);
	ack_next(s, "good", 1);
	engine_await(&engine, "2", "XLEN", "s:dead", NULL);
	await_pending("0");
	must(aiostream_close(s, soon()));
	engine_end(&engine);
}

/* Messages. */

TEST(typed_messages_are_typed_again)
{
	struct aiostream *to, *from;
	struct aiomsg *m;
	const char *text;
	int32_t n;

	if (!engine_is_there())
		return;
	begin();
	to = start_sender();
	m = must(aiomsg_new("is", 42, "answer"));
	must(aioqueue_put(aiostream_queue(to), m, soon()));
	aiomsg_free(m);
	must(aiostream_close(to, soon()));
	ck_assert_ptr_nonnull(strstr(engine_ask(&engine, "XRANGE", "s", "-", "+", NULL), " k tpl"));
	from = start_member(NULL);
	m = next(from);
	must(aiomsg_unpack(m, "is", &n, &text));
	ck_assert_int_eq(n, 42);
	ck_assert_str_eq(text, "answer");
	must(aiomsg_ack(m));
	aiomsg_free(m);
	must(aiostream_close(from, soon()));
	engine_end(&engine);
}

TEST(any_bytes_travel)
{
	enum { N = 20, SIZE = 1 << 20 };
	struct aiostream *to, *from;
	char *data = must(malloc(SIZE));

	if (!engine_is_there())
		return;
	begin();
	to = start_sender();
	from = start_member(NULL);
	for (unsigned i = 0; i < N; i++) {
		struct aiomsg *m;

		fill(data, SIZE, i);
		m = must(aiomsg_new_bytes(data, i == 7 ? 0 : SIZE - i));
		must(aioqueue_put(aiostream_queue(to), m, soon()));
		aiomsg_free(m);
	}
	for (unsigned i = 0; i < N; i++) {
		struct aiomsg *m = next(from);
		size_t len;
		const void *p = aiomsg_bytes(m, &len);

		ck_assert_uint_eq(len, i == 7 ? 0 : SIZE - i);
		ck_assert(is_filled(p, len, i));
		must(aiomsg_ack(m));
		aiomsg_free(m);
	}
	must(aiostream_close(to, soon()));
	must(aiostream_close(from, soon()));
	free(data);
	engine_end(&engine);
}

TEST(what_cannot_be_sent_is_dropped_and_counted)
{
	struct aiostream *s;
	struct aiomsg *m;

	if (!engine_is_there())
		return;
	begin();
	s = start_sender();
	m = must(aiomsg_new("i", 1));
	must(aiomsg_add_fd(m, 0));
	put_word(aiostream_queue(s), "before");
	must(aioqueue_put(aiostream_queue(s), m, soon()));
	put_word(aiostream_queue(s), "behind");
	aiomsg_free(m);
	while (stats_of(s).sent < 2)
		nap(2);
	ck_assert_uint_eq(stats_of(s).refused, 1);
	must(aiostream_close(s, soon()));
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 2);
	engine_end(&engine);
}

TEST(calls_of_a_stream_do_nothing_to_other_messages)
{
	struct aiomsg *m = must(aiomsg_new_bytes("x", 1));

	must(aiomsg_ack(m));
	must(aiomsg_nack(m, 5));
	aiomsg_hold(m);
	ck_assert_ptr_null(aiomsg_id(m));
	ck_assert_uint_eq(aiomsg_tries(m), 1);
	aiomsg_free(m);
}

/* Trimming, and a stream that is full. */

TEST(what_all_groups_have_acknowledged_is_removed)
{
	struct aiostream_options o = {.group = "g", .from_start = true, .lease = 150};
	struct aiostream *s, *late;

	if (!engine_is_there())
		return;
	begin();
	engine_ask(&engine, "CONFIG", "SET", "stream-node-max-entries", "1", NULL);
	engine_ask(&engine, "XGROUP", "CREATE", "s", "other", "0", "MKSTREAM", NULL);
	for (int i = 0; i < 10; i++)
		add("x");
	s = start(&o, NULL);
	for (int i = 0; i < 10; i++)
		ack_next(s, "x", 1);
	await_pending("0");
	nap(300);
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 10);
	o.group = "other";
	late = start(&o, NULL);
	for (int i = 0; i < 10; i++)
		ack_next(late, "x", 1);
	engine_await(&engine, "1", "XLEN", "s", NULL);
	must(aiostream_close(s, soon()));
	must(aiostream_close(late, soon()));
	engine_end(&engine);
}

TEST(what_is_to_be_kept_stays)
{
	struct aiostream_options o = {.group = "g", .from_start = true, .lease = 150, .keep = true};
	struct aiostream *s;

	if (!engine_is_there())
		return;
	begin();
	engine_ask(&engine, "CONFIG", "SET", "stream-node-max-entries", "1", NULL);
	for (int i = 0; i < 3; i++)
		add("x");
	s = start(&o, NULL);
	for (int i = 0; i < 3; i++)
		ack_next(s, "x", 1);
	await_pending("0");
	nap(200);
	must(aiostream_close(s, soon()));
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 3);
	engine_end(&engine);
}

TEST(a_sender_waits_while_the_stream_is_full)
{
	struct aiostream_options o = {.most = 3};
	struct aiostream *s;
	char why[128];

	if (!engine_is_there())
		return;
	begin();
	for (int i = 0; i < 3; i++)
		add("x");
	s = start(&o, NULL);
	while (aiostream_error(s) != ENOSPC)
		nap(2);
	must(aiostream_why(s, why, sizeof why));
	ck_assert_str_eq(why, "the stream holds 3 messages");
	put_word(aiostream_queue(s), "y");
	nap(50);
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 3);
	engine_ask(&engine, "XTRIM", "s", "MAXLEN", "1", NULL);
	must(aiostream_close(s, soon()));
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 2);
	engine_end(&engine);
}

/* Broadcast. */

TEST(a_broadcast_comes_to_all)
{
	struct aiostream *a, *b, *from_start;

	if (!engine_is_there())
		return;
	begin();
	add("before");
	a = start(&(struct aiostream_options){.group = ""}, NULL);
	b = start(&(struct aiostream_options){.group = ""}, NULL);
	from_start = start(&(struct aiostream_options){.group = "", .from_start = true}, NULL);
	must(aiostream_wait_connected(a, soon()));
	must(aiostream_wait_connected(b, soon()));
	add("one");
	add("two");
	expect_word(aiostream_queue(a), "one");
	expect_word(aiostream_queue(a), "two");
	expect_word(aiostream_queue(b), "one");
	expect_word(aiostream_queue(b), "two");
	expect_word(aiostream_queue(from_start), "before");
	expect_word(aiostream_queue(from_start), "one");
	add("three");
	{
		struct aiomsg *m = next(a);

		ck_assert_ptr_nonnull(aiomsg_id(m));
		must(aiomsg_ack(m));
		must(aiomsg_nack(m, 0));
		aiomsg_free(m);
	}
	ck_assert_uint_eq(stats_of(a).in_work, 0);
	must(aiostream_close(a, soon()));
	must(aiostream_close(b, soon()));
	must(aiostream_close(from_start, soon()));
	engine_end(&engine);
}

TEST(a_broadcast_goes_on_where_it_was)
{
	struct aiostream *s;

	if (!engine_is_there())
		return;
	engine = (struct engine){.args = {"--appendonly", "yes", "--appendfsync", "always"}};
	engine_start(&engine);
	s = start(&(struct aiostream_options){.group = ""}, NULL);
	must(aiostream_wait_connected(s, soon()));
	add("one");
	expect_word(aiostream_queue(s), "one");
	engine_ask(&engine, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", NULL);
	add("two");
	expect_word(aiostream_queue(s), "two");
	engine_kill(&engine);
	engine_restart(&engine);
	add("three");
	expect_word(aiostream_queue(s), "three");
	ck_assert_uint_eq(stats_of(s).vanished, 0);
	must(aiostream_close(s, soon()));
	engine_end(&engine);
}

/* What others do to the stream. */

TEST(a_group_that_is_gone_is_made_again)
{
	struct aiostream *s;

	if (!engine_is_there())
		return;
	begin();
	s = start_member(NULL);
	add("one");
	ack_next(s, "one", 1);
	await_pending("0");
	engine_ask(&engine, "DEL", "s", NULL);
	add("two");
	ack_next(s, "two", 1);
	await_pending("0");
	engine_ask(&engine, "XTRIM", "s", "MAXLEN", "0", NULL);
	engine_ask(&engine, "XGROUP", "DESTROY", "s", "g", NULL);
	add("three");
	ack_next(s, "three", 1);
	engine_ask(&engine, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", NULL);
	add("four");
	ack_next(s, "four", 1);
	must(aiostream_close(s, soon()));
	engine_end(&engine);
}

TEST(a_name_of_something_else_is_told_and_waited_for)
{
	struct aiostream *to, *from;
	char why[128];

	if (!engine_is_there())
		return;
	begin();
	engine_ask(&engine, "SET", "s", "text", NULL);
	to = start_sender();
	from = start_member(NULL);
	put_word(aiostream_queue(to), "one");
	while (aiostream_error(to) != EINVAL || aiostream_error(from) != EINVAL)
		nap(2);
	must(aiostream_why(to, why, sizeof why));
	ck_assert_int_eq(strncmp(why, "WRONGTYPE ", 10), 0);
	engine_ask(&engine, "DEL", "s", NULL);
	ack_next(from, "one", 1);
	ck_assert_int_eq(aiostream_error(from), 0);
	must(aiostream_close(to, soon()));
	must(aiostream_close(from, soon()));
	engine_end(&engine);
}

/* Ends. */

TEST(what_is_not_answered_at_the_deadline_is_given_back)
{
	struct aiostream_options o = {.group = "g", .from_start = true, .lease = 600000};
	struct aiostream *s, *other;
	struct aiomsg *m;

	if (!engine_is_there())
		return;
	begin();
	add("a");
	add("b");
	s = start(&o, NULL);
	m = next(s);
	must_fail(aiostream_close(s, aioipc_after(50)), ETIMEDOUT);
	must_fail(aiomsg_ack(m), EPIPE);
	aiomsg_free(m);
	other = start(&o, NULL);
	ack_next(other, "a", 2);
	ack_next(other, "b", 1); /* nobody had it */
	must(aiostream_close(other, soon()));
	engine_end(&engine);
}

TEST(what_was_not_sent_stays_in_the_queue)
{
	struct aioqueue *q = must(aioqueue_new(10, 0));
	struct aiostream *s = start(
		&(struct aiostream_options){.address = "redis+unix:///nowhere/at/all", .queue = q}, NULL);

	put_word(q, "one");
	while (aiostream_error(s) != ENOENT)
		nap(2);
	must_fail(aiostream_close(s, aioipc_after(20)), ETIMEDOUT);
	expect_word(q, "one");
	aioqueue_free(q);
}

TEST(a_sender_confirms_before_it_ends)
{
	struct aiostream *s;
	struct aioqueue *q;

	if (!engine_is_there())
		return;
	begin();
	s = start_sender();
	q = aiostream_queue(s);
	put_numbers(q, "n", 0, 300);
	aioqueue_close(q);
	must(aiostream_join(s, soon()));
	ck_assert_int_eq(aiostream_error(s), 0);
	ck_assert_uint_eq(stats_of(s).sent, 300);
	must(aiostream_close(s, soon()));
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 300);
	engine_end(&engine);
}

TEST(it_ends_with_its_first_attempt_if_it_is_told_to)
{
	struct aiostream_options o = {.address = "redis+unix:///nowhere/at/all", .reconnect_first = -1};
	struct aiostream *s = start(&o, NULL);

	must_fail(aiostream_wait_connected(s, soon()), EPIPE);
	must(aiostream_join(s, soon()));
	ck_assert_int_eq(aiostream_error(s), ENOENT);
	must(aiostream_close(s, soon()));
}

static void over_a_base(struct event_base *base)
{
	struct aiostream *to = start(&(struct aiostream_options){.group = NULL}, base);
	struct aiostream *from = start(&(struct aiostream_options){.group = "g", .from_start = true}, base);

	must(aiostream_wait_connected(to, soon()));
	for (unsigned i = 0; i < 100; i++) {
		put_word(aiostream_queue(to), "word");
		ack_next(from, "word", 1);
	}
	must(aiostream_close(to, soon()));
	must(aiostream_close(from, soon()));
	ck_assert_int_eq(engine_number(&engine, "XPENDING", "s", "g", NULL), 0);
}

TEST(it_runs_in_a_thread_or_on_a_base)
{
	if (!engine_is_there())
		return;
	begin();
	both_ways(over_a_base);
	engine_end(&engine);
}

static void free_when_connected(struct aiostream *s, enum aiolink_state state, void *arg)
{
	unsigned *seen = arg;

	++*seen;
	if (state == AIOLINK_CONNECTED)
		aiostream_abort(s);
}

TEST(its_callback_may_free_it)
{
	struct aiostream_options o = {.size = sizeof o, .stream = "s", .group = "g"};
	struct event_base *base = new_base();
	struct aiostream *s;
	unsigned seen = 0;

	if (!engine_is_there())
		return;
	begin();
	o.address = engine.address;
	s = must(aiostream_new(&o));
	must(aiostream_on_state(s, free_when_connected, &seen));
	must(aiostream_start(s, base));
	run_until(base, &seen, 3); /* CONNECTING, CONNECTED, ENDED */
	event_base_free(base);
	engine_end(&engine);
}

TEST(a_child_may_free_that_of_its_parent)
{
	struct event_base *base = new_base();
	struct aiostream *a, *b;
	struct aiomsg *m;
	pid_t pid;

	if (!engine_is_there())
		return;
	begin();
	add("x");
	a = start_member(NULL);
	b = start(&(struct aiostream_options){.group = ""}, base);
	must(aiostream_wait_connected(b, soon()));
	m = next(a);
	pid = must(fork());
	if (pid == 0) {
		must_fail(aiostream_wait_connected(a, AIOIPC_NOW), ECHILD);
		must_fail(aiomsg_ack(m), ECHILD);
		aiomsg_free(m);
		aiostream_abort(a);
		must_fail(aiostream_close(b, AIOIPC_NOW), ECHILD);
		_exit(0);
	}
	expect_exit(pid, 0);
	must(aiomsg_ack(m));
	aiomsg_free(m);
	must(aiostream_close(a, soon()));
	must(aiostream_close(b, soon()));
	event_base_free(base);
	engine_end(&engine);
}

/* Services. */

struct answers {
	struct aiomsg *_Atomic held;
	unsigned failures, calls;
};

static int fail_first(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct answers *a = arg;

	(void)out;
	a->calls++;
	if (is_text(m, "hold")) {
		aiomsg_hold(m);
		a->held = aiomsg_ref(m);
		return 0;
	}
	if (a->failures == 0)
		return 0;
	a->failures--;
	errno = EIO;
	return -1;
}

static int go_on(struct aioservice *s, struct aiomsg *m, int error, void *arg)
{
	(void)s;
	(void)m;
	(void)error;
	(void)arg;
	return 0;
}

TEST(a_service_answers_for_its_handler)
{
	struct answers a = {.failures = 2};
	struct aioservice_options o = {.size = sizeof o, .handle = fail_first, .on_error = go_on, .arg = &a};
	struct aioservice *service;
	struct aiostream *s;

	if (!engine_is_there())
		return;
	begin();
	add("x");
	s = start_member(NULL);
	o.in = aiostream_queue(s);
	service = must(aioservice_new(&o));
	must(aioservice_start(service));
	while (stats_of(s).acked < 1)
		nap(2);
	ck_assert_uint_eq(stats_of(s).nacked, 2);
	add("hold");
	while (!a.held)
		nap(2);
	nap(20);
	ck_assert_uint_eq(stats_of(s).in_work, 1);
	must(aiomsg_ack(a.held));
	aiomsg_free(a.held);
	must(aiostream_close(s, soon()));
	must(aioservice_close(service, soon()));
	ck_assert_uint_eq(a.calls, 4);
	ck_assert_int_eq(engine_number(&engine, "XPENDING", "s", "g", NULL), 0);
	engine_end(&engine);
}

static int die_once(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)out;
	if (is_text(m, "die") && access(arg, F_OK) == -1) {
		fclose(must(fopen(arg, "w")));
		raise(SIGKILL);
	}
	return 0;
}

TEST(a_service_of_processes_answers_too)
{
	char flag[96];
	struct aioservice_options o = {.size = sizeof o,
				       .handle = die_once,
				       .on_error = go_on,
				       .kind = AIOSERVICE_FORKED,
				       .arg = flag};
	struct aioqueue *q = must(aioqueue_new(100, 0));
	struct aioservice *service;
	struct aiostream *s;

	if (!engine_is_there())
		return;
	begin();
	snprintf(flag, sizeof flag, "%s/died", engine.dir);
	o.in = q;
	service = must(aioservice_new(&o));
	must(aioservice_start(service));
	add("x");
	add("die");
	add("y");
	s = start(&(struct aiostream_options){.group = "g", .from_start = true, .queue = q}, NULL);
	while (stats_of(s).acked < 3)
		nap(2);
	ck_assert_uint_eq(stats_of(s).nacked, 1);
	must(aiostream_close(s, soon()));
	must(aioservice_close(service, soon()));
	aioqueue_free(q);
	ck_assert_int_eq(engine_number(&engine, "XPENDING", "s", "g", NULL), 0);
	engine_end(&engine);
}
