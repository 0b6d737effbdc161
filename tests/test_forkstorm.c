/* Many forks while connections are open: children that die at random, and children that free what they inherited. */
#include "tests/peers.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILDREN 8
#define ROUNDS 200

struct slot {
	struct storm *storm;
	struct aioconn *c;
	pid_t pid;
	uint64_t next; /* number of the message that is due */
	bool dead;
};

struct storm {
	struct event_base *base;
	struct slot slots[CHILDREN];
	unsigned round, deaths;
	double killed_at, worst;
};

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void start_slot(struct slot *s);

static void hear(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct slot *s = arg;
	const char *text;
	uint64_t i;

	must(aiomsg_unpack(m, "Us", &i, &text));
	ck_assert_uint_eq(i, s->next);
	s->next++;
	if (i % CHATTER_WINDOW == CHATTER_WINDOW - 1 && aioconn_send(c, "U", i) == -1) {
		ck_assert_int_eq(errno, EPIPE);
		ck_assert(s->dead);
	}
}

static void miss(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct slot *s = arg;
	struct storm *storm = s->storm;
	double took = now_ms() - storm->killed_at;

	ck_assert_int_eq(cause, AIOCONN_LOST);
	ck_assert(s->dead);
	aioconn_abort(c);
	expect_killed(s->pid, SIGKILL);
	if (took > storm->worst)
		storm->worst = took;
	storm->deaths++;
	if (storm->round % 2)
		start_slot(s); /* in the callback */
}

static void start_slot(struct slot *s)
{
	struct aioend *mine, *theirs;

	make_ends((s - s->storm->slots) % 2 ? DUPLEX : PAIR, &mine, &theirs);
	s->pid = start_child(chatter, theirs, NULL);
	s->c = open_end(mine, s->storm->base);
	s->next = 0;
	s->dead = false;
	must(aioconn_set_callbacks(s->c, hear, NULL, miss, s));
}

/* Until every child has been heard of since. */
static void hear_everyone(struct storm *storm)
{
	uint64_t heard[CHILDREN];

	for (int i = 0; i < CHILDREN; i++)
		heard[i] = storm->slots[i].next;
	for (int i = 0; i < CHILDREN; i++)
		while (storm->slots[i].next < heard[i] + CHATTER_WINDOW)
			must(event_base_loop(storm->base, EVLOOP_ONCE));
}

/* Touches and frees all that it has from its parent, as destructors and exit handlers do. */
static void free_inherited(struct storm *storm)
{
	struct aiomsg *m;

	for (int i = 0; i < CHILDREN; i++) {
		struct aioconn *c = storm->slots[i].c;

		must_fail(aioconn_send(c, "i", 1), ECHILD);
		must_fail(aioconn_recv(c, &m, AIOIPC_NOW), ECHILD);
		must_fail(aioconn_flush(c, soon()), ECHILD);
		if (i % 2)
			must_fail(aioconn_close(c, soon()), ECHILD);
		else
			aioconn_abort(c);
	}
	must(aioipc_base_reinit(storm->base));
	event_base_free(storm->base);
	_exit(0);
}

static void fork_one_that_frees(struct storm *storm)
{
	pid_t pid = must(fork());

	if (pid == 0)
		free_inherited(storm);
	expect_exit(pid, 0);
}

TEST_WITHIN(children_die_at_random_and_the_others_keep_talking, 60)
{
	struct storm storm = {.base = new_base()};
	unsigned rounds = harness_slowness() > 5 ? ROUNDS / 10 : ROUNDS, fds;
	uint32_t seed = 4711;

	for (int i = 0; i < CHILDREN; i++) {
		storm.slots[i].storm = &storm;
		start_slot(&storm.slots[i]);
	}
	hear_everyone(&storm);
	fds = harness_count_fds();
	for (storm.round = 0; storm.round < rounds; storm.round++) {
		struct slot *s = &storm.slots[(seed = seed * 1103515245 + 12345) >> 16 & (CHILDREN - 1)];

		s->dead = true;
		storm.killed_at = now_ms();
		must(kill(s->pid, SIGKILL));
		run_until(storm.base, &storm.deaths, storm.round + 1);
		if (storm.round % 2 == 0)
			start_slot(s);
		hear_everyone(&storm);
		ck_assert_uint_eq(harness_count_fds(), fds);
		if (storm.round % 10 == 9)
			fork_one_that_frees(&storm);
	}
	for (int i = 0; i < CHILDREN; i++) {
		must(kill(storm.slots[i].pid, SIGKILL));
		expect_killed(storm.slots[i].pid, SIGKILL);
		must(aioconn_set_callbacks(storm.slots[i].c, NULL, NULL, NULL, NULL));
		aioconn_abort(storm.slots[i].c);
	}
	event_base_free(storm.base);
	printf("# %u deaths, the latest noticed after %.1f ms\n", rounds, storm.worst);
	fflush(stdout);
}

/* Everything a parent may hold when it forks. */
struct holdings {
	struct event_base *base;
	struct aioconn *on_base[3], *peer[3], *blocking[2];
	struct aioend *end[2], *detached_back;
	int raw;                /* reads what queued sends */
	struct aioconn *queued; /* with output that has not left */
	struct seen seen;
};

static void hold(struct holdings *h)
{
	memset(h, 0, sizeof *h);
	h->base = new_base();
	for (enum transport t = PIPE; t <= PAIR; t++) {
		open_pair(t, h->base, &h->peer[t], &h->on_base[t]);
		see(h->on_base[t], &h->seen);
	}
	open_pair(PAIR, NULL, &h->blocking[0], &h->blocking[1]);
	make_ends(DUPLEX, &h->end[0], &h->end[1]);
	h->raw = raw_reader(PAIR, h->base, &h->queued);
	run_now(h->base);
	must(aioconn_cork(h->queued, true));
	send_text(h->queued, "once");
	must(aioconn_cork(h->blocking[0], true));
	send_text(h->blocking[0], "only once");
	for (enum transport t = PIPE; t <= PAIR; t++)
		send_text(h->peer[t], "in flight");
}

/* What a child may do with it, in either order. */
static void drop_in_child(struct holdings *h, bool base_first)
{
	if (base_first)
		must(aioipc_base_reinit(h->base));
	for (enum transport t = PIPE; t <= PAIR; t++) {
		must_fail(aioconn_write_eof(h->peer[t]), ECHILD);
		must_fail(aioconn_cork(h->peer[t], false), ECHILD);
		aioconn_pause(h->on_base[t]);
		aioconn_resume(h->on_base[t]);
		must_fail(aioconn_close(h->peer[t], soon()), ECHILD);
		aioconn_abort(h->on_base[t]);
	}
	must_fail(aioconn_finish(h->queued, soon()), ECHILD);
	must_fail(aioconn_close(h->blocking[0], soon()), ECHILD);
	aioconn_abort(h->blocking[1]);
	ck_assert_ptr_null(aioend_open(h->end[0], NULL));
	must_fail(aioend_detach(h->end[1]), errno);
	aioend_free(h->end[0]);
	aioend_free(h->end[1]);
	if (!base_first)
		must(aioipc_base_reinit(h->base));
	run_now(h->base);
	event_base_free(h->base);
	ck_assert_uint_eq(h->seen.msgs, 0);
	ck_assert_uint_eq(h->seen.closes, 0);
}

static void expect_unharmed(struct holdings *h)
{
	struct aioconn *a, *b;

	run_until(h->base, &h->seen.msgs, 3);
	for (enum transport t = PIPE; t <= PAIR; t++)
		send_text(h->peer[t], "again");
	run_until(h->base, &h->seen.msgs, 6);
	ck_assert_uint_eq(h->seen.closes, 0);
	must(aioconn_flush(h->queued, soon()));
	must(aioconn_close(h->queued, soon()));
	get_preface(h->raw);
	expect_frame(h->raw, BYTES, "once");
	expect_frame(h->raw, GOODBYE, "");
	must(aioconn_close(h->blocking[0], soon()));
	expect_text(h->blocking[1], "only once");
	expect_end(h->blocking[1], 0);
	a = open_end(h->end[0], NULL);
	b = open_end(h->end[1], NULL);
	send_text(a, "still one's own");
	expect_text(b, "still one's own");
	aioconn_abort(a);
	aioconn_abort(b);
}

static void let_go(struct holdings *h)
{
	for (enum transport t = PIPE; t <= PAIR; t++) {
		aioconn_abort(h->peer[t]);
		run_until(h->base, &h->seen.closes, (unsigned)t + 1);
		ck_assert_int_eq(h->seen.cause, AIOCONN_LOST);
	}
	aioconn_abort(h->blocking[1]);
	close(h->raw);
	event_base_free(h->base);
}

TEST(a_child_that_frees_what_it_inherited_does_no_harm)
{
	for (int base_first = 0; base_first < 2; base_first++) {
		struct holdings h;
		pid_t pid;

		hold(&h);
		pid = must(fork());
		if (pid == 0) {
			drop_in_child(&h, base_first);
			_exit(0);
		}
		expect_exit(pid, 0);
		expect_unharmed(&h);
		let_go(&h);
	}
}

TEST(a_child_that_just_exits_does_no_harm)
{
	struct holdings h;
	pid_t pid;

	hold(&h);
	pid = must(fork());
	if (pid == 0)
		_exit(0);
	expect_exit(pid, 0);
	expect_unharmed(&h);
	let_go(&h);
}

/* A child that lives on with the parent's memory holds none of its ends open. */
TEST(a_child_that_lives_delays_no_end)
{
	struct aioend *stop, *wait;
	struct aioconn *a, *b;
	pid_t pid;

	open_pair(PAIR, NULL, &a, &b);
	make_ends(PIPE, &stop, &wait);
	must(aioend_detach(wait));
	pid = must(fork());
	if (pid == 0) {
		struct aioconn *c = open_end(wait, NULL);

		expect_end(c, ECONNRESET);
		_exit(0);
	}
	aioend_free(wait);
	aioconn_abort(a);
	expect_end(b, ECONNRESET);
	aioconn_abort(b);
	ck_assert_int_eq(must(waitpid(pid, NULL, WNOHANG)), 0);
	aioend_free(stop);
	expect_exit(pid, 0);
}

/* The child makes the parent's base its own, by reinit or by opening on it, and both bases go on. */
static void talk_on_inherited(struct holdings *h, struct aioend *end, bool reinit)
{
	struct seen s = {.msgs = 0};
	struct aioconn *c;

	if (reinit)
		must(aioipc_base_reinit(h->base));
	c = open_end(end, h->base);
	see(c, &s);
	send_text(c, "from the child");
	run_until(h->base, &s.msgs, 1);
	ck_assert_str_eq(s.text, "to the child ");
	ck_assert_uint_eq(h->seen.msgs, 0);
	must(aioconn_close(c, soon()));
}

TEST(a_child_may_use_the_inherited_base)
{
#ifdef __SANITIZE_THREAD__
	const int first = 1; /* it runs a thread of its own, beside which opening is not safe */
#else
	const int first = 0;
#endif

	for (int reinit = first; reinit < 2; reinit++) {
		struct aioend *mine, *theirs;
		struct seen s = {.msgs = 0};
		struct holdings h;
		struct aioconn *c;
		pid_t pid;

		hold(&h);
		make_ends(PAIR, &mine, &theirs);
		must(aioend_detach(theirs));
		pid = must(fork());
		if (pid == 0) {
			talk_on_inherited(&h, theirs, reinit);
			_exit(0);
		}
		aioend_free(theirs);
		c = open_end(mine, h.base);
		see(c, &s);
		send_text(c, "to the child");
		run_until(h.base, &s.closes, 1);
		ck_assert_str_eq(s.text, "from the child ");
		ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
		expect_exit(pid, 0);
		expect_unharmed(&h);
		let_go(&h);
	}
}

struct forker {
	struct holdings *h;
	unsigned forks;
};

static void fork_in_callback(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct forker *f = arg;
	pid_t pid = must(fork());

	(void)m;
	if (pid == 0) {
		must_fail(aioconn_send(c, "i", 1), ECHILD);
		aioconn_abort(c);
		_exit(0);
	}
	expect_exit(pid, 0);
	f->forks++;
}

TEST(a_callback_may_fork)
{
	struct event_base *base = new_base();
	struct forker f = {.forks = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(b, fork_in_callback, NULL, NULL, &f));
	for (int i = 0; i < 5; i++)
		send_text(a, "fork");
	run_until(base, &f.forks, 5);
	ck_assert_uint_eq(f.forks, 5);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

/* A child that forks again: its own connections are as foreign to the grandchild. */
TEST(grandchildren_are_no_different)
{
	struct holdings h;
	pid_t pid;

	hold(&h);
	pid = must(fork());
	if (pid == 0) {
		pid_t grandchild;
		struct aioconn *a, *b;

		open_pair(PAIR, NULL, &a, &b);
		grandchild = must(fork());
		if (grandchild == 0) {
			must_fail(aioconn_send(a, "i", 1), ECHILD);
			aioconn_abort(a);
			aioconn_abort(b);
			drop_in_child(&h, true);
			_exit(0);
		}
		expect_exit(grandchild, 0);
		send_text(a, "mine");
		expect_text(b, "mine");
		drop_in_child(&h, false);
		_exit(0);
	}
	expect_exit(pid, 0);
	expect_unharmed(&h);
	let_go(&h);
}

/* Descriptors that came and wait belong to the parent, and are closed in the child. */
TEST(waiting_descriptors_stay_with_the_parent)
{
	struct aioconn *a, *b;
	struct aiomsg *m;
	pid_t pid;
	int p[2];
	char c;

	must(pipe(p));
	open_pair(PAIR, NULL, &a, &b);
	must(aioconn_allow_fds(b, 8));
	must(aioconn_send_fd(a, p[1], "s", "first"));
	must(aioconn_send_fd(a, p[1], "s", "second"));
	close(p[1]);
	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	aiomsg_free(m);
	pid = must(fork());
	if (pid == 0) {
		aioconn_abort(b);
		aioconn_abort(a);
		_exit(0);
	}
	expect_exit(pid, 0);
	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	ck_assert_uint_eq(aiomsg_fds(m), 1);
	aiomsg_free(m);
	ck_assert_int_eq(must(read(p[0], &c, 1)), 0);
	close(p[0]);
	aioconn_abort(a);
	aioconn_abort(b);
}
