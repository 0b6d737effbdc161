/*
 * Links that lose nothing, over a way that breaks, and between processes that are killed. AIOIPC_KILLS in the environment says how
 * often, if not 40 times.
 */
#include "tests/links.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/proxy.h"

static struct aiolink *start(enum aiolink_role role, const char *address, enum aiolink_direction direction)
{
	struct aiolink_options o = options_of(role, address, AIOCONN_MESSAGES);

	o.direction = direction;
	o.confirm = true;
	o.reconnect_most = 2;
	return start_link(&o, NULL);
}

static struct aiolink_stats stats_of(const struct aiolink *l)
{
	struct aiolink_stats s = {.size = sizeof s};

	must(aiolink_stats(l, &s));
	return s;
}

/* Over a way that breaks. */

struct cut_scene {
	unsigned breaks;
	size_t most; /* bytes */
	bool random;
	struct proxy *proxy;
	atomic_uint sent[2];
	struct aiolink *link[2];
	atomic_bool enough;
};

static size_t budget(unsigned n, void *arg)
{
	const struct cut_scene *s = arg;

	if (n >= s->breaks)
		return SIZE_MAX;
	return 1 + (s->random ? (size_t)rand() : n) % s->most;
}

/* Puts numbers until the way was broken often enough. */
static void produce(struct cut_scene *s, int side)
{
	struct aioqueue *q = aiolink_outbox(s->link[side]);

	while (proxy_connections(s->proxy) <= s->breaks) {
		put_numbers(q, "n", s->sent[side], s->sent[side] + 1);
		s->sent[side]++;
	}
	put_word(q, "end");
}

static void produce_first(void *arg)
{
	produce(arg, 0);
}

static void produce_second(void *arg)
{
	produce(arg, 1);
}

static unsigned consume(struct aioqueue *q)
{
	char due[32];
	struct aiomsg *m;

	for (unsigned n = 0;; n++) {
		ck_assert_int_eq(must(aioqueue_get(q, &m, soon())), 1);
		if (is_text(m, "end")) {
			aiomsg_free(m);
			return n;
		}
		snprintf(due, sizeof due, "n %u", n);
		ck_assert_msg(is_text(m, due), "\"%s\" was due", due);
		aiomsg_free(m);
	}
}

struct consumer {
	struct aioqueue *queue;
	unsigned got;
};

static void consume_second(void *arg)
{
	struct consumer *c = arg;

	c->got = consume(c->queue);
}

static void expect_all_confirmed(struct aiolink *l, unsigned sent)
{
	int64_t until = soon();

	while (stats_of(l).confirmed < sent + 1) {
		ck_assert_int_lt(aioipc_after(0), until);
		nap(1);
	}
	ck_assert_uint_eq(stats_of(l).msgs_out, sent + 1);
	ck_assert_uint_eq(stats_of(l).unsure, 0);
}

static void cut(const char *from, const char *to, struct cut_scene *s)
{
	struct beside *p[2], *c;
	struct consumer second;

	s->link[0] = start(AIOLINK_LISTEN, to, AIOLINK_BOTH);
	s->proxy = start_proxy(from, to, budget, s);
	s->link[1] = start(AIOLINK_CONNECT, from, AIOLINK_BOTH);
	second.queue = aiolink_inbox(s->link[1]);
	p[0] = run_beside(NULL, produce_first, s);
	p[1] = run_beside(NULL, produce_second, s);
	c = run_beside(NULL, consume_second, &second);
	ck_assert_uint_eq(consume(aiolink_inbox(s->link[0])), s->sent[1]);
	join_beside(p[0]);
	join_beside(p[1]);
	join_beside(c);
	ck_assert_uint_eq(second.got, s->sent[0]);
	for (int i = 0; i < 2; i++)
		expect_all_confirmed(s->link[i], s->sent[i]);
	printf("# %u connections, %u and %u messages, sent again %ju and %ju\n", proxy_connections(s->proxy),
	       s->sent[0], s->sent[1], (uintmax_t)stats_of(s->link[0]).resent,
	       (uintmax_t)stats_of(s->link[1]).resent);
	close_link(s->link[1]);
	close_link(s->link[0]);
	stop_proxy(s->proxy);
}

TEST_WITHIN(a_cut_at_every_byte, 40)
{
	struct cut_scene s = {.breaks = 600, .most = 600};

	cut(unix_at(0), unix_at(1), &s);
}

TEST_WITHIN(cuts_and_resets_over_tcp_at_random, 40)
{
	struct cut_scene s = {.breaks = 150, .most = 20000, .random = true};
	int port = 20000 + (int)(getpid() % 5000);

	cut(tcp_at(port), tcp_at(port + 5000), &s);
}

/* Processes that are killed. */

enum { MOST = 4000000 };

/* In memory that all share. */
struct ledger {
	unsigned char came[MOST]; /* how often, by number */
	atomic_uint next;         /* behind the last number that came first */
	atomic_bool enough;
	atomic_uint sent;
	struct aiolink_stats stats;
};

static unsigned kills(void)
{
	const char *text = getenv("AIOIPC_KILLS");

	return text ? (unsigned)strtoul(text, NULL, 10) : 40;
}

static struct ledger *new_ledger(void)
{
	void *at =
		mmap(NULL, sizeof(struct ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(at, MAP_FAILED);
	return at;
}

static void put_number(struct aioqueue *q, uint32_t who, uint32_t n)
{
	struct aiomsg *m = must(aiomsg_new("uu", who, n));

	must(aioqueue_put(q, m, aioipc_after(60000)));
	aiomsg_free(m);
}

static void send_numbers(struct ledger *ledger, const char *at)
{
	struct aiolink *l = start(AIOLINK_CONNECT, at, AIOLINK_SEND);

	while (!ledger->enough && ledger->sent < MOST) {
		put_number(aiolink_outbox(l), 0, ledger->sent);
		ledger->sent++;
	}
	aioqueue_close(aiolink_outbox(l));
	must(aiolink_join(l, aioipc_after(60000)));
	ledger->stats = stats_of(l);
	must(aiolink_close(l, soon()));
	_exit(0);
}

/* One number: none is left out, and it comes once to each process. */
static void enter(struct ledger *ledger, uint32_t n, int64_t *last)
{
	if (n > ledger->next || (*last >= 0 && n != (uint32_t)*last + 1))
		ck_abort_msg("%u came after %d here, %u was due first", n, (int)*last, ledger->next);
	ledger->came[n]++;
	if (n == ledger->next)
		ledger->next++;
	*last = n;
}

static void receive_numbers(struct ledger *ledger, const char *at)
{
	struct aiolink *l = start(AIOLINK_LISTEN, at, AIOLINK_RECV);
	struct aiomsg *m;
	int64_t last = -1;
	uint32_t who, n;

	while (!ledger->enough || ledger->next < ledger->sent) {
		if (aioqueue_get(aiolink_inbox(l), &m, aioipc_after(20)) != 1)
			continue;
		must(aiomsg_unpack(m, "uu", &who, &n));
		enter(ledger, n, &last);
		aiomsg_free(m);
	}
	nap(50); /* the last are confirmed */
	must(aiolink_close(l, soon()));
	_exit(0);
}

static pid_t fork_to(void (*body)(struct ledger *, const char *), struct ledger *ledger, const char *at)
{
	pid_t pid = must(fork());

	if (pid == 0)
		body(ledger, at);
	return pid;
}

TEST_WITHIN(a_receiver_that_is_killed_again_and_again, 400)
{
	struct ledger *ledger = new_ledger();
	unsigned many = kills(), again = 0, i;
	pid_t sender = fork_to(send_numbers, ledger, unix_at(2)), receiver;

	for (i = 0; i < many; i++) {
		unsigned before = ledger->next;

		receiver = fork_to(receive_numbers, ledger, unix_at(2));
		while (i % 2 && ledger->next == before) /* every other one has received something */
			usleep(100);
		usleep((unsigned)rand() % 8000);
		must(kill(receiver, SIGKILL));
		expect_killed(receiver, SIGKILL);
	}
	ledger->enough = true;
	receiver = fork_to(receive_numbers, ledger, unix_at(2));
	expect_exit(sender, 0);
	expect_exit(receiver, 0);
	for (i = 0; i < ledger->sent; i++) {
		ck_assert_msg(ledger->came[i] > 0, "%u of %u never came", i, ledger->sent);
		again += ledger->came[i] > 1;
	}
	printf("# %u kills, %u messages, %u came again; sent again %ju, unsure %ju\n", many, ledger->sent,
	       again, (uintmax_t)ledger->stats.resent, (uintmax_t)ledger->stats.unsure);
	ck_assert_uint_eq(ledger->stats.unsure, 0);
	ck_assert_uint_eq(ledger->stats.confirmed, ledger->sent);
	must(munmap(ledger, sizeof *ledger));
}

static uint32_t sender_number;

static void send_until_killed(struct ledger *ledger, const char *at)
{
	struct aiolink *l = start(AIOLINK_CONNECT, at, AIOLINK_SEND);

	for (uint32_t n = 0;; n++) {
		put_number(aiolink_outbox(l), sender_number, n);
		ledger->sent++;
	}
}

/* Of each sender come the first numbers, once each, in order. */
static void receive_from_all(struct ledger *ledger, const char *at)
{
	struct aiolink *l = start(AIOLINK_LISTEN, at, AIOLINK_RECV);
	int64_t who_last = -1, last = -1;
	uint32_t who, n;
	struct aiomsg *m;

	while (!ledger->enough) {
		if (aioqueue_get(aiolink_inbox(l), &m, aioipc_after(20)) != 1)
			continue;
		must(aiomsg_unpack(m, "uu", &who, &n));
		aiomsg_free(m);
		if (who == who_last ? n != last + 1 : who < who_last || n != 0)
			ck_abort_msg("%u of %u came after %d of %d", n, who, (int)last, (int)who_last);
		who_last = who;
		last = n;
		ledger->next++;
	}
	aiolink_abort(l);
	_exit(0);
}

TEST_WITHIN(a_sender_that_is_killed_again_and_again, 400)
{
	struct ledger *ledger = new_ledger();
	pid_t receiver = fork_to(receive_from_all, ledger, unix_at(3)), sender;
	unsigned many = kills();

	for (sender_number = 0; sender_number < many; sender_number++) {
		unsigned before = ledger->next;

		sender = fork_to(send_until_killed, ledger, unix_at(3));
		while (sender_number % 2 && ledger->next == before)
			usleep(100);
		usleep((unsigned)rand() % 8000);
		must(kill(sender, SIGKILL));
		expect_killed(sender, SIGKILL);
	}
	ledger->enough = true;
	expect_exit(receiver, 0);
	printf("# %u kills, %u messages received\n", many, ledger->next);
	ck_assert_uint_gt(ledger->next, 0);
	must(munmap(ledger, sizeof *ledger));
}
