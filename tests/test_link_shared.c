/*
 * Queues with company: links and services that share one leave it to each other until the last has ended; who is idle takes, and
 * who waits for room gets it, in turns.
 */
#include "tests/links.h"

#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

enum { MESSAGES = 300 };

static struct aiolink *listen_once(unsigned n, enum aiolink_direction direction, struct aioqueue *in,
				   struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(n), AIOCONN_MESSAGES);

	never_again(&o);
	o.direction = direction;
	o.inbox = in;
	return start_link(&o, base);
}

static struct aiolink *connect_once(unsigned n, struct aioqueue *out, struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(n), AIOCONN_MESSAGES);
	struct aiolink *l;

	never_again(&o);
	o.outbox = out;
	l = start_link(&o, base);
	must(aiolink_wait_connected(l, soon()));
	return l;
}

static void expect_open_and_empty(struct aioqueue *q)
{
	struct aiomsg *m;

	must_fail(aioqueue_get(q, &m, AIOIPC_NOW), ETIMEDOUT);
}

static void share_inbox(enum aiolink_direction direction, struct event_base *base)
{
	struct aioqueue *in = must(aioqueue_new(100, 0));
	struct aiolink *to[2], *from[2];

	for (unsigned i = 0; i < 2; i++) {
		to[i] = listen_once(i, direction, in, base);
		from[i] = connect_once(i, NULL, base);
	}
	put_word(aiolink_outbox(from[0]), "the first");
	expect_word(in, "the first");
	close_link(from[0]);
	must(aiolink_join(to[0], soon()));
	expect_open_and_empty(in);
	put_numbers(aiolink_outbox(from[1]), "goes on", 0, 10);
	expect_numbers(in, "goes on", 0, 10);
	close_link(from[1]);
	must(aiolink_join(to[1], soon()));
	expect_queue_end(in);
	for (unsigned i = 0; i < 2; i++)
		close_link(to[i]);
	aioqueue_free(in);
}

static void share_inboxes(struct event_base *base)
{
	share_inbox(AIOLINK_BOTH, base);
	share_inbox(AIOLINK_RECV, base);
}

TEST(the_last_link_that_ends_closes_a_shared_inbox)
{
	both_ways(share_inboxes);
}

/* One that is made counts, though it never starts; by itself it closes nothing. */
TEST(a_link_that_never_starts)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(1), AIOCONN_MESSAGES);
	struct aioqueue *in = must(aioqueue_new(10, 0));
	struct aiolink *to, *from, *spare;

	o.inbox = in;
	aiolink_abort(must(aiolink_new(&o)));
	expect_open_and_empty(in);
	spare = must(aiolink_new(&o));
	to = listen_once(0, AIOLINK_RECV, in, NULL);
	from = connect_once(0, NULL, NULL);
	close_link(from);
	must(aiolink_join(to, soon()));
	close_link(to);
	expect_open_and_empty(in);
	must(aiolink_close(spare, AIOIPC_NOW));
	expect_queue_end(in);
	aioqueue_free(in);
}

TEST(whoever_closes_a_shared_inbox_closes_it_for_all)
{
	struct aioqueue *in = must(aioqueue_new(10, 0));
	struct aiolink *to[2], *from[2];

	for (unsigned i = 0; i < 2; i++) {
		to[i] = listen_once(i, AIOLINK_RECV, in, NULL);
		from[i] = connect_once(i, NULL, NULL);
		must(aiolink_wait_connected(to[i], soon()));
	}
	aioqueue_close(in);
	for (unsigned i = 0; i < 2; i++) {
		must(aiolink_join(to[i], soon()));
		close_link(to[i]);
		close_link(from[i]);
	}
	aioqueue_free(in);
}

/* One's peer leaves, the other is closed by its user: the messages go to who is left, until nobody is. */
static void share_outbox(struct event_base *base)
{
	struct aioqueue *out = must(aioqueue_new(100, 0));
	struct aiolink *to[3], *from[3];
	struct aiomsg *m;

	for (unsigned i = 0; i < 3; i++) {
		to[i] = listen_once(i, AIOLINK_RECV, NULL, base);
		from[i] = connect_once(i, out, base);
	}
	close_link(to[0]);
	must(aiolink_join(from[0], soon()));
	close_link(from[0]);
	close_link(from[1]);
	put_numbers(out, "left", 0, 20);
	expect_numbers(aiolink_inbox(to[2]), "left", 0, 20);
	put_numbers(out, "last", 0, 20);
	close_link(from[2]);
	expect_numbers(aiolink_inbox(to[2]), "last", 0, 20);
	m = must(aiomsg_new("i", 1));
	must_fail(aioqueue_put(out, m, AIOIPC_NOW), EPIPE);
	aiomsg_free(m);
	close_link(to[1]);
	close_link(to[2]);
	aioqueue_free(out);
}

TEST(the_last_link_that_ends_closes_a_shared_outbox)
{
	both_ways(share_outbox);
}

static unsigned count_out(const struct aiolink *l)
{
	struct aiolink_stats s = {.size = sizeof s};

	must(aiolink_stats(l, &s));
	return (unsigned)s.msgs_out;
}

/* Two links between two queues. */
struct pair {
	struct aioqueue *out, *in;
	struct aiolink *to[2], *from[2];
};

static struct pair make_pair(struct event_base *base)
{
	struct pair p = {.out = must(aioqueue_new(100, 0)), .in = must(aioqueue_new(MESSAGES, 0))};

	for (unsigned i = 0; i < 2; i++) {
		p.to[i] = listen_once(i, AIOLINK_RECV, p.in, base);
		p.from[i] = connect_once(i, p.out, base);
	}
	return p;
}

static void expect_shares(struct pair *p, unsigned least)
{
	unsigned one = count_out(p->from[0]), other = count_out(p->from[1]);

	if (one < least || other < least)
		ck_abort_msg("of %d messages one sent %u and the other %u", MESSAGES, one, other);
	for (unsigned i = 0; i < 2; i++) {
		close_link(p->from[i]);
		close_link(p->to[i]);
	}
	aioqueue_free(p->out);
	aioqueue_free(p->in);
}

/* Both are idle whenever one is put. */
static void one_by_one(struct event_base *base)
{
	struct pair p = make_pair(base);

	for (unsigned i = 0; i < MESSAGES; i++) {
		put_numbers(p.out, "job", i, i + 1);
		expect_numbers(p.in, "job", i, i + 1);
	}
	/* In threads of their own, one whose thread does not run is not idle: how many it gets is the system's business. */
	expect_shares(&p, base ? MESSAGES / 3 : 1);
}

TEST(idle_links_take_from_a_shared_outbox_in_turns)
{
	both_ways(one_by_one);
}

/* As many as the queue holds are there at once. */
static void back_to_back(void *arg)
{
	struct pair p = make_pair(arg);
	struct aiomsg *m;

	put_numbers(p.out, "job", 0, MESSAGES);
	for (unsigned i = 0; i < MESSAGES; i++) {
		ck_assert_int_eq(must(aioqueue_get(p.in, &m, soon())), 1);
		aiomsg_free(m);
	}
	expect_shares(&p, MESSAGES / 3);
}

TEST(of_many_messages_each_link_takes_a_share)
{
	struct event_base *base = new_base();

	must(aiotask_run(base, back_to_back, base));
	event_base_free(base);
}

/* Watches of two bases, each of which is free to answer. */
static void count_and_take(struct aioqueue *q, void *arg)
{
	struct aiomsg *m;

	if (aioqueue_get(q, &m, AIOIPC_NOW) != 1)
		return;
	aiomsg_free(m);
	++*(unsigned *)arg;
}

TEST(idle_watches_are_called_in_turns)
{
	struct event_base *base[2] = {new_base(), new_base()};
	struct aioqueue *q = must(aioqueue_new(10, 0));
	unsigned count[2] = {0, 0};

	for (int i = 0; i < 2; i++) {
		must(aioqueue_watch(q, base[i], count_and_take, NULL, &count[i]));
		run_now(base[i]);
	}
	for (unsigned n = 0; n < 20; n++) {
		put_word(q, "one");
		for (int i = 0; i < 2; i++)
			run_now(base[i]);
	}
	ck_assert_uint_eq(count[0], 10);
	ck_assert_uint_eq(count[1], 10);
	for (int i = 0; i < 2; i++) {
		must(aioqueue_watch(q, base[i], NULL, NULL, NULL));
		event_base_free(base[i]);
	}
	aioqueue_free(q);
}

/* Two peers that could fill the inbox each, and a reader. */
static void feed_in_turns(void *arg)
{
	struct aioqueue *in = must(aioqueue_new(4, 0));
	struct aiolink *to[2], *from[2];
	unsigned count[2] = {0, 0};
	struct aiomsg *m;

	for (unsigned i = 0; i < 2; i++) {
		to[i] = listen_once(i, AIOLINK_RECV, in, arg);
		from[i] = connect_once(i, NULL, arg);
		put_numbers(aiolink_outbox(from[i]), i ? "b" : "a", 0, MESSAGES);
	}
	for (unsigned n = 0; n < MESSAGES; n++) {
		ck_assert_int_eq(must(aioqueue_get(in, &m, soon())), 1);
		count[*(const char *)aiomsg_bytes(m, NULL) - 'a']++;
		aiomsg_free(m);
	}
	if (count[0] < MESSAGES / 3 || count[1] < MESSAGES / 3)
		ck_abort_msg("%u came from one and %u from the other", count[0], count[1]);
	for (unsigned i = 0; i < 2; i++) {
		aiolink_abort(to[i]);
		aiolink_abort(from[i]);
	}
	aioqueue_free(in);
}

TEST(room_in_a_shared_inbox_goes_to_each_in_turn)
{
	struct event_base *base = new_base();

	must(aiotask_run(base, feed_in_turns, base));
	event_base_free(base);
}

/* Services. */

static int pass_on(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)arg;
	return aioqueue_put(out, m, AIOIPC_FOREVER);
}

static struct aioservice *serve(struct aioqueue *in, struct aioqueue *out, aioservice_handle *handle,
				void *arg)
{
	const struct aioservice_options o = {
		.size = sizeof o, .in = in, .out = out, .handle = handle, .arg = arg};
	struct aioservice *s = must(aioservice_new(&o));

	must(aioservice_start(s));
	return s;
}

TEST(the_last_service_that_ends_closes_a_shared_out)
{
	struct aioqueue *in[2] = {must(aioqueue_new(10, 0)), must(aioqueue_new(10, 0))};
	struct aioqueue *out = must(aioqueue_new(10, 0));
	struct aioservice *s[2] = {serve(in[0], out, pass_on, NULL), serve(in[1], out, pass_on, NULL)};

	put_word(in[0], "one");
	aioqueue_close(in[0]);
	must(aioservice_join(s[0], soon()));
	put_word(in[1], "two");
	expect_word(out, "one");
	expect_word(out, "two");
	expect_open_and_empty(out);
	must(aioservice_close(s[0], soon()));
	expect_open_and_empty(out);
	must(aioservice_close(s[1], soon()));
	expect_queue_end(out);
	aioqueue_free(in[0]);
	aioqueue_free(in[1]);
	aioqueue_free(out);
}

struct refusal {
	sem_t begun;
	int error;
};

static int put_into_the_full(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct refusal *r = arg;

	must(sem_post(&r->begun));
	if (aioqueue_put(out, m, AIOIPC_FOREVER) == 0)
		return 0;
	r->error = errno;
	return 1;
}

/* Its own handlers wait for room no more; the other one's, and the queue, are as they were. */
TEST(an_aborted_service_leaves_a_shared_out_to_others)
{
	struct aioqueue *in[2] = {must(aioqueue_new(10, 0)), must(aioqueue_new(10, 0))};
	struct aioqueue *out = must(aioqueue_new(1, 0));
	struct refusal one = {.error = 0}, other = {.error = 0};
	struct aioservice *s[2];

	must(sem_init(&one.begun, 0, 0));
	must(sem_init(&other.begun, 0, 0));
	s[0] = serve(in[0], out, put_into_the_full, &one);
	s[1] = serve(in[1], out, put_into_the_full, &other);
	put_word(out, "full");
	put_word(in[0], "one");
	put_word(in[1], "two");
	must(sem_wait(&one.begun));
	must(sem_wait(&other.begun));
	aioservice_abort(s[0]);
	ck_assert_int_eq(one.error, EPIPE);
	expect_word(out, "full");
	expect_word(out, "two");
	expect_open_and_empty(out);
	must(aioservice_close(s[1], soon()));
	expect_queue_end(out);
	ck_assert_int_eq(other.error, 0);
	aioqueue_free(in[0]);
	aioqueue_free(in[1]);
	aioqueue_free(out);
	sem_destroy(&one.begun);
	sem_destroy(&other.begun);
}
