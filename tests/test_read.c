/* Reading a stream up to a mark, or all of it; and sending and reading nothing. */
#include "tests/peers.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int stream(enum aioconn_framing f, struct event_base *base, struct aioconn **c)
{
	int fd = raw_peer(PAIR, base, c);

	must(aioconn_set_framing(*c, f, NULL));
	return fd;
}

static void put_text(int fd, const char *text)
{
	put(fd, text, strlen(text));
}

static void expect_until(struct aioconn *c, const char *mark, const char *text)
{
	const char *data = "";
	ssize_t n = must(aioconn_read_until(c, mark, strlen(mark), 0, &data, soon()));

	ck_assert_int_eq(n, (ssize_t)strlen(text));
	ck_assert_int_eq(memcmp(data, text, (size_t)n), 0);
}

static void expect_all(struct aioconn *c, size_t limit, const char *text)
{
	struct aiomsg *m = NULL;
	size_t len;

	ck_assert_int_eq(must(aioconn_read_all(c, &m, limit, soon())), (ssize_t)strlen(text));
	ck_assert_str_eq(aiomsg_bytes(m, &len), text);
	ck_assert_uint_eq(len, strlen(text));
	ck_assert_ptr_null(aiomsg_format(m));
	aiomsg_free(m);
}

TEST(up_to_a_mark_then_all)
{
	for (int k = 0; k < 2; k++) {
		struct aioconn *c;
		int fd = stream(k ? AIOCONN_LINES : AIOCONN_BYTES, NULL, &c);

		put_text(fd, "GET /\r\nHost: x\r\n\r\nbody--more--\nand the rest\n");
		expect_until(c, "\r\n\r\n", "GET /\r\nHost: x\r\n\r\n");
		expect_until(c, "--", "body--");
		expect_until(c, "--", "more--");
		close(fd);
		expect_all(c, 0, "\nand the rest\n");
		expect_all(c, 0, "");
		expect_until(c, "--", "");
		aioconn_abort(c);
	}
}

TEST(a_mark_may_be_cut_anywhere)
{
	static const char text[] = "aab aaab aa";
	struct aioconn *c;
	int fd = stream(AIOCONN_BYTES, NULL, &c);
	const char *data;

	for (size_t i = 0; i < 8; i++) {
		must_fail(aioconn_read_until(c, "aaab", 4, 0, &data, AIOIPC_NOW), ETIMEDOUT);
		put(fd, text + i, 1);
	}
	expect_until(c, "aaab", "aab aaab");
	put(fd, text + 8, 3);
	close(fd);
	expect_until(c, "aaab", " aa");
	expect_until(c, "aaab", "");
	aioconn_abort(c);
}

TEST(nothing_is_lost_when_it_does_not_come_in_time)
{
	struct aioconn *c;
	int fd = stream(AIOCONN_BYTES, NULL, &c);
	struct aiomsg *m;
	const char *data;

	put_text(fd, "half");
	must_fail(aioconn_read_until(c, "\n", 1, 0, &data, aioipc_after(5)), ETIMEDOUT);
	must_fail(aioconn_read_all(c, &m, 0, aioipc_after(5)), ETIMEDOUT);
	must_fail(aioconn_read_all(c, &m, 0, AIOIPC_NOW), ETIMEDOUT);
	put_text(fd, " and half");
	close(fd);
	expect_all(c, 0, "half and half");
	aioconn_abort(c);
}

TEST(more_than_the_limit_is_emsgsize_and_all_there)
{
	struct aioconn *c;
	int fd = stream(AIOCONN_BYTES, NULL, &c);
	struct aiomsg *m;
	const char *data;
	char buf[8];

	put_text(fd, "12345678;0");
	must_fail(aioconn_read_all(c, &m, 9, soon()), EMSGSIZE);
	must_fail(aioconn_read_until(c, ";", 1, 8, &data, soon()), EMSGSIZE);
	must_fail(aioconn_read_until(c, "!", 1, 9, &data, soon()), EMSGSIZE);
	must_fail(aioconn_read_until(c, "", 0, 9, &data, soon()), EINVAL);
	must_fail(aioconn_read_until(c, "12345", 5, 4, &data, soon()), EINVAL);
	must_fail(aioconn_read_all(c, &m, ((size_t)1 << 30) + 1, soon()), EINVAL);
	ck_assert_int_eq(must(aioconn_read_until(c, ";", 1, 9, &data, soon())), 9);
	close(fd);
	expect_all(c, 1, "0");
	ck_assert_int_eq(must(aioconn_read(c, buf, sizeof buf, soon())), 0);
	aioconn_abort(c);
}

TEST(a_stream_that_broke_off_is_not_all)
{
	struct aioconn *c;
	int fd = stream(AIOCONN_BYTES, NULL, &c);
	struct aiomsg *m;
	const char *data;
	char buf[8];

	put_text(fd, "some");
	send_text(c, "unread");
	close(fd);
	must_fail(aioconn_read_all(c, &m, 0, soon()), ECONNRESET);
	must_fail(aioconn_read_until(c, "\n", 1, 0, &data, soon()), ECONNRESET);
	ck_assert_int_eq(must(aioconn_read(c, buf, sizeof buf, soon())), 4);
	must_fail(aioconn_read_all(c, &m, 0, soon()), ECONNRESET);
	aioconn_abort(c);
}

TEST(these_reads_need_a_stream)
{
	struct aioconn *a, *b;
	struct aiomsg *m;
	const char *data;

	open_pair(PAIR, NULL, &a, &b);
	must_fail(aioconn_read_all(a, &m, 0, AIOIPC_NOW), EINVAL);
	must_fail(aioconn_read_until(a, "x", 1, 0, &data, AIOIPC_NOW), EINVAL);
	aioconn_abort(a);
	aioconn_abort(b);
}

#define MUCH ((size_t)3 << 20)

static void *feed(void *arg)
{
	char *data = must(malloc(MUCH));

	fill(data, MUCH, 5);
	data[MUCH - 1] = data[MUCH - 2] = (char)0xff;
	put(*(int *)arg, data, MUCH);
	close(*(int *)arg);
	free(data);
	return NULL;
}

struct reading {
	struct aioconn *c;
	int how;
};

static void read_much(void *arg)
{
	struct reading *r = arg;
	struct aiomsg *m = NULL;
	const char *data = NULL;
	ssize_t n;

	if (r->how == 0)
		n = must(aioconn_read_all(r->c, &m, 0, soon()));
	else
		n = must(aioconn_read_until(r->c, "\xff\xff", 2, MUCH, &data, soon()));
	ck_assert_int_eq(n, (ssize_t)MUCH);
	ck_assert(is_filled(m ? aiomsg_bytes(m, NULL) : data, MUCH - 2, 5));
	aiomsg_free(m);
}

TEST(megabytes_in_a_task_on_a_base_and_without_one)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 6; k++) {
		struct reading r = {.how = k % 2};
		int fd = stream(AIOCONN_BYTES, k < 2 ? NULL : base, &r.c);
		pthread_t feeder;

		ck_assert_int_eq(pthread_create(&feeder, NULL, feed, &fd), 0);
		if (k < 4)
			read_much(&r);
		else
			must(aiotask_run(base, read_much, &r));
		pthread_join(feeder, NULL);
		aioconn_abort(r.c);
	}
	event_base_free(base);
}

/* Nothing, in every way there is. */
TEST(sending_nothing_is_no_failure)
{
	static const enum aioconn_framing framings[] = {AIOCONN_MESSAGES, AIOCONN_LINES, AIOCONN_BYTES};
	struct event_base *base = new_base();
	struct aiomsg *nothing = must(aiomsg_new_bytes("", 0));

	for (int k = 0; k < 12; k++) {
		struct aioconn *a, *b;
		struct aiomsg *m;
		char buf[4];

		open_pair(PAIR, k % 2 ? base : NULL, &a, &b);
		must(aioconn_set_framing(a, framings[k % 3], NULL));
		must(aioconn_set_framing(b, framings[k % 3], NULL));
		must(aioconn_cork(a, k >= 6));
		for (int i = 0; i < 2; i++) {
			must(aioconn_send_bytes(a, "", 0));
			must(aioconn_send_bytes(a, NULL, 0));
			must(aioconn_send_msg(a, nothing));
		}
		must(aioconn_flush(a, soon()));
		for (int i = 0; k % 3 < 2 && i < 6; i++)
			expect_text(b, "");
		if (k % 3 == 2)
			ck_assert_int_eq(must(aioconn_read(b, buf, 0, soon())), 0);
		if (k % 3 == 2)
			ck_assert_int_eq(must(aioconn_read_exactly(b, buf, 0, soon())), 0);
		must_fail(aioconn_recv(b, &m, AIOIPC_NOW), ETIMEDOUT);
		must(aioconn_write_eof(a));
		must_fail(aioconn_send_bytes(a, "", 0), EPIPE);
		expect_end(b, 0);
		aioconn_abort(a);
		aioconn_abort(b);
	}
	aiomsg_free(nothing);
	event_base_free(base);
}
