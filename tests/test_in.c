/* The splitter: what a stream of bytes is taken for, however it is cut. */
#include "tests/harness.h"

#include <stdio.h>
#include <stdlib.h>

#include "ipc/wire/frame.h"
#include "ipc/wire/in.h"

struct stream {
	unsigned char *data;
	size_t len;
};

static void put(struct stream *s, const void *data, size_t len)
{
	s->data = must(realloc(s->data, s->len + len + 1));
	memcpy(s->data + s->len, data, len);
	s->len += len;
}

static void put_frame(struct stream *s, uint8_t kind, const void *data, size_t len)
{
	struct ipc_frame f = {.length = (uint32_t)len, .kind = kind};
	unsigned char head[IPC_FRAME_LEN];

	ipc_frame_write(head, &f);
	put(s, head, sizeof head);
	put(s, data, len);
}

static struct stream stream_of(const size_t *sizes, size_t n)
{
	struct stream s = {0};

	put(&s, ipc_preface, IPC_PREFACE_LEN);
	for (size_t i = 0; i < n; i++) {
		unsigned char *payload = must(malloc(sizes[i] + 1));

		memset(payload, (int)i + 1, sizes[i]);
		put_frame(&s, IPC_KIND_BYTES, payload, sizes[i]);
		free(payload);
	}
	put_frame(&s, IPC_KIND_GOODBYE, "", 0);
	return s;
}

/* Gives it the next stretch, at most @n bytes, as a read would. */
static void feed(struct ipc_in *in, const struct stream *s, size_t *at, size_t n)
{
	size_t want = s->len - *at < n ? s->len - *at : n;

	while (want) {
		struct iovec iov[2];
		int stretches = ipc_in_room(in, iov);
		size_t took = 0;

		ck_assert_int_gt(stretches, 0);
		for (int i = 0; i < stretches && took < want; i++) {
			size_t part = want - took < iov[i].iov_len ? want - took : iov[i].iov_len;

			memcpy(iov[i].iov_base, s->data + *at, part);
			*at += part;
			took += part;
		}
		ipc_in_filled(in, took);
		want -= took;
		if (want)
			return;
	}
}

static void expect(struct ipc_in *in, size_t size, int fill)
{
	struct aiomsg *m;
	unsigned nfds;
	size_t len;
	const unsigned char *data;

	ck_assert_int_eq(must(ipc_in_next(in, &m, &nfds)), 1);
	data = aiomsg_bytes(m, &len);
	ck_assert_uint_eq(len, size);
	for (size_t i = 0; i < len; i++)
		ck_assert_int_eq(data[i], fill);
	aiomsg_free(m);
}

/* Reads the whole stream @step bytes at a time and expects exactly these messages, then the goodbye. */
static void check_cut(const size_t *sizes, size_t n, size_t first, size_t step)
{
	struct stream s = stream_of(sizes, n);
	struct ipc_in in;
	size_t at = 0, got = 0;
	struct aiomsg *m;
	unsigned nfds;

	ipc_in_init(&in);
	feed(&in, &s, &at, first);
	while (!in.goodbye) {
		int r = must(ipc_in_next(&in, &m, &nfds));

		if (r == 1) {
			ck_assert_uint_eq(m->len, sizes[got]);
			ck_assert(m->len == 0 || (m->data[0] == got + 1 && m->data[m->len - 1] == got + 1));
			aiomsg_free(m);
			got++;
			continue;
		}
		ck_assert(in.goodbye || at < s.len);
		feed(&in, &s, &at, step);
	}
	ck_assert_uint_eq(got, n);
	ck_assert_uint_eq(ipc_in_held(&in), 0);
	ipc_in_free(&in);
	free(s.data);
}

TEST(messages_survive_a_cut_at_every_byte)
{
	static const size_t sizes[] = {3, 0, 64, 1, 40};
	struct stream s = stream_of(sizes, 5);

	for (size_t cut = 0; cut <= s.len; cut++)
		check_cut(sizes, 5, cut, s.len);
	check_cut(sizes, 5, 1, 1);
	free(s.data);
}

TEST(large_messages_survive_cuts)
{
	static const size_t sizes[] = {4096, 65536, 65537, 5, 500000, 32767, 0, 3 << 20};
	static const size_t steps[] = {1000, 4096, 65536, 1 << 20};

	for (size_t i = 0; i < 4; i++) {
		for (size_t first = 0; first < 24; first++)
			check_cut(sizes, 7, first, steps[i]);
		check_cut(sizes, 8, i * 7, steps[i]); /* the largest one takes as long as all that before */
	}
}

/* The first bytes of a stream, then what it must be refused for. */
static void refused(const void *data, size_t len, int error, const char *why)
{
	struct stream s = {0};
	struct ipc_in in;
	struct aiomsg *m;
	unsigned nfds;
	size_t at = 0;

	put(&s, data, len);
	ipc_in_init(&in);
	feed(&in, &s, &at, s.len);
	must_fail(ipc_in_next(&in, &m, &nfds), error);
	ck_assert_msg(strstr(in.why, why), "\"%s\" does not say \"%s\"", in.why, why);
	must_fail(ipc_in_next(&in, &m, &nfds), error);
	ipc_in_free(&in);
	free(s.data);
}

#define PREFACE "AIPC\1\0\0\0"

TEST(what_breaks_the_protocol_is_said_in_words)
{
	refused("GET / HTTP/1.0\r\n\r\n", 18, EPROTO, "does not speak aioipc");
	refused("\x16", 1, EPROTO, "does not speak aioipc");
	refused("AIPC\2\0\0\0", 8, EPROTO, "speaks version 2");
	refused("AIPC\1\0\0\1", 8, EPROTO, "unknown flags");
	refused(PREFACE "\xff\xff\xff\xff\2\0\0\0", 16, EMSGSIZE,
		"frame of 4294967295 bytes, limit 16777216");
	refused(PREFACE "\1\0\0\0\0\0\0\0", 16, EPROTO, "unknown kind 0");
	refused(PREFACE "\0\0\0\0\4\0\0\0", 16, EPROTO, "kind 4 and only 0 bytes");
	refused(PREFACE "\0\0\0\0\12\0\0\0", 16, EPROTO, "unknown kind 10");
	refused(PREFACE "\0\0\0\0\x7f\0\0\0", 16, EPROTO, "unknown kind 127");
	refused(PREFACE "\0\0\0\0\2\1\0\0", 16, EPROTO, "1 descriptors, 0 are allowed");
	refused(PREFACE "\0\0\0\0\2\0\1\0", 16, EPROTO, "unknown flags");
	refused(PREFACE "\1\0\0\0\3\0\0\0x", 17, EPROTO, "goodbye with a payload");
	refused(PREFACE "\0\0\0\0\3\0\0\0x", 17, EPROTO, "after the goodbye");
	refused(PREFACE "\3\0\0\0\1\0\0\0tpl", 19, EBADMSG, "");
}

TEST(unknown_optional_frames_are_skipped_however_long)
{
	struct stream s = {0};
	struct ipc_in in;
	unsigned char *junk = must(calloc(1, 200000));
	struct aiomsg *m;
	unsigned nfds;
	size_t at = 0;

	put(&s, ipc_preface, IPC_PREFACE_LEN);
	put_frame(&s, 129, junk, 200000);
	put_frame(&s, 255, "", 0);
	put_frame(&s, IPC_KIND_BYTES, "\7\7", 2);
	ipc_in_init(&in);
	while (at < s.len) {
		ck_assert_int_eq(ipc_in_next(&in, &m, &nfds), 0);
		feed(&in, &s, &at, 5000);
	}
	expect(&in, 2, 7);
	ipc_in_free(&in);
	free(junk);
	free(s.data);
}

TEST(an_announced_length_reserves_nothing)
{
	struct stream s = {0};
	struct ipc_in in;
	struct aiomsg *m;
	unsigned nfds;
	size_t at = 0;

	put(&s, PREFACE "\0\0\0\1\2\0\0\0", 16); /* 16 MiB follow, or do they? */
	ipc_in_init(&in);
	feed(&in, &s, &at, s.len);
	ck_assert_int_eq(must(ipc_in_next(&in, &m, &nfds)), 0);
	ck_assert_uint_le(ipc_msg_room(in.large), 256 << 10);
	ipc_in_free(&in);
	free(s.data);
}

/* Of messages that were read, one block serves them all, as long as they are about as large, and nobody else holds one. */
TEST(a_message_given_back_serves_the_next)
{
	static const size_t sizes[] = {40, 64, 60, 1, 3000, 40};
	struct stream s = stream_of(sizes, 6);
	const struct aiomsg *block[6];
	struct aiomsg *m, *kept = NULL;
	struct ipc_in in;
	size_t at = 0;
	unsigned nfds;

	ipc_in_init(&in);
	in.reuses = true;
	feed(&in, &s, &at, s.len);
	for (unsigned i = 0; i < 6; i++) {
		ck_assert_int_eq(must(ipc_in_next(&in, &m, &nfds)), 1);
		ck_assert_uint_eq(m->len, sizes[i]);
		ck_assert(m->data[0] == i + 1 && m->data[m->len - 1] == i + 1 && m->data[m->len] == 0);
		block[i] = m;
		if (i == 2)
			kept = aiomsg_ref(m);
		ipc_in_give_back(&in, m);
	}
	ck_assert(block[1] == block[0] && block[2] == block[0]);
	ck_assert(block[3] != block[2] && block[4] != block[3] && block[5] == block[3]);
	ck_assert(kept->len == 60 && kept->data[0] == 3 && kept->data[59] == 3);
	aiomsg_free(kept);
	ipc_in_rest(&in);
	ck_assert_ptr_null(in.spare);
	ipc_in_free(&in);
	free(s.data);
}

static void expect_line(struct ipc_in *in, const char *text)
{
	struct aiomsg *m;
	unsigned nfds;

	ck_assert_int_eq(must(ipc_in_next(in, &m, &nfds)), 1);
	ck_assert_uint_eq(m->len, strlen(text));
	ck_assert_int_eq(memcmp(m->data, text, m->len), 0);
	aiomsg_free(m);
}

TEST(lines_survive_a_cut_at_every_byte)
{
	static const char text[] = "one\r\n\r\nthree\rstill\r\nlast";
	struct aiomsg *m;
	unsigned nfds;

	for (size_t cut = 0; cut < sizeof text; cut++) {
		struct stream s = {0};
		struct ipc_in in;
		size_t at = 0;
		unsigned lines = 0;

		put(&s, text, sizeof text - 1);
		ipc_in_init(&in);
		in.framing = AIOCONN_LINES;
		memcpy(in.delimiter, "\r\n", 2);
		in.delimiter_len = 2;
		feed(&in, &s, &at, cut);
		while (ipc_in_line(&in) > 0 && lines < 3) {
			expect_line(&in, lines == 0 ? "one" : lines == 1 ? "" : "three\rstill");
			lines++;
		}
		feed(&in, &s, &at, s.len);
		for (; lines < 3; lines++)
			expect_line(&in, lines == 0 ? "one" : lines == 1 ? "" : "three\rstill");
		ck_assert_int_eq(ipc_in_next(&in, &m, &nfds), 0);
		in.eof = true;
		expect_line(&in, "last");
		ck_assert_int_eq(ipc_in_next(&in, &m, &nfds), 0);
		ipc_in_free(&in);
		free(s.data);
	}
}

TEST(a_line_may_be_as_long_as_its_limit_and_no_longer)
{
	struct stream s = {0};
	struct ipc_in in;
	size_t at = 0;
	unsigned char *x = must(malloc(300000));

	memset(x, 'x', 300000);
	put(&s, x, 199999);
	put(&s, "\n", 1);
	put(&s, x, 200001);
	ipc_in_init(&in);
	in.framing = AIOCONN_LINES;
	in.line_limit = 200000;
	while (ipc_in_line(&in) == 0)
		feed(&in, &s, &at, 7777);
	ck_assert_int_eq(ipc_in_line(&in), 200000);
	ipc_in_take(&in, 200000);
	while (at < s.len)
		feed(&in, &s, &at, 7777);
	must_fail(ipc_in_line(&in), EMSGSIZE);
	ck_assert_uint_eq(ipc_in_raw(&in), 200001);
	ipc_in_free(&in);
	free(x);
	free(s.data);
}
