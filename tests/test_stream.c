/* Lines and bytes: no preface, no goodbye, and reading as from a stream. */
#include "tests/peers.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static int raw_stream(enum aioconn_framing f, const char *delimiter, struct event_base *base,
		      struct aioconn **c)
{
	int fd = raw_peer(PAIR, base, c);

	must(aioconn_set_framing(*c, f, delimiter));
	return fd;
}

static void put_text(int fd, const char *text)
{
	put(fd, text, strlen(text));
}

static void expect_line(struct aioconn *c, const char *line)
{
	const char *got;
	ssize_t n = must(aioconn_read_line(c, &got, soon()));

	if ((size_t)n != strlen(line) || (n > 0 && memcmp(got, line, (size_t)n)))
		ck_abort_msg("got \"%.*s\", \"%s\" was due", (int)n, got, line);
}

static void expect_read(struct aioconn *c, size_t len, const char *text)
{
	char buf[64];

	ck_assert_int_eq(must(aioconn_read_exactly(c, buf, len, soon())), (ssize_t)strlen(text));
	ck_assert_mem_eq(buf, text, strlen(text));
}

TEST(bytes_travel_bare)
{
	struct aioconn *c;
	int fd = raw_stream(AIOCONN_BYTES, NULL, NULL, &c);
	char buf[16];

	send_text(c, "abc");
	send_text(c, "def");
	must_fail(aioconn_send(c, "i", 1), EINVAL);
	ck_assert_uint_eq(get(fd, buf, 6), 6);
	ck_assert_mem_eq(buf, "abcdef", 6);
	must(aioconn_close(c, soon()));
	ck_assert_uint_eq(get(fd, buf, 1), 0);
	close(fd);
}

TEST(read_gives_what_there_is)
{
	struct aioconn *c;
	int fd = raw_stream(AIOCONN_BYTES, NULL, NULL, &c);
	char buf[16];

	must_fail(aioconn_read(c, buf, sizeof buf, AIOIPC_NOW), ETIMEDOUT);
	put_text(fd, "hello");
	ck_assert_int_eq(must(aioconn_read(c, buf, 2, soon())), 2);
	ck_assert_mem_eq(buf, "he", 2);
	ck_assert_int_eq(must(aioconn_read(c, buf, sizeof buf, soon())), 3);
	ck_assert_mem_eq(buf, "llo", 3);
	put_text(fd, "last");
	close(fd);
	ck_assert_int_eq(must(aioconn_read(c, buf, sizeof buf, soon())), 4);
	ck_assert_int_eq(must(aioconn_read(c, buf, sizeof buf, soon())), 0);
	ck_assert_int_eq(must(aioconn_read(c, buf, sizeof buf, soon())), 0);
	aioconn_abort(c);
}

TEST(read_exactly_waits_for_all_and_consumes_nothing_on_timeout)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 2; k++) {
		struct aioconn *c;
		int fd = raw_stream(k ? AIOCONN_LINES : AIOCONN_BYTES, NULL, k ? base : NULL, &c);
		char buf[16];

		put_text(fd, "abc");
		must_fail(aioconn_read_exactly(c, buf, 4, aioipc_after(5)), ETIMEDOUT);
		must_fail(aioconn_read_exactly(c, buf, 4, AIOIPC_NOW), ETIMEDOUT);
		put_text(fd, "def");
		expect_read(c, 4, "abcd");
		expect_read(c, 0, "");
		close(fd);
		expect_read(c, 10, "ef");
		expect_read(c, 10, "");
		aioconn_abort(c);
	}
	event_base_free(base);
}

TEST(read_exactly_over_the_message_limit_is_emsgsize)
{
	struct aioconn_limits limits = {.size = sizeof limits, .message = 1000};
	struct aioconn *c;
	int fd = raw_stream(AIOCONN_BYTES, NULL, NULL, &c);
	char buf[1001];

	must(aioconn_set_limits(c, &limits));
	put_text(fd, "abc");
	must_fail(aioconn_read_exactly(c, buf, sizeof buf, soon()), EMSGSIZE);
	expect_read(c, 3, "abc");
	aioconn_abort(c);
	close(fd);
}

static void *write_megabytes(void *arg)
{
	char *data = must(malloc(3 << 20));

	fill(data, 3 << 20, 9);
	put(*(int *)arg, data, 3 << 20);
	close(*(int *)arg);
	free(data);
	return NULL;
}

TEST(read_exactly_of_megabytes)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 2; k++) {
		struct aioconn *c;
		int fd = raw_stream(AIOCONN_BYTES, NULL, k ? base : NULL, &c);
		char *buf = must(malloc(3 << 20));
		pthread_t writer;

		ck_assert_int_eq(pthread_create(&writer, NULL, write_megabytes, &fd), 0);
		ck_assert_int_eq(must(aioconn_read_exactly(c, buf, 3 << 20, soon())), 3 << 20);
		ck_assert(is_filled(buf, 3 << 20, 9));
		ck_assert_int_eq(must(aioconn_read(c, buf, 1, soon())), 0);
		pthread_join(writer, NULL);
		aioconn_abort(c);
		free(buf);
	}
	event_base_free(base);
}

TEST(read_line_gives_the_delimiter_and_a_last_line_without)
{
	static const enum aioconn_framing framings[] = {AIOCONN_LINES, AIOCONN_BYTES};

	for (int k = 0; k < 2; k++) {
		struct aioconn *c;
		int fd = raw_stream(framings[k], NULL, NULL, &c);
		const char *line;

		put_text(fd, "one\n\ntwo\nthree");
		expect_line(c, "one\n");
		expect_line(c, "\n");
		expect_line(c, "two\n");
		must_fail(aioconn_read_line(c, &line, aioipc_after(5)), ETIMEDOUT);
		close(fd);
		expect_line(c, "three");
		expect_line(c, "");
		aioconn_abort(c);
	}
}

TEST(lines_and_bytes_can_be_read_in_turns)
{
	struct aioconn *c;
	int fd = raw_stream(AIOCONN_LINES, NULL, NULL, &c);

	put_text(fd, "size 5\nhellosize 2\nhi");
	expect_line(c, "size 5\n");
	expect_read(c, 5, "hello");
	expect_line(c, "size 2\n");
	expect_read(c, 2, "hi");
	aioconn_abort(c);
	close(fd);
}

TEST(a_delimiter_may_be_long_and_cut_anywhere)
{
	static const char *const delimiters[] = {"\r\n", "aab", "--8byte-", "aa"};
	static const char *const lines[] = {"one", "a", "", "\r", "-", "--8", "ab", "x--8bytes"};

	for (size_t d = 0; d < 4; d++)
		for (size_t cut = 1; cut < 8; cut++) {
			char text[256] = "", line[64];
			struct aioconn *c;
			int fd = raw_stream(AIOCONN_LINES, delimiters[d], NULL, &c);

			for (size_t i = 0; i < 8; i++)
				if (!(strchr(lines[i], 'a') && delimiters[d][0] == 'a'))
					strcat(strcat(text, lines[i]), delimiters[d]);
			for (size_t at = 0; at < strlen(text); at += cut)
				put(fd, text + at, strlen(text + at) < cut ? strlen(text + at) : cut);
			for (size_t i = 0; i < 8; i++)
				if (!(strchr(lines[i], 'a') && delimiters[d][0] == 'a')) {
					strcat(strcpy(line, lines[i]), delimiters[d]);
					expect_line(c, line);
				}
			aioconn_abort(c);
			close(fd);
		}
}

TEST(a_delimiter_cut_at_every_byte)
{
	static const char text[] = "ab\rc\r\n";

	for (size_t cut = 1; cut < 6; cut++) {
		struct aioconn *c;
		int fd = raw_stream(AIOCONN_LINES, "\r\n", NULL, &c);
		const char *line;

		put(fd, text, cut);
		must_fail(aioconn_read_line(c, &line, AIOIPC_NOW), ETIMEDOUT);
		put(fd, text + cut, 6 - cut);
		expect_line(c, text);
		aioconn_abort(c);
		close(fd);
	}
}

TEST(a_line_over_the_limit_is_emsgsize_and_loses_nothing)
{
	struct aioconn_limits limits = {.size = sizeof limits, .line = 10};

	for (int whole = 0; whole < 2; whole++) {
		struct aioconn *c;
		int fd = raw_stream(AIOCONN_LINES, NULL, NULL, &c);
		const char *line;

		must(aioconn_set_limits(c, &limits));
		put_text(fd, "123456789\n");
		expect_line(c, "123456789\n");
		put_text(fd, whole ? "1234567890\nnext\n" : "1234567890ab");
		must_fail(aioconn_read_line(c, &line, soon()), EMSGSIZE);
		must_fail(aioconn_read_line(c, &line, soon()), EMSGSIZE);
		if (!whole)
			put_text(fd, "\nnext\n");
		expect_read(c, whole ? 11 : 13, whole ? "1234567890\n" : "1234567890ab\n");
		expect_line(c, "next\n");
		aioconn_abort(c);
		close(fd);
	}
}

TEST(the_default_line_limit_is_64_kib)
{
	struct aioconn *c;
	int fd = raw_stream(AIOCONN_LINES, NULL, NULL, &c);
	char *data = must(malloc(65537));
	const char *line;

	memset(data, 'x', 65537);
	data[65535] = '\n';
	put(fd, data, 65536);
	ck_assert_int_eq(must(aioconn_read_line(c, &line, soon())), 65536);
	data[65535] = 'x';
	data[65536] = '\n';
	put(fd, data, 65537);
	must_fail(aioconn_read_line(c, &line, soon()), EMSGSIZE);
	ck_assert_int_eq(must(aioconn_read_exactly(c, data, 65537, soon())), 65537);
	aioconn_abort(c);
	close(fd);
	free(data);
}

TEST(lines_arrive_as_messages_without_their_delimiter)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *c;
	int fd = raw_stream(AIOCONN_LINES, "\r\n", base, &c);
	char buf[8];

	see(c, &s);
	put_text(fd, "one\r\n\r\ntwo\r");
	run_until(base, &s.msgs, 2);
	put_text(fd, "\nthree");
	run_until(base, &s.msgs, 3);
	ck_assert_str_eq(s.text, "one  two ");
	send_text(c, "back");
	must(aioconn_flush(c, soon()));
	ck_assert_uint_eq(get(fd, buf, 6), 6);
	ck_assert_mem_eq(buf, "back\r\n", 6);
	close(fd);
	run_until(base, &s.closes, 1);
	ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
	ck_assert_uint_eq(s.msgs_at_close, 4);
	ck_assert_str_eq(s.text, "one  two three ");
	event_base_free(base);
}

TEST(recv_takes_lines_too)
{
	struct aioconn *c;
	int fd = raw_stream(AIOCONN_LINES, NULL, NULL, &c);

	put_text(fd, "one\ntwo\nlast");
	expect_text(c, "one");
	expect_text(c, "two");
	close(fd);
	expect_text(c, "last");
	expect_end(c, 0);
	aioconn_abort(c);
}

TEST(a_delimiter_inside_a_line_is_refused)
{
	struct aioconn *c;
	int fd = raw_stream(AIOCONN_LINES, "\r\n", NULL, &c);
	char buf[16];

	must_fail(aioconn_send_bytes(c, "a\r\nb", 4), EINVAL);
	must_fail(aioconn_send_bytes(c, "\r\n", 2), EINVAL);
	must_fail(aioconn_send(c, "s", "values"), EINVAL);
	send_text(c, "a\nb");
	ck_assert_uint_eq(get(fd, buf, 5), 5);
	ck_assert_mem_eq(buf, "a\nb\r\n", 5);
	aioconn_abort(c);
	close(fd);
}

/* "a\r" and the delimiter "\r\n" make "a\r\r\n": read as one line again, but a half delimiter could do harm. */
TEST(a_line_that_ends_in_half_a_delimiter_comes_back_whole)
{
	struct aioconn *a, *b;

	open_pair(DUPLEX, NULL, &a, &b);
	must(aioconn_set_framing(a, AIOCONN_LINES, "\r\n"));
	must(aioconn_set_framing(b, AIOCONN_LINES, "\r\n"));
	send_text(a, "a\r");
	send_text(a, "b");
	expect_text(b, "a\r");
	expect_text(b, "b");
	aioconn_abort(a);
	aioconn_abort(b);
}

/* A self-overlapping delimiter: "xa" + "aa" would be read as "x" and "a...". Refused, or read back as sent. */
TEST(no_line_can_be_sent_that_reads_as_another)
{
	struct aioconn *a, *b;

	open_pair(DUPLEX, NULL, &a, &b);
	must(aioconn_set_framing(a, AIOCONN_LINES, "aa"));
	must(aioconn_set_framing(b, AIOCONN_LINES, "aa"));
	if (aioconn_send_bytes(a, "xa", 2) == 0)
		expect_text(b, "xa");
	else
		ck_assert_int_eq(errno, EINVAL);
	send_text(a, "next");
	expect_text(b, "next");
	aioconn_abort(a);
	aioconn_abort(b);
}

TEST(bytes_arrive_in_callbacks)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *c;
	int fd = raw_stream(AIOCONN_BYTES, NULL, base, &c);

	see(c, &s);
	put_text(fd, "some bytes");
	while (s.bytes < 10)
		run_until(base, &s.msgs, s.msgs + 1);
	put_text(fd, "more");
	close(fd);
	run_until(base, &s.closes, 1);
	ck_assert_uint_eq(s.bytes, 14);
	ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
	event_base_free(base);
}

/* The end comes right behind a read that was full. */
TEST(the_end_comes_behind_as_much_as_a_read_takes)
{
	static char data[2 * 65536];

	for (size_t len = sizeof data / 2; len <= sizeof data; len += sizeof data / 2) {
		struct event_base *base = new_base();
		struct seen s = {.msgs = 0};
		struct aioconn *c;
		int fd = raw_stream(AIOCONN_BYTES, NULL, base, &c);

		see(c, &s);
		put(fd, data, len);
		must(shutdown(fd, SHUT_WR));
		run_until(base, &s.closes, 1);
		ck_assert_uint_eq(s.bytes, len);
		ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
		close(fd);
		event_base_free(base);
	}
}

TEST(a_stream_stops_reading_when_nobody_asks)
{
	struct aioconn_limits limits = {.size = sizeof limits, .inbox = 50000};
	struct aioconn_stats stats = {.size = sizeof stats};
	struct event_base *base = new_base();
	struct aioconn *c;
	int fd = raw_stream(AIOCONN_BYTES, NULL, base, &c);
	char *data = must(malloc(150000));

	must(aioconn_set_limits(c, &limits));
	fill(data, 150000, 3);
	put(fd, data, 150000);
	run_now(base);
	must(aioconn_stats(c, &stats));
	ck_assert_uint_le(stats.bytes_in, 50000 + 65536);
	memset(data, 0, 150000);
	ck_assert_int_eq(must(aioconn_read_exactly(c, data, 150000, soon())), 150000);
	ck_assert(is_filled(data, 150000, 3));
	aioconn_abort(c);
	close(fd);
	free(data);
	event_base_free(base);
}

TEST(half_close_of_a_stream_is_eof)
{
	static const enum transport kinds[] = {DUPLEX, PAIR};

	for (int k = 0; k < 2; k++) {
		struct aioconn *a, *b;

		open_pair(kinds[k], NULL, &a, &b);
		must(aioconn_set_framing(a, AIOCONN_LINES, NULL));
		must(aioconn_set_framing(b, AIOCONN_LINES, NULL));
		send_text(a, "hello");
		must(aioconn_write_eof(a));
		expect_text(b, "hello");
		expect_end(b, 0);
		send_text(b, "HELLO");
		must(aioconn_close(b, soon()));
		expect_text(a, "HELLO");
		expect_end(a, 0);
		aioconn_abort(a);
	}
}

TEST(stream_reads_need_a_stream)
{
	struct aioconn *a, *b, *c;
	const char *line;
	char buf[4];
	int fd;

	open_pair(PAIR, NULL, &a, &b);
	must_fail(aioconn_read(a, buf, 1, AIOIPC_NOW), EINVAL);
	must_fail(aioconn_read_exactly(a, buf, 1, AIOIPC_NOW), EINVAL);
	must_fail(aioconn_read_line(a, &line, AIOIPC_NOW), EINVAL);
	aioconn_abort(a);
	aioconn_abort(b);

	fd = raw_stream(AIOCONN_BYTES, NULL, NULL, &c);
	must_fail(aioconn_read(c, buf, 1, 1234), EINVAL);
	must_fail(aioconn_read_line(c, &line, 1234), EINVAL);
	aioconn_abort(c);
	close(fd);
}

static void shout(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);
	const char *line;
	ssize_t n;

	(void)arg;
	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	while ((n = must(aioconn_read_line(c, &line, soon()))) > 0) {
		char out[64];

		for (ssize_t i = 0; i < n; i++)
			out[i] = (char)(line[i] >= 'a' && line[i] <= 'z' ? line[i] - 32 : line[i]);
		must(aioconn_send_bytes(c, out, (size_t)n - (line[n - 1] == '\n')));
	}
	must(aioconn_close(c, soon()));
}

TEST(hello_world_in_capitals_from_a_child)
{
	struct aioend *mine, *theirs;
	struct aioconn *c;
	pid_t pid;

	must(aioduplex(&mine, &theirs));
	pid = start_child(shout, theirs, NULL);
	c = open_end(mine, NULL);
	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	send_text(c, "hello world");
	expect_line(c, "HELLO WORLD\n");
	must(aioconn_write_eof(c));
	expect_line(c, "");
	must(aioconn_close(c, soon()));
	expect_exit(pid, 0);
}

/* The peer left without reading what it was sent: that is no end of a stream, however often it is asked for. */
TEST(a_reset_is_told_each_time)
{
	struct aioconn *c;
	int fd = raw_stream(AIOCONN_LINES, NULL, NULL, &c);
	const char *line;
	char buf[4];

	put_text(fd, "last\n");
	send_text(c, "unread");
	close(fd);
	expect_line(c, "last\n");
	for (int i = 0; i < 2; i++) {
		must_fail(aioconn_read_line(c, &line, soon()), ECONNRESET);
		must_fail(aioconn_read(c, buf, sizeof buf, soon()), ECONNRESET);
		must_fail(aioconn_read_exactly(c, buf, sizeof buf, soon()), ECONNRESET);
	}
	aioconn_abort(c);
}
