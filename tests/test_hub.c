/*
 * Hubs: what is sent once reaches every member, whole and in order, under every framing; a slow member is skipped, cut off or waited
 * for; members come and go. That the bytes are there once is in test_hub_memory.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/peers.h"

#define FEW 5
#define OUTBOX 20000 /* of the members in tests with slow ones */

/* A hub, its members, and what their peers saw. */
struct group {
	struct event_base *base;
	struct aiohub *hub;
	unsigned n;
	struct aioconn *member[FEW], *peer[FEW];
	struct seen seen[FEW];
};

static struct aiohub *new_hub(struct event_base *base, enum aiohub_slow slow)
{
	struct aiohub_options o = {.size = sizeof o, .base = base, .slow = slow};

	return must(aiohub_new(&o));
}

static struct aiohub_stats stats_of(const struct aiohub *h)
{
	struct aiohub_stats s = {.size = sizeof s};

	must(aiohub_stats(h, &s));
	return s;
}

static ssize_t send_to_all(struct aiohub *h, const char *text)
{
	struct aiomsg *m = must(aiomsg_new_bytes(text, strlen(text)));
	ssize_t n = aiohub_send(h, m);

	aiomsg_free(m);
	return n;
}

static ssize_t send_filled(struct aiohub *h, size_t len, unsigned seed)
{
	static char data[100000];
	struct aiomsg *m;
	ssize_t n;

	fill(data, len, seed);
	m = must(aiomsg_new_bytes(data, len));
	n = aiohub_send(h, m);
	aiomsg_free(m);
	return n;
}

static void make_group(struct group *g, enum aiohub_slow slow, unsigned n)
{
	*g = (struct group){.base = new_base(), .n = n};
	g->hub = new_hub(g->base, slow);
	for (unsigned i = 0; i < n; i++) {
		open_pair(PAIR, g->base, &g->member[i], &g->peer[i]);
		see(g->peer[i], &g->seen[i]);
		must(aiohub_join(g->hub, g->member[i]));
	}
}

static void end_group(struct group *g)
{
	aiohub_free(g->hub);
	for (unsigned i = 0; i < g->n; i++) {
		aioconn_abort(g->member[i]);
		if (g->seen[i].closes == 0)
			aioconn_abort(g->peer[i]);
	}
	event_base_free(g->base);
}

static void expect_seen(struct group *g, const char *text)
{
	for (unsigned i = 0; i < g->n; i++)
		ck_assert_str_eq(g->seen[i].text, text);
}

TEST(all_members_get_it)
{
	struct group g;

	make_group(&g, AIOHUB_SKIP, FEW);
	ck_assert_int_eq(must(send_to_all(g.hub, "one")), FEW);
	ck_assert_int_eq(must(send_to_all(g.hub, "two")), FEW);
	run_now(g.base);
	expect_seen(&g, "one two ");
	ck_assert_uint_eq(stats_of(g.hub).messages, 2);
	ck_assert_uint_eq(stats_of(g.hub).sent, 2 * FEW);
	ck_assert_uint_eq(stats_of(g.hub).members, FEW);
	ck_assert_uint_eq(stats_of(g.hub).slow, 0);
	end_group(&g);
}

TEST(typed_values_too)
{
	struct event_base *base = new_base();
	struct aiohub *h = new_hub(base, AIOHUB_SKIP);
	struct aiomsg *m = must(aiomsg_new("is", 42, "text"));
	struct aioconn *a, *b;
	int32_t number;
	const char *text;

	open_pair(PAIR, base, &a, &b);
	must(aiohub_join(h, a));
	ck_assert_int_eq(must(aiohub_send(h, m)), 1);
	aiomsg_free(m);
	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	must(aiomsg_unpack(m, "is", &number, &text));
	ck_assert_int_eq(number, 42);
	ck_assert_str_eq(text, "text");
	aiomsg_free(m);
	aiohub_free(h);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

/* What is sent to one member alone keeps its place among what is sent to all. */
TEST(own_messages_keep_their_place)
{
	struct group g;

	make_group(&g, AIOHUB_SKIP, 2);
	send_text(g.member[0], "a");
	must(send_to_all(g.hub, "b"));
	send_text(g.member[0], "c");
	must(send_to_all(g.hub, "d"));
	must(send_to_all(g.hub, "e"));
	send_text(g.member[0], "f");
	run_now(g.base);
	ck_assert_str_eq(g.seen[0].text, "a b c d e f ");
	ck_assert_str_eq(g.seen[1].text, "b d e ");
	end_group(&g);
}

TEST(all_but_one)
{
	struct group g;
	struct aiomsg *m = must(aiomsg_new_bytes("x", 1));

	make_group(&g, AIOHUB_SKIP, 3);
	ck_assert_int_eq(must(aiohub_send_others(g.hub, g.member[1], m)), 2);
	must(send_to_all(g.hub, "y"));
	run_now(g.base);
	ck_assert_str_eq(g.seen[0].text, "x y ");
	ck_assert_str_eq(g.seen[1].text, "y ");
	ck_assert_str_eq(g.seen[2].text, "x y ");
	aiomsg_free(m);
	end_group(&g);
}

/* Members with different framings in one hub, and messages of sizes that are copied, and that are referred to. */
static const struct look {
	enum aioconn_framing framing;
	const char *delimiter;
} looks[] = {
	{AIOCONN_MESSAGES, NULL}, {AIOCONN_LINES, NULL},    {AIOCONN_LINES, "\r\n"},
	{AIOCONN_BYTES, NULL},    {AIOCONN_MESSAGES, NULL}, {AIOCONN_LINES, "\n"},
};
enum { LOOKS = sizeof looks / sizeof *looks };

static void expect_look(int fd, const struct look *l, const char *data, size_t len)
{
	static char got[100000];
	const char *tail = l->framing != AIOCONN_LINES ? "" : l->delimiter ? l->delimiter : "\n";
	unsigned kind;

	if (l->framing == AIOCONN_MESSAGES) {
		ck_assert_int_eq(get_frame(fd, &kind, got, sizeof got), (ssize_t)len);
		ck_assert_uint_eq(kind, BYTES);
	} else {
		ck_assert_uint_eq(get(fd, got, len + strlen(tail)), len + strlen(tail));
		ck_assert_mem_eq(got + len, tail, strlen(tail));
	}
	ck_assert_mem_eq(got, data, len);
}

TEST(each_framing_has_its_own_form)
{
	static const size_t sizes[] = {5, 0, 4095, 4096, 1, 50000, 3000, 30000, 7};
	struct event_base *base = new_base();
	struct aiohub *h = new_hub(base, AIOHUB_SKIP);
	struct aioconn *c[LOOKS];
	int fd[LOOKS];
	static char data[50000];

	memset(data, 'x', sizeof data);
	for (unsigned i = 0; i < LOOKS; i++) {
		fd[i] = raw_reader(PAIR, base, &c[i]);
		must(aioconn_set_framing(c[i], looks[i].framing, looks[i].delimiter));
		must(aiohub_join(h, c[i]));
		if (looks[i].framing == AIOCONN_MESSAGES)
			get_preface(fd[i]);
	}
	for (unsigned n = 0; n < sizeof sizes / sizeof *sizes; n++) {
		struct aiomsg *m = must(aiomsg_new_bytes(data, sizes[n]));

		data[n] = (char)('a' + n);
		ck_assert_int_eq(must(aiohub_send(h, m)), LOOKS);
		run_now(base);
		for (unsigned i = 0; i < LOOKS; i++)
			expect_look(fd[i], &looks[i], aiomsg_bytes(m, NULL), sizes[n]);
		aiomsg_free(m);
	}
	aiohub_free(h);
	for (unsigned i = 0; i < LOOKS; i++) {
		aioconn_abort(c[i]);
		must(close(fd[i]));
	}
	event_base_free(base);
}

/* A message that one member can't have, nobody gets. */
TEST(what_one_can_not_have_nobody_gets)
{
	struct group g;
	struct aiomsg *typed = must(aiomsg_new("i", 1)), *large = must(aiomsg_new_bytes(NULL, 0));
	struct aioconn *lines, *short_one, *peers[2];
	struct aioconn_limits limits = {.size = sizeof limits, .message = 100};

	aiomsg_free(large);
	large = must(aiomsg_new_bytes((char[101]){0}, 101));
	make_group(&g, AIOHUB_SKIP, 1);
	open_pair(PAIR, g.base, &lines, &peers[0]);
	must(aioconn_set_framing(lines, AIOCONN_LINES, NULL));
	must(aiohub_join(g.hub, lines));
	must_fail(aiohub_send(g.hub, typed), EINVAL);
	must_fail(send_to_all(g.hub, "two\nlines"), EINVAL);
	must(aiohub_leave(g.hub, lines));
	ck_assert_int_eq(must(aiohub_send(g.hub, typed)), 1);

	open_pair(PAIR, g.base, &short_one, &peers[1]);
	must(aioconn_set_limits(short_one, &limits));
	must(aiohub_join(g.hub, short_one));
	must_fail(aiohub_send(g.hub, large), EMSGSIZE);
	must(aiohub_leave(g.hub, short_one));
	ck_assert_int_eq(must(aiohub_send(g.hub, large)), 1);

	must(aiomsg_add_fd(typed, 0));
	must_fail(aiohub_send(g.hub, typed), EOPNOTSUPP);
	run_now(g.base);
	ck_assert_uint_eq(g.seen[0].msgs, 2);
	aiomsg_free(typed);
	aiomsg_free(large);
	aioconn_abort(lines);
	aioconn_abort(short_one);
	aioconn_abort(peers[0]);
	aioconn_abort(peers[1]);
	end_group(&g);
}

TEST(calls_that_are_wrong_say_so)
{
	struct aiohub_options o = {.size = sizeof o};
	struct event_base *base = new_base(), *other = new_base();
	struct aioconn *a, *b, *r, *w, *plain;
	struct aiohub *h;
	int fd = raw_reader(PAIR, NULL, &plain);

	must_fail(aiohub_new(&o), EINVAL);
	o.base = base;
	o.slow = (enum aiohub_slow)3;
	must_fail(aiohub_new(&o), EINVAL);
	o.slow = AIOHUB_WAIT;
	o.wait = -1;
	must_fail(aiohub_new(&o), EINVAL);
	o.wait = 0;
	o.size++;
	must_fail(aiohub_new(&o), EINVAL);
	h = new_hub(base, AIOHUB_SKIP);
	open_pair(PAIR, other, &a, &b);
	open_pair(PIPE, base, &w, &r);
	must_fail(aiohub_join(h, a), EINVAL);
	must_fail(aiohub_join(h, plain), EINVAL);
	must_fail(aiohub_join(h, r), EBADF);
	must_fail(aiohub_leave(h, w), ENOENT);
	must(aiohub_join(h, w));
	must_fail(aiohub_join(h, w), EALREADY);
	must(aiohub_leave(h, w));
	must(aioconn_write_eof(w));
	must_fail(aiohub_join(h, w), EPIPE);
	ck_assert_int_eq(must(send_to_all(h, "nobody")), 0);
	must_fail(aiohub_stats(h, &(struct aiohub_stats){.size = 1}), EINVAL);
	aiohub_free(h);
	aiohub_free(NULL);
	aioconn_abort(a);
	aioconn_abort(b);
	aioconn_abort(r);
	aioconn_abort(w);
	aioconn_abort(plain);
	must(close(fd));
	event_base_free(base);
	event_base_free(other);
}

TEST(one_connection_in_many_hubs)
{
	struct group g;
	struct aiohub *second;

	make_group(&g, AIOHUB_SKIP, 2);
	second = new_hub(g.base, AIOHUB_SKIP);
	must(aiohub_join(second, g.member[0]));
	must(send_to_all(g.hub, "both"));
	must(send_to_all(second, "first"));
	must(send_to_all(g.hub, "both"));
	run_now(g.base);
	ck_assert_str_eq(g.seen[0].text, "both first both ");
	ck_assert_str_eq(g.seen[1].text, "both both ");
	aioconn_abort(g.member[0]);
	ck_assert_uint_eq(stats_of(second).members, 0);
	ck_assert_uint_eq(stats_of(g.hub).members, 1);
	g.member[0] = NULL;
	aiohub_free(second);
	end_group(&g);
}

/* Slow members. */

/* A member whose peer, by hand, reads nothing, and whose queue has no more room. */
static int stop_one(struct event_base *base, struct aiohub *h, struct aioconn **c)
{
	struct aioconn_limits limits = {.size = sizeof limits, .outbox = OUTBOX};
	int fd = raw_reader(PAIR, base, c);

	must(aioconn_set_limits(*c, &limits));
	must(aioconn_set_send_wait(*c, 0));
	if (h)
		must(aiohub_join(h, *c));
	return fd;
}

static void fill_up(struct aioconn *c)
{
	static char data[OUTBOX / 2 + 100];

	while (aioconn_send_bytes(c, data, sizeof data) == 0)
		;
	ck_assert_int_eq(errno, EAGAIN);
}

/* Numbers as text, each a message of 100 bytes; the next one from a raw peer. -1: nothing is there now. */
static int next_number(int fd)
{
	char payload[OUTBOX];
	unsigned kind;

	while (is_readable(fd)) {
		ssize_t len = get_frame(fd, &kind, payload, sizeof payload);

		if (len == 100)
			return atoi(payload);
		ck_assert_int_ge(len, 0);
	}
	return -1;
}

static ssize_t send_number(struct aiohub *h, int n)
{
	char text[100] = {0};
	struct aiomsg *m;
	ssize_t sent;

	snprintf(text, sizeof text, "%d", n);
	m = must(aiomsg_new_bytes(text, sizeof text));
	sent = aiohub_send(h, m);
	aiomsg_free(m);
	return sent;
}

static void skip_one(bool in_loop);

TEST(a_slow_one_is_skipped_and_comes_back)
{
	skip_one(false);
}

TEST(a_slow_one_is_skipped_and_comes_back_in_the_loop)
{
	skip_one(true);
}

static void skip_one(bool in_loop)
{
	struct group g;
	struct aioconn *c;
	int fd, n = 0, last, missed = 0;

	make_group(&g, AIOHUB_SKIP, 2);
	fd = stop_one(g.base, g.hub, &c);
	get_preface(fd);
	fill_up(c);
	for (; n < 1000; n++) {
		ck_assert_int_ge(must(send_number(g.hub, n)), 2);
		run_now(g.base);
	}
	ck_assert_uint_ge(aiohub_skipped(g.hub, c), 1000 - OUTBOX / 100);
	ck_assert_uint_eq(aiohub_skipped(g.hub, g.member[0]), 0);
	ck_assert_uint_eq(stats_of(g.hub).skipped, aiohub_skipped(g.hub, c));
	ck_assert_uint_eq(stats_of(g.hub).slow, 1);
	ck_assert_uint_eq(g.seen[0].msgs, 1000);
	ck_assert_uint_eq(g.seen[1].msgs, 1000);

	/* Its peer reads again: what was queued, then a gap, then everything. */
	for (last = -1; n < 1100; n++) {
		int got;

		while ((got = next_number(fd)) != -1) {
			missed += got - last - 1;
			last = got;
		}
		if (in_loop)
			run_now(g.base);
		must(send_number(g.hub, n));
	}
	for (int got; last < n - 1; run_now(g.base))
		while ((got = next_number(fd)) != -1) {
			missed += got - last - 1;
			last = got;
		}
	ck_assert_int_eq(missed, (int)aiohub_skipped(g.hub, c));
	ck_assert_uint_eq(stats_of(g.hub).slow, 0);
	must(close(fd));
	aioconn_abort(c);
	end_group(&g);
}

TEST(a_slow_one_is_closed)
{
	struct group g;
	struct aioconn *c;
	struct aiomsg *m;
	struct seen seen = {.stay = true};
	int fd;

	make_group(&g, AIOHUB_CLOSE, 2);
	fd = stop_one(g.base, g.hub, &c);
	see_end_only(c, &seen);
	fill_up(c);
	for (int n = 0; n < 1000; n++) {
		must(send_number(g.hub, n));
		run_now(g.base);
	}
	ck_assert_uint_eq(stats_of(g.hub).closed, 1);
	ck_assert_uint_eq(stats_of(g.hub).members, 2);
	ck_assert_uint_eq(stats_of(g.hub).skipped, 0);
	ck_assert_uint_eq(g.seen[0].msgs, 1000);
	ck_assert_uint_eq(seen.closes, 1);
	ck_assert_int_eq(seen.cause, AIOCONN_LOCAL);
	ck_assert_ptr_nonnull(strstr(aioconn_why(c), "too slow"));
	must_fail(aioconn_recv(c, &m, AIOIPC_NOW), ECONNABORTED);
	must_fail(aioconn_send_bytes(c, "x", 1), EPIPE);
	must_fail(aiohub_join(g.hub, c), EPIPE);
	must(close(fd));
	aioconn_abort(c);
	end_group(&g);
}

/* What the kernel could have taken by now is no slowness: it is looked once more before a member is cut off. */
TEST(who_has_read_meanwhile_is_not_closed)
{
	static char buf[1 << 20];
	struct event_base *base = new_base();
	struct aiohub *h = new_hub(base, AIOHUB_CLOSE);
	struct aioconn *c;
	int fd = stop_one(base, h, &c);

	fill_up(c);
	while (is_readable(fd))
		must(read(fd, buf, sizeof buf));
	ck_assert_int_eq(must(send_to_all(h, "still here")), 1);
	ck_assert_uint_eq(stats_of(h).members, 1);
	aiohub_free(h);
	must(close(fd));
	aioconn_abort(c);
	event_base_free(base);
}

/* Its own message makes a member too slow, inside its own callback. */
static void relay(struct aioconn *c, struct aiomsg *m, void *arg)
{
	(void)c;
	must(aiohub_send(arg, m));
}

static void count_and_free(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	ck_assert_int_eq(cause, AIOCONN_LOCAL);
	must(send_to_all(arg, "gone"));
	aioconn_abort(c);
}

TEST(cut_off_in_its_own_callback)
{
	struct event_base *base = new_base();
	struct aiohub *h = new_hub(base, AIOHUB_CLOSE);
	struct aioconn *c;
	int fd = stop_one(base, h, &c);

	must(aioconn_set_callbacks(c, relay, NULL, count_and_free, h));
	fill_up(c);
	put(fd, PREFACE, PREFACE_LEN);
	for (int i = 0; i < 5; i++)
		put_frame(fd, BYTES, 0, (char[OUTBOX / 2]){0}, OUTBOX / 2);
	while (stats_of(h).members)
		must(event_base_loop(base, EVLOOP_ONCE));
	run_now(base);
	ck_assert_uint_eq(stats_of(h).closed, 1);
	aiohub_free(h);
	must(close(fd));
	event_base_free(base);
}

struct late {
	int total; /* messages */
	int go; /* a byte comes from there when it is time; -1: nobody can tell, because the sender waits */
};

/* Reads everything, after a while. */
static void read_late(struct aioend *end, void *arg)
{
	const struct late *late = arg;
	struct aioconn *c = open_end(end, NULL);
	struct aiomsg *m;
	int next = 0, got;

	if (late->go == -1)
		usleep(20000);
	else
		ck_assert_int_eq(must(read(late->go, &(char){0}, 1)), 1);
	while ((got = aioconn_recv(c, &m, soon())) == 1) {
		size_t len;
		const char *text = aiomsg_bytes(m, &len);

		if (len == 100)
			ck_assert_int_eq(atoi(text), next++);
		aiomsg_free(m);
	}
	ck_assert_int_eq(got, 0);
	ck_assert_int_eq(next, late->total);
	must(aioconn_close(c, soon()));
}

static struct aioconn *late_reader(struct event_base *base, struct aiohub *h, struct late late, pid_t *pid)
{
	struct aioconn_limits limits = {.size = sizeof limits, .outbox = OUTBOX};
	struct aioend *one, *other;
	struct aioconn *c;

	must(aiosockpair(&one, &other));
	*pid = start_child(read_late, other, &late);
	c = open_end(one, base);
	must(aioconn_set_limits(c, &limits));
	must(aiohub_join(h, c));
	return c;
}

TEST(wait_outside_the_loop)
{
	enum { TOTAL = 20000 };
	struct event_base *base = new_base();
	struct aiohub *h = new_hub(base, AIOHUB_WAIT);
	pid_t pid[2];
	struct aioconn *c[2];

	for (int i = 0; i < 2; i++)
		c[i] = late_reader(base, h, (struct late){TOTAL, -1}, &pid[i]);
	for (int n = 0; n < TOTAL; n++)
		ck_assert_int_eq(must(send_number(h, n)), 2);
	ck_assert_uint_eq(stats_of(h).skipped, 0);
	for (int i = 0; i < 2; i++) {
		must(aioconn_close(c[i], soon()));
		expect_exit(pid[i], 0);
	}
	ck_assert_uint_eq(stats_of(h).members, 0);
	aiohub_free(h);
	event_base_free(base);
}

struct wait_task {
	struct aiohub *hub;
	int from, to;
};

static void send_some(void *arg)
{
	struct wait_task *t = arg;

	for (; t->from < t->to; t->from++)
		ck_assert_int_eq(must(send_to_all(t->hub, "a message of some length, so that queues fill")),
				 2);
}

/* Two tasks send at the same time, and both wait for the same members. */
TEST(wait_in_tasks)
{
	enum { EACH = 20000 };
	struct event_base *base = new_base();
	struct aiohub *h = new_hub(base, AIOHUB_WAIT);
	struct wait_task one = {h, 0, EACH}, other = {h, 0, EACH};
	struct aiotask *t;
	pid_t pid[2];
	struct aioconn *c[2];

	for (int i = 0; i < 2; i++)
		c[i] = late_reader(base, h, (struct late){0, -1}, &pid[i]);
	t = must(aiotask_spawn(base, send_some, &one));
	must(aiotask_run(base, send_some, &other));
	while (one.from < EACH)
		must(event_base_loop(base, EVLOOP_ONCE));
	must(aiotask_join(t, soon()));
	ck_assert_uint_eq(stats_of(h).sent, 4 * EACH);
	for (int i = 0; i < 2; i++) {
		must(aioconn_close(c[i], soon()));
		expect_exit(pid[i], 0);
	}
	aiohub_free(h);
	event_base_free(base);
}

/* In callbacks it does not wait: it says EAGAIN, and tells when there is room. */
struct pump {
	struct aiohub *hub;
	int next, total;
	int go; /* the readers begin when two bytes are there */
	unsigned writable, refused, done;
};

static void pump(struct aiohub *h, void *arg)
{
	struct pump *p = arg;

	p->writable++;
	for (; p->next < p->total; p->next++)
		if (send_number(h, p->next) == -1) {
			ck_assert_int_eq(errno, EAGAIN);
			if (p->refused++ == 0)
				ck_assert_int_eq(must(write(p->go, "xx", 2)), 2);
			return;
		}
	p->done = 1;
}

static void begin_pump(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	pump(((struct pump *)arg)->hub, arg);
}

TEST(wait_in_callbacks)
{
	struct event_base *base = new_base();
	struct pump p = {.total = 20000};
	struct aiohub_options o = {
		.size = sizeof o, .base = base, .slow = AIOHUB_WAIT, .on_writable = pump, .arg = &p};
	pid_t pid[2];
	struct aioconn *c[2];
	int go[2];

	must(pipe(go));
	p.go = go[1];
	p.hub = must(aiohub_new(&o));
	for (int i = 0; i < 2; i++)
		c[i] = late_reader(base, p.hub, (struct late){p.total, go[0]}, &pid[i]);
	must(event_base_once(base, -1, EV_TIMEOUT, begin_pump, &p, &(struct timeval){0, 0}));
	run_until(base, &p.done, 1);
	ck_assert_uint_gt(p.refused, 0);
	ck_assert_uint_eq(p.writable, p.refused + 1);
	ck_assert_uint_eq(stats_of(p.hub).sent, 2 * (unsigned)p.total);
	for (int i = 0; i < 2; i++) {
		must(aioconn_close(c[i], soon()));
		expect_exit(pid[i], 0);
	}
	close(go[0]);
	close(go[1]);
	aiohub_free(p.hub);
	event_base_free(base);
}

/* The slow one ends: what waited for it goes on. */
static void abort_it(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	aioconn_abort(arg);
}

static void send_one(void *arg)
{
	ck_assert_int_eq(must(send_filled(arg, OUTBOX, 1)), 2);
}

TEST(wait_ends_with_the_slow_one)
{
	struct group g;
	struct aioconn *c;
	int fd;

	make_group(&g, AIOHUB_WAIT, 2);
	fd = stop_one(g.base, g.hub, &c);
	fill_up(c);
	must(event_base_once(g.base, -1, EV_TIMEOUT, abort_it, c, &(struct timeval){0, 20000}));
	must(aiotask_run(g.base, send_one, g.hub));
	run_now(g.base);
	ck_assert_uint_eq(g.seen[0].msgs, 1);
	ck_assert_uint_eq(g.seen[1].msgs, 1);
	must(close(fd));
	end_group(&g);
}

TEST(wait_has_a_limit)
{
	struct group g;
	struct aiohub_options o = {.size = sizeof o, .slow = AIOHUB_WAIT, .wait = 30};
	struct aioconn *c;
	int fd;

	make_group(&g, AIOHUB_SKIP, 1);
	o.base = g.base;
	aiohub_free(g.hub);
	g.hub = must(aiohub_new(&o));
	must(aiohub_join(g.hub, g.member[0]));
	fd = stop_one(g.base, g.hub, &c);
	fill_up(c);
	must_fail(send_filled(g.hub, OUTBOX, 1), ETIMEDOUT);
	ck_assert_uint_eq(stats_of(g.hub).messages, 0);
	ck_assert_uint_eq(stats_of(g.hub).slow, 1);
	run_now(g.base);
	ck_assert_uint_eq(g.seen[0].msgs, 0);
	must(close(fd));
	aioconn_abort(c);
	end_group(&g);
}

static void free_hub(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	aiohub_free(arg);
}

static void send_into_nothing(void *arg)
{
	must_fail(send_filled(arg, OUTBOX, 1), EPIPE);
}

TEST(freed_while_a_task_waits)
{
	struct event_base *base = new_base();
	struct aiohub *h = new_hub(base, AIOHUB_WAIT);
	struct aioconn *c;
	int fd = stop_one(base, h, &c);

	fill_up(c);
	must(event_base_once(base, -1, EV_TIMEOUT, free_hub, h, &(struct timeval){0, 20000}));
	must(aiotask_run(base, send_into_nothing, h));
	must(close(fd));
	aioconn_abort(c);
	event_base_free(base);
}

static void send_cancelled(void *arg)
{
	must_fail(send_filled(arg, OUTBOX, 1), ECANCELED);
}

TEST(cancelled_while_it_waits)
{
	struct event_base *base = new_base();
	struct aiohub *h = new_hub(base, AIOHUB_WAIT);
	struct aioconn *c;
	struct aiotask *t;
	int fd = stop_one(base, h, &c);

	fill_up(c);
	t = must(aiotask_spawn(base, send_cancelled, h));
	run_now(base);
	must(aiotask_cancel(t));
	must(aiotask_join(t, soon()));
	aiohub_free(h);
	must(close(fd));
	aioconn_abort(c);
	event_base_free(base);
}

/* Members come and go. */

TEST(members_leave_by_themselves)
{
	struct group g;

	make_group(&g, AIOHUB_SKIP, FEW);
	aioconn_abort(g.member[0]);
	g.member[0] = NULL;
	must(aioconn_write_eof(g.member[1]));
	must(aioconn_finish(g.member[2], soon()));
	g.member[2] = NULL;
	must(aiohub_leave(g.hub, g.member[3]));
	ck_assert_uint_eq(stats_of(g.hub).members, 1);
	ck_assert_int_eq(must(send_to_all(g.hub, "x")), 1);
	run_now(g.base);
	ck_assert_str_eq(g.seen[3].text, "");
	ck_assert_str_eq(g.seen[4].text, "x ");
	end_group(&g);
}

/* The peer is gone: a write finds it out, or a read. */
TEST(members_leave_with_their_peers)
{
	struct group g;

	make_group(&g, AIOHUB_SKIP, 3);
	for (unsigned i = 0; i < 2; i++) {
		aioconn_abort(g.peer[i]);
		g.peer[i] = NULL;
	}
	ck_assert_int_eq(must(send_to_all(g.hub, "x")), 1);
	ck_assert_uint_eq(stats_of(g.hub).members, 1);
	run_now(g.base);
	ck_assert_str_eq(g.seen[2].text, "x ");
	end_group(&g);
}

struct leaver {
	struct aiohub *hub;
	struct aioconn *victim;
	struct aioconn *joins;
	bool frees;
};

/* Whatever can be done to a hub, in a callback of a member. */
static void stir(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct leaver *l = arg;

	must(aiohub_send(l->hub, m));
	if (l->joins)
		must(aiohub_join(l->hub, l->joins));
	aioconn_abort(l->victim);
	must(aiohub_send(l->hub, m));
	if (l->frees)
		aiohub_free(l->hub);
	aioconn_abort(c);
}

static void stir_group(bool frees)
{
	struct group g;
	struct leaver l;
	struct aioconn *peer;
	struct seen seen = {0};

	make_group(&g, AIOHUB_SKIP, FEW);
	l = (struct leaver){.hub = g.hub, .victim = g.member[3], .frees = frees};
	open_pair(PAIR, g.base, &l.joins, &peer);
	see(peer, &seen);
	must(aioconn_set_callbacks(g.member[1], stir, NULL, NULL, &l));
	send_text(g.peer[1], "go");
	run_now(g.base);
	ck_assert_str_eq(g.seen[0].text, "go go ");
	ck_assert_str_eq(seen.text, "go ");
	if (frees)
		g.hub = NULL;
	else
		ck_assert_uint_eq(stats_of(g.hub).members, FEW - 2 + 1);
	g.member[1] = g.member[3] = NULL;
	aioconn_abort(l.joins);
	if (!seen.closes)
		aioconn_abort(peer);
	end_group(&g);
}

TEST(everything_in_a_callback)
{
	stir_group(false);
}

TEST(freed_in_a_callback)
{
	stir_group(true);
}

/* What was sent before the hub is freed, or a member leaves, still arrives. */
TEST(what_was_sent_arrives)
{
	struct group g;

	make_group(&g, AIOHUB_SKIP, 2);
	for (int i = 0; i < 3; i++)
		must(send_to_all(g.hub, "x"));
	must(send_filled(g.hub, 90000, 1));
	must(aiohub_leave(g.hub, g.member[0]));
	aiohub_free(g.hub);
	g.hub = NULL;
	run_now(g.base);
	for (unsigned i = 0; i < 2; i++)
		run_until(g.base, &g.seen[i].msgs, 4);
	end_group(&g);
}

TEST(not_in_a_forked_child)
{
	struct group g;
	pid_t pid;

	make_group(&g, AIOHUB_WAIT, 2);
	pid = must(fork());
	if (pid == 0) {
		struct aiomsg *m = must(aiomsg_new_bytes("x", 1));

		must_fail(aiohub_send(g.hub, m), ECHILD);
		must_fail(aiohub_join(g.hub, g.member[0]), ECHILD);
		must_fail(aiohub_leave(g.hub, g.member[0]), ECHILD);
		aioconn_abort(g.member[0]);
		aiohub_free(g.hub);
		aioconn_abort(g.member[1]);
		aiomsg_free(m);
		_exit(0);
	}
	expect_exit(pid, 0);
	ck_assert_int_eq(must(send_to_all(g.hub, "still here")), 2);
	run_now(g.base);
	expect_seen(&g, "still here ");
	end_group(&g);
}

/* A thousand members that came through a listener. One of them is stopped. */
struct thousand {
	struct aiohub *hub;
	struct aioconn *member[1001];
	unsigned n;
};

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct thousand *t = arg;

	(void)l;
	must(aiohub_join(t->hub, c));
	t->member[t->n++] = c;
}

TEST_WITHIN(a_thousand_and_one_of_them_is_stopped, 30)
{
	enum { MANY = 1000, MESSAGES = 50 };
	static struct seen seen[MANY];
	static struct aioconn *peer[MANY];
	struct event_base *base = new_base();
	static struct thousand t;
	struct aiolistener *l;
	struct aioconn *c;
	char address[64];
	int fd;

	if (!harness_has_fds(2 * MANY + 64))
		return;
	snprintf(address, sizeof address, "unix:@aioipc-test-hub-%d", (int)getpid());
	t.hub = new_hub(base, AIOHUB_SKIP);
	l = must(aiolistener_new(address, base, NULL, on_peer, &t));
	for (unsigned i = 0; i < MANY; i++) {
		peer[i] = must(aioconn_connect(address, base, soon()));
		see(peer[i], &seen[i]);
		run_until(base, &t.n, i + 1);
	}
	fd = stop_one(base, t.hub, &c);
	fill_up(c);
	for (int n = 0; n < MESSAGES; n++) {
		ck_assert_int_ge(must(send_filled(t.hub, 5000, (unsigned)n)), MANY);
		run_now(base);
	}
	for (unsigned i = 0; i < MANY; i++)
		run_until(base, &seen[i].msgs, MESSAGES);
	ck_assert_uint_eq(stats_of(t.hub).sent + stats_of(t.hub).skipped, MESSAGES * (MANY + 1));
	ck_assert_uint_ge(aiohub_skipped(t.hub, c), MESSAGES - OUTBOX / 5000);
	ck_assert_uint_eq(stats_of(t.hub).slow, 1);
	aiolistener_free(l);
	for (unsigned i = 0; i < MANY; i++) {
		aioconn_abort(peer[i]);
		aioconn_abort(t.member[i]);
	}
	ck_assert_uint_eq(stats_of(t.hub).members, 1);
	aiohub_free(t.hub);
	aioconn_abort(c);
	must(close(fd));
	event_base_free(base);
}
