/* Messages in shared memory: they travel as memory where the peer takes that, and as bytes everywhere else. */
#include "tests/peers.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LARGE ((size_t)300 * 1000)
#define GRANT 128
#define IN_MEMORY 1
#define ALL_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

/* Whether this system has such memory. If not, it says so. */
static bool has_memory(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd == -1)
		printf("# left out: no memfd_create here\n");
	else
		close(fd);
	return fd != -1;
}

static struct aiomsg *unsealed(size_t len, unsigned seed)
{
	struct aiomsg *m;
	void *data;

	m = must(aiomsg_new_shared(len, &data));
	fill(data, len, seed);
	return m;
}

static struct aiomsg *shared(size_t len, unsigned seed)
{
	struct aiomsg *m = unsealed(len, seed);

	must(aiomsg_seal(m));
	return m;
}

static void send_shared(struct aioconn *c, size_t len, unsigned seed)
{
	struct aiomsg *m = shared(len, seed);

	must(aioconn_send_msg(c, m));
	aiomsg_free(m);
}

static struct aioconn_stats stats_of(const struct aioconn *c)
{
	struct aioconn_stats s = {.size = sizeof s};

	must(aioconn_stats(c, &s));
	return s;
}

/* The receiver says what it takes when it first waits. */
static void say_what_is_taken(struct aioconn *c)
{
	struct aiomsg *m;

	must_fail(aioconn_recv(c, &m, AIOIPC_NOW), ETIMEDOUT);
}

static void open_taking(enum transport t, unsigned most, struct aioconn **a, struct aioconn **b)
{
	open_pair(t, NULL, a, b);
	must(aioconn_allow_shared(*b, most));
	say_what_is_taken(*b);
}

static void close_both(struct aioconn *a, struct aioconn *b)
{
	aioconn_abort(a);
	aioconn_abort(b);
}

static void travels_as_memory(enum transport t)
{
	struct aioconn *a, *b;

	open_taking(t, 4, &a, &b);
	send_shared(a, LARGE, 1);
	expect_fill(b, LARGE, 1);
	ck_assert_uint_eq(stats_of(a).shared_out, 1);
	ck_assert_uint_lt(stats_of(a).bytes_out, 100);
	ck_assert_uint_eq(stats_of(b).shared_in, 1);
	ck_assert_uint_eq(stats_of(b).msgs_in, 1);
	close_both(a, b);
}

TEST(it_travels_as_memory_over_a_pair)
{
	if (has_memory())
		travels_as_memory(PAIR);
}

TEST(it_travels_as_memory_over_a_ring)
{
	if (has_memory())
		travels_as_memory(RING);
}

/* On a loop: what comes is looked at, and counted. */
struct expected {
	unsigned msgs, first, stop_at;
};

static void look(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct expected *e = arg;
	size_t len;
	const void *bytes = aiomsg_bytes(m, &len);

	ck_assert_uint_eq(len, LARGE);
	ck_assert(is_filled(bytes, len, e->first + e->msgs));
	ck_assert_int_eq(((const char *)bytes)[len], 0);
	if (++e->msgs == e->stop_at)
		aioconn_pause(c);
}

static void travels_as_bytes(enum transport t)
{
	struct event_base *base = new_base();
	struct expected e = {.first = 2};
	struct aioconn *a, *b;

	open_pair(t, base, &a, &b);
	must(aioconn_set_callbacks(b, look, NULL, NULL, &e));
	run_now(base);
	send_shared(a, LARGE, 2);
	run_until(base, &e.msgs, 1);
	ck_assert_uint_eq(stats_of(a).shared_out, 0);
	ck_assert_uint_ge(stats_of(a).bytes_out, LARGE);
	if (t == PAIR)
		ck_assert_uint_eq(stats_of(b).bytes_out, 0);
	close_both(a, b);
	event_base_free(base);
}

TEST(it_travels_as_bytes_where_nobody_takes_memory)
{
	if (!has_memory())
		return;
	travels_as_bytes(PIPE);
	travels_as_bytes(DUPLEX);
	travels_as_bytes(PAIR);
	travels_as_bytes(RING);
}

TEST(small_ones_travel_as_bytes)
{
	struct aioconn *a, *b;

	if (!has_memory())
		return;
	open_taking(PAIR, 4, &a, &b);
	send_shared(a, 0, 1);
	expect_fill(b, 0, 1);
	send_shared(a, 5000, 1);
	expect_fill(b, 5000, 1);
	ck_assert_uint_eq(stats_of(a).shared_out, 0);
	close_both(a, b);
}

TEST(under_bytes_and_lines_it_is_bytes)
{
	struct aioconn *a, *b;
	char got[5000];

	if (!has_memory())
		return;
	for (int f = AIOCONN_LINES; f <= AIOCONN_BYTES; f++) {
		struct aiomsg *m;
		void *data;

		m = must(aiomsg_new_shared(100000, &data));
		memset(data, 'x', 100000);
		must(aiomsg_seal(m));
		open_pair(PAIR, NULL, &a, &b);
		must(aioconn_set_framing(a, (enum aioconn_framing)f, NULL));
		must(aioconn_set_framing(b, (enum aioconn_framing)f, NULL));
		must(aioconn_set_limits(
			a, &(struct aioconn_limits){.size = sizeof(struct aioconn_limits), .line = 200000}));
		must(aioconn_allow_shared(b, 4));
		say_what_is_taken(b);
		must(aioconn_set_send_wait(a, 0));
		must(aioconn_send_msg(a, m));
		aiomsg_free(m);
		ck_assert_int_eq(must(aioconn_read(b, got, sizeof got, soon())), (ssize_t)sizeof got);
		ck_assert(got[0] == 'x' && got[sizeof got - 1] == 'x');
		ck_assert_uint_eq(stats_of(b).bytes_out, 0);
		close_both(a, b);
	}
}

static void ignore(struct aiomsg *answer, int error, void *arg)
{
	(void)answer;
	(void)error;
	(void)arg;
}

TEST(what_is_not_sealed_is_not_sent)
{
	struct aioconn *a, *b;
	struct aiomsg *m, *copy;

	if (!has_memory())
		return;
	open_taking(PAIR, 4, &a, &b);
	m = unsealed(LARGE, 3);
	must_fail(aioconn_send_msg(a, m), EINVAL);
	must_fail(aioconn_call_later(a, m, ignore, NULL, AIOIPC_FOREVER), EINVAL);
	copy = aiomsg_ref(m);
	must_fail(aiomsg_seal(m), EBUSY);
	aiomsg_free(copy);
	must(aiomsg_seal(m));
	must(aiomsg_seal(m));
	must(aioconn_send_msg(a, m));
	expect_fill(b, LARGE, 3);
	aiomsg_free(m);
	m = must(aiomsg_new_bytes("x", 1));
	must(aiomsg_seal(m));
	aiomsg_free(m);
	close_both(a, b);
}

TEST(sealed_bytes_are_read_where_they_were_written_and_not_written)
{
	struct aiomsg *m;
	void *data;
	size_t len;
	pid_t pid;

	if (!has_memory())
		return;
	m = must(aiomsg_new_shared(LARGE, &data));
	fill(data, LARGE, 4);
	must(aiomsg_seal(m));
	ck_assert_ptr_eq(aiomsg_bytes(m, &len), data);
	ck_assert_uint_eq(len, LARGE);
	ck_assert(is_filled(data, LARGE, 4));
	ck_assert_int_eq(((char *)data)[LARGE], 0);
	pid = must(fork());
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile char *)data = 1;
		_exit(0);
	}
	expect_killed(pid, SIGSEGV);
	aiomsg_free(m);
}

TEST(a_child_of_before_the_seal_can_not_change_it)
{
	int go[2], done[2];
	struct aioconn *a, *b;
	struct aiomsg *m;
	void *data;
	pid_t pid;
	char c;

	if (!has_memory())
		return;
	m = must(aiomsg_new_shared(LARGE, &data));
	fill(data, LARGE, 5);
	must(pipe(go));
	must(pipe(done));
	pid = must(fork());
	if (pid == 0) {
		close(go[1]);
		while (read(go[0], &c, 1) == -1)
			continue;
		memset(data, 0, LARGE);
		aiomsg_free(m);
		must(write(done[1], "x", 1));
		_exit(0);
	}
	must(aiomsg_seal(m));
	must(write(go[1], "x", 1));
	ck_assert_int_eq(must(read(done[0], &c, 1)), 1);
	expect_exit(pid, 0);
	ck_assert(is_filled(data, LARGE, 5));
	open_taking(PAIR, 1, &a, &b);
	must(aioconn_send_msg(a, m));
	expect_fill(b, LARGE, 5);
	ck_assert_uint_eq(stats_of(b).shared_in, 1);
	aiomsg_free(m);
	close_both(a, b);
	for (int i = 0; i < 2; i++) {
		close(go[i]);
		close(done[i]);
	}
}

TEST(a_child_has_a_sealed_message_too)
{
	struct aioend *one, *other;
	struct aioconn *a, *b;
	struct aiomsg *m;
	pid_t pid;

	if (!has_memory())
		return;
	m = shared(LARGE, 6);
	must(aiosockpair(&one, &other));
	must(aioend_detach(other));
	pid = must(fork());
	if (pid == 0) {
		b = must(aioend_open(other, NULL));
		must(aioconn_send_msg(b, m));
		aiomsg_free(m);
		_exit(aioconn_close(b, soon()) == 0 ? 0 : 1);
	}
	aiomsg_free(m);
	aioend_free(other);
	a = must(aioend_open(one, NULL));
	must(aioconn_allow_shared(a, 1));
	expect_fill(a, LARGE, 6);
	expect_end(a, 0);
	expect_exit(pid, 0);
	aioconn_abort(a);
}

/* Who does not take what waits gets no more memory, but bytes, and is granted more when it goes on. */
static void grants_are_kept(enum transport t)
{
	struct event_base *base = new_base();
	struct expected e = {.stop_at = 1};
	struct aioconn *a, *b;

	open_pair(t, base, &a, &b);
	must(aioconn_set_limits(
		a, &(struct aioconn_limits){.size = sizeof(struct aioconn_limits), .outbox = 100 * LARGE}));
	must(aioconn_allow_shared(b, 3));
	must(aioconn_set_callbacks(b, look, NULL, NULL, &e));
	run_now(base);
	aioconn_pause(b);
	for (unsigned i = 0; i < 5; i++)
		send_shared(a, LARGE, i);
	run_now(base);
	ck_assert_uint_eq(stats_of(a).shared_out, 3);
	aioconn_resume(b);
	run_until(base, &e.msgs, 1);
	aioconn_resume(b);
	run_until(base, &e.msgs, 5);
	run_now(base);
	ck_assert_uint_eq(stats_of(b).shared_in, 3);
	for (unsigned i = 5; i < 50; i++) {
		send_shared(a, LARGE, i);
		run_until(base, &e.msgs, i + 1);
	}
	ck_assert_uint_eq(stats_of(a).shared_out, 48);
	ck_assert_uint_eq(stats_of(b).shared_in, 48);
	close_both(a, b);
	event_base_free(base);
}

TEST(no_more_come_than_were_granted)
{
	if (!has_memory())
		return;
	grants_are_kept(PAIR);
	grants_are_kept(RING);
}

TEST(who_only_sends_learns_of_grants_too)
{
	struct aioconn *a, *b;

	if (!has_memory())
		return;
	open_taking(PAIR, 2, &a, &b);
	for (unsigned i = 0; i < 40; i++) {
		send_shared(a, LARGE, i);
		expect_fill(b, LARGE, i);
	}
	ck_assert_uint_eq(stats_of(a).shared_out, 40);
	must(aioconn_close(a, soon()));
	expect_end(b, 0);
	must(aioconn_close(b, soon()));
}

TEST(what_waits_counts_in_the_inbox)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct expected e = {.stop_at = 0};

	if (has_memory()) {
		open_pair(PAIR, base, &a, &b);
		must(aioconn_set_limits(b, &(struct aioconn_limits){.size = sizeof(struct aioconn_limits),
								    .inbox = LARGE + LARGE / 2}));
		must(aioconn_allow_shared(b, 8));
		run_now(base);
		for (unsigned i = 0; i < 6; i++)
			send_shared(a, LARGE, i);
		ck_assert_uint_eq(stats_of(a).shared_out, 6);
		run_now(base);
		ck_assert_uint_lt(stats_of(b).peak_in, 3 * LARGE);
		must(aioconn_set_callbacks(b, look, NULL, NULL, &e));
		run_until(base, &e.msgs, 6);
		close_both(a, b);
	}
	event_base_free(base);
}

TEST(what_was_received_is_sent_on_as_memory)
{
	struct aioconn *a, *b, *c, *d;
	struct aiomsg *m;

	if (!has_memory())
		return;
	open_taking(PAIR, 2, &a, &b);
	open_taking(RING, 2, &c, &d);
	send_shared(a, LARGE, 7);
	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	must(aioconn_send_msg(c, m));
	close_both(a, b);
	ck_assert(is_filled(aiomsg_bytes(m, NULL), LARGE, 7));
	aiomsg_free(m);
	expect_fill(d, LARGE, 7);
	ck_assert_uint_eq(stats_of(d).shared_in, 1);
	close_both(c, d);
}

TEST(it_may_have_descriptors_too)
{
	struct aioconn *a, *b;
	struct aiomsg *m;
	struct stat st;
	int fd;

	if (!has_memory())
		return;
	open_pair(PAIR, NULL, &a, &b);
	must(aioconn_allow_fds(b, 2));
	must(aioconn_allow_shared(b, 2));
	say_what_is_taken(b);
	m = shared(LARGE, 8);
	must(aiomsg_add_fd(m, STDIN_FILENO));
	must(aioconn_send_msg(a, m));
	aiomsg_free(m);
	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	ck_assert(is_filled(aiomsg_bytes(m, NULL), LARGE, 8));
	ck_assert_uint_eq(aiomsg_fds(m), 1);
	fd = must(aiomsg_take_fd(m));
	must(fstat(fd, &st));
	close(fd);
	ck_assert_uint_eq(stats_of(b).shared_in, 1);
	aiomsg_free(m);
	close_both(a, b);
}

/* Calls: both ways. */

static void answer_shared(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct aiomsg *large = shared(LARGE, 11), *answer;

	ck_assert(is_filled(aiomsg_bytes(m, NULL), LARGE, 10));
	answer = must(aiomsg_answer_msg(m, large));
	must(aioconn_send_msg(c, answer));
	aiomsg_free(answer);
	aiomsg_free(large);
	(*(unsigned *)arg)++;
}

static void see_answer(struct aiomsg *answer, int error, void *arg)
{
	ck_assert_int_eq(error, 0);
	ck_assert(is_filled(aiomsg_bytes(answer, NULL), LARGE, 11));
	(*(unsigned *)arg)++;
}

static void calls(enum transport t)
{
	struct event_base *base = new_base();
	unsigned called = 0, answered = 0;
	struct aioconn *a, *b;
	struct aiomsg *m;

	open_pair(t, base, &a, &b);
	must(aioconn_allow_shared(a, 1));
	must(aioconn_allow_shared(b, 1));
	must(aioconn_set_callbacks(b, answer_shared, NULL, NULL, &called));
	run_now(base);
	for (unsigned i = 0; i < 5; i++) {
		m = shared(LARGE, 10);
		must(aioconn_call_later(a, m, see_answer, &answered, AIOIPC_FOREVER));
		aiomsg_free(m);
		run_until(base, &answered, i + 1);
		run_now(base);
	}
	ck_assert_uint_eq(stats_of(a).shared_out, 5);
	ck_assert_uint_eq(stats_of(b).shared_out, 5);
	ck_assert_uint_eq(called, 5);
	close_both(a, b);
	event_base_free(base);
}

TEST(calls_and_answers_travel_so_too)
{
	if (!has_memory())
		return;
	calls(PAIR);
	calls(RING);
}

TEST(without_descriptors_left_it_travels_as_bytes)
{
	struct rlimit old, few;
	struct event_base *base = new_base();
	struct expected e = {.first = 3};
	struct aioconn *a, *b;
	struct aiomsg *m;
	int fd;

	if (has_memory()) {
		open_pair(PAIR, base, &a, &b);
		must(aioconn_allow_shared(b, 4));
		must(aioconn_set_callbacks(b, look, NULL, NULL, &e));
		run_now(base);
		m = shared(LARGE, 3);
		fd = must(dup(STDIN_FILENO));
		must(getrlimit(RLIMIT_NOFILE, &old));
		few = old;
		few.rlim_cur = (rlim_t)fd;
		must(close(fd));
		while ((fd = dup(STDIN_FILENO)) != -1 && (rlim_t)fd < few.rlim_cur)
			few.rlim_cur = (rlim_t)fd;
		if (fd != -1)
			close(fd);
		must(setrlimit(RLIMIT_NOFILE, &few));
		must(aioconn_send_msg(a, m));
		must(setrlimit(RLIMIT_NOFILE, &old));
		aiomsg_free(m);
		run_until(base, &e.msgs, 1);
		ck_assert_uint_eq(stats_of(a).shared_out, 0);
		close_both(a, b);
	}
	event_base_free(base);
}

TEST(a_limit_of_file_sizes_ends_nobody)
{
	void *data;

	if (!has_memory())
		return;
	must(setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, RLIM_INFINITY}));
	must_fail(aiomsg_new_shared(1000, &data), EFBIG);
	aiomsg_free(must(aiomsg_new_shared(999, &data)));
	if (sizeof(size_t) > 4)
		must_fail(aiomsg_new_shared((size_t)UINT32_MAX + 1, &data), EMSGSIZE);
}

TEST(the_limit_of_messages_holds)
{
	struct aioconn *a, *b;
	struct aiomsg *m;

	if (!has_memory())
		return;
	open_taking(PAIR, 4, &a, &b);
	must(aioconn_set_limits(
		a, &(struct aioconn_limits){.size = sizeof(struct aioconn_limits), .message = LARGE}));
	m = shared(LARGE + 1, 1);
	must_fail(aioconn_send_msg(a, m), EMSGSIZE);
	aiomsg_free(m);
	send_shared(a, LARGE, 1);
	must(aioconn_close(a, soon()));
	must(aioconn_set_limits(
		b, &(struct aioconn_limits){.size = sizeof(struct aioconn_limits), .message = LARGE - 1}));
	expect_end(b, EMSGSIZE);
	ck_assert_ptr_nonnull(strstr(aioconn_why(b), "300000 bytes in memory, limit 299999"));
	aioconn_abort(b);
}

TEST(what_is_allowed)
{
	struct aioconn *a, *b;

	open_pair(PIPE, NULL, &a, &b);
	must_fail(aioconn_allow_shared(a, 1), EOPNOTSUPP);
	must_fail(aioconn_allow_shared(b, 1), EOPNOTSUPP);
	close_both(a, b);
	open_pair(PAIR, NULL, &a, &b);
	must_fail(aioconn_allow_shared(a, 65), EINVAL);
	must(aioconn_allow_fds(a, 253));
	must(aioconn_allow_shared(a, 64));
	must(aioconn_allow_shared(a, 0));
	must(aioconn_allow_shared(a, 1));
	must(aioconn_allow_fds(a, 0));
	send_text(a, "x");
	must_fail(aioconn_allow_shared(a, 1), EBUSY);
	expect_text(b, "x");
	close_both(a, b);
}

/* Peers that were written by hand. */

/* What a peer is told: the preface and how many, when this side first waits. */
static int raw_taken(struct aioconn **c, unsigned most)
{
	unsigned char payload[16];
	unsigned kind;
	int fd = raw_peer(PAIR, NULL, c);

	must(aioconn_allow_shared(*c, most));
	ck_assert(!is_readable(fd));
	say_what_is_taken(*c);
	get_preface(fd);
	ck_assert_int_eq(get_frame(fd, &kind, payload, sizeof payload), 8);
	ck_assert_uint_eq(kind, GRANT);
	ck_assert_uint_eq(payload[0], most);
	put(fd, PREFACE, PREFACE_LEN);
	return fd;
}

static size_t make_memory_frame(unsigned char *to, unsigned kind, unsigned nfds, uint64_t len)
{
	unsigned char at[8];
	size_t n;

	for (int i = 0; i < 8; i++)
		at[i] = (unsigned char)(len >> 8 * i);
	n = make_frame(to, kind, nfds, at, sizeof at);
	to[6] = IN_MEMORY;
	return n;
}

/* Memory of @len bytes and a NUL behind. */
static int memory(size_t len, int seals)
{
	int fd = must(memfd_create("peer", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	char byte = 'b';

	must(ftruncate(fd, (off_t)len + 1));
	for (size_t i = 0; i < len; i += 4096)
		must(pwrite(fd, &byte, 1, (off_t)i));
	must(fcntl(fd, F_ADD_SEALS, seals));
	return fd;
}

static void expect_bad(int fd, uint64_t len, int error, const char *words)
{
	unsigned char frame[32];
	struct aioconn *c;
	int peer = raw_taken(&c, 2);
	size_t n = make_memory_frame(frame, BYTES, fd >= 0, len);

	if (fd >= 0)
		put_fds(peer, frame, n, &fd, 1);
	else
		put(peer, frame, n);
	expect_end(c, error);
	if (!strstr(aioconn_why(c), words))
		ck_abort_msg("\"%s\" instead of \"%s\"", aioconn_why(c), words);
	aioconn_abort(c);
	close(peer);
	if (fd >= 0)
		close(fd);
}

TEST(memory_that_is_not_what_it_should_be_is_bad)
{
	const char *words = "memory that is not sealed, not of its length, or not all there";
	int fd, pipes[2];

	if (!has_memory())
		return;
	for (int seal = 0; seal < 4; seal++)
		expect_bad(memory(5000, ALL_SEALS & ~(1 << seal)), 5000, EBADMSG, words);
	expect_bad(memory(5000, ALL_SEALS), 4999, EBADMSG, words);
	expect_bad(memory(5000, ALL_SEALS), 5001, EBADMSG, words);
	expect_bad(memory(5000, ALL_SEALS), 16 << 20, EBADMSG, words);
	expect_bad(memory(5000, ALL_SEALS), (16 << 20) + 1, EMSGSIZE, "limit 16777216");
	expect_bad(memory(5000, ALL_SEALS), UINT64_MAX, EMSGSIZE, "limit 16777216");
	expect_bad(-1, 5000, EPROTO, "without a descriptor");
	fd = must(memfd_create("hole", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	must(ftruncate(fd, 50001));
	must(fcntl(fd, F_ADD_SEALS, ALL_SEALS));
	expect_bad(fd, 50000, EBADMSG, words);
	fd = must(memfd_create("no nul", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	must(write(fd, "abcd", 4));
	must(fcntl(fd, F_ADD_SEALS, ALL_SEALS));
	expect_bad(fd, 3, EBADMSG, "without a NUL");
	expect_bad(must(open("/dev/zero", O_RDWR | O_CLOEXEC)), 5000, EBADMSG, words);
	expect_bad(must(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)), 5000, EBADMSG, words);
	must(pipe2(pipes, O_CLOEXEC));
	close(pipes[1]);
	expect_bad(pipes[0], 5000, EBADMSG, words);
}

TEST(a_peer_in_order_is_understood)
{
	unsigned char frame[32];
	struct aioconn *c;
	struct aiomsg *m;
	size_t n, len;
	int peer, fd;

	if (!has_memory())
		return;
	peer = raw_taken(&c, 2);
	fd = memory(5000, ALL_SEALS);
	n = make_memory_frame(frame, BYTES, 1, 5000);
	put_fds(peer, frame, n, &fd, 1);
	close(fd);
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	ck_assert_int_eq(*(const char *)aiomsg_bytes(m, &len), 'b');
	ck_assert_uint_eq(len, 5000);
	aiomsg_free(m);
	aioconn_abort(c);
	close(peer);
}

TEST(more_than_were_granted_are_bad)
{
	unsigned char frame[32];
	struct aioconn *c;
	struct aiomsg *m;
	size_t n;
	int peer, fd;

	if (!has_memory())
		return;
	peer = raw_taken(&c, 2);
	fd = memory(5000, ALL_SEALS);
	n = make_memory_frame(frame, BYTES, 1, 5000);
	for (int i = 0; i < 3; i++)
		put_fds(peer, frame, n, &fd, 1);
	close(fd);
	close(peer); /* nobody can be granted more */
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	aiomsg_free(m);
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	aiomsg_free(m);
	expect_end(c, EPROTO);
	ck_assert_str_eq(aioconn_why(c), "frame header with unknown flags");
	aioconn_abort(c);
}

/* What is not to be in memory. */
static void expect_refused(unsigned kind, unsigned flags, unsigned nfds, size_t payload, const char *words)
{
	unsigned char frame[64], zeros[32] = {0};
	struct aioconn *c;
	int peer = raw_taken(&c, 2);
	size_t n = make_frame(frame, kind, nfds, zeros, payload);

	frame[6] = (unsigned char)flags;
	put(peer, frame, n);
	expect_end(c, EPROTO);
	if (!strstr(aioconn_why(c), words))
		ck_abort_msg("\"%s\" instead of \"%s\"", aioconn_why(c), words);
	aioconn_abort(c);
	close(peer);
}

TEST(headers_are_looked_at)
{
	expect_refused(TPL, IN_MEMORY, 1, 8, "kind 1 in memory");
	expect_refused(GOODBYE, IN_MEMORY, 1, 8, "kind 3 in memory");
	expect_refused(GRANT, IN_MEMORY, 1, 8, "kind 128 in memory");
	expect_refused(BYTES, IN_MEMORY | 2, 1, 8, "unknown flags");
	expect_refused(BYTES, IN_MEMORY, 1, 9, "in memory and 9 bytes");
	expect_refused(BYTES, IN_MEMORY, 2, 8, "1 descriptors, 0 are allowed");
	expect_refused(GRANT, 0, 0, 7, "grant of 7 bytes");
}

TEST(grants_that_become_less_are_bad)
{
	struct aioconn *c;
	int peer = raw_peer(PAIR, NULL, &c);

	put(peer, PREFACE, PREFACE_LEN);
	put_frame(peer, GRANT, 0, "\5\0\0\0\0\0\0\0", 8);
	put_frame(peer, GRANT, 0, "\4\0\0\0\0\0\0\0", 8);
	expect_end(c, EPROTO);
	ck_assert_str_eq(aioconn_why(c), "grant of less than before");
	aioconn_abort(c);
	close(peer);
}

/* A peer that was granted many, and sends all its messages in pieces: the frame may come after its descriptor. */
TEST(a_frame_may_come_in_pieces)
{
	unsigned char frame[32];
	struct aioconn *c;
	struct aiomsg *m;
	size_t n;
	int peer, fd;

	if (!has_memory())
		return;
	peer = raw_taken(&c, 2);
	fd = memory(5000, ALL_SEALS);
	n = make_memory_frame(frame, BYTES, 1, 5000);
	put_fds(peer, frame, 1, &fd, 1);
	for (size_t i = 1; i < n; i++) {
		must_fail(aioconn_recv(c, &m, AIOIPC_NOW), ETIMEDOUT);
		put(peer, frame + i, 1);
	}
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	aiomsg_free(m);
	close(fd);
	aioconn_abort(c);
	close(peer);
}
