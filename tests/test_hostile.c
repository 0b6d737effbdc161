/* Peers that mean harm: only their own connection ends, in bounded memory, and the loop goes on. */
#include "tests/damage.h"
#include "tests/peers.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* One that behaves, to see that it goes on. */
struct bystander {
	struct event_base *base;
	struct aioconn *a, *b;
	struct seen seen;
};

static void stand_by(struct bystander *by)
{
	memset(by, 0, sizeof *by);
	by->base = new_base();
	open_pair(DUPLEX, by->base, &by->a, &by->b);
	see(by->b, &by->seen);
}

static void expect_unharmed(struct bystander *by)
{
	send_text(by->a, "well");
	run_until(by->base, &by->seen.msgs, by->seen.msgs + 1);
	ck_assert_uint_eq(by->seen.closes, 0);
}

static void leave_by(struct bystander *by)
{
	expect_unharmed(by);
	aioconn_abort(by->a);
	aioconn_abort(by->b);
	event_base_free(by->base);
}

/* On a base and blocking: BAD with @error, in words. */
static void expect_bad(struct bystander *by, const void *bytes, size_t len, int error)
{
	struct seen s = {.msgs = 0};
	struct aioconn *c;
	int fd = raw_peer(PAIR, by->base, &c);

	see(c, &s);
	put(fd, bytes, len);
	run_until(by->base, &s.closes, 1);
	ck_assert_int_eq(s.cause, AIOCONN_BAD);
	ck_assert_str_ne(s.why, "");
	close(fd);
	expect_unharmed(by);

	fd = raw_peer(PIPE, NULL, &c);
	put(fd, bytes, len);
	expect_end(c, error);
	ck_assert_str_ne(aioconn_why(c), "");
	expect_end(c, error);
	aioconn_abort(c);
	close(fd);
}

static void expect_bad_frame(struct bystander *by, unsigned kind, const void *payload, size_t len, int error)
{
	unsigned char talk[512];
	size_t n = PREFACE_LEN;

	memcpy(talk, PREFACE, PREFACE_LEN);
	n += make_frame(talk + n, kind, 0, payload, len);
	n += make_frame(talk + n, BYTES, 0, "behind", 6);
	expect_bad(by, talk, n, error);
}

static void expect_damage_bad(const unsigned char *image, size_t len, void *by)
{
	expect_bad_frame(by, TPL, image, len, EBADMSG);
}

static void damage_message(struct bystander *by, struct aiomsg *m, size_t count)
{
	size_t len;
	const void *image = aiomsg_bytes(must(m), &len);

	if (count)
		damage_word(image, len, count, expect_damage_bad, by);
	else
		damage_head(image, len, expect_damage_bad, by);
	aiomsg_free(m);
}

TEST_WITHIN(damaged_images_are_refused, 120)
{
	struct bystander by;

	stand_by(&by);
	damage_message(&by, aiomsg_new("ss", "", "two"), 0);
	damage_message(&by, aiomsg_new("A(i)", NULL, (size_t)0), 13);
	damage_message(&by, aiomsg_new("A(i)", (int32_t[]){7, 7}, (size_t)2), 13);
	damage_message(&by, aiomsg_new("c#", "ab", (size_t)2), 11);
	damage_message(&by, aiomsg_new("s", "one"), 10);
	damage_message(&by, aiomsg_new("B", "one", (size_t)3), 10);
	leave_by(&by);
}

/* Refused or received: never more than that connection's end. */
static void expect_end_or_message(const unsigned char *image, size_t len, void *arg)
{
	struct aioconn *c;
	struct aiomsg *m;
	int fd = raw_peer(PAIR, NULL, &c), got;

	(void)arg;
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, TPL, 0, image, len);
	close(fd);
	while ((got = aioconn_recv(c, &m, soon())) == 1) {
		const char *s;

		if (aiomsg_unpack(m, "s", &s) == 0)
			ck_assert_uint_le(s ? strlen(s) : 0, len);
		aiomsg_free(m);
	}
	if (got == -1)
		ck_assert(errno == EBADMSG || errno == EPIPE || errno == ECONNRESET);
	aioconn_abort(c);
}

TEST_WITHIN(images_damaged_at_random_end_at_most_their_connection, 120)
{
	struct aiomsg *m = must(aiomsg_new("s", "a string"));
	size_t len;
	const void *image = aiomsg_bytes(m, &len);

	damage_at_random(image, len, 2000, (uint32_t)getpid(), expect_end_or_message, NULL);
	aiomsg_free(m);
}

/* What is no frame of ours, header only: length, kind, nfds, zero. */
TEST(headers_that_lie_are_refused)
{
	static const struct {
		unsigned char header[HEADER_LEN + 1];
		int error;
	} lies[] = {
		{"\377\377\377\377\2\0\0\0", EMSGSIZE}, {"\1\0\0\1\2\0\0\0", EMSGSIZE},
		{"\0\0\0\200\1\0\0\0", EMSGSIZE},       {"\0\0\0\0\0\0\0\0", EPROTO},
		{"\0\0\0\0\4\0\0\0", EPROTO},           {"\0\0\0\0\177\0\0\0", EPROTO},
		{"\5\0\0\0\3\0\0\0", EPROTO},           {"\0\0\0\0\2\0\1\0", EPROTO},
		{"\0\0\0\0\2\0\0\1", EPROTO},
	};
	struct bystander by;

	stand_by(&by);
	for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
		unsigned char talk[PREFACE_LEN + HEADER_LEN];

		memcpy(talk, PREFACE, PREFACE_LEN);
		memcpy(talk + PREFACE_LEN, lies[i].header, HEADER_LEN);
		expect_bad(&by, talk, sizeof talk, lies[i].error);
	}
	leave_by(&by);
}

TEST(prefaces_of_others_are_eproto)
{
	static const char prefaces[][9] = {"AIPC\2\0\0\0", "AIPC\1\0\1\0",   "AIPC\1\0\0\1", "AIPD\1\0\0\0",
					   "GET / HT",     "\0\0\0\0\0\0\0", "aipc\1\0\0\0"};
	struct bystander by;

	stand_by(&by);
	for (size_t i = 0; i < sizeof prefaces / sizeof *prefaces; i++)
		expect_bad(&by, prefaces[i], PREFACE_LEN, EPROTO);
	expect_bad(&by, "GET / HTTP/1.1\r\nHost: example\r\n\r\n", 34, EPROTO);
	leave_by(&by);
}

TEST(the_reason_names_the_lengths)
{
	struct aioconn *c;
	int fd = raw_peer(PAIR, NULL, &c);

	put(fd, PREFACE "\377\377\377\377\2\0\0\0", PREFACE_LEN + HEADER_LEN);
	expect_end(c, EMSGSIZE);
	ck_assert_str_eq(aioconn_why(c), "frame of 4294967295 bytes, limit 16777216");
	aioconn_abort(c);
	close(fd);
}

TEST(every_unknown_kind_does_what_the_contract_says)
{
	for (unsigned kind = 0; kind < 256; kind++) {
		struct aioconn *c;
		int fd;

		if (kind >= TPL && kind <= GOODBYE)
			continue;
		fd = raw_peer(PAIR, NULL, &c);
		put(fd, PREFACE, PREFACE_LEN);
		put_frame(fd, kind, 0, "whatever it is", kind % 15);
		put_frame(fd, BYTES, 0, "next", 4);
		if (kind < 128) {
			expect_end(c, EPROTO);
		} else {
			expect_text(c, "next");
		}
		aioconn_abort(c);
		close(fd);
	}
}

TEST(a_skipped_frame_may_be_long_and_costs_nothing)
{
	struct aioconn *c;
	int fd = raw_peer(PAIR, NULL, &c);
	char *data = must(calloc(1, 60000));
	unsigned char header[HEADER_LEN];
	struct aiomsg *m;
	size_t before;

	put(fd, PREFACE, PREFACE_LEN);
	make_frame(header, 200, 0, NULL, 0);
	header[0] = 0x80;
	header[1] = 0x8d;
	header[2] = 0x5b; /* 6 000 000 */
	put(fd, header, sizeof header);
	must_fail(aioconn_recv(c, &m, AIOIPC_NOW), ETIMEDOUT);
	before = heap_in_use();
	for (int i = 0; i < 100; i++) {
		put(fd, data, 60000);
		must_fail(aioconn_recv(c, &m, AIOIPC_NOW), ETIMEDOUT);
	}
	ck_assert_uint_lt(heap_in_use(), before + 500000);
	put_frame(fd, BYTES, 0, "next", 4);
	expect_text(c, "next");
	aioconn_abort(c);
	close(fd);
	free(data);
}

/* Memory grows with what has arrived, never with what was announced. */
TEST(what_is_only_announced_costs_nothing)
{
	struct event_base *base = new_base();
	struct aioconn *c[50];
	size_t before;
	int fd[50];

	for (int i = 0; i < 50; i++)
		fd[i] = raw_peer(PAIR, base, &c[i]);
	run_now(base);
	before = heap_in_use();
	for (int i = 0; i < 50; i++)
		put(fd[i], PREFACE "\0\0\0\1\2\0\0\0begin", PREFACE_LEN + HEADER_LEN + 5);
	for (int i = 0; i < 50; i++) {
		struct aiomsg *m;

		must_fail(aioconn_recv(c[i], &m, AIOIPC_NOW), ETIMEDOUT);
	}
	ck_assert_uint_lt(heap_in_use(), before + 50 * 200000);
	for (int i = 0; i < 50; i++) {
		aioconn_abort(c[i]);
		close(fd[i]);
	}
	event_base_free(base);
}

static uint32_t random_next(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* Random bytes behind a good preface, and random frames: an end or messages, never more. */
TEST_WITHIN(garbage_ends_only_its_own_connection, 120)
{
	struct bystander by;
	uint32_t seed = 1;

	stand_by(&by);
	for (int i = 0; i < 2000; i++) {
		struct seen s = {.msgs = 0};
		unsigned char bytes[300];
		struct aioconn *c;
		int fd = raw_peer(PAIR, by.base, &c);

		see(c, &s);
		if (i & 1)
			must(aioconn_allow_fds(c, 4));
		for (size_t k = 0; k < sizeof bytes; k++)
			bytes[k] = (unsigned char)(random_next(&seed) >> 7);
		if (i % 3)
			memcpy(bytes, PREFACE, PREFACE_LEN);
		if (i % 3 == 2)
			for (size_t at = PREFACE_LEN; at + 20 < sizeof bytes; at += 20) {
				memcpy(bytes + at, "\14\0\0\0", 4);
				bytes[at + 4] = (unsigned char)(at % 60 ? 2 : random_next(&seed));
				bytes[at + 5] = bytes[at + 6] = bytes[at + 7] = 0;
			}
		put(fd, bytes, sizeof bytes);
		close(fd);
		run_until(by.base, &s.closes, 1);
		ck_assert_uint_eq(s.closes, 1);
	}
	leave_by(&by);
}

TEST(one_byte_at_a_time_is_served_like_any_other)
{
	struct bystander by;
	struct seen s = {.msgs = 0};
	unsigned char talk[256];
	size_t len = PREFACE_LEN;
	struct aioconn *c;
	int fd;

	stand_by(&by);
	memcpy(talk, PREFACE, PREFACE_LEN);
	len += make_frame(talk + len, BYTES, 0, "slow", 4);
	len += make_frame(talk + len, BYTES, 0, "slower", 6);
	fd = raw_peer(PAIR, by.base, &c);
	see(c, &s);
	for (size_t i = 0; i < len; i++) {
		put(fd, talk + i, 1);
		expect_unharmed(&by);
	}
	run_until(by.base, &s.msgs, 2);
	ck_assert_str_eq(s.text, "slow slower ");
	aioconn_abort(c);
	close(fd);
	leave_by(&by);
}

static void flood_by_hand(struct aioend *end, void *arg)
{
	static unsigned char frames[1000 * (HEADER_LEN + 3)];
	int rfd, wfd;

	(void)arg;
	for (size_t i = 0; i < 1000; i++)
		make_frame(frames + i * (HEADER_LEN + 3), BYTES, 0, "abc", 3);
	must(aioend_release(end, &rfd, &wfd));
	put(wfd, PREFACE, PREFACE_LEN);
	while (put_try(wfd, frames, sizeof frames))
		continue;
}

/* Nobody takes the messages: reading stops at the limit. Somebody does: the others still get their turns. */
TEST_WITHIN(a_flood_is_bounded_and_starves_nobody, 120)
{
	struct bystander by;

	stand_by(&by);
	for (int taken = 0; taken < 2; taken++) {
		struct aioconn_stats stats = {.size = sizeof stats};
		struct seen s = {.msgs = 0};
		struct aioend *mine, *theirs;
		struct aioconn *c;
		size_t before;
		pid_t pid;

		must(aiosockpair(&mine, &theirs));
		pid = start_child(flood_by_hand, theirs, NULL);
		c = open_end(mine, by.base);
		expect_unharmed(&by);
		before = heap_in_use();
		if (taken)
			see(c, &s);
		do {
			expect_unharmed(&by);
			must(aioconn_stats(c, &stats));
		} while (stats.queued_in < 900000 && s.msgs < 1000000);
		for (int i = 0; i < 300; i++)
			expect_unharmed(&by);
		must(aioconn_stats(c, &stats));
		ck_assert_uint_lt(stats.peak_in, (1 << 20) + 256 * 1024);
		ck_assert_uint_lt(heap_in_use(), before + (4 << 20));
		aioconn_abort(c);
		expect_exit(pid, 0);
	}
	leave_by(&by);
}

/* Tiny messages are charged their overhead: real memory stays near the limit too. */
TEST(a_flood_of_empty_messages_is_bounded_in_memory)
{
	struct event_base *base = new_base();
	static unsigned char frames[64 * 1024];
	struct aioconn_stats stats = {.size = sizeof stats};
	struct aioconn *c;
	int fd = raw_peer(PAIR, base, &c);
	size_t before, sent = 0;

	run_now(base);
	before = heap_in_use();
	for (size_t i = 0; i < sizeof frames; i += HEADER_LEN)
		make_frame(frames + i, BYTES, 0, NULL, 0);
	put(fd, PREFACE, PREFACE_LEN);
	for (int idle = 0; idle < 3 && sent < 100 << 20; run_now(base)) {
		ssize_t n =
			send(fd, frames + sent % HEADER_LEN, sizeof frames - sent % HEADER_LEN, MSG_DONTWAIT);

		sent += n > 0 ? (size_t)n : 0;
		idle = n > 0 ? 0 : idle + 1;
	}
	must(aioconn_stats(c, &stats));
	ck_assert_uint_lt(sent, 20 << 20);
	ck_assert_uint_lt(heap_in_use(), before + (4 << 20));
	aioconn_abort(c);
	close(fd);
	event_base_free(base);
}

TEST(a_peer_that_reads_nothing_costs_its_queue_and_no_more)
{
	struct bystander by;
	struct aioconn *c;
	char data[1000] = {0};
	size_t before;
	int fd;

	stand_by(&by);
	fd = raw_reader(PAIR, by.base, &c);
	must(aioconn_set_send_wait(c, 0));
	before = heap_in_use();
	for (int i = 0; i < 20000; i++) {
		if (aioconn_send_bytes(c, data, sizeof data) == -1)
			ck_assert_int_eq(errno, EAGAIN);
		if (i % 100 == 0)
			expect_unharmed(&by);
	}
	ck_assert_uint_lt(heap_in_use(), before + (3 << 20));
	must_fail(aioconn_close(c, AIOIPC_NOW), ETIMEDOUT);
	close(fd);
	leave_by(&by);
}

TEST(after_bad_nothing_more_is_delivered)
{
	struct event_base *base = new_base();
	struct seen s = {.stay = true};
	struct aioconn *c;
	int fd = raw_peer(PAIR, base, &c);

	see(c, &s);
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, BYTES, 0, "good", 4);
	put_frame(fd, 99, 0, NULL, 0);
	put_frame(fd, BYTES, 0, "late", 4);
	run_until(base, &s.closes, 1);
	run_now(base);
	ck_assert_str_eq(s.text, "good ");
	ck_assert_int_eq(s.cause, AIOCONN_BAD);
	must_fail(aioconn_send(c, "i", 1), EPIPE);
	aioconn_abort(c);
	close(fd);
	event_base_free(base);
}

TEST(what_came_before_the_harm_is_still_received)
{
	struct aioconn *c;
	int fd = raw_peer(PAIR, NULL, &c);

	put(fd, PREFACE, PREFACE_LEN);
	for (int i = 0; i < 100; i++)
		put_frame(fd, BYTES, 0, "good", 4);
	put_frame(fd, 99, 0, NULL, 0);
	for (int i = 0; i < 100; i++)
		expect_text(c, "good");
	expect_end(c, EPROTO);
	aioconn_abort(c);
	close(fd);
}

TEST(frames_behind_a_goodbye_are_not_delivered)
{
	struct aioconn *c;
	struct aiomsg *m;
	int fd = raw_peer(PAIR, NULL, &c);

	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, GOODBYE, 0, NULL, 0);
	put_frame(fd, BYTES, 0, "late", 4);
	ck_assert_int_ne(aioconn_recv(c, &m, soon()), 1);
	ck_assert_int_ne(aioconn_recv(c, &m, soon()), 1);
	aioconn_abort(c);
	close(fd);
}

TEST(a_line_without_an_end_is_bounded)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *c;
	int fd = raw_peer(PAIR, base, &c);
	char data[10000];
	size_t before;

	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	see(c, &s);
	run_now(base);
	before = heap_in_use();
	memset(data, 'x', sizeof data);
	for (int i = 0; i < 100 && s.closes == 0; i++) {
		put_try(fd, data, sizeof data);
		run_now(base);
	}
	ck_assert_uint_lt(heap_in_use(), before + 600000);
	ck_assert_uint_eq(s.closes, 1);
	ck_assert_int_eq(s.cause, AIOCONN_BAD);
	close(fd);
	event_base_free(base);
}
