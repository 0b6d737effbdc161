/*
 * Links and forks: children that inherit them, at every moment, free them and do no harm; links whose peers are children that die
 * at random.
 */
#include "tests/links.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/os/os.h"

/* What a parent holds when it forks: links in every state, and what they are connected with. */
struct holdings {
	struct event_base *base;
	bool resting; /* its loop was not running at the fork: the child may run it */
	struct aiolink *server, *client, *back_off, *alone, *fresh, *on_end;
	int peer; /* of on_end */
};

static void hold(struct holdings *h, struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(2), AIOCONN_MESSAGES);

	*h = (struct holdings){.base = base};
	h->server = start_listening(unix_at(0), AIOCONN_MESSAGES, base);
	h->client = start_connecting(unix_at(0), AIOCONN_MESSAGES, base);
	h->alone = start_listening(path_at(1), AIOCONN_LINES, base);
	h->fresh = must(aiolink_new(&o));
	o.reconnect_first = o.reconnect_most = 60000;
	h->back_off = start_link(&o, base);
	h->on_end = start_on_end(AIOCONN_LINES, base, &h->peer);
	must(aiolink_wait_connected(h->client, soon()));
	must(aiolink_wait_connected(h->server, soon()));
}

static void let_go(struct holdings *h)
{
	close_link(h->client);
	close_link(h->server);
	aiolink_abort(h->back_off);
	aiolink_abort(h->alone);
	aiolink_abort(h->fresh);
	aiolink_abort(h->on_end);
	close(h->peer);
}

static void expect_told_nothing(struct aiolink *l)
{
	struct aiolink_stats stats = {.size = sizeof stats};
	char text[8];

	ck_assert_int_eq(aiolink_state(l), AIOLINK_ENDED);
	ck_assert_int_eq(aiolink_error(l), ECHILD);
	must_fail(aiolink_why(l, text, sizeof text), ECHILD);
	must_fail(aiolink_peer(l, text, sizeof text), ECHILD);
	must_fail(aiolink_stats(l, &stats), ECHILD);
	must_fail(aiolink_on_state(l, NULL, NULL), ECHILD);
}

static void free_one(struct aiolink *l, bool abort)
{
	expect_told_nothing(l);
	must_fail(aiolink_start(l, NULL), ECHILD);
	must_fail(aiolink_wait_connected(l, soon()), ECHILD);
	must_fail(aiolink_wait_disconnected(l, soon()), ECHILD);
	must_fail(aiolink_join(l, soon()), ECHILD);
	if (abort)
		aiolink_abort(l);
	else
		must_fail(aiolink_close(l, soon()), ECHILD);
}

static void be_child(struct holdings *h, bool abort, bool base_first)
{
	if (h->base && base_first)
		must(aioipc_base_reinit(h->base));
	free_one(h->server, abort);
	free_one(h->client, !abort);
	free_one(h->back_off, abort);
	free_one(h->alone, abort);
	free_one(h->fresh, abort);
	free_one(h->on_end, abort);
	if (h->base && !base_first)
		must(aioipc_base_reinit(h->base));
	if (h->resting)
		run_now(h->base);
	if (h->base)
		event_base_free(h->base);
	_exit(0);
}

/* It has links of its own, beside those that it inherited, and at an address of its own. */
static void talk_in_child(unsigned n)
{
	struct aiolink *server = start_listening(unix_at(10 + n), AIOCONN_MESSAGES, NULL);
	struct aiolink *client = start_connecting(unix_at(10 + n), AIOCONN_MESSAGES, NULL);

	put_word(aiolink_outbox(client), "in the child");
	expect_word(aiolink_inbox(server), "in the child");
	close_link(client);
	close_link(server);
}

/* On a base no thread of a link holds memory's lock; but the thread sanitizer is lost with threads in the child of a task. */
static bool may_talk(const struct holdings *h)
{
#ifdef __SANITIZE_THREAD__
	(void)h;
	return false;
#else
	return h->base || harness_forks_with_memory();
#endif
}

/* A fork in a task: the child leaves the task's stack to itself. */
struct child {
	struct holdings *h;
	unsigned n;
};

static int start_child_here(void *arg)
{
	const struct child *c = arg;

	if (c->n % 3 == 2 && may_talk(c->h))
		talk_in_child(c->n);
	be_child(c->h, c->n % 2, c->n % 4 < 2);
	return 0;
}

static void expect_child(struct holdings *h, unsigned n)
{
	struct child c = {h, n};
	struct aioproc *p = must(aioproc_start(start_child_here, &c));
	int status;

	must(aioproc_join(p, &status, soon()));
	aioproc_free(p);
	if (status != 0)
		ck_abort_msg("child %u ended with 0x%x", n, (unsigned)status);
}

/* Messages are under way at every fork. */
static void fork_beside_traffic(struct event_base *base)
{
	unsigned forks = harness_slowness() > 5 ? 10 : 40;
	struct holdings h;

	hold(&h, base);
	for (unsigned n = 0; n < forks; n++) {
		put_numbers(aiolink_outbox(h.client), "there", 0, 300);
		put_numbers(aiolink_outbox(h.server), "back", 0, 300);
		expect_numbers(aiolink_inbox(h.server), "there", 0, 3);
		expect_child(&h, n);
		expect_numbers(aiolink_inbox(h.server), "there", 3, 300);
		expect_numbers(aiolink_inbox(h.client), "back", 0, 300);
		ck_assert_int_eq(is_readable(h.peer), 0);
	}
	ck_assert_uint_eq(stat_connections(h.server), 1);
	ck_assert_int_eq(aiolink_state(h.back_off), AIOLINK_WAITING);
	ck_assert_int_eq(aiolink_state(h.alone), AIOLINK_CONNECTING);
	put_word(aiolink_outbox(h.on_end), "a line");
	let_go(&h);
}

TEST_WITHIN(children_free_what_they_inherit_and_do_no_harm, 60)
{
	both_ways(fork_beside_traffic);
}

TEST_WITHIN(children_may_run_the_base_that_they_inherit, 20)
{
	struct event_base *base = new_base();
	struct aiomsg *m;
	struct holdings h;

	hold(&h, base);
	h.resting = true;
	for (unsigned n = 0; n < 4; n++) {
		put_numbers(aiolink_outbox(h.client), "there", 0, 1);
		expect_child(&h, n);
		while (aioqueue_count(aiolink_inbox(h.server)) == 0)
			must(event_base_loop(base, EVLOOP_ONCE));
		ck_assert_int_eq(must(aioqueue_get(aiolink_inbox(h.server), &m, AIOIPC_NOW)), 1);
		aiomsg_free(m);
	}
	ck_assert_uint_eq(stat_connections(h.server), 1);
	let_go(&h);
	event_base_free(base);
}

/* Nor do the queues cross. */
TEST(a_queue_of_the_parent_is_refused)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(0), AIOCONN_MESSAGES);
	struct aioqueue *q = must(aioqueue_new(10, 0));
	pid_t pid = must(fork());

	if (pid == 0) {
		o.outbox = q;
		must_fail(aiolink_new(&o), ECHILD);
		o.inbox = q;
		o.outbox = NULL;
		must_fail(aiolink_new(&o), ECHILD);
		aioqueue_free(q);
		_exit(0);
	}
	expect_exit(pid, 0);
	aioqueue_free(q);
}

/* The socket in the file system is the parent's: a child that frees the link does not remove it, nor keeps it listening. */
TEST(a_child_leaves_the_address_to_the_parent)
{
	struct aiolink *l = start_listening(path_at(0), AIOCONN_MESSAGES, NULL), *client;
	pid_t pid = must(fork());

	if (pid == 0) {
		aiolink_abort(l);
		_exit(0);
	}
	expect_exit(pid, 0);
	client = start_connecting(path_at(0), AIOCONN_MESSAGES, NULL);
	put_word(aiolink_outbox(client), "still there");
	expect_word(aiolink_inbox(l), "still there");
	close_link(client);
	close_link(l);
	ck_assert_int_eq(access(path_at(0) + strlen("unix://"), F_OK), -1);
}

/* A child that lives on delays no end, and holds no address. */
TEST(a_child_that_lives_holds_nothing)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	struct aiolink *l, *client;
	pid_t pid;

	never_again(&o);
	l = start_link(&o, NULL);
	client = start_connecting(unix_at(0), AIOCONN_MESSAGES, NULL);
	must(aiolink_wait_connected(l, soon()));
	pid = must(fork());
	if (pid == 0) {
		pause();
		_exit(0);
	}
	aiolink_abort(client);
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), ECONNRESET);
	close_link(l);
	close_link(start_link(&o, NULL));
	must(kill(pid, SIGKILL));
	expect_killed(pid, SIGKILL);
}

/* Nobody makes the base of a link's own thread anew, so a child needs nothing at its numbers. */
TEST(a_child_has_no_placeholders_of_a_thread_s_link)
{
	struct aiolink *l = start_listening(unix_at(0), AIOCONN_MESSAGES, NULL);
	struct aiolink *client = start_connecting(unix_at(0), AIOCONN_MESSAGES, NULL);
	pid_t pid;

	must(aiolink_wait_connected(l, soon()));
	pid = must(fork());
	if (pid == 0) {
		for (int fd = 0; fd < 256; fd++)
			ck_assert(!ipc_os_is_placeholder(fd));
		aiolink_abort(client);
		aiolink_abort(l);
		_exit(0);
	}
	expect_exit(pid, 0);
	put_word(aiolink_outbox(client), "still there");
	expect_word(aiolink_inbox(l), "still there");
	close_link(client);
	close_link(l);
}

/* A callback that forks, in the link's own thread, and comes back in the child too. */
struct forker {
	enum aiolink_state at;
	bool frees;
	pid_t child;
};

/* Before anything of Check's is flushed a second time. */
static void leave_at_once(void)
{
	_exit(0);
}

static void fork_once(struct aiolink *l, enum aiolink_state state, void *arg)
{
	struct forker *f = arg;

	if (state != f->at || f->child)
		return;
	f->child = must(fork());
	if (f->child > 0)
		return;
	atexit(leave_at_once);
	if (f->frees)
		aiolink_abort(l);
}

static void fork_in_state(enum aiolink_state at, bool frees)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	struct forker f = {.at = at, .frees = frees};
	struct aiolink *l, *client;

	never_again(&o);
	l = must(aiolink_new(&o));
	must(aiolink_on_state(l, fork_once, &f));
	must(aiolink_start(l, NULL));
	client = start_connecting(unix_at(0), AIOCONN_MESSAGES, NULL);
	put_word(aiolink_outbox(client), "all the same");
	expect_word(aiolink_inbox(l), "all the same");
	close_link(client);
	must(aiolink_join(l, soon()));
	close_link(l);
	expect_exit(f.child, 0);
}

/* In the child there is only that thread, and it has nothing to do any more. */
TEST(a_child_of_its_callback_ends_with_its_thread)
{
	if (!harness_forks_with_memory())
		return;
	for (int frees = 0; frees < 2; frees++) {
		fork_in_state(AIOLINK_CONNECTING, frees);
		fork_in_state(AIOLINK_CONNECTED, frees);
		fork_in_state(AIOLINK_CLOSING, frees);
		fork_in_state(AIOLINK_ENDED, frees);
	}
}

/* On a base, the child comes back to whom the callback interrupted: that one has nothing to wait for. */
static void fork_in_wait(int (*call)(struct aiolink *l, int64_t deadline))
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(0), AIOCONN_MESSAGES);
	struct event_base *base = new_base();
	struct forker f = {.at = AIOLINK_WAITING};
	struct aiolink *l = must(aiolink_new(&o));

	must(aiolink_on_state(l, fork_once, &f));
	must(aiolink_start(l, base));
	put_word(aiolink_outbox(l), "never sent");
	must_fail(call(l, aioipc_after(100)), f.child == 0 ? ECHILD : ETIMEDOUT);
	if (call != aiolink_close)
		aiolink_abort(l);
	if (f.child == 0)
		_exit(0);
	expect_exit(f.child, 0);
	event_base_free(base);
}

TEST(a_child_of_its_callback_does_not_go_on_waiting)
{
	fork_in_wait(aiolink_wait_connected);
	fork_in_wait(aiolink_join);
	fork_in_wait(aiolink_close);
}

/* Eight children, each behind a link over an end, which die at random while both sides talk. */
enum { CHILDREN = 8, ROUNDS = 50 };

struct slot {
	struct storm *storm;
	struct aiolink *l;
	pid_t pid;
	uint64_t next; /* number of the message that is due */
	bool dead;
};

struct storm {
	struct event_base *base;
	struct slot slots[CHILDREN];
	unsigned deaths;
};

static void start_slot(struct slot *s);

static void chatter_by_link(struct aioend *end, void *arg)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, NULL, AIOCONN_MESSAGES);
	struct aiolink *l;
	struct aiomsg *m;

	(void)arg;
	never_again(&o);
	o.end = end;
	l = start_link(&o, NULL);
	for (uint64_t i = 0;; i++) {
		m = must(aiomsg_new("Us", i, "some text to fill the message with"));
		must(aioqueue_put(aiolink_outbox(l), m, soon()));
		aiomsg_free(m);
		if (i % CHATTER_WINDOW == CHATTER_WINDOW - 1) {
			ck_assert_int_eq(must(aioqueue_get(aiolink_inbox(l), &m, soon())), 1);
			aiomsg_free(m);
		}
	}
}

static void answer(struct slot *s, uint64_t n)
{
	struct aiomsg *m = must(aiomsg_new("U", n));

	if (aioqueue_put(aiolink_outbox(s->l), m, AIOIPC_NOW) == -1)
		ck_assert_int_eq(errno, EPIPE);
	aiomsg_free(m);
}

static void hear(struct aioqueue *q, void *arg)
{
	struct slot *s = arg;
	struct aiomsg *m;
	const char *text;
	uint64_t n;

	if (must(aioqueue_get(q, &m, AIOIPC_NOW)) == 0)
		return;
	must(aiomsg_unpack(m, "Us", &n, &text));
	ck_assert_uint_eq(n, s->next);
	s->next++;
	aiomsg_free(m);
	if (n % CHATTER_WINDOW == CHATTER_WINDOW - 1)
		answer(s, n);
}

static void on_state(struct aiolink *l, enum aiolink_state state, void *arg)
{
	struct slot *s = arg;

	if (state != AIOLINK_ENDED || l != s->l)
		return;
	ck_assert(s->dead);
	ck_assert_int_eq(aiolink_error(l), ECONNRESET);
	expect_killed(s->pid, SIGKILL);
	s->storm->deaths++;
	s->l = NULL;
	aiolink_abort(l);
	start_slot(s);
}

static void start_slot(struct slot *s)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, NULL, AIOCONN_MESSAGES);
	bool by_link = (s - s->storm->slots) % 2;
	struct aioend *theirs;

	make_ends(PAIR, &o.end, &theirs);
	never_again(&o);
	s->pid = start_child(by_link ? chatter_by_link : chatter, theirs, NULL);
	s->next = 0;
	s->dead = false;
	s->l = must(aiolink_new(&o));
	must(aiolink_on_state(s->l, on_state, s));
	must(aioqueue_watch(aiolink_inbox(s->l), s->storm->base, hear, NULL, s));
	must(aiolink_start(s->l, s->storm->base));
}

/* Until every child has been heard of since. */
static void hear_everyone(struct storm *storm)
{
	uint64_t heard[CHILDREN];

	for (int i = 0; i < CHILDREN; i++)
		heard[i] = storm->slots[i].next;
	for (int i = 0; i < CHILDREN; i++)
		while (storm->slots[i].next < heard[i] + 2 * CHATTER_WINDOW)
			must(event_base_loop(storm->base, EVLOOP_ONCE));
}

static void end_storm(struct storm *storm)
{
	for (int i = 0; i < CHILDREN; i++) {
		struct aiolink *l = storm->slots[i].l;

		must(kill(storm->slots[i].pid, SIGKILL));
		expect_killed(storm->slots[i].pid, SIGKILL);
		storm->slots[i].l = NULL; /* the callback need not care any more */
		aiolink_abort(l);
	}
	event_base_free(storm->base);
}

TEST_WITHIN(children_behind_links_die_at_random, 60)
{
	struct storm storm = {.base = new_base()};
	unsigned rounds = harness_slowness() > 5 ? ROUNDS / 5 : ROUNDS, fds;
	uint32_t seed = 4711;
	size_t heap = 0;

	for (int i = 0; i < CHILDREN; i++) {
		storm.slots[i].storm = &storm;
		start_slot(&storm.slots[i]);
	}
	hear_everyone(&storm);
	fds = harness_count_fds();
	for (unsigned round = 0; round < rounds; round++) {
		struct slot *s = &storm.slots[(seed = seed * 1103515245 + 12345) >> 16 & (CHILDREN - 1)];

		s->dead = true;
		must(kill(s->pid, SIGKILL));
		run_until(storm.base, &storm.deaths, round + 1);
		hear_everyone(&storm);
		ck_assert_uint_eq(harness_count_fds(), fds);
		if (round == rounds / 5)
			heap = heap_in_use();
	}
	ck_assert_uint_le(heap_in_use(), heap + 512 * 1024);
	end_storm(&storm);
}
