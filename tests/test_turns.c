/* When messages leave, and a loop that stays fair to its other events. Queues are in test_flow.c. */
#include "tests/peers.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void skip_preface(int fd)
{
	if (is_readable(fd))
		get_preface(fd);
}

TEST(while_corked_nothing_leaves)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 6; k++) {
		struct aioconn *c;
		struct aiomsg *m;
		int fd = raw_reader(PAIR, k & 1 ? base : NULL, &c);
		bool greeted;

		must(aioconn_cork(c, true));
		run_now(base);
		greeted = is_readable(fd);
		skip_preface(fd);
		for (int i = 0; i < 10; i++)
			send_text(c, "tiny");
		aioconn_resume(c); /* a turn for another reason */
		run_now(base);
		ck_assert(!is_readable(fd));
		if (k < 2)
			must(aioconn_cork(c, false));
		else if (k < 4)
			must(aioconn_flush(c, soon()));
		else
			must_fail(aioconn_recv(c, &m, AIOIPC_NOW), ETIMEDOUT);
		if (!greeted)
			get_preface(fd);
		for (int i = 0; i < 10; i++)
			expect_frame(fd, BYTES, "tiny");
		aioconn_abort(c);
		close(fd);
	}
	event_base_free(base);
}

TEST(close_uncorks)
{
	struct aioconn *c;
	int fd = raw_reader(PAIR, NULL, &c);

	must(aioconn_cork(c, true));
	send_text(c, "tiny");
	must(aioconn_close(c, soon()));
	get_preface(fd);
	expect_frame(fd, BYTES, "tiny");
	expect_frame(fd, GOODBYE, "");
	close(fd);
}

struct turn {
	struct aioconn *c;
	int fd;
	unsigned done;
};

static void send_in_a_turn(evutil_socket_t fd, short what, void *arg)
{
	struct turn *t = arg;

	(void)fd;
	(void)what;
	send_text(t->c, "at once");
	ck_assert(is_readable(t->fd));
	skip_preface(t->fd);
	expect_frame(t->fd, BYTES, "at once");
	send_text(t->c, "later");
	send_text(t->c, "latest");
	t->done++;
}

TEST(the_first_message_of_a_turn_leaves_at_once)
{
	struct event_base *base = new_base();
	struct turn t = {.done = 0};

	t.fd = raw_reader(PAIR, base, &t.c);
	run_now(base);
	must(event_base_once(base, -1, EV_TIMEOUT, send_in_a_turn, &t, NULL));
	run_until(base, &t.done, 1);
	run_now(base);
	expect_frame(t.fd, BYTES, "later");
	expect_frame(t.fd, BYTES, "latest");
	aioconn_abort(t.c);
	close(t.fd);
	event_base_free(base);
}

static void flood(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);
	char data[16] = {0};

	(void)arg;
	must(aioconn_cork(c, true));
	while (aioconn_send_bytes(c, data, sizeof data) == 0)
		continue;
	aioconn_abort(c);
}

static void echo(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);
	struct aiomsg *m;

	(void)arg;
	while (aioconn_recv(c, &m, soon()) == 1) {
		must(aioconn_send_msg(c, m));
		aiomsg_free(m);
	}
	aioconn_abort(c);
}

struct fairness {
	unsigned flooded, trips, ticks, done;
};

static void count_flood(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct fairness *f = arg;

	(void)c;
	(void)m;
	f->flooded++;
}

static void next_trip(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct fairness *f = arg;

	if (++f->trips < 100)
		must(aioconn_send_msg(c, m));
	else
		f->done++;
}

static void next_tick(evutil_socket_t fd, short what, void *arg)
{
	struct fairness *f = arg;

	(void)fd;
	(void)what;
	if (++f->ticks == 100)
		f->done++;
}

TEST_WITHIN(a_flood_starves_neither_timers_nor_other_connections, 20)
{
	struct event_base *base = new_base();
	const struct timeval ms = {0, 1000};
	struct aioend *mine, *theirs;
	struct fairness f = {.done = 0};
	struct aioconn *in, *c;
	struct event *timer = must(event_new(base, -1, EV_PERSIST, next_tick, &f));
	pid_t pids[2];

	make_ends(PIPE, &theirs, &mine);
	pids[0] = start_child(flood, theirs, NULL);
	in = open_end(mine, base);
	make_ends(DUPLEX, &mine, &theirs);
	pids[1] = start_child(echo, theirs, NULL);
	c = open_end(mine, base);
	must(aioconn_set_callbacks(in, count_flood, NULL, NULL, &f));
	must(aioconn_set_callbacks(c, next_trip, NULL, NULL, &f));
	run_until(base, &f.flooded, 1000);
	must(event_add(timer, &ms));
	send_text(c, "ball");
	run_until(base, &f.done, 2);
	ck_assert_uint_gt(f.flooded, 1000);
	event_free(timer);
	aioconn_abort(in);
	aioconn_abort(c);
	expect_exit(pids[0], 0);
	expect_exit(pids[1], 0);
	event_base_free(base);
}

/* What a loop has to wait for. */
static int waits_for(struct event_base *base)
{
	return event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED);
}

TEST(a_loop_that_spins_goes_round_and_then_sleeps)
{
	struct event_base *base = new_base();
	struct aioconn *c;
	int fd = raw_peer(PAIR, base, &c), before;
	struct seen s = {0};

	see(c, &s);
	must(aioconn_set_spin(c, 1000));
	run_now(base);
	while ((before = waits_for(base)) > 1)
		must(event_base_loop(base, EVLOOP_ONCE));
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, BYTES, 0, "word", 4);
	run_until(base, &s.msgs, 1);
	ck_assert_int_gt(waits_for(base), before);
	do
		must(event_base_loop(base, EVLOOP_ONCE));
	while (waits_for(base) > before);
	must(aioconn_set_spin(c, 0));
	put_frame(fd, BYTES, 0, "word", 4);
	run_until(base, &s.msgs, 2);
	ck_assert_int_eq(waits_for(base), before);
	aioconn_abort(c);
	close(fd);
	event_base_free(base);
}

/* Turns of the loop, and how many messages came between two of them. */
struct rounds {
	struct event *ev;
	unsigned trips, between, most, done;
};

static void next_round(evutil_socket_t fd, short what, void *arg)
{
	struct rounds *r = arg;

	(void)fd;
	(void)what;
	if (r->between > r->most)
		r->most = r->between;
	r->between = 0;
	must(event_add(r->ev, &(struct timeval){0, 0}));
}

static void hit_back(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct rounds *r = arg;

	r->between++;
	if (++r->trips < 1000)
		must(aioconn_send_msg(c, m));
	else
		r->done++;
}

static void spins(enum transport t, unsigned most)
{
	struct event_base *base = new_base();
	struct rounds r = {.done = 0};
	struct aioend *mine, *theirs;
	struct aioconn *c;
	pid_t pid;

	make_ends(t, &mine, &theirs);
	pid = start_child(echo, theirs, NULL);
	c = open_end(mine, base);
	r.ev = must(event_new(base, -1, 0, next_round, &r));
	must(event_add(r.ev, &(struct timeval){0, 0}));
	must(aioconn_set_callbacks(c, hit_back, NULL, NULL, &r));
	must(aioconn_set_spin(c, 1000));
	send_text(c, "ball");
	run_until(base, &r.done, 1);
	ck_assert_uint_le(r.most, most);
	event_free(r.ev);
	aioconn_abort(c);
	expect_exit(pid, 0);
	event_base_free(base);
}

TEST_WITHIN(spinning_starves_nobody_on_its_base, 20)
{
	spins(DUPLEX, 2);
	spins(are_pairs_rings() ? DUPLEX : PAIR, 2);
}

/* An answer may be there before the turn that asked for it is over. */
TEST_WITHIN(nor_does_a_ring, 20)
{
	spins(RING, 20);
}

static size_t queued(struct aioconn *c)
{
	struct aioconn_stats s = {.size = sizeof s};

	must(aioconn_stats(c, &s));
	return s.queued_out;
}

/* Behind others of the same turn a message takes a shorter way; what is refused elsewhere is refused there. */
TEST(what_can_not_be_sent_is_refused_behind_others_too)
{
	struct event_base *base = new_base();
	struct aioconn_limits l = {.size = sizeof l, .message = 100, .outbox = 1000};
	char data[101] = "";
	struct aioconn *a, *b;

	memset(data, 'x', sizeof data - 1);
	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_limits(a, &l));
	must(aioconn_set_send_wait(a, 0));
	send_text(a, "first");
	send_text(a, "second");
	must_fail(aioconn_send_bytes(a, data, 101), EMSGSIZE);
	must_fail(aioconn_send(a, "s", data), EMSGSIZE);
	while (aioconn_send_bytes(a, data, 20) == 0)
		ck_assert_uint_le(queued(a), 1000);
	ck_assert_int_eq(errno, EAGAIN);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(nothing_goes_behind_a_goodbye_that_could_not_leave_yet)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	while (queued(a) < 100000)
		send_text(a, "more and more");
	must(aioconn_write_eof(a));
	must_fail(aioconn_send_bytes(a, "x", 1), EPIPE);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(a_message_over_the_limit_is_refused_behind_others_too)
{
	struct event_base *base = new_base();
	struct aioconn_limits l = {.size = sizeof l, .message = 100};
	struct seen s = {0};
	struct aioconn *c;
	char data[101] = "";
	int fd = raw_peer(PAIR, base, &c);

	must(aioconn_set_limits(c, &l));
	see(c, &s);
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, BYTES, 0, "1", 1);
	put_frame(fd, BYTES, 0, "2", 1);
	put_frame(fd, BYTES, 0, data, 101);
	run_until(base, &s.closes, 1);
	ck_assert_uint_eq(s.msgs, 2);
	ck_assert_int_eq(s.cause, AIOCONN_BAD);
	close(fd);
	event_base_free(base);
}

enum { FLOODERS = 100, FLOOD = 400 };

static void take_long(struct aioconn *c, struct aiomsg *m, void *arg)
{
	const struct timespec nap = {0, 50000};

	(void)c;
	(void)m;
	nanosleep(&nap, NULL);
	++*(unsigned *)arg;
}

/* However many there are, and however long each message takes: the loop comes round soon, and everybody has had a turn. */
TEST_WITHIN(many_floods_share_the_time_between_two_turns, 60)
{
	struct event_base *base = new_base();
	static unsigned char flood_of[FLOOD * (HEADER_LEN + 1)];
	struct aioconn *c[FLOODERS];
	unsigned got[FLOODERS] = {0}, sum = 0;
	int fd[FLOODERS];

	for (size_t k = 0, at = 0; k < FLOOD; k++)
		at += make_frame(flood_of + at, BYTES, 0, "x", 1);
	for (int i = 0; i < FLOODERS; i++) {
		fd[i] = raw_peer(PAIR, base, &c[i]);
		put(fd[i], PREFACE, PREFACE_LEN);
		put(fd[i], flood_of, sizeof flood_of);
		must(aioconn_set_callbacks(c[i], take_long, NULL, NULL, &got[i]));
	}
	for (int turn = 0; turn < 3; turn++)
		must(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK));
	for (int i = 0; i < FLOODERS; i++) {
		ck_assert_uint_gt(got[i], 0);
		sum += got[i];
	}
	ck_assert_uint_lt(sum, FLOODERS * FLOOD / 8);
	for (int i = 0; i < FLOODERS; i++) {
		aioconn_abort(c[i]);
		close(fd[i]);
	}
	event_base_free(base);
}

/* Messages that waited are due all at once: the loop gets its turn before all of them are delivered. */
TEST(a_turn_handles_a_bounded_number_of_messages)
{
	struct event_base *base = new_base();
	struct fairness f = {.done = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	for (int i = 0; i < 5000; i++) {
		must(aioconn_send_bytes(a, "x", 1));
		if (i % 100 == 0)
			run_now(base);
	}
	run_now(base);
	must(aioconn_set_callbacks(b, count_flood, NULL, NULL, &f));
	while (f.flooded == 0)
		must(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK));
	ck_assert_uint_lt(f.flooded, 5000);
	run_until(base, &f.flooded, 5000);
	ck_assert_uint_eq(f.flooded, 5000);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

/* Bytes. Of a ring, or in a task, there may be 16 reads behind the first. */
enum { TURN_MOST = 256 * 1024, READ_MOST = 320 * 1024, READS_MOST = 17 * READ_MOST };

struct appetite {
	struct aioconn *c;
	struct event *ev;
	uint64_t before, most;
	unsigned wanted;
};

static void weigh(struct appetite *a)
{
	struct aioconn_stats s = {.size = sizeof s};

	must(aioconn_stats(a->c, &s));
	if (s.bytes_in - a->before > a->most)
		a->most = s.bytes_in - a->before;
	a->before = s.bytes_in;
}

static void next_weighing(evutil_socket_t fd, short what, void *arg)
{
	struct appetite *a = arg;

	(void)fd;
	(void)what;
	weigh(a);
	must(event_add(a->ev, &(struct timeval){0, 0}));
}

static void flood_large(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);
	size_t size = *(size_t *)arg;
	char *data = must(calloc(1, size));

	while (aioconn_send_bytes(c, data, size) == 0)
		continue;
	aioconn_abort(c);
	free(data);
}

static void take_some(void *arg)
{
	struct appetite *a = arg;

	for (unsigned i = 0; i < a->wanted; i++) {
		struct aiomsg *m;

		ck_assert_int_eq(aioconn_recv(a->c, &m, soon()), 1);
		aiomsg_free(m);
	}
}

/* Takes @wanted messages, in callbacks or in a task. What came between two turns of the loop at most. */
static uint64_t most_in_a_turn(struct aioend *end, unsigned wanted, bool in_task)
{
	struct event_base *base = new_base();
	struct appetite a = {.c = open_end(end, base), .wanted = wanted};
	struct seen s = {0};

	a.ev = must(event_new(base, -1, 0, next_weighing, &a));
	must(event_add(a.ev, &(struct timeval){0, 0}));
	if (in_task) {
		must(aiotask_run(base, take_some, &a));
	} else {
		see(a.c, &s);
		run_until(base, &s.msgs, wanted);
	}
	weigh(&a);
	event_free(a.ev);
	aioconn_abort(a.c);
	event_base_free(base);
	return a.most;
}

/* A reader that keeps up with the writer finds its room filled each time. */
TEST_WITHIN(nor_does_a_turn_read_without_bound, 50)
{
	size_t sizes[] = {40000, 65536, 4 << 20};

	for (unsigned k = 0; k < 12; k++) {
		enum transport t = k & 1 || are_pairs_rings() ? RING : PAIR;
		bool in_task = k & 2;
		struct aioend *mine, *theirs;
		uint64_t most;
		pid_t pid;

		make_ends(t, &mine, &theirs);
		pid = start_child(flood_large, theirs, &sizes[k / 4]);
		most = most_in_a_turn(mine, 20, in_task);
		ck_assert_uint_le(most, in_task || t == RING ? READS_MOST : TURN_MOST + 2 * READ_MOST);
		expect_exit(pid, 0);
	}
}

TEST(nor_all_that_is_there)
{
	enum { N = 180, SIZE = 65536 };
	static char data[SIZE];

	for (unsigned in_task = 0; in_task < 2; in_task++) {
		struct aioend *mine, *theirs;
		struct aioconn *writer;

		must(aioring(&mine, &theirs, (size_t)16 << 20));
		writer = open_end(theirs, NULL);
		for (unsigned i = 0; i < N; i++)
			must(aioconn_send_bytes(writer, data, SIZE));
		ck_assert_uint_le(most_in_a_turn(mine, N, in_task), READS_MOST);
		aioconn_abort(writer);
	}
}

/* How much a callback may queue. */

#define HALF ((size_t)50 * 1000)

struct queuer {
	struct aioconn *c;
	unsigned sent, most;
	size_t size, peak;
};

static void queue_some(struct aioconn *c, void *arg)
{
	struct queuer *q = arg;
	struct aioconn_stats s = {.size = sizeof s};
	static char data[HALF];

	(void)c;
	while (q->sent < q->most && aioconn_send_bytes(q->c, data, q->size) == 0) {
		q->sent++;
		must(aioconn_stats(q->c, &s));
		q->peak = s.queued_out > q->peak ? s.queued_out : q->peak;
	}
	ck_assert(q->sent == q->most || errno == EAGAIN);
}

static void queue_at_message(struct aioconn *c, struct aiomsg *m, void *arg)
{
	(void)m;
	queue_some(c, arg);
}

/* @size each, sent by on_writable or, without one, by on_msg. What the queue had at most; they all arrive. */
static size_t most_queued(size_t size, size_t outbox, bool told, unsigned most)
{
	struct event_base *base = new_base();
	struct queuer q = {.most = most, .size = size};
	struct seen s = {0};
	struct aioconn *b;

	open_pair(PAIR, base, &q.c, &b);
	must(aioconn_set_limits(
		q.c, &(struct aioconn_limits){.size = sizeof(struct aioconn_limits), .outbox = outbox}));
	must(aioconn_set_callbacks(q.c, queue_at_message, told ? queue_some : NULL, NULL, &q));
	aioconn_pause(b);
	if (!told)
		send_text(b, "go");
	for (int i = 0; i < 10; i++)
		run_now(base);
	ck_assert_uint_gt(q.sent, 0);
	see(b, &s);
	aioconn_resume(b);
	if (told || q.sent == most)
		run_until(base, &s.msgs, most);
	aioconn_abort(q.c);
	aioconn_abort(b);
	event_base_free(base);
	return q.peak;
}

TEST(a_callback_that_is_told_of_room_queues_little)
{
	size_t large = most_queued(HALF, 0, true, 100), small = most_queued(1000, 0, true, 3000);

	ck_assert_uint_le(large, 128 * 1024);
	ck_assert_uint_ge(large, HALF);
	ck_assert_uint_le(small, 64 * 1024);
	ck_assert_uint_ge(small, 50 * 1000);
}

TEST(others_and_those_of_a_queue_that_was_set_fill_it)
{
	ck_assert_uint_gt(most_queued(10000, 0, false, 300), 1000 * 1000);
	ck_assert_uint_gt(most_queued(1000, 1 << 20, true, 3000), 1000 * 1000);
	ck_assert_uint_gt(most_queued(HALF, 1 << 20, true, 100), 900 * 1000);
	ck_assert_uint_gt(most_queued(HALF, 600 * 1000, true, 100), 500 * 1000);
	ck_assert_uint_le(most_queued(HALF, 600 * 1000, true, 100), 600 * 1000);
}

TEST(a_callback_that_would_not_be_told_fills_the_queue)
{
	ck_assert_uint_gt(most_queued(HALF, 0, false, 18), 500 * 1000);
}
