/*
 * What a real server refuses: users who may not do all that is needed, servers that do not write, and a cluster whose slots move. Each is told
 * by name and waited for; then everything is there once.
 */
#include "tests/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/stream.h>

#include "tests/links.h"

static struct engine engine;

static struct aiostream *start_as(const char *user, const char *group)
{
	struct aiostream_options o = {.size = sizeof o,
				      .address = engine.address,
				      .user = user,
				      .password = user ? "a secret" : NULL,
				      .stream = "s",
				      .group = group,
				      .from_start = group,
				      .reply_limit = 2000,
				      .reconnect_first = 2,
				      .reconnect_most = 20};
	struct aiostream *s;

	if (group && *group)
		o.lease = 150;
	s = must(aiostream_new(&o));
	must(aiostream_start(s, NULL));
	return s;
}

/* Until this is what is wrong, in the words of the server. */
static bool has_error(struct aiostream *s, int error, const char *words)
{
	char why[128];

	must(aiostream_why(s, why, sizeof why));
	return aiostream_error(s) == error && strncmp(why, words, strlen(words)) == 0;
}

static void await_error(struct aiostream *s, int error, const char *words)
{
	while (!has_error(s, error, words))
		nap(1);
}

static void await_sent(struct aiostream *s, unsigned n)
{
	struct aiostream_stats stats = {.size = sizeof stats};

	while (stats.sent < n) {
		nap(1);
		must(aiostream_stats(s, &stats));
	}
}

/* Users. */

enum { RIGHTS = 16 };

/* A user who has these, but for @without. */
static void make_user(const char *const *rights, const char *without)
{
	engine_ask(&engine, "ACL", "SETUSER", "u", "reset", "on", ">a secret", NULL);
	for (; *rights; rights++)
		if (*rights != without)
			ck_assert_str_eq(engine_ask(&engine, "ACL", "SETUSER", "u", *rights, NULL), "OK");
}

static void grant(const char *right)
{
	ck_assert_str_eq(engine_ask(&engine, "ACL", "SETUSER", "u", right, NULL), "OK");
}

static void begin(void)
{
	engine = (struct engine){.args = {NULL}};
	engine_start(&engine);
}

/* Those of aiostream(3). */
static const char *const sender[] = {"+multi", "+exec", "+watch", "+xadd",     "+set",
				     "+get",   "+xlen", "~s",     "~{s}:by:*", NULL};
static const char *const receiver[] = {
	"+xgroup|create", "+xreadgroup", "+xack", "+xclaim", "+xpending", "+xinfo|groups", "+xtrim", "+multi",
	"+exec",          "+xadd",       "~s",    "~s:dead", NULL};
static const char *const hearer[] = {"+xread", "+xinfo|stream", "~s", NULL};

static void put_ten(struct aiostream *s, unsigned from)
{
	put_numbers(aiostream_queue(s), "n", from, from + 10);
}

/* Its last transaction lies at the server, which does not answer: the sender can't know what became of it. */
static void break_in_doubt(struct aiostream *s)
{
	engine_ask(&engine, "CLIENT", "PAUSE", "60000", "WRITE", NULL);
	put_ten(s, 10);
	while (!strstr(engine_ask(&engine, "CLIENT", "LIST", NULL), "cmd=xadd user=u"))
		nap(1);
	engine_ask(&engine, "CLIENT", "KILL", "USER", "u", NULL);
	engine_ask(&engine, "CLIENT", "UNPAUSE", NULL);
}

TEST(a_sender_needs_the_rights_that_the_page_lists)
{
	struct aiostream *s;

	if (!engine_is_there())
		return;
	begin();
	make_user(sender, NULL);
	s = start_as("u", NULL);
	put_ten(s, 0);
	await_sent(s, 10);
	break_in_doubt(s);
	await_sent(s, 20);
	ck_assert_int_eq(aiostream_error(s), 0);
	must(aiostream_close(s, soon()));
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 20);
	engine_end(&engine);
}

static void send_without(const char *right)
{
	struct aiostream *s;

	engine_ask(&engine, "DEL", "s", NULL);
	make_user(sender, right);
	s = start_as("u", NULL);
	put_ten(s, 0);
	if (strcmp(right, "+get") == 0) {
		await_sent(s, 10);
		break_in_doubt(s);
	}
	if (strcmp(right, "+watch") != 0) /* which may be missing */
		await_error(s, EACCES, "NOPERM ");
	grant(right);
	must(aiostream_close(s, soon()));
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), strcmp(right, "+get") == 0 ? 20 : 10);
}

TEST(a_sender_without_one_of_them_waits_for_it)
{
	if (!engine_is_there())
		return;
	begin();
	for (const char *const *right = sender; *right; right++)
		send_without(*right);
	engine_end(&engine);
}

/* It is not among those above: who uses the first database needs none. */
TEST(another_database_needs_the_right_to_select_it)
{
	struct aiostream_options o = {.size = sizeof o,
				      .user = "u",
				      .password = "a secret",
				      .stream = "s",
				      .reconnect_first = 2,
				      .reconnect_most = 20};
	struct aiostream *s;
	char address[160];

	if (!engine_is_there())
		return;
	begin();
	make_user(sender, NULL);
	snprintf(address, sizeof address, "%s?db=1", engine.address);
	o.address = address;
	s = must(aiostream_new(&o));
	must(aiostream_start(s, NULL));
	put_ten(s, 0);
	await_error(s, EACCES, "NOPERM ");
	grant("+select");
	must(aiostream_close(s, soon()));
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 0);
	engine_ask(&engine, "SELECT", "1", NULL);
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 10);
	engine_end(&engine);
}

/* Taken away while it sends: what was asked without MULTI is done, and not asked again. */
TEST(a_sender_whose_rights_are_taken_away_repeats_nothing)
{
	struct aiostream *s;

	if (!engine_is_there())
		return;
	begin();
	for (const char *const *right = sender; *right; right++) {
		char less[16];

		engine_ask(&engine, "DEL", "s", NULL);
		make_user(sender, NULL);
		s = start_as("u", NULL);
		put_ten(s, 0);
		await_sent(s, 10);
		snprintf(less, sizeof less, "-%s", *right + 1);
		engine_ask(&engine, "ACL", "SETUSER", "u", **right == '~' ? "resetkeys" : less, NULL);
		put_ten(s, 10);
		if (strcmp(*right, "+get") != 0 && strcmp(*right, "+watch") != 0)
			await_error(s, EACCES, "NOPERM ");
		make_user(sender, NULL);
		must(aiostream_close(s, soon()));
		ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 20);
	}
	engine_end(&engine);
}

static void receive(struct aiostream *s, const char *text)
{
	struct aiomsg *m;

	ck_assert_int_eq(aioqueue_get(aiostream_queue(s), &m, soon()), 1);
	ck_assert(is_text(m, text));
	must(aiomsg_ack(m));
	aiomsg_free(m);
}

static void add_both(void)
{
	engine_ask(&engine, "XADD", "s", "*", "m", "good", NULL);
	engine_ask(&engine, "XADD", "s", "*", "name", "bad", NULL);
}

/* All that is bad is there once. */
static void expect_all_done(struct aiostream *s, unsigned bad)
{
	char n[16];

	snprintf(n, sizeof n, "%u", bad);
	engine_await(&engine, n, "XLEN", "s:dead", NULL);
	engine_await(&engine, "0 nil nil nil", "XPENDING", "s", "g", NULL);
	while (aiostream_error(s))
		nap(1);
	must(aiostream_close(s, soon()));
	ck_assert_str_eq(engine_ask(&engine, "XLEN", "s:dead", NULL), n);
}

TEST(a_receiver_needs_the_rights_that_the_page_lists)
{
	struct aiostream *s;

	if (!engine_is_there())
		return;
	begin();
	engine_ask(&engine, "CONFIG", "SET", "stream-node-max-entries", "1", NULL);
	make_user(receiver, NULL);
	s = start_as("u", "g");
	add_both();
	receive(s, "good");
	engine_await(&engine, "1", "XLEN", "s", NULL); /* trimmed */
	expect_all_done(s, 1);
	engine_end(&engine);
}

static bool is_one_of(const char *right, const char *const *some)
{
	while (*some && strcmp(right, *some) != 0)
		some++;
	return *some;
}

static void receive_without(const char *right)
{
	static const char *const none_before[] = {"+xgroup|create", "+xreadgroup", "+xpending", "~s", NULL};
	static const char *const courtesies[] = {"+xinfo|groups", "+xtrim", NULL};
	bool early = is_one_of(right, none_before), courtesy = is_one_of(right, courtesies);
	unsigned bad = 1;
	struct aiostream *s;

	engine_ask(&engine, "DEL", "s", "s:dead", NULL);
	make_user(receiver, right);
	add_both();
	s = start_as("u", "g");
	if (!early)
		receive(s, "good");
	/* Without MULTI it is done all the same, and told until the next round. */
	if (strcmp(right, "+multi") == 0)
		for (; !has_error(s, EACCES, "NOPERM "); bad++)
			engine_ask(&engine, "XADD", "s", "*", "name", "bad", NULL);
	else if (!courtesy)
		await_error(s, EACCES, "NOPERM ");
	grant(right);
	if (early)
		receive(s, "good");
	expect_all_done(s, bad);
}

/* Who may not ask for the groups, or trim, removes nothing. */
TEST(a_receiver_without_one_of_them_waits_for_it)
{
	if (!engine_is_there())
		return;
	begin();
	for (const char *const *right = receiver; *right; right++)
		receive_without(*right);
	engine_end(&engine);
}

TEST(a_broadcast_needs_two)
{
	if (!engine_is_there())
		return;
	begin();
	for (const char *const *right = hearer; *right; right++) {
		struct aiostream *s;

		make_user(hearer, *right);
		s = start_as("u", "");
		await_error(s, EACCES, "NOPERM ");
		engine_ask(&engine, "DEL", "s", NULL);
		engine_ask(&engine, "XADD", "s", "*", "m", "a", NULL);
		grant(*right);
		receive(s, "a");
		ck_assert_int_eq(aiostream_error(s), 0);
		must(aiostream_close(s, soon()));
	}
	engine_end(&engine);
}
