/* Lines that are not whole: over the limit, without a delimiter at the end, cut by a break. What is a part of a line says so. */
#include "tests/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A connection of lines up to @limit bytes, longer ones in pieces, and the socket that feeds it. */
static int pieces_of(size_t limit, const char *delimiter, struct event_base *base, struct aioconn **c)
{
	struct aioconn_limits limits = {.size = sizeof limits, .line = limit, .long_lines = true};
	int fd = raw_peer(PAIR, base, c);

	must(aioconn_set_framing(*c, AIOCONN_LINES, delimiter));
	must(aioconn_set_limits(*c, &limits));
	return fd;
}

static void put_text(int fd, const char *text)
{
	put(fd, text, strlen(text));
}

/* What comes with its marks: + in front of what continues, + behind where more follows, ! behind what was not ended. */
static void note(char *to, size_t size, const struct aiomsg *m)
{
	unsigned part = aiomsg_part(m);
	size_t at = strlen(to), len;
	const char *data = aiomsg_bytes(m, &len);

	snprintf(to + at, size - at, "%s%.*s%s%s|", part & AIOMSG_CONTINUES ? "+" : "", (int)len, data,
		 part & AIOMSG_MORE ? "+" : "", part & AIOMSG_UNENDED ? "!" : "");
}

static void receive(struct aioconn *c, char *to, size_t size, unsigned n)
{
	struct aiomsg *m;

	*to = '\0';
	while (n--) {
		ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
		note(to, size, m);
		aiomsg_free(m);
	}
}

static void expect_pieces(struct aioconn *c, unsigned n, const char *text)
{
	char got[256];

	receive(c, got, sizeof got, n);
	ck_assert_str_eq(got, text);
}

TEST(a_line_over_the_limit_comes_in_marked_pieces)
{
	struct aioconn *c;
	int fd = pieces_of(10, NULL, NULL, &c);

	put_text(fd, "123456789\n1234567890\nnext\n123456789abcdefghijklmnopqrs\n\nlast");
	expect_pieces(c, 4, "123456789|1234567890+|+|next|");
	expect_pieces(c, 4, "123456789a+|+bcdefghijk+|+lmnopqrs||");
	close(fd);
	expect_pieces(c, 1, "last!|");
	expect_end(c, 0);
	aioconn_abort(c);
}

TEST(the_last_line_of_a_stream_may_be_long_and_not_ended)
{
	struct aioconn *c;
	int fd = pieces_of(4, NULL, NULL, &c);

	put_text(fd, "one\nthirteen byte");
	close(fd);
	expect_pieces(c, 5, "one|thir+|+teen+|+ byt+|+e!|");
	expect_end(c, 0);
	aioconn_abort(c);
}

/* However the bytes arrive, the pieces make the line, and no delimiter is torn apart. */
TEST(pieces_make_the_line_again)
{
	static const char *const delimiters[] = {"\n", "\r\n", "--8byte-", "aab"};
	static const char *const lines[] = {"", "short", "-\r--8byt of more than ten bytes a\r", "0123456789",
					    "012345678901"};
	char text[256], line[64];

	for (size_t d = 0; d < 4; d++)
		for (size_t step = 1; step < 40; step += 3) {
			struct aioconn *c;
			int fd = pieces_of(10, delimiters[d], NULL, &c);
			struct aiomsg *m;
			size_t at = 0, len;
			unsigned n = 0;

			*text = *line = '\0';
			for (size_t i = 0; i < 5; i++)
				strcat(strcat(text, lines[i]), delimiters[d]);
			while (n < 5) {
				int r = aioconn_recv(c, &m, AIOIPC_NOW);

				if (r == -1) {
					ck_assert_int_eq(errno, ETIMEDOUT);
					ck_assert_uint_lt(at, strlen(text));
					len = strlen(text + at) < step ? strlen(text + at) : step;
					put(fd, text + at, len);
					at += len;
					continue;
				}
				ck_assert_int_eq(!*line, !(aiomsg_part(m) & AIOMSG_CONTINUES));
				strcat(line, aiomsg_bytes(m, &len));
				ck_assert_uint_le(len, 10);
				if (!(aiomsg_part(m) & AIOMSG_MORE)) {
					ck_assert_str_eq(line, lines[n++]);
					*line = '\0';
				}
				aiomsg_free(m);
			}
			aioconn_abort(c);
			close(fd);
		}
}

struct pieces {
	unsigned msgs, closes;
	enum aioconn_cause cause;
	char text[256], why[128];
};

static void on_piece(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct pieces *p = arg;

	(void)c;
	note(p->text, sizeof p->text, m);
	p->msgs++;
}

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct pieces *p = arg;

	p->closes++;
	p->cause = cause;
	snprintf(p->why, sizeof p->why, "%s", aioconn_why(c));
	aioconn_abort(c);
}

TEST(pieces_come_by_callbacks_too)
{
	struct event_base *base = new_base();
	struct pieces p = {.msgs = 0};
	struct aioconn *c;
	int fd = pieces_of(4, NULL, base, &c);

	must(aioconn_set_callbacks(c, on_piece, NULL, on_close, &p));
	put_text(fd, "nine byte\ntwo");
	run_until(base, &p.msgs, 3);
	close(fd);
	run_until(base, &p.closes, 1);
	ck_assert_str_eq(p.text, "nine+|+ byt+|+e|two!|");
	ck_assert_int_eq(p.cause, AIOCONN_CLEAN);
	event_base_free(base);
}

TEST(read_line_gives_pieces_without_a_delimiter)
{
	static const char *const pieces[] = {"nine", " byt", "e\n", "1234", "\n", "four", ""};
	struct aioconn *c;
	int fd = pieces_of(4, NULL, NULL, &c);

	put_text(fd, "nine byte\n1234\nfour");
	close(fd);
	for (int i = 0; i < 7; i++) {
		const char *line = "";
		ssize_t n = must(aioconn_read_line(c, &line, soon()));

		ck_assert_int_eq(n, (ssize_t)strlen(pieces[i]));
		ck_assert_int_eq(memcmp(line, pieces[i], (size_t)n), 0);
	}
	aioconn_abort(c);
}

TEST(lines_over_the_limit_can_be_sent_then)
{
	struct aioconn_limits limits = {.size = sizeof limits, .line = 100, .message = 200000};
	struct aioconn *c;
	int fd = pieces_of(10, NULL, NULL, &c);
	char *data = must(calloc(1, 200001)), *back = must(calloc(1, 200001));

	memset(data, 'x', 200001);
	must(aioconn_set_limits(c, &limits));
	must(aioconn_set_send_wait(c, 0));
	must(aioconn_send_bytes(c, data, 20000));
	ck_assert_uint_eq(get(fd, back, 20001), 20001);
	ck_assert_int_eq(memcmp(back, data, 20000), 0);
	ck_assert_int_eq(back[20000], '\n');
	must_fail(aioconn_send_bytes(c, data, 200001), EMSGSIZE);
	free(data);
	free(back);
	aioconn_abort(c);
	close(fd);
}

/* With the same limit on both sides, what one side may send the other one takes. */
TEST(a_line_of_the_limit_is_sent_and_read)
{
	const struct aioconn_limits limits = {.size = sizeof limits, .line = 10};
	const char *line;
	struct aioconn *a, *b;

	open_pair(PAIR, NULL, &a, &b);
	must(aioconn_set_framing(a, AIOCONN_LINES, "\r\n"));
	must(aioconn_set_framing(b, AIOCONN_LINES, "\r\n"));
	must(aioconn_set_limits(a, &limits));
	must(aioconn_set_limits(b, &limits));
	must_fail(aioconn_send_bytes(a, "nine bytes", 9), EMSGSIZE);
	must(aioconn_send_bytes(a, "in eight", 8));
	must(aioconn_send_bytes(a, "", 0));
	ck_assert_int_eq(must(aioconn_read_line(b, &line, soon())), 10);
	ck_assert_int_eq(must(aioconn_read_line(b, &line, soon())), 2);
	aioconn_abort(a);
	aioconn_abort(b);
}

TEST(a_piece_that_is_sent_on_is_a_line)
{
	struct aioconn *c, *other;
	int fd = pieces_of(4, NULL, NULL, &c), to = pieces_of(4, NULL, NULL, &other);
	struct aiomsg *m;
	char got[8];

	put_text(fd, "nine byte\n");
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	ck_assert_uint_eq(aiomsg_part(m), AIOMSG_MORE);
	must(aioconn_send_msg(other, m));
	ck_assert_uint_eq(get(to, got, 5), 5);
	ck_assert_int_eq(memcmp(got, "nine\n", 5), 0);
	aiomsg_free(m);
	aioconn_abort(c);
	aioconn_abort(other);
	close(fd);
	close(to);
}

/* A unix socket that is closed with input that it has not read resets its peer. */
static void reset(struct aioconn *c, int fd)
{
	send_text(c, "unread");
	must(aioconn_flush(c, soon()));
	close(fd);
}

TEST(half_a_line_before_a_reset_is_no_line)
{
	for (int how = 0; how < 2; how++) {
		struct aioconn *c;
		int fd = pieces_of(how ? 4 : 100, NULL, NULL, &c);
		const char *line;
		char buf[16];

		put_text(fd, "one\ntw");
		reset(c, fd);
		expect_pieces(c, 1, "one|");
		must_fail(aioconn_read_line(c, &line, soon()), ECONNRESET);
		if (how) {
			expect_end(c, ECONNRESET);
			ck_assert_str_eq(aioconn_why(c), "connection reset by the peer inside a line");
		} else {
			ck_assert_int_eq(must(aioconn_read(c, buf, sizeof buf, soon())), 2);
			must_fail(aioconn_read(c, buf, sizeof buf, soon()), ECONNRESET);
		}
		aioconn_abort(c);
	}
}

TEST(half_a_line_before_a_reset_is_not_called_back)
{
	struct event_base *base = new_base();
	struct pieces p = {.msgs = 0};
	struct aioconn *c;
	int fd = pieces_of(4, NULL, base, &c);

	put_text(fd, "one\nfive5 and");
	reset(c, fd);
	must(aioconn_set_callbacks(c, on_piece, NULL, on_close, &p));
	run_until(base, &p.closes, 1);
	ck_assert_str_eq(p.text, "one|five+|+5 an+|");
	ck_assert_int_eq(p.cause, AIOCONN_LOST);
	ck_assert_str_eq(p.why, "connection reset by the peer inside a line");
	event_base_free(base);
}
