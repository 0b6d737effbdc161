/* Streams and a server that follows a script: each answer cut at each byte, errors for each command, answers of a wrong kind, and none at all. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <aioipc/stream.h>

#include "tests/links.h"
#include "tests/script.h"

static struct script script;
static char address[160];

static void begin(script_turn *turn, void *arg)
{
	char path[64];

	snprintf(path, sizeof path, "/tmp/aioipc-script-%d", (int)getpid());
	snprintf(address, sizeof address, "redis+unix://%s", path);
	start_script(&script, path, turn, arg);
}

static struct aiostream *start(const char *group)
{
	struct aiostream_options o = {.size = sizeof o,
				      .address = address,
				      .stream = "s",
				      .group = group,
				      .member = group ? "me" : NULL,
				      .reconnect_first = 1,
				      .reconnect_most = 2,
				      .reply_limit = 3000};
	struct aiostream *s = must(aiostream_new(&o));

	must(aiostream_start(s, NULL));
	return s;
}

/* Three messages, one transaction: what is said for them is cut everywhere. */
TEST_WITHIN(what_a_sender_hears_is_cut_everywhere, 30)
{
	unsigned long length = 0;
	unsigned taken = 0;

	begin(NULL, NULL);
	for (unsigned long cut = 0; cut == 0 || cut <= length; cut++) {
		struct aiostream *s;

		script.appended = 0;
		script.mark[0] = '\0';
		atomic_store(&script.said, 0);
		atomic_store(&script.cut, cut);
		s = start(NULL);
		put_numbers(aiostream_queue(s), "n", 0, 3);
		must(aiostream_close(s, soon()));
		ck_assert_uint_eq(script.appended, 3);
		if (cut == 0)
			length = atomic_load(&script.said);
		taken++;
	}
	ck_assert_uint_gt(taken, 50);
	stop_script(&script);
}

/* Each message comes once to a member that lives, wherever its answers are cut. */
TEST_WITHIN(what_a_member_hears_is_cut_everywhere, 50)
{
	unsigned long length = 200;

	for (unsigned long cut = 1; cut < length; cut++) {
		unsigned seen[3] = {0};
		struct aiostream *s;

		begin(NULL, NULL);
		script.entries = 3;
		atomic_store(&script.cut, cut);
		s = start("g");
		for (unsigned i = 0; i < 3; i++) {
			struct aiomsg *m;

			ck_assert_int_eq(aioqueue_get(aiostream_queue(s), &m, soon()), 1);
			seen[strtoul(aiomsg_bytes(m, NULL), NULL, 10)]++;
			must(aiomsg_ack(m));
			aiomsg_free(m);
		}
		must(aiostream_close(s, soon()));
		for (unsigned i = 0; i < 3; i++) {
			ck_assert_uint_eq(seen[i], 1);
			ck_assert_uint_ge(script.acked[i], 1);
		}
		stop_script(&script);
	}
}

/* An answer that comes instead, once, to the first command of a kind, or a later one. */
struct instead {
	const char *command, *answer;
	atomic_uint before; /* so many are answered as usual */
	atomic_bool done;
	unsigned error; /* that was seen */
};

static bool say_instead(struct script_talk *t, const char *line, void *arg)
{
	struct instead *i = arg;

	if (!script_is(line, i->command))
		return false;
	if (atomic_load(&i->before) > 0) {
		atomic_fetch_sub(&i->before, 1);
		return false;
	}
	if (atomic_exchange(&i->done, true))
		return false;
	if (*i->answer)
		script_say(t, i->answer);
	else
		script_hang_up(t);
	return true;
}

/* True: each message was appended once. */
static bool try_sending(const char *command, unsigned before, const char *answer)
{
	struct instead i = {.command = command, .answer = answer, .before = before};
	struct aiostream *s;

	begin(say_instead, &i);
	s = start(NULL);
	put_numbers(aiostream_queue(s), "n", 0, 3);
	if (aiostream_close(s, soon()) == -1)
		ck_abort_msg("%s: %s: %s", command, answer, strerror(errno));
	ck_assert(i.done || strcmp(command, "GET") == 0);
	ck_assert_msg(script.appended >= 3, "%s: %s: %u", command, answer, script.appended);
	stop_script(&script);
	return script.appended == 3;
}

static void try_receiving(const char *command, const char *answer)
{
	struct instead i = {.command = command, .answer = answer};
	struct aiostream *s;
	char why[128];

	begin(say_instead, &i);
	script.entries = 3;
	s = start("g");
	for (unsigned k = 0; k < 3; k++) {
		struct aiomsg *m;

		if (aioqueue_get(aiostream_queue(s), &m, soon()) != 1) {
			aiostream_why(s, why, sizeof why);
			ck_abort_msg("%s: %s: %u came; state %d, %s, %u connections", command, answer, k,
				     aiostream_state(s), why, script.count);
		}
		must(aiomsg_ack(m));
		aiomsg_free(m);
	}
	while (!atomic_load(&i.done) && strcmp(command, "XCLAIM") != 0)
		nap(1);
	if (aiostream_close(s, soon()) == -1)
		ck_abort_msg("%s: %s: %s", command, answer, strerror(errno));
	for (unsigned k = 0; k < 3; k++)
		ck_assert_uint_ge(script.acked[k], 1);
	stop_script(&script);
}

static const char *const errors[] = {
	"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
	"-READONLY You can't write against a read only replica.\r\n",
	"-LOADING Redis is loading the dataset in memory\r\n",
	"-MISCONF Redis is configured to save RDB snapshots\r\n",
	"-NOREPLICAS Not enough good replicas to write.\r\n",
	"-CLUSTERDOWN The cluster is down\r\n",
	"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
	"-MASTERDOWN Link with MASTER is down\r\n",
	"-BUSY Redis is busy running a script.\r\n",
	"-NOPERM this user has no permissions to run the command\r\n",
	"-NOAUTH Authentication required.\r\n",
	"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
	"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n",
	"-NOGROUP No such key 's' or consumer group 'g'\r\n",
	"-MOVED 3999 nowhere\r\n",
	"-ERR something else\r\n",
	"-\r\n",
};

static const char *const nonsense[] = {
	"",
	"+\r\n",
	"what is this\r\n",
	"$5\r\nabcXY\r\n",
	"*1000000000\r\n",
	"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
	"$99999999999\r\n",
	"*2\r\n$3\r\nabc\r\n$-1\r\n",
	"$-1\r\n",
	"*3\r\n:1\r\n:2\r\n:3\r\n",
	":x\r\n",
	"+OK\r\n+OK\r\n",
	"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$1\r\nx\r\n*-1\r\n",
	"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*1\r\n:5\r\n",
	"HTTP/1.1 400 Bad Request\r\n\r\n",
};

enum { ERRORS = sizeof errors / sizeof *errors, NONSENSE = sizeof nonsense / sizeof *nonsense };

/* The first transaction asks how it stands, the second one appends. */
TEST_WITHIN(every_error_for_every_command_of_a_sender, 40)
{
	for (unsigned before = 0; before < 2; before++)
		for (size_t e = 0; e < ERRORS; e++) {
			try_sending("XLEN", before, errors[e]);
			try_sending("EXEC", before, errors[e]);
			ck_assert(try_sending("MULTI", before, errors[e]));
		}
}

TEST_WITHIN(every_error_for_every_command_of_a_member, 40)
{
	static const char *const commands[] = {"XGROUP", "XREADGROUP", "XACK", "XPENDING", "XINFO"};

	for (size_t c = 0; c < sizeof commands / sizeof *commands; c++)
		for (size_t e = 0; e < ERRORS; e++)
			try_receiving(commands[c], errors[e]);
}

TEST_WITHIN(nonsense_for_every_command, 40)
{
	for (size_t n = 0; n < NONSENSE; n++) {
		try_sending("XLEN", 0, nonsense[n]);
		try_receiving("XGROUP", nonsense[n]);
		try_receiving("XREADGROUP", nonsense[n]);
		try_receiving("XPENDING", nonsense[n]);
		try_receiving("XINFO", nonsense[n]);
	}
}

/* Why, in words and as an errno. */

static bool say_always(struct script_talk *t, const char *line, void *arg)
{
	struct instead *i = arg;

	if (!script_is(line, i->command))
		return false;
	script_say(t, i->answer);
	return true;
}

static void expect_error(const char *group, const char *command, const char *answer, int error,
			 const char *words)
{
	struct instead i = {.command = command, .answer = answer};
	struct aiostream *s;
	char why[128];

	begin(say_always, &i);
	s = start(group);
	while (aiostream_error(s) != error)
		nap(1);
	must(aiostream_why(s, why, sizeof why));
	ck_assert_msg(strncmp(why, words, strlen(words)) == 0, "%s", why);
	aiostream_abort(s);
	stop_script(&script);
}

TEST(errors_are_told_by_name)
{
	expect_error(NULL, "XLEN", errors[0], ENOSPC, "OOM command not allowed");
	expect_error(NULL, "XLEN", errors[1], EROFS, "READONLY ");
	expect_error(NULL, "XLEN", errors[2], EAGAIN, "LOADING ");
	expect_error(NULL, "XLEN", errors[3], EIO, "MISCONF ");
	expect_error(NULL, "XLEN", errors[4], EIO, "NOREPLICAS ");
	expect_error("g", "XREADGROUP", errors[9], EACCES, "NOPERM ");
	expect_error("g", "XREADGROUP", errors[11], EINVAL, "WRONGTYPE ");
	expect_error("g", "XREADGROUP", errors[13], ENOENT, "NOGROUP ");
	expect_error("g", "XREADGROUP", errors[15], EPROTO, "ERR something else");
	expect_error("g", "XREADGROUP", "-a\033[2Jb\r\n", EPROTO, "a?[2Jb");
	expect_error("g", "XREADGROUP", "$99999999999\r\n", EMSGSIZE, "a string over the limit");
	expect_error("g", "XREADGROUP", nonsense[5], EPROTO, "arrays nested too deep");
	expect_error("g", "XREADGROUP", nonsense[14], EPROTO, "an item of an unknown type");
}

static bool be_silent(struct script_talk *t, const char *line, void *arg)
{
	return atomic_load((atomic_bool *)arg) &&
	       (script_is(line, "EXEC") || (t->multi && script_is(line, "WATCH")));
}

/* It answers neither EXEC nor what comes behind it. */
TEST(a_server_that_does_not_answer_is_left)
{
	struct aiostream_options o = {.size = sizeof o,
				      .stream = "s",
				      .reconnect_first = 1,
				      .reconnect_most = 2,
				      .reply_limit = 50};
	atomic_bool silent = true;
	struct aiostream *s;

	begin(be_silent, &silent);
	o.address = address;
	s = must(aiostream_new(&o));
	must(aiostream_start(s, NULL));
	put_word(aiostream_queue(s), "x");
	while (aiostream_error(s) != ETIMEDOUT)
		nap(1);
	atomic_store(&silent, false);
	must(aiostream_close(s, soon()));
	ck_assert_uint_eq(script.appended, 1);
	stop_script(&script);
}

/* Who it is. */

static bool ask_for_password(struct script_talk *t, const char *line, void *arg)
{
	char *seen = arg;

	if (script_is(line, "AUTH") || script_is(line, "SELECT")) {
		snprintf(seen + strlen(seen), 100 - strlen(seen), "%s;", line);
		script_say(t, strstr(line, "wrong") ? "-WRONGPASS invalid username-password pair\r\n"
						    : "+OK\r\n");
		return true;
	}
	return false;
}

TEST(it_says_who_it_is)
{
	struct aiostream_options o = {
		.size = sizeof o, .stream = "s", .reconnect_first = 1, .reconnect_most = 2};
	char seen[100] = "", full[256];
	struct aiostream *s;

	begin(ask_for_password, seen);
	snprintf(full, sizeof full, "valkey+unix://me:a%%40b@%s?db=3", script.path);
	o.address = full;
	s = must(aiostream_new(&o));
	must(aiostream_start(s, NULL));
	must(aiostream_wait_connected(s, soon()));
	must(aiostream_close(s, soon()));
	ck_assert_str_eq(seen, "AUTH me a@b;SELECT 3;");
	o.password = "wrong";
	s = must(aiostream_new(&o));
	must(aiostream_start(s, NULL));
	while (aiostream_error(s) != EACCES)
		nap(1);
	ck_assert_int_ne(aiostream_state(s), AIOLINK_CONNECTED);
	aiostream_abort(s);
	stop_script(&script);
}

/* Elsewhere. */

static bool send_elsewhere(struct script_talk *t, const char *line, void *arg)
{
	char text[64];

	if (!script_is(line, "XLEN"))
		return false;
	snprintf(text, sizeof text, "-%s 127.0.0.1:%d\r\n", *(const char **)arg, script.port);
	script_say(t, text);
	return true;
}

static bool want_asking(struct script_talk *t, const char *line, void *arg)
{
	atomic_uint *asked = arg;

	(void)t;
	if (script_is(line, "ASKING"))
		atomic_fetch_add(asked, 1);
	return false;
}

TEST(who_has_the_stream_is_followed)
{
	static const char *const words[] = {"MOVED 3999", "ASK 3999"};
	static struct script first;
	struct aiostream_options o = {
		.size = sizeof o, .stream = "s", .reconnect_first = 1, .reconnect_most = 2};

	for (int i = 0; i < 2; i++) {
		atomic_uint asked = 0;
		struct aiostream *s;
		char full[64];

		start_script(&script, NULL, want_asking, &asked);
		start_script(&first, NULL, send_elsewhere, (void *)(uintptr_t)&words[i]);
		snprintf(full, sizeof full, "redis://127.0.0.1:%d", first.port);
		o.address = full;
		s = must(aiostream_new(&o));
		must(aiostream_start(s, NULL));
		put_numbers(aiostream_queue(s), "n", 0, 3);
		must(aiostream_close(s, soon()));
		ck_assert_uint_eq(script.appended, 3);
		ck_assert_uint_eq(first.appended, 0);
		ck_assert_uint_eq(asked > 0, i == 1);
		stop_script(&first);
		stop_script(&script);
	}
}

/* Options. */

TEST(options_that_make_no_sense_are_refused)
{
	static const char *const addresses[] = {
		"tcp://localhost:6379", "redis:/x",     "redis://",        "redis://h:0",
		"redis://h:99999",      "redis://h/x",  "redis://h?db=1",  "redis+unix://x",
		"redis+unix:///x?y=1",  "redis://me@h", "redis://a:%zz@h", "redis://a:%00@h",
		"redis+unix://m@/x",    "redis://[::1", "redis://a b:1",
	};
	struct aiostream_options good = {.size = sizeof good, .address = "redis://h", .stream = "s"}, o;

#define REFUSED(...)                                                                                         \
	do {                                                                                                 \
		o = good;                                                                                    \
		__VA_ARGS__;                                                                                 \
		must_fail(aiostream_new(&o), EINVAL);                                                        \
	} while (0)
	for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
		REFUSED(o.address = addresses[i]);
	REFUSED(o.address = NULL);
	REFUSED(o.stream = NULL);
	REFUSED(o.stream = "");
	REFUSED(o.size = 3);
	REFUSED(o.member = "m");
	REFUSED(o.group = "", o.member = "m");
	REFUSED(o.group = "g", o.member = "");
	REFUSED(o.group = "g", o.most = 5);
	REFUSED(o.from_start = true);
	REFUSED(o.lease = 1000);
	REFUSED(o.group = "g", o.lease = 99);
	REFUSED(o.group = "g", o.prefetch = 65537);
	REFUSED(o.prefetch = 5);
	REFUSED(o.reconnect_first = 5, o.reconnect_most = 4);
	REFUSED(o.reconnect_most = 4);
	REFUSED(o.reconnect_first = -2);
	REFUSED(o.reply_limit = -1);
	o = good;
	o.address = "rediss://h";
	must_fail(aiostream_new(&o), EPROTONOSUPPORT);
	o = good;
	o.address = "valkey://me:p%40%3A%2F%25@[::1]:7000/15";
	aiostream_abort(must(aiostream_new(&o)));
	must(aiostream_close(NULL, soon()));
	aiostream_abort(NULL);
}
