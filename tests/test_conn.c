/* Sending and receiving over every transport, blocking and on a base: whole, in order, or an errno. */
#include "tests/peers.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

static const size_t sizes[] = {0,      1,      2,       4095,    4096,       32766,
			       32767,  32768,  65534,   98301,   (64 << 10), (64 << 10) + 1,
			       327670, 500000, 1 << 20, 3 << 20, 16 << 20};

/* Under valgrind, 16 MiB a dozen times take minutes. */
static unsigned n_sizes(void)
{
	return sizeof sizes / sizeof *sizes - (harness_slowness() > 10);
}

TEST(three_writes_then_reads_give_all_three)
{
	for (enum transport t = PIPE; t <= PAIR; t++) {
		struct aioconn *a, *b;

		open_pair(t, NULL, &a, &b);
		send_text(a, "one");
		send_text(a, "two");
		send_text(a, "three");
		expect_text(b, "one");
		expect_text(b, "two");
		expect_text(b, "three");
		must(aioconn_close(a, soon()));
		expect_end(b, 0);
		aioconn_close(b, soon());
	}
}

TEST(three_writes_on_a_base_give_three_callbacks)
{
	for (enum transport t = PIPE; t <= PAIR; t++) {
		struct event_base *base = new_base();
		struct aioconn *a, *b;
		struct seen s = {.msgs = 0};

		open_pair(t, base, &a, &b);
		see(b, &s);
		send_text(a, "one");
		send_text(a, "two");
		send_text(a, "three");
		run_until(base, &s.msgs, 3);
		ck_assert_str_eq(s.text, "one two three ");
		must(aioconn_close(a, soon()));
		run_until(base, &s.closes, 1);
		ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
		event_base_free(base);
	}
}

static void send_sizes(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);

	(void)arg;
	for (unsigned i = 0; i < n_sizes(); i++)
		send_fill(c, sizes[i], i);
	must(aioconn_close(c, soon()));
}

TEST_WITHIN(every_size_arrives_blocking, 20)
{
	for (enum transport t = PIPE; t <= PAIR; t++) {
		struct aioend *mine, *theirs;
		struct aioconn *c;
		pid_t pid;

		make_ends(t, &theirs, &mine);
		pid = start_child(send_sizes, theirs, NULL);
		c = open_end(mine, NULL);
		for (unsigned i = 0; i < n_sizes(); i++)
			expect_fill(c, sizes[i], i);
		expect_end(c, 0);
		aioconn_close(c, AIOIPC_NOW);
		expect_exit(pid, 0);
	}
}

struct series {
	struct aioconn *to;
	unsigned n, done;
};

static void check_and_send_next(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct series *s = arg;
	size_t len;
	const void *data = aiomsg_bytes(m, &len);

	(void)c;
	ck_assert_uint_eq(len, sizes[s->n]);
	ck_assert(is_filled(data, len, s->n));
	if (++s->n == n_sizes())
		s->done = 1;
	else
		send_fill(s->to, sizes[s->n], s->n);
}

TEST_WITHIN(every_size_arrives_on_a_base, 20)
{
	for (enum transport t = PIPE; t <= PAIR; t++) {
		struct event_base *base = new_base();
		struct aioconn *a, *b;
		struct series s = {.n = 0};

		open_pair(t, base, &a, &b);
		s.to = a;
		must(aioconn_set_callbacks(b, check_and_send_next, NULL, NULL, &s));
		send_fill(a, sizes[0], 0);
		run_until(base, &s.done, 1);
		aioconn_abort(a);
		aioconn_abort(b);
		event_base_free(base);
	}
}

TEST(over_the_message_limit_is_emsgsize_and_takes_nothing)
{
	struct event_base *base = new_base();
	unsigned char *big = must(calloc(1, (16 << 20) + 1));
	struct aioconn *a, *b;

	open_pair(PAIR, NULL, &a, &b);
	must_fail(aioconn_send_bytes(a, big, (16 << 20) + 1), EMSGSIZE);
	send_text(a, "after");
	expect_text(b, "after");
	aioconn_abort(a);
	aioconn_abort(b);

	open_pair(PAIR, base, &a, &b);
	must_fail(aioconn_send_bytes(a, big, (16 << 20) + 1), EMSGSIZE);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
	free(big);
}

TEST(the_message_limit_can_be_set)
{
	struct aioconn_limits limits = {.size = sizeof limits, .message = 100};
	unsigned char data[101] = {0};
	struct aioconn *a, *b;

	open_pair(PAIR, NULL, &a, &b);
	must(aioconn_set_limits(a, &limits));
	must(aioconn_send_bytes(a, data, 100));
	must_fail(aioconn_send_bytes(a, data, 101), EMSGSIZE);
	must(aioconn_send_bytes(b, data, 101));
	expect_end(a, EMSGSIZE);
	ck_assert_ptr_nonnull(strstr(aioconn_why(a), "101"));
	limits.size = 3;
	must_fail(aioconn_set_limits(b, &limits), EINVAL);
	aioconn_abort(a);
	aioconn_abort(b);
}

/* A whole conversation of one direction, small enough to be cut at every byte. */
static size_t make_talk(unsigned char *to)
{
	struct aiomsg *m = must(aiomsg_new("is", (int32_t)7, "seven"));
	size_t len, n = PREFACE_LEN;
	const void *image = aiomsg_bytes(m, &len);

	memcpy(to, PREFACE, PREFACE_LEN);
	n += make_frame(to + n, TPL, 0, image, len);
	n += make_frame(to + n, BYTES, 0, NULL, 0);
	n += make_frame(to + n, BYTES, 0, "abc", 3);
	n += make_frame(to + n, GOODBYE, 0, NULL, 0);
	aiomsg_free(m);
	return n;
}

static void expect_talk(struct aiomsg **m, unsigned n)
{
	const char *text;
	int32_t i;

	ck_assert_uint_eq(n, 3);
	must(aiomsg_unpack(m[0], "is", &i, &text));
	ck_assert_int_eq(i, 7);
	ck_assert_str_eq(text, "seven");
	ck_assert(is_text(m[1], ""));
	ck_assert_ptr_null(aiomsg_format(m[1]));
	ck_assert(is_text(m[2], "abc"));
	while (n > 0)
		aiomsg_free(m[--n]);
}

/* What there is now. True at the end. */
static bool take_all(struct aioconn *c, struct aiomsg **m, unsigned *n)
{
	int r;

	while ((r = aioconn_recv(c, &m[*n], AIOIPC_NOW)) == 1)
		ck_assert_uint_lt(++*n, 4);
	if (r == -1)
		ck_assert_int_eq(errno, ETIMEDOUT);
	return r == 0;
}

TEST(a_talk_cut_at_any_byte_arrives_blocking)
{
	static const enum transport kinds[] = {PIPE, PAIR};
	unsigned char talk[128];
	size_t len = make_talk(talk);

	for (int k = 0; k < 2; k++)
		for (size_t cut = 0; cut <= len; cut++) {
			struct aiomsg *m[4];
			struct aioconn *c;
			unsigned n = 0;
			int fd = raw_peer(kinds[k], NULL, &c);

			put(fd, talk, cut);
			ck_assert(take_all(c, m, &n) == (cut == len));
			put(fd, talk + cut, len - cut);
			ck_assert(take_all(c, m, &n));
			expect_talk(m, n);
			aioconn_abort(c);
			close(fd);
		}
}

struct talk {
	struct aiomsg *m[4];
	unsigned n, closes;
	enum aioconn_cause cause;
};

static void keep_talk(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct talk *t = arg;

	(void)c;
	ck_assert_uint_lt(t->n, 3);
	t->m[t->n++] = aiomsg_ref(m);
}

static void end_talk(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct talk *t = arg;

	t->closes++;
	t->cause = cause;
	aioconn_abort(c);
}

TEST(a_talk_cut_at_any_byte_arrives_on_a_base)
{
	static const enum transport kinds[] = {PIPE, PAIR};
	struct event_base *base = new_base();
	unsigned char talk[128];
	size_t len = make_talk(talk);

	for (int k = 0; k < 2; k++)
		for (size_t cut = 0; cut <= len; cut++) {
			struct talk t = {.n = 0};
			struct aioconn *c;
			int fd = raw_peer(kinds[k], base, &c);

			must(aioconn_set_callbacks(c, keep_talk, NULL, end_talk, &t));
			put(fd, talk, cut);
			run_now(base);
			put(fd, talk + cut, len - cut);
			run_until(base, &t.closes, 1);
			ck_assert_int_eq(t.cause, AIOCONN_CLEAN);
			expect_talk(t.m, t.n);
			close(fd);
		}
	event_base_free(base);
}

TEST(a_talk_of_single_bytes_arrives)
{
	unsigned char talk[128];
	size_t len = make_talk(talk);
	struct aiomsg *m[4];
	struct aioconn *c;
	unsigned n = 0;
	int fd = raw_peer(PAIR, NULL, &c);

	for (size_t i = 0; i < len; i++) {
		put(fd, talk + i, 1);
		ck_assert(take_all(c, m, &n) == (i + 1 == len));
	}
	expect_talk(m, n);
	aioconn_abort(c);
	close(fd);
}

/* The first reads may bring as much of a large message as the buffer holds, to the byte, before anybody asks. */
TEST(a_large_message_of_which_any_part_is_there_arrives)
{
	size_t len = 200000;
	unsigned char *talk = must(malloc(PREFACE_LEN + HEADER_LEN + len)), *data = must(malloc(len));
	struct event_base *base = new_base();

	fill(data, len, 6);
	memcpy(talk, PREFACE, PREFACE_LEN);
	make_frame(talk + PREFACE_LEN, BYTES, 0, data, len);
	for (size_t n = 65400; n < 65800; n += 5) {
		struct aioconn *c;
		struct aiomsg *m;
		int fd = raw_peer(PAIR, n & 1 ? base : NULL, &c);

		put(fd, talk, n);
		run_now(base);
		must_fail(aioconn_recv(c, &m, AIOIPC_NOW), ETIMEDOUT);
		put(fd, talk + n, 100000);
		run_now(base);
		must_fail(aioconn_recv(c, &m, AIOIPC_NOW), ETIMEDOUT);
		put(fd, talk + n + 100000, PREFACE_LEN + HEADER_LEN + len - n - 100000);
		expect_fill(c, len, 6);
		aioconn_abort(c);
		close(fd);
	}
	event_base_free(base);
	free(talk);
	free(data);
}

/* One message of 1 MB or a thousand of 1 kB, then nothing but close. */
static void send_megabyte(struct aioend *end, void *arg)
{
	struct event_base *base = *(int *)arg & 1 ? new_base() : NULL;
	struct aioconn *c = open_end(end, base);
	unsigned n = *(int *)arg & 2 ? 1000 : 1;

	for (unsigned i = 0; i < n; i++)
		send_fill(c, 1000000 / n, i);
	must(aioconn_close(c, soon()));
	if (base)
		event_base_free(base);
}

TEST_WITHIN(a_megabyte_then_close_arrives_whole, 20)
{
	for (enum transport t = PIPE; t <= PAIR; t++)
		for (int how = 0; how < 4; how++) {
			struct aioend *mine, *theirs;
			struct aioconn *c;
			unsigned n = how & 2 ? 1000 : 1;
			pid_t pid;

			make_ends(t, &theirs, &mine);
			pid = start_child(send_megabyte, theirs, &how);
			c = open_end(mine, NULL);
			for (unsigned i = 0; i < n; i++)
				expect_fill(c, 1000000 / n, i);
			expect_end(c, 0);
			aioconn_close(c, AIOIPC_NOW);
			expect_exit(pid, 0);
		}
}

static void echo_numbers(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);
	struct aiomsg *m;

	(void)arg;
	while (must(aioconn_recv(c, &m, soon())) == 1) {
		must(aioconn_send_msg(c, m));
		aiomsg_free(m);
	}
	must(aioconn_close(c, soon()));
}

TEST(many_numbers_come_back_in_order)
{
	static const enum transport kinds[] = {DUPLEX, PAIR};

	for (int k = 0; k < 2; k++) {
		struct aioend *mine, *theirs;
		struct aioconn *c;
		struct aiomsg *m;
		int32_t got;
		pid_t pid;

		make_ends(kinds[k], &mine, &theirs);
		pid = start_child(echo_numbers, theirs, NULL);
		c = open_end(mine, NULL);
		for (int32_t i = 0; i < 2000; i++)
			must(aioconn_send(c, "i", i));
		for (int32_t i = 0; i < 20000; i++) {
			if (i + 2000 < 20000)
				must(aioconn_send(c, "i", i + 2000));
			ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
			must(aiomsg_unpack(m, "i", &got));
			ck_assert_int_eq(got, i);
			aiomsg_free(m);
		}
		must(aioconn_close(c, soon()));
		expect_exit(pid, 0);
	}
}

TEST(a_simplex_pipe_has_one_direction)
{
	struct aioconn *a, *b;
	struct aiomsg *m = NULL;

	open_pair(PIPE, NULL, &a, &b);
	must_fail(aioconn_recv(a, &m, AIOIPC_NOW), EBADF);
	must_fail(aioconn_send(b, "i", 1), EBADF);
	must_fail(aioconn_send_bytes(b, "x", 1), EBADF);
	must_fail(aioconn_write_eof(b), EBADF);
	send_text(a, "still good");
	expect_text(b, "still good");
	aioconn_abort(a);
	aioconn_abort(b);
}

TEST(a_plain_number_is_no_deadline)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct aiomsg *m;

	for (int k = 0; k < 2; k++) {
		open_pair(PAIR, k ? base : NULL, &a, &b);
		must_fail(aioconn_recv(a, &m, 5000), EINVAL);
		must_fail(aioconn_flush(a, 1), EINVAL);
		must_fail(aioconn_close(a, 5000), EINVAL);
		must_fail(aioconn_finish(a, -7), EINVAL);
		must_fail(aioconn_set_send_wait(a, -2), EINVAL);
		send_text(a, "still there");
		must(aioconn_flush(a, soon()));
		expect_text(b, "still there");
		aioconn_abort(a);
		aioconn_abort(b);
	}
	event_base_free(base);
}

TEST(a_timeout_loses_nothing)
{
	unsigned char frame[64];
	size_t len = make_frame(frame, BYTES, 0, "abcdef", 6);
	struct aiomsg *m = NULL;
	struct aioconn *c;
	int fd = raw_peer(PAIR, NULL, &c);

	must_fail(aioconn_recv(c, &m, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aioconn_recv(c, &m, aioipc_after(-3)), ETIMEDOUT);
	put(fd, PREFACE, PREFACE_LEN);
	must_fail(aioconn_recv(c, &m, aioipc_after(5)), ETIMEDOUT);
	put(fd, frame, 11);
	must_fail(aioconn_recv(c, &m, aioipc_after(5)), ETIMEDOUT);
	put(fd, frame + 11, len - 11);
	ck_assert_ptr_null(m);
	expect_text(c, "abcdef");
	send_text(c, "and back");
	get_preface(fd);
	expect_frame(fd, BYTES, "and back");
	aioconn_abort(c);
	close(fd);
}

static volatile int ticks;

static void tick(int sig)
{
	(void)sig;
	__atomic_fetch_add(&ticks, 1, __ATOMIC_RELEASE);
}

static void tick_every(long us, int flags)
{
	struct sigaction sa = {.sa_handler = tick, .sa_flags = flags};
	struct itimerval it = {{0, us}, {0, us}};

	must(sigaction(SIGALRM, &sa, NULL));
	must(setitimer(ITIMER_REAL, &it, NULL));
}

static void tick_no_more(void)
{
	tick_every(0, 0);
}

TEST(recv_returns_eintr_and_loses_nothing)
{
	static const int flags[] = {0, SA_RESTART};
	struct event_base *base = new_base();

	for (enum transport t = PIPE; t <= PAIR; t++)
		for (int k = 0; k < 4; k++) {
			struct aioconn *a, *b;
			struct aiomsg *m = NULL;

			open_pair(t, k & 2 ? base : NULL, &a, &b);
			tick_every(20000, flags[k & 1]);
			must_fail(aioconn_recv(b, &m, soon()), EINTR);
			tick_no_more();
			send_text(a, "after");
			must(aioconn_flush(a, soon()));
			expect_text(b, "after");
			aioconn_abort(a);
			aioconn_abort(b);
		}
	event_base_free(base);
}

static void *read_after_ticks(void *arg)
{
	spin_until(&ticks);
	__atomic_store_n(&ticks, 0, __ATOMIC_RELAXED);
	spin_until(&ticks);
	expect_fill(arg, 4 << 20, 5);
	return NULL;
}

TEST(send_goes_on_after_signals)
{
	for (enum transport t = PIPE; t <= PAIR; t++) {
		struct aioconn *a, *b;
		pthread_t reader;
		sigset_t alarm;

		open_pair(t, NULL, &a, &b);
		sigemptyset(&alarm);
		sigaddset(&alarm, SIGALRM);
		ticks = 0;
		pthread_sigmask(SIG_BLOCK, &alarm, NULL);
		ck_assert_int_eq(pthread_create(&reader, NULL, read_after_ticks, b), 0);
		pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
		tick_every((long)(2000 * harness_slowness()), 0);
		send_fill(a, 4 << 20, 5);
		tick_no_more();
		pthread_join(reader, NULL);
		aioconn_abort(a);
		aioconn_abort(b);
	}
}

static void *wait_for_text(void *arg)
{
	struct aiomsg *m;
	int r;

	while ((r = aioconn_recv(arg, &m, AIOIPC_FOREVER)) == -1 && errno == EBUSY)
		continue;
	ck_assert_int_eq(r, 1);
	ck_assert(is_text(m, "for you"));
	aiomsg_free(m);
	return NULL;
}

TEST(a_second_thread_is_told_ebusy)
{
	struct aioconn *a, *b;
	struct aiomsg *m;
	pthread_t waiter;

	open_pair(PAIR, NULL, &a, &b);
	ck_assert_int_eq(pthread_create(&waiter, NULL, wait_for_text, b), 0);
	while (aioconn_recv(b, &m, AIOIPC_NOW) == -1 && errno == ETIMEDOUT)
		sched_yield(); /* where one thread runs at a time: not always in the midst of a call */
	ck_assert_int_eq(errno, EBUSY);
	must_fail(aioconn_send(b, "i", 1), EBUSY);
	send_text(a, "for you");
	pthread_join(waiter, NULL);
	aioconn_abort(a);
	aioconn_abort(b);
}

struct deadlock {
	struct aioconn *other;
	unsigned done;
};

static void wait_wrongly(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct deadlock *d = arg;
	struct aiomsg *got;

	(void)m;
	must_fail(aioconn_recv(c, &got, AIOIPC_FOREVER), EDEADLK);
	must_fail(aioconn_recv(c, &got, aioipc_after(50)), EDEADLK);
	must_fail(aioconn_recv(d->other, &got, AIOIPC_FOREVER), EDEADLK);
	must_fail(aioconn_recv(d->other, &got, aioipc_after(1)), ETIMEDOUT);
	d->done++;
}

TEST(waiting_for_ever_in_a_callback_is_edeadlk)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b, *c, *d;
	struct deadlock dead = {.done = 0};

	open_pair(PAIR, base, &a, &b);
	open_pair(PAIR, base, &c, &d);
	dead.other = c;
	must(aioconn_set_callbacks(b, wait_wrongly, NULL, NULL, &dead));
	send_text(a, "x");
	run_until(base, &dead.done, 1);
	send_text(a, "y");
	run_until(base, &dead.done, 2);
	aioconn_abort(a);
	aioconn_abort(b);
	aioconn_abort(c);
	aioconn_abort(d);
	event_base_free(base);
}

static void other_process(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);
	struct aiomsg *m;
	const char *who;
	int64_t big;
	int32_t i;

	(void)arg;
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	ck_assert_str_eq(aiomsg_format(m), "iIs");
	must(aiomsg_unpack(m, "iIs", &i, &big, &who));
	must(aioconn_send(c, "sI", who, big + i));
	aiomsg_free(m);
	must(aioconn_close(c, soon()));
}

TEST(values_go_to_another_process_and_back)
{
	struct aioend *mine, *theirs;
	struct aioconn *c;
	struct aiomsg *m;
	const char *who;
	int64_t sum;
	pid_t pid;

	must(aioduplex(&mine, &theirs));
	pid = start_child(other_process, theirs, NULL);
	c = open_end(mine, NULL);
	must(aioconn_send(c, "iIs", (int32_t)-3, INT64_C(1) << 40, "someone"));
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	must_fail(aiomsg_unpack(m, "Is", &sum, &who), EBADMSG);
	must(aiomsg_unpack(m, "sI", &who, &sum));
	ck_assert_str_eq(who, "someone");
	ck_assert_int_eq(sum, (INT64_C(1) << 40) - 3);
	aiomsg_free(m);
	expect_end(c, 0);
	must(aioconn_close(c, soon()));
	expect_exit(pid, 0);
}

TEST(bad_values_are_refused_and_change_nothing)
{
	struct aioconn_stats stats = {.size = sizeof stats};
	struct aioconn *a, *b;

	open_pair(PAIR, NULL, &a, &b);
	must_fail(aioconn_send(a, "q", 1), EINVAL);
	must_fail(aioconn_send(a, "A(", 1), EINVAL);
	must(aioconn_stats(a, &stats));
	ck_assert_uint_eq(stats.msgs_out, 0);
	must(aioconn_send(a, "s", (const char *)NULL));
	aioconn_abort(a);
	aioconn_abort(b);
}

TEST(what_was_given_can_be_asked_for)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct seen s = {.msgs = 0};
	pid_t pid;
	uid_t uid;

	open_pair(PAIR, base, &a, &b);
	see(a, &s);
	ck_assert_ptr_eq(aioconn_arg(a), &s);
	ck_assert_ptr_eq(aioconn_base(a), base);
	ck_assert_int_ge(aioconn_fd(a), 0);
	ck_assert_str_eq(aioconn_why(a), "");
	must(aioconn_peer_cred(a, &pid, &uid, NULL));
	ck_assert_int_eq(pid, getpid());
	ck_assert_uint_eq(uid, getuid());
	aioconn_abort(a);
	aioconn_abort(b);

	open_pair(DUPLEX, NULL, &a, &b);
	must_fail(aioconn_peer_cred(a, &pid, NULL, NULL), EOPNOTSUPP);
	ck_assert_ptr_null(aioconn_base(a));
	aioconn_abort(a);
	aioconn_abort(b);
	aioconn_abort(NULL);
	must(aioconn_close(NULL, AIOIPC_NOW));
	event_base_free(base);
}

TEST(settings_before_the_first_use_are_ebusy_after_it)
{
	struct aioconn *a, *b;
	struct aiomsg *m;

	open_pair(PAIR, NULL, &a, &b);
	must_fail(aioconn_set_framing(a, (enum aioconn_framing)9, NULL), EINVAL);
	must_fail(aioconn_set_framing(a, AIOCONN_LINES, ""), EINVAL);
	must_fail(aioconn_set_framing(a, AIOCONN_LINES, "123456789"), EINVAL);
	must_fail(aioconn_allow_fds(a, 254), EINVAL);
	send_text(a, "first");
	must_fail(aioconn_set_framing(a, AIOCONN_LINES, NULL), EBUSY);
	must_fail(aioconn_allow_fds(a, 1), EBUSY);
	must_fail(aioconn_recv(a, &m, AIOIPC_NOW), ETIMEDOUT);
	expect_text(b, "first");
	must_fail(aioconn_set_framing(b, AIOCONN_BYTES, NULL), EBUSY);
	aioconn_abort(a);
	aioconn_abort(b);
}

TEST(spinning_changes_nothing_but_time)
{
	struct aioconn *a, *b;
	struct aiomsg *m;

	open_pair(DUPLEX, NULL, &a, &b);
	must_fail(aioconn_set_spin(a, 1001), EINVAL);
	must(aioconn_set_spin(a, 20));
	must(aioconn_set_spin(b, 1000));
	must_fail(aioconn_recv(b, &m, aioipc_after(3)), ETIMEDOUT);
	send_text(a, "there");
	expect_text(b, "there");
	send_text(b, "back");
	expect_text(a, "back");
	aioconn_abort(a);
	expect_end(b, ECONNRESET);
	aioconn_abort(b);
}

static void expect_child_is_told(struct aioconn *c)
{
	struct aioconn_limits limits = {.size = sizeof limits};
	struct aiomsg *m;

	must_fail(aioconn_set_callbacks(c, NULL, NULL, NULL, NULL), ECHILD);
	must_fail(aioconn_set_framing(c, AIOCONN_LINES, NULL), ECHILD);
	must_fail(aioconn_set_send_wait(c, 0), ECHILD);
	must_fail(aioconn_set_spin(c, 1), ECHILD);
	must_fail(aioconn_set_limits(c, &limits), ECHILD);
	must_fail(aioconn_allow_fds(c, 1), ECHILD);
	must_fail(aioconn_peer_cred(c, NULL, NULL, NULL), ECHILD);
	must_fail(aioconn_send_bytes(c, "x", 1), ECHILD);
	must_fail(aioconn_send_fd(c, 0, "s", "x"), ECHILD);
	must_fail(aioconn_recv(c, &m, AIOIPC_FOREVER), ECHILD);
	must_fail(aioconn_cork(c, true), ECHILD);
	must_fail(aioconn_flush(c, AIOIPC_FOREVER), ECHILD);
	must_fail(aioconn_write_eof(c), ECHILD);
	aioconn_pause(c);
	aioconn_resume(c);
	must_fail(aioconn_close(c, AIOIPC_FOREVER), ECHILD);
}

TEST(in_a_child_every_call_is_echild_and_does_nothing)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 2; k++) {
		struct aioconn *a, *b;
		pid_t pid;

		open_pair(PAIR, k ? base : NULL, &a, &b);
		pid = must(fork());
		if (pid == 0) {
			expect_child_is_told(a);
			expect_child_is_told(b);
			_exit(0);
		}
		expect_exit(pid, 0);
		send_text(a, "as before");
		expect_text(b, "as before");
		aioconn_abort(a);
		aioconn_abort(b);
	}
	event_base_free(base);
}

/* What waits to be sent, and would for ever, since the loop that moves the other side stands still. */
static void send_wrongly(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct deadlock *d = arg;

	(void)c;
	(void)m;
	send_fill(d->other, 1 << 20, 5);
	must_fail(aioconn_flush(d->other, AIOIPC_FOREVER), EDEADLK);
	must_fail(aioconn_close(d->other, AIOIPC_FOREVER), EDEADLK);
	d->done++;
}

TEST(flushing_for_ever_in_a_callback_is_edeadlk_and_close_frees)
{
	struct event_base *base = new_base();
	struct deadlock dead = {.done = 0};
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b, *d;

	open_pair(PAIR, base, &a, &b);
	open_pair(PAIR, base, &dead.other, &d);
	must(aioconn_set_callbacks(b, send_wrongly, NULL, NULL, &dead));
	see(d, &s);
	send_text(a, "x");
	run_until(base, &s.closes, 1);
	ck_assert_uint_eq(dead.done, 1);
	ck_assert_uint_eq(s.msgs, 0);
	ck_assert_int_eq(s.cause, AIOCONN_LOST);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(ending_nothing_is_no_error)
{
	must(aioconn_close(NULL, AIOIPC_NOW));
	must(aioconn_finish(NULL, AIOIPC_NOW));
	aioconn_abort(NULL);
}
