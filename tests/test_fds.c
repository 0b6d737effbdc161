/* Descriptors that travel with messages: whole, counted, close-on-exec, and never leaked. */
#include "tests/peers.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST 253

/* A pipe with one byte in it, by which its reading side is known again. */
static int marked_fd(char mark)
{
	int fd[2];

	must(pipe2(fd, O_CLOEXEC));
	must(write(fd[1], &mark, 1));
	close(fd[1]);
	return fd[0];
}

static void expect_mark(int fd, char mark)
{
	char got;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(must(fcntl(fd, F_GETFD)), FD_CLOEXEC);
	ck_assert_int_eq(must(read(fd, &got, 1)), 1);
	ck_assert_int_eq(got, mark);
	close(fd);
}

/* @n times the same descriptor. */
static struct aiomsg *with_fds(int fd, unsigned n, const char *text)
{
	struct aiomsg *m = must(aiomsg_new_bytes(text, strlen(text)));

	for (unsigned i = 0; i < n; i++)
		must(aiomsg_add_fd(m, fd));
	ck_assert_uint_eq(aiomsg_fds(m), n);
	return m;
}

static struct aiomsg *receive(struct aioconn *c, const char *text, unsigned nfds)
{
	struct aiomsg *m;

	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	ck_assert(is_text(m, text));
	ck_assert_uint_eq(aiomsg_fds(m), nfds);
	return m;
}

TEST(one_descriptor_arrives_close_on_exec)
{
	struct aioconn *a, *b;
	struct aiomsg *m;
	int fd = marked_fd('x');
	int32_t i;

	open_pair(PAIR, NULL, &a, &b);
	must(aioconn_allow_fds(b, 4));
	must(aioconn_send_fd(a, fd, "i", (int32_t)42));
	must(fcntl(fd, F_GETFD));
	close(fd);
	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	must(aiomsg_unpack(m, "i", &i));
	ck_assert_int_eq(i, 42);
	expect_mark(aiomsg_take_fd(m), 'x');
	must_fail(aiomsg_take_fd(m), ENOENT);
	aiomsg_free(m);
	aioconn_abort(a);
	aioconn_abort(b);
}

TEST(many_descriptors_keep_their_order)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 2; k++) {
		struct aioconn *a, *b;
		struct aiomsg *m = must(aiomsg_new_bytes("many", 4));

		open_pair(PAIR, k ? base : NULL, &a, &b);
		must(aioconn_allow_fds(b, MOST));
		for (char i = 'a'; i <= 'z'; i++) {
			int fd = marked_fd(i);

			must(aiomsg_add_fd(m, fd));
			close(fd);
		}
		must(aioconn_send_msg(a, m));
		must(aioconn_flush(a, soon()));
		aiomsg_free(m);
		m = receive(b, "many", 26);
		for (char i = 'a'; i <= 'z'; i++)
			expect_mark(aiomsg_take_fd(m), i);
		aiomsg_free(m);
		aioconn_abort(a);
		aioconn_abort(b);
	}
	event_base_free(base);
}

TEST(two_hundred_and_fifty_three_and_no_more)
{
	struct aioconn *a, *b;
	struct aiomsg *m;

	if (!harness_has_fds(600))
		return;
	m = with_fds(0, MOST, "all");
	must_fail(aiomsg_add_fd(m, 0), EMSGSIZE);
	open_pair(PAIR, NULL, &a, &b);
	must(aioconn_allow_fds(b, MOST));
	must(aioconn_send_msg(a, m));
	aiomsg_free(m);
	aiomsg_free(receive(b, "all", MOST));
	aioconn_abort(a);
	aioconn_abort(b);
}

TEST(frames_with_and_without_descriptors_mix)
{
	struct aioconn *a, *b;
	unsigned seed = 1;

	open_pair(PAIR, NULL, &a, &b);
	must(aioconn_allow_fds(b, MOST));
	must(aioconn_cork(a, true));
	for (unsigned i = 0; i < 60; i++) {
		struct aiomsg *m = with_fds(0, i % 3 ? 0 : i % 7, i % 2 ? "odd" : "even");

		must(aioconn_send_msg(a, m));
		aiomsg_free(m);
		if (i % 5 == 0)
			send_fill(a, i * 100, seed++);
	}
	must(aioconn_cork(a, false));
	seed = 1;
	for (unsigned i = 0; i < 60; i++) {
		aiomsg_free(receive(b, i % 2 ? "odd" : "even", i % 3 ? 0 : i % 7));
		if (i % 5 == 0)
			expect_fill(b, i * 100, seed++);
	}
	aioconn_abort(a);
	aioconn_abort(b);
}

TEST(what_cannot_be_sent_is_refused)
{
	struct aioconn *a, *b;
	struct aiomsg *m;

	open_pair(PAIR, NULL, &a, &b);
	must_fail(aioconn_send_fd(a, 3999, "i", 1), EBADF);
	must_fail(aioconn_send_fd(a, -1, "i", 1), EBADF);
	aioconn_abort(a);
	aioconn_abort(b);

	open_pair(DUPLEX, NULL, &a, &b);
	must_fail(aioconn_send_fd(a, 0, "i", 1), EOPNOTSUPP);
	must_fail(aioconn_allow_fds(b, 1), EOPNOTSUPP);
	m = with_fds(0, 1, "x");
	must_fail(aioconn_send_msg(a, m), EOPNOTSUPP);
	aiomsg_free(m);
	send_text(a, "still good");
	expect_text(b, "still good");
	aioconn_abort(a);
	aioconn_abort(b);

	m = with_fds(0, 1, "x");
	aiomsg_ref(m);
	must_fail(aiomsg_add_fd(m, 0), EBUSY);
	aiomsg_free(m);
	must_fail(aiomsg_add_fd(m, 3999), EBADF);
	aiomsg_free(m);
}

TEST(a_descriptor_that_was_not_allowed_is_bad)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, NULL, &a, &b);
	must(aioconn_send_fd(a, 0, "i", 1));
	expect_end(b, EPROTO);
	ck_assert_str_ne(aioconn_why(b), "");
	aioconn_abort(a);
	aioconn_abort(b);

	open_pair(PAIR, base, &a, &b);
	see(b, &s);
	must(aioconn_send_fd(a, 0, "i", 1));
	run_until(base, &s.closes, 1);
	ck_assert_int_eq(s.cause, AIOCONN_BAD);
	aioconn_abort(a);
	event_base_free(base);
}

TEST(more_in_one_frame_than_allowed_is_bad)
{
	struct aioconn *a, *b;
	struct aiomsg *m = with_fds(0, 5, "five");

	open_pair(PAIR, NULL, &a, &b);
	must(aioconn_allow_fds(b, 4));
	must(aioconn_send_msg(a, m));
	expect_end(b, EPROTO);
	aiomsg_free(m);
	aioconn_abort(a);
	aioconn_abort(b);
}

/* What is received and not asked for holds at most so many; the rest waits in the kernel, none is lost. */
TEST(a_flood_of_descriptors_is_bounded)
{
	if (!harness_has_fds(600))
		return;
	struct event_base *base = new_base();

	for (int k = 0; k < 2; k++) {
		struct aioconn *a, *b;
		unsigned sent = 0;

		open_pair(PAIR, base, &a, &b);
		must(aioconn_allow_fds(b, 8));
		must(aioconn_set_send_wait(a, 0));
		for (int i = 0; i < 400; i++) {
			struct aiomsg *m = with_fds(0, 2, "pair");

			if (aioconn_send_msg(a, m) == 0)
				sent++;
			else
				ck_assert_int_eq(errno, EAGAIN);
			aiomsg_free(m);
		}
		run_now(base);
		ck_assert_uint_gt(sent, 8);
		if (k == 0)
			for (unsigned i = 0; i < sent; i++) {
				struct aiomsg *m;

				while (aioconn_recv(b, &m, AIOIPC_NOW) == -1) {
					ck_assert_int_eq(errno, ETIMEDOUT);
					must(event_base_loop(base, EVLOOP_ONCE));
				}
				ck_assert_uint_eq(aiomsg_fds(m), 2);
				aiomsg_free(m);
			}
		aioconn_abort(a);
		aioconn_abort(b);
	}
	event_base_free(base);
}

/* By hand: received and not yet asked for, no more than allowed and what one read brings along. */
TEST(a_hostile_flood_of_descriptors_is_bounded)
{
	struct event_base *base = new_base();
	unsigned char frame[HEADER_LEN + 1];
	size_t len = make_frame(frame, BYTES, 4, "x", 1);
	const int four[4] = {0, 0, 0, 0};
	struct aioconn *c;
	int fd = raw_peer(PAIR, base, &c);
	unsigned before, most = 0;

	must(aioconn_allow_fds(c, 8));
	run_now(base);
	before = harness_count_fds();
	put(fd, PREFACE, PREFACE_LEN);
	for (int i = 0; i < 60; i++) {
		unsigned now;

		put_fds(fd, frame, len, four, 4);
		run_now(base);
		now = harness_count_fds() - before;
		most = now > most ? now : most;
	}
	ck_assert_uint_ge(most, 8);
	ck_assert_uint_le(most, 3 * 8);
	for (int i = 0; i < 60; i++)
		aiomsg_free(receive(c, "x", 4));
	ck_assert_uint_eq(harness_count_fds(), before);
	aioconn_abort(c);
	close(fd);
	event_base_free(base);
}

/* A raw peer whose header does not tell the truth: each is BAD and leaks nothing. */
static void expect_lie(unsigned announced, unsigned sent, bool on_base)
{
	struct event_base *base = on_base ? new_base() : NULL;
	struct seen s = {.msgs = 0};
	unsigned char frame[HEADER_LEN + 3];
	size_t len = make_frame(frame, BYTES, announced, "lie", 3);
	int fds[MOST] = {0};
	struct aioconn *c;
	int fd = raw_peer(PAIR, base, &c);

	must(aioconn_allow_fds(c, 16));
	put(fd, PREFACE, PREFACE_LEN);
	if (sent)
		put_fds(fd, frame, len, fds, sent);
	else
		put(fd, frame, len);
	put_frame(fd, BYTES, 0, "behind", 6);
	if (base) {
		see(c, &s);
		run_until(base, &s.closes, 1);
		ck_assert_int_eq(s.cause, AIOCONN_BAD);
		event_base_free(base);
	} else {
		struct aiomsg *m;

		ck_assert_int_eq(aioconn_recv(c, &m, soon()), -1);
		ck_assert(errno == EPROTO || errno == EBADMSG);
		aioconn_abort(c);
	}
	close(fd);
}

/* More than were announced, or with nothing that announces them; whole, or byte by byte. */
static void expect_surplus(unsigned announced, unsigned sent, size_t first)
{
	unsigned char frame[HEADER_LEN + 3];
	size_t len = make_frame(frame, BYTES, announced, "lie", 3);
	int fds[MOST] = {0};
	struct aioconn *c;
	int fd = raw_peer(PAIR, NULL, &c);
	unsigned before;

	must(aioconn_allow_fds(c, 16));
	before = harness_count_fds();
	put(fd, PREFACE, PREFACE_LEN);
	put_fds(fd, frame, first, fds, sent);
	put(fd, frame + first, len - first);
	if (first < HEADER_LEN || first == len) /* else the header, which came with them, announces none */
		expect_text(c, "lie");
	expect_end(c, EPROTO);
	ck_assert_ptr_nonnull(strstr(aioconn_why(c), "announced"));
	aioconn_abort(c);
	ck_assert_uint_eq(harness_count_fds(), before - 1);
	close(fd);
}

TEST(descriptors_that_no_frame_announced_are_bad)
{
	for (size_t first = 1; first <= HEADER_LEN + 3; first++) {
		expect_surplus(0, 1, first);
		expect_surplus(0, 16, first);
	}
	expect_surplus(0, 17, HEADER_LEN + 3);
}

/* Where none are allowed, the kernel drops them, and nobody notices. */
TEST(descriptors_that_nobody_wants_are_dropped_by_the_kernel)
{
	unsigned char frame[HEADER_LEN + 3];
	size_t len = make_frame(frame, BYTES, 0, "one", 3);
	int fds[2] = {0};
	struct aioconn *c;
	int fd = raw_peer(PAIR, NULL, &c);
	unsigned before = harness_count_fds();

	put(fd, PREFACE, PREFACE_LEN);
	put_fds(fd, frame, len, fds, 2);
	put_frame(fd, GOODBYE, 0, NULL, 0);
	expect_text(c, "one");
	expect_end(c, 0);
	ck_assert_uint_eq(harness_count_fds(), before);
	aioconn_abort(c);
	close(fd);
}

TEST(a_peer_that_lies_about_its_descriptors_is_bad)
{
	for (int on_base = 0; on_base < 2; on_base++) {
		expect_lie(1, 0, on_base);
		expect_lie(3, 2, on_base);
		expect_lie(17, 17, on_base);
		expect_lie(255, 1, on_base);
	}
}

/* More than the header says: BAD, or closed by hand at once; in no case given to a later frame or kept. */
TEST(descriptors_that_nobody_announced_are_not_kept)
{
	unsigned char frame[HEADER_LEN + 3];
	size_t len = make_frame(frame, BYTES, 0, "abc", 3);
	const int fds[3] = {0, 0, 0};

	for (int k = 0; k < 200; k++) {
		struct aiomsg *m;
		struct aioconn *c;
		int fd = raw_peer(PAIR, NULL, &c);
		unsigned before = harness_count_fds(), n = 0;

		must(aioconn_allow_fds(c, 8));
		put(fd, PREFACE, PREFACE_LEN);
		for (int i = 0; i < 5; i++)
			put_fds(fd, frame, len, fds, 3);
		put_frame(fd, BYTES, 0, "end", 3);
		close(fd);
		while (aioconn_recv(c, &m, soon()) == 1) {
			ck_assert_uint_eq(aiomsg_fds(m), 0);
			aiomsg_free(m);
			ck_assert_uint_le(harness_count_fds(), before + 2 * 8);
			n++;
		}
		ck_assert_int_ne(errno, ETIMEDOUT);
		aioconn_abort(c);
		ck_assert_uint_eq(harness_count_fds(), before - 2);
	}
}

TEST(descriptors_on_a_goodbye_or_a_skipped_frame_are_not_leaked)
{
	static const unsigned kinds[] = {GOODBYE, 200, 50, 0};
	unsigned char frame[HEADER_LEN];
	const int fds[2] = {0, 0};

	for (int i = 0; i < 4; i++) {
		struct aiomsg *m;
		struct aioconn *c;
		int fd = raw_peer(PAIR, NULL, &c);

		must(aioconn_allow_fds(c, 8));
		put(fd, PREFACE, PREFACE_LEN);
		put_fds(fd, frame, make_frame(frame, kinds[i], 2, NULL, 0), fds, 2);
		close(fd);
		ck_assert_int_ne(aioconn_recv(c, &m, soon()), 1);
		aioconn_abort(c);
	}
}

/* A stream has no frames that could claim any. */
TEST(a_stream_that_brings_descriptors_ends_behind_its_lines)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	const int fds[9] = {0};
	struct aioconn *c;
	int fd = raw_peer(PAIR, base, &c);

	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	must(aioconn_allow_fds(c, 2));
	see(c, &s);
	put(fd, "one\n", 4);
	put_fds(fd, "two\nhalf", 8, fds, 9);
	run_until(base, &s.closes, 1);
	ck_assert_int_eq(s.cause, AIOCONN_BAD);
	ck_assert_str_eq(s.text, "one two ");
	close(fd);
	event_base_free(base);
}

TEST(what_nobody_received_is_closed)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 4; k++) {
		struct aioconn *a, *b;
		struct aiomsg *m = with_fds(0, 3, "unread");

		open_pair(PAIR, base, &a, &b);
		must(aioconn_allow_fds(b, 64));
		for (int i = 0; i < 10; i++)
			must(aioconn_send_msg(a, m));
		aiomsg_free(m);
		if (k & 1)
			run_now(base);
		if (k & 2)
			aioconn_close(a, AIOIPC_NOW);
		else
			aioconn_abort(a);
		if (k & 1)
			run_now(base);
		aioconn_abort(b);
	}
	event_base_free(base);
}

/* A large message with descriptors is written in many parts; they go with the first, once. */
TEST(a_partly_written_message_sends_its_descriptors_once)
{
	struct event_base *base = new_base();
	char *data = must(malloc(2 << 20));
	struct aioconn *a, *b;
	struct aiomsg *m;
	size_t len;

	fill(data, 2 << 20, 4);
	m = must(aiomsg_new_bytes(data, 2 << 20));
	for (int i = 0; i < 3; i++)
		must(aiomsg_add_fd(m, 0));
	open_pair(PAIR, base, &a, &b);
	must(aioconn_allow_fds(b, 8));
	must(aioconn_send_msg(a, m));
	aiomsg_free(m);
	while (aioconn_recv(b, &m, AIOIPC_NOW) == -1)
		must(event_base_loop(base, EVLOOP_ONCE));
	ck_assert(is_filled(aiomsg_bytes(m, &len), 2 << 20, 4));
	ck_assert_uint_eq(len, 2 << 20);
	ck_assert_uint_eq(aiomsg_fds(m), 3);
	aiomsg_free(m);
	aioconn_abort(a);
	aioconn_abort(b);
	free(data);
	event_base_free(base);
}

static void take_fd(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct seen *s = arg;

	(void)c;
	expect_mark(aiomsg_take_fd(m), 'c');
	s->msgs++;
}

TEST(a_callback_takes_descriptors)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_allow_fds(b, 2));
	must(aioconn_set_callbacks(b, take_fd, NULL, NULL, &s));
	for (int i = 0; i < 20; i++) {
		int fd = marked_fd('c');

		must(aioconn_send_fd(a, fd, "i", i));
		close(fd);
	}
	run_until(base, &s.msgs, 20);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

/* The kernel cuts what does not fit under the limit: the connection ends, the process goes on. */
TEST(without_free_numbers_only_this_connection_ends)
{
	struct aioconn *a, *b, *c, *d;
	struct rlimit was, none;
	struct aiomsg *m = with_fds(0, 20, "too many"), *got;
	int r, error, next;

	open_pair(PAIR, NULL, &a, &b);
	open_pair(PAIR, NULL, &c, &d);
	must(aioconn_allow_fds(b, 100));
	must(aioconn_send_msg(a, m));
	aiomsg_free(m);
	must(getrlimit(RLIMIT_NOFILE, &was));
	none = was;
	next = must(dup(0));
	close(next);
	none.rlim_cur = (rlim_t)next + 4;
	must(setrlimit(RLIMIT_NOFILE, &none));
	r = aioconn_recv(b, &got, soon());
	error = errno;
	must(setrlimit(RLIMIT_NOFILE, &was));
	if (r == 1) { /* under valgrind, which keeps the limit to itself */
		ck_assert_uint_eq(aiomsg_fds(got), 20);
		aiomsg_free(got);
	} else {
		ck_assert_int_eq(r, -1);
		ck_assert_int_ne(error, ETIMEDOUT);
	}
	send_text(c, "unharmed");
	expect_text(d, "unharmed");
	aioconn_abort(a);
	aioconn_abort(b);
	aioconn_abort(c);
	aioconn_abort(d);
}

static void give_then_die(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);

	(void)arg;
	must(aioconn_send_fd(c, marked_fd('k'), "s", "from a child"));
}

TEST(a_descriptor_outlives_its_sender)
{
	struct aioend *mine, *theirs;
	struct aioconn *c;
	struct aiomsg *m;
	pid_t pid;

	must(aiosockpair(&mine, &theirs));
	pid = start_child(give_then_die, theirs, NULL);
	expect_exit(pid, 0);
	c = open_end(mine, NULL);
	must(aioconn_allow_fds(c, 1));
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	expect_mark(aiomsg_take_fd(m), 'k');
	aiomsg_free(m);
	expect_end(c, ECONNRESET);
	aioconn_abort(c);
}

TEST(what_was_allowed_can_be_taken_back)
{
	struct event_base *base = new_base();
	struct seen s = {.stay = true};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_allow_fds(b, 3));
	must(aioconn_allow_fds(b, 0));
	see_end_only(b, &s);
	send_text(a, "without");
	must(aioconn_close(a, soon()));
	run_until(base, &s.closes, 1);
	ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
	expect_text(b, "without");
	expect_end(b, 0);
	aioconn_abort(b);
	event_base_free(base);
}

/* Credentials that the kernel adds to each message are none of ours, and no descriptors. */
TEST(credentials_that_come_along_are_passed_over)
{
	struct aioend *one, *other;
	struct aioconn *a, *b;
	struct aiomsg *m;
	int fd, none;

	must(aiosockpair(&one, &other));
	must(aioend_release(one, &fd, &none));
	must(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
	a = open_end(must(aioend_from_fds(fd, fd)), NULL);
	b = open_end(other, NULL);
	must(aioconn_allow_fds(a, 3));
	must(aioconn_send_fd(b, 0, "s", "with one"));
	send_text(b, "without");
	ck_assert_int_eq(must(aioconn_recv(a, &m, soon())), 1);
	ck_assert_uint_eq(aiomsg_fds(m), 1);
	aiomsg_free(m);
	expect_text(a, "without");
	aioconn_abort(a);
	aioconn_abort(b);
}
