/* Full queues, waiting sends, keep, pause, flush, counters. When things leave and who gets a turn is in test_turns.c. */
#include "tests/peers.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define MIB (1 << 20)

static struct aioconn_stats stats_of(struct aioconn *c)
{
	struct aioconn_stats stats = {.size = sizeof stats};

	must(aioconn_stats(c, &stats));
	return stats;
}

/* Messages of @len until the queue is full; how many were taken. */
static unsigned fill_queue(struct aioconn *c, size_t len)
{
	unsigned n = 0;
	char *data = must(calloc(1, len));

	must(aioconn_set_send_wait(c, 0));
	while (aioconn_send_bytes(c, data, len) == 0)
		n++;
	ck_assert_int_eq(errno, EAGAIN);
	free(data);
	return n;
}

TEST(a_full_queue_is_eagain_bounded_and_counted)
{
	struct event_base *base = new_base();
	struct aioconn *c;
	int fd = raw_reader(PAIR, base, &c);
	unsigned n = fill_queue(c, 1000);
	struct aioconn_stats stats = stats_of(c);

	ck_assert_uint_eq(stats.msgs_out, n);
	ck_assert_uint_eq(stats.refused, 1);
	ck_assert_uint_le(stats.queued_out, MIB);
	ck_assert_uint_ge(stats.queued_out, MIB - 4096);
	ck_assert_uint_ge(stats.peak_out, stats.queued_out);
	ck_assert_uint_le(stats.peak_out, MIB);
	aioconn_abort(c);
	close(fd);
	event_base_free(base);
}

TEST(each_message_is_charged_an_overhead)
{
	struct event_base *base = new_base();
	struct aioconn *c;
	int fd = raw_reader(PAIR, base, &c);

	/* What the kernel holds is its own affair, and no 4 MiB. */
	ck_assert_uint_lt(fill_queue(c, 0), 5 * MIB / 8);
	aioconn_abort(c);
	close(fd);
	event_base_free(base);
}

TEST(an_empty_queue_takes_one_message_of_any_size)
{
	struct aioconn_limits limits = {.size = sizeof limits, .outbox = 100, .inbox = 100};
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_limits(a, &limits));
	must(aioconn_set_limits(b, &limits));
	must(aioconn_set_send_wait(a, 0));
	see(b, &s);
	for (unsigned i = 1; i <= 3; i++) {
		send_fill(a, 5 * MIB, i);
		must_fail(aioconn_send_bytes(a, "x", 1), EAGAIN);
		run_until(base, &s.msgs, i);
	}
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

struct writer {
	unsigned calls, sent;
	size_t size;
};

static void send_refused(struct aioconn *c, void *arg)
{
	struct writer *w = arg;

	if (w->calls++ == 0)
		return; /* after opening */
	send_fill(c, w->size, 1);
	w->sent++;
}

TEST(on_writable_once_after_opening)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct seen s = {.msgs = 0};

	open_pair(PAIR, base, &a, &b);
	see(a, &s);
	ck_assert_uint_eq(s.writable, 0);
	run_until(base, &s.writable, 1);
	send_text(a, "x");
	run_now(base);
	expect_text(b, "x");
	run_now(base);
	ck_assert_uint_eq(s.writable, 1);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

/* The refused message is large: a little room must not call, and the call must mean room for it. */
TEST(on_writable_once_and_only_when_the_refused_size_fits)
{
	struct event_base *base = new_base();
	struct writer w = {.size = 700000};
	struct aioconn *c;
	int fd = raw_reader(PAIR, base, &c);
	char *data = must(calloc(1, w.size));

	must(aioconn_set_callbacks(c, NULL, send_refused, NULL, &w));
	run_until(base, &w.calls, 1);
	fill_queue(c, 1000);
	must_fail(aioconn_send_bytes(c, data, w.size), EAGAIN);
	get_preface(fd);
	while (w.sent == 0) {
		unsigned kind;
		char buf[1000];

		if (stats_of(c).queued_out + w.size > MIB)
			ck_assert_uint_eq(w.calls, 1);
		ck_assert_int_eq(get_frame(fd, &kind, buf, sizeof buf), 1000);
		run_now(base);
	}
	while (is_readable(fd)) {
		char buf[65536];

		must(read(fd, buf, sizeof buf));
		run_now(base);
	}
	ck_assert_uint_eq(w.calls, 2);
	aioconn_abort(c);
	close(fd);
	free(data);
	event_base_free(base);
}

struct in_callback {
	struct aioconn *to;
	unsigned done;
};

static void send_until_eagain(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct in_callback *k = arg;
	static char data[10000];

	(void)c;
	(void)m;
	while (aioconn_send_bytes(k->to, data, sizeof data) == 0)
		continue;
	ck_assert_int_eq(errno, EAGAIN);
	k->done = 1;
}

TEST(a_callback_is_told_eagain_whatever_send_wait_says)
{
	struct event_base *base = new_base();
	struct in_callback k = {.done = 0};
	struct aioconn *a, *b;
	int fd = raw_reader(PAIR, base, &k.to);

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_send_wait(k.to, AIOIPC_FOREVER));
	must(aioconn_set_callbacks(b, send_until_eagain, NULL, NULL, &k));
	send_text(a, "go");
	run_until(base, &k.done, 1);
	aioconn_abort(a);
	aioconn_abort(b);
	aioconn_abort(k.to);
	close(fd);
	event_base_free(base);
}

TEST(send_wait_in_milliseconds_is_etimedout_and_takes_nothing)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 2; k++) {
		struct aioconn *c;
		int fd = raw_reader(PAIR, k ? base : NULL, &c);
		unsigned n = 0;

		must(aioconn_set_send_wait(c, 5));
		for (char data[10000] = {0}; aioconn_send_bytes(c, data, sizeof data) == 0;)
			n++;
		ck_assert_int_eq(errno, ETIMEDOUT);
		ck_assert_uint_eq(stats_of(c).msgs_out, n);
		ck_assert_uint_eq(stats_of(c).refused, 1);
		must(fcntl(fd, F_SETFL, O_NONBLOCK));
		for (char buf[65536]; read(fd, buf, sizeof buf) > 0;)
			continue;
		must(aioconn_send_bytes(c, "x", 1));
		aioconn_abort(c);
		close(fd);
	}
	event_base_free(base);
}

static void *read_everything(void *arg)
{
	char buf[65536];
	size_t all = 0;
	ssize_t n;

	while ((n = read(*(int *)arg, buf, sizeof buf)) > 0)
		all += (size_t)n;
	return (void *)all;
}

TEST(send_waits_for_ever_by_default)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 2; k++) {
		pthread_t reader;
		struct aioconn *c;
		int fd = raw_reader(PAIR, k ? base : NULL, &c);
		void *all;

		ck_assert_int_eq(pthread_create(&reader, NULL, read_everything, &fd), 0);
		for (unsigned i = 0; i < 300; i++)
			send_fill(c, 50000, i);
		must(aioconn_close(c, soon()));
		pthread_join(reader, &all);
		ck_assert_uint_eq((size_t)all, PREFACE_LEN + 300 * (HEADER_LEN + 50000) + HEADER_LEN);
		close(fd);
	}
	event_base_free(base);
}

struct load {
	struct aioconn *c;
	unsigned n;
	size_t size;
};

static void *send_load_then_read_as_much(void *arg)
{
	struct load *l = arg;

	for (unsigned i = 0; i < l->n; i++)
		send_fill(l->c, l->size, i);
	for (unsigned i = 0; i < l->n; i++)
		expect_fill(l->c, l->size, i);
	/* On a base, what is queued leaves while somebody waits or the loop runs. */
	must(aioconn_flush(l->c, soon()));
	return NULL;
}

TEST_WITHIN(two_senders_do_not_deadlock, 20)
{
	static const enum transport kinds[] = {PAIR, DUPLEX};
	static const struct load loads[] = {{NULL, 100, 9000}, {NULL, 1, 8 * MIB}};

	for (int k = 0; k < 8; k++) {
		struct load one = loads[k & 1], other = one;
		struct event_base *base[2] = {NULL, NULL};
		struct aioend *x, *y;
		pthread_t thread;

		if (k & 4) {
			base[0] = new_base();
			base[1] = new_base();
		}
		make_ends(kinds[k >> 1 & 1], &x, &y);
		one.c = open_end(x, base[0]);
		other.c = open_end(y, base[1]);
		ck_assert_int_eq(pthread_create(&thread, NULL, send_load_then_read_as_much, &other), 0);
		send_load_then_read_as_much(&one);
		pthread_join(thread, NULL);
		aioconn_abort(one.c);
		aioconn_abort(other.c);
		for (int i = 0; i < 2 && base[i]; i++)
			event_base_free(base[i]);
	}
}

#define LOAD 2000
#define LOAD_SIZE 10000

static void pour(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);

	(void)arg;
	for (unsigned i = 0; i < LOAD; i++)
		send_fill(c, LOAD_SIZE, i);
	must(aioconn_close(c, soon()));
}

/* Reads nothing until one byte comes on the descriptor. */
static void drink_when_told(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);
	char go;

	ck_assert_uint_eq(get(*(int *)arg, &go, 1), 1);
	for (unsigned i = 0; i < LOAD; i++)
		expect_fill(c, LOAD_SIZE, i);
	expect_end(c, 0);
	aioconn_close(c, soon());
}

struct proxy {
	struct aioconn *to, *from;
	unsigned kept, closes;
};

static void pass_on(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct proxy *p = arg;

	if (aioconn_send_msg(p->to, m) == 0)
		return;
	ck_assert_int_eq(errno, EAGAIN);
	aioconn_keep(c);
	p->kept++;
}

static void there_is_room(struct aioconn *c, void *arg)
{
	struct proxy *p = arg;

	(void)c;
	aioconn_resume(p->from);
}

static void source_ends(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct proxy *p = arg;

	ck_assert_int_eq(cause, AIOCONN_CLEAN);
	aioconn_abort(c);
	must(aioconn_write_eof(p->to));
	p->closes++;
}

static void sink_ends(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct proxy *p = arg;

	ck_assert_int_eq(cause, AIOCONN_CLEAN);
	aioconn_abort(c);
	p->closes++;
}

TEST_WITHIN(a_proxy_stops_reading_when_the_other_side_is_full, 20)
{
	struct event_base *base = new_base();
	struct aioend *in, *source, *out, *sink;
	struct proxy p = {.kept = 0};
	pid_t pids[2];
	int go[2];

	must(pipe2(go, O_CLOEXEC));
	make_ends(PIPE, &source, &in);
	make_ends(PAIR, &out, &sink);
	pids[0] = start_child(pour, source, NULL);
	pids[1] = start_child(drink_when_told, sink, &go[0]);
	p.from = open_end(in, base);
	p.to = open_end(out, base);
	must(aioconn_set_callbacks(p.from, pass_on, NULL, source_ends, &p));
	must(aioconn_set_callbacks(p.to, NULL, there_is_room, sink_ends, &p));
	run_until(base, &p.kept, 1);
	run_now(base);
	ck_assert_uint_eq(p.kept, 1);
	ck_assert_uint_le(stats_of(p.to).queued_out, MIB);
	ck_assert_uint_le(stats_of(p.from).queued_in, MIB + 256 * 1024);
	ck_assert_uint_lt(stats_of(p.from).bytes_in, (size_t)LOAD * LOAD_SIZE);
	must(write(go[1], "!", 1));
	run_until(base, &p.closes, 2);
	expect_exit(pids[0], 0);
	expect_exit(pids[1], 0);
	close(go[0]);
	close(go[1]);
	event_base_free(base);
}

static void see_and_keep(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct seen *s = arg;
	size_t len;
	const char *data = aiomsg_bytes(m, &len);

	s->msgs++;
	strncat(s->text, data, len);
	aioconn_keep(c);
}

TEST(callback_and_reader_both_see_every_message_callback_first)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(b, see_and_keep, NULL, NULL, &s));
	send_text(a, "1");
	send_text(a, "2");
	send_text(a, "3");
	must(aioconn_flush(a, soon()));
	expect_text(b, "1");
	ck_assert_str_eq(s.text, "1");
	expect_text(b, "2");
	ck_assert_str_eq(s.text, "12");
	expect_text(b, "3");
	ck_assert_str_eq(s.text, "123");
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(a_reader_beside_a_consuming_callback_gets_nothing)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b;
	struct aiomsg *m;

	open_pair(PAIR, base, &a, &b);
	see(b, &s);
	send_text(a, "mine");
	must(aioconn_flush(a, soon()));
	must_fail(aioconn_recv(b, &m, aioipc_after(20)), ETIMEDOUT);
	ck_assert_str_eq(s.text, "mine ");
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(a_kept_message_stays_first_until_resume_or_recv)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(b, see_and_keep, NULL, NULL, &s));
	send_text(a, "1");
	send_text(a, "2");
	run_until(base, &s.msgs, 1);
	run_now(base);
	ck_assert_str_eq(s.text, "1");
	aioconn_resume(b);
	run_until(base, &s.msgs, 2);
	run_now(base);
	ck_assert_str_eq(s.text, "11");
	expect_text(b, "1");
	run_until(base, &s.msgs, 3);
	run_now(base);
	ck_assert_str_eq(s.text, "112");
	expect_text(b, "2");
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(while_paused_nothing_is_delivered_and_the_peer_feels_it)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b;
	unsigned n;

	open_pair(PAIR, base, &a, &b);
	see(b, &s);
	aioconn_pause(b);
	send_text(a, "first");
	n = fill_queue(a, 10000);
	run_now(base);
	n += fill_queue(a, 10000);
	run_now(base);
	ck_assert_uint_eq(fill_queue(a, 10000), 0);
	ck_assert_uint_eq(s.msgs, 0);
	ck_assert_uint_le(stats_of(b).queued_in, 300000);
	aioconn_resume(b);
	run_until(base, &s.msgs, n + 1);
	ck_assert_uint_eq(s.msgs, n + 1);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(recv_still_reads_while_paused)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	see_end_only(b, &s);
	aioconn_pause(b);
	send_text(a, "x");
	must(aioconn_close(a, soon()));
	run_now(base);
	ck_assert_uint_eq(s.closes, 0);
	expect_text(b, "x");
	run_now(base);
	aioconn_resume(b);
	run_until(base, &s.closes, 1);
	ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
	event_base_free(base);
}

TEST(while_paused_the_end_is_not_noticed)
{
	struct event_base *base = new_base();
	enum transport kinds[] = {PIPE, DUPLEX, PAIR};

	for (int k = 0; k < 3; k++) {
		struct seen s = {.msgs = 0};
		struct aioconn *a, *b;

		open_pair(kinds[k], base, &a, &b);
		see(b, &s);
		run_now(base);
		aioconn_pause(b);
		send_text(a, "x");
		must(aioconn_close(a, soon()));
		run_now(base);
		ck_assert_uint_eq(s.closes, 0);
		ck_assert_uint_eq(s.msgs, 0);
		aioconn_resume(b);
		run_until(base, &s.closes, 1);
		ck_assert_uint_eq(s.msgs_at_close, 1);
		ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
	}
	event_base_free(base);
}

static void send_mixed(struct aioconn *c, int i)
{
	char text[64];

	snprintf(text, sizeof text, "text %d", i);
	if (i % 3 == 0)
		must(aioconn_send(c, "is", (int32_t)i, text));
	else
		must(aioconn_send_bytes(c, text, i % 3 == 1 ? strlen(text) : 0));
}

static void expect_mixed(struct aioconn *c, int i)
{
	struct aiomsg *m;
	const char *string;
	char text[64];
	int32_t number;

	snprintf(text, sizeof text, "text %d", i);
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	if (i % 3 == 0) {
		must(aiomsg_unpack(m, "is", &number, &string));
		ck_assert(number == i && strcmp(string, text) == 0);
	} else {
		ck_assert(is_text(m, i % 3 == 1 ? text : ""));
	}
	aiomsg_free(m);
}

static void expect_zeros(struct aioconn *c, size_t len)
{
	struct aiomsg *m;
	size_t got;

	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	aiomsg_bytes(m, &got);
	ck_assert_uint_eq(got, len);
	aiomsg_free(m);
}

/* Many a time what is corked fills a block of the queue, and then another. */
TEST(what_is_corked_leaves_whole_and_in_order)
{
	struct aioconn_stats s = {.size = sizeof s};
	struct aioconn *a, *b;
	static char large[20000];

	open_pair(PAIR, NULL, &a, &b);
	must(aioconn_set_limits(
		a, &(struct aioconn_limits){.size = sizeof(struct aioconn_limits), .message = sizeof large}));
	for (int round = 0; round < 3; round++) {
		must(aioconn_cork(a, true));
		for (int i = 0; i < 3000; i++) {
			send_mixed(a, i);
			if (i % 500 == 0) {
				must_fail(aioconn_send_bytes(a, large, sizeof large + 1), EMSGSIZE);
				must_fail(aioconn_send(a, "i("), EINVAL);
				must(aioconn_send_bytes(a, large, sizeof large));
			}
		}
		must(aioconn_stats(a, &s));
		ck_assert_uint_eq(s.msgs_out, (unsigned)(round + 1) * 3006);
		ck_assert_uint_gt(s.queued_out, 6 * sizeof large);
		must(aioconn_set_send_wait(a, 0));
		must(aioconn_cork(a, false));
		for (int i = 0; i < 3000; i++) {
			expect_mixed(b, i);
			if (i % 500 == 0)
				expect_zeros(b, sizeof large);
			must(aioconn_stats(a, &s));
			if (s.queued_out && i % 100 == 0 && aioconn_flush(a, AIOIPC_NOW) == -1)
				ck_assert_int_eq(errno, ETIMEDOUT);
		}
	}
	aioconn_abort(a);
	aioconn_abort(b);
}

TEST(a_full_queue_is_written_though_corked)
{
	struct aioconn *c;
	int fd = raw_reader(PAIR, NULL, &c);
	pthread_t reader;
	void *all;

	ck_assert_int_eq(pthread_create(&reader, NULL, read_everything, &fd), 0);
	must(aioconn_cork(c, true));
	for (unsigned i = 0; i < 100; i++)
		send_fill(c, 100000, i);
	must(aioconn_close(c, soon()));
	pthread_join(reader, &all);
	ck_assert_uint_eq((size_t)all, PREFACE_LEN + 100 * (HEADER_LEN + 100000) + HEADER_LEN);
	close(fd);
}

TEST(flush_waits_until_the_kernel_has_it)
{
	struct event_base *base = new_base();
	struct aioconn *c;
	int fd = raw_reader(PAIR, base, &c);
	pthread_t reader;

	for (int i = 0; i < 5; i++)
		send_text(c, "five");
	must(aioconn_flush(c, soon()));
	ck_assert_uint_eq(stats_of(c).queued_out, 0);
	get_preface(fd);
	for (int i = 0; i < 5; i++)
		expect_frame(fd, BYTES, "five");
	fill_queue(c, 10000);
	must_fail(aioconn_flush(c, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aioconn_flush(c, aioipc_after(5)), ETIMEDOUT);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_everything, &fd), 0);
	must(aioconn_flush(c, soon()));
	aioconn_abort(c);
	pthread_join(reader, NULL);
	close(fd);
	event_base_free(base);
}

TEST(flush_tells_that_the_peer_is_gone)
{
	struct event_base *base = new_base();
	struct aioconn *c;
	int fd = raw_reader(PAIR, base, &c);

	fill_queue(c, 10000);
	close(fd);
	must_fail(aioconn_flush(c, soon()), EPIPE);
	aioconn_abort(c);
	event_base_free(base);
}

/* Nobody asks: reading stops at the limit, the sender is refused, and nothing is lost. */
TEST(a_full_inbox_stops_reading_and_resumes)
{
	struct aioconn_limits limits = {.size = sizeof limits, .inbox = 100000, .outbox = 100000};
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	unsigned n = 0, more;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_limits(a, &limits));
	must(aioconn_set_limits(b, &limits));
	do {
		more = fill_queue(a, 1000);
		run_now(base);
		n += more;
	} while (more > 0);
	ck_assert_uint_ge(stats_of(b).queued_in, 90000);
	ck_assert_uint_le(stats_of(b).peak_in, 100000 + 256 * 1024);
	must(aioconn_set_send_wait(a, AIOIPC_FOREVER));
	while (n-- > 0) {
		struct aiomsg *m;

		while (aioconn_recv(b, &m, AIOIPC_NOW) == -1)
			must(event_base_loop(base, EVLOOP_ONCE));
		aiomsg_free(m);
	}
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(counters_count)
{
	struct aioconn *a, *b;
	struct aioconn_stats s, bad = {.size = 0};

	open_pair(PAIR, NULL, &a, &b);
	send_text(a, "12345");
	send_text(a, "123");
	s = stats_of(a);
	ck_assert_uint_eq(s.msgs_out, 2);
	ck_assert_uint_eq(s.bytes_out, PREFACE_LEN + 2 * HEADER_LEN + 8);
	ck_assert_uint_eq(s.queued_out, 0);
	ck_assert_uint_eq(s.msgs_in, 0);
	expect_text(b, "12345");
	s = stats_of(b);
	ck_assert_uint_eq(s.msgs_in, 1);
	ck_assert_uint_eq(s.bytes_in, PREFACE_LEN + 2 * HEADER_LEN + 8);
	ck_assert_uint_ge(s.queued_in, HEADER_LEN + 3);
	expect_text(b, "123");
	s = stats_of(b);
	ck_assert_uint_eq(s.msgs_in, 2);
	ck_assert_uint_eq(s.queued_in, 0);
	ck_assert_uint_ge(s.peak_in, HEADER_LEN + 3);
	must_fail(aioconn_stats(a, &bad), EINVAL);
	aioconn_abort(a);
	aioconn_abort(b);
}
