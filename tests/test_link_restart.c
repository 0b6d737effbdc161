/*
 * Servers that come and go under load: nothing that is in an outbox is lost, nothing comes twice or cut, and what cannot be known is
 * counted.
 */
#include "tests/links.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RESTARTS = 20, MOST = 300000 };

/* In memory that all processes share. */
struct ledger {
	unsigned came[MOST]; /* how often, by number */
	unsigned last;       /* the number that came last, on any connection */
	volatile unsigned servers;
	unsigned kills, aborts, closes;
};

/* How a server ends. */
enum exit_kind { KILLED, ABORTED, CLOSED_NOW, CLOSED, EXIT_KINDS };

struct scene {
	struct ledger *ledger;
	const char *address;
	enum aioconn_framing framing;
	struct event_base *base; /* of the client */
};

static size_t length_of(unsigned n)
{
	return n * 7919 % 5000 + 16;
}

/* "N " and letters, whose number and order belong to N. */
static struct aiomsg *numbered(unsigned n)
{
	char text[5100];
	size_t len = length_of(n);
	struct aiomsg *m;

	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + (i * 5 + n) % 26);
	text[snprintf(text, sizeof text, "%u", n)] = ' ';
	m = must(aiomsg_new_bytes(text, len));
	return m;
}

/* The number of a message that is as it was sent. */
static unsigned check_numbered(struct aiomsg *m)
{
	size_t len, len_due;
	const char *data = aiomsg_bytes(m, &len);
	unsigned n = (unsigned)strtoul(data, NULL, 10);
	struct aiomsg *due = numbered(n);
	const void *data_due = aiomsg_bytes(due, &len_due);

	ck_assert_uint_eq(len, len_due);
	ck_assert_int_eq(memcmp(data, data_due, len), 0);
	aiomsg_free(due);
	aiomsg_free(m);
	return n;
}

/* One message: once ever, in order, and within a connection without a gap. */
static void enter(struct ledger *ledger, unsigned n, bool first)
{
	if (n >= MOST || ledger->came[n] || (ledger->came[0] && n <= ledger->last) ||
	    (!first && n != ledger->last + 1))
		ck_abort_msg("%u came after %u, %u times before", n, ledger->last,
			     n < MOST ? ledger->came[n] : 0);
	ledger->came[n]++;
	ledger->last = n;
}

static void leave(struct ledger *ledger, struct aiolink *l, enum exit_kind how)
{
	ledger->servers++;
	switch (how) {
	case KILLED:
		raise(SIGKILL);
		break;
	case ABORTED:
		aiolink_abort(l);
		break;
	case CLOSED_NOW:
		aiolink_close(l, AIOIPC_NOW);
		break;
	case CLOSED:
	case EXIT_KINDS:
		aiolink_close(l, aioipc_after(30));
		break;
	}
	_exit(0);
}

/* Receives so many messages, then ends in this way; without a number until the client closes. */
struct server {
	const struct scene *scene;
	struct event_base *base; /* NULL: the link has a thread of its own */
	unsigned many;
	enum exit_kind how;
};

static void serve(void *arg)
{
	const struct server *s = arg;
	struct aiolink_options o = options_of(AIOLINK_LISTEN, s->scene->address, s->scene->framing);
	struct aiolink *l;
	struct aiomsg *m;
	unsigned got = 0;

	never_again(&o);
	o.direction = AIOLINK_RECV;
	o.inbox = must(aioqueue_new(50, 0));
	l = start_link(&o, s->base);
	while (must(aioqueue_get(o.inbox, &m, soon())) == 1) {
		enter(s->scene->ledger, check_numbered(m), got == 0);
		if (++got == s->many)
			leave(s->scene->ledger, l, s->how);
	}
	ck_assert_uint_eq(s->many, 0);
	must(aiolink_close(l, soon()));
	aioqueue_free(o.inbox);
	_exit(0);
}

/* The thread sanitizer does not understand threads in the child of a task. */
static void be_server(struct server *s, bool on_base)
{
#ifdef __SANITIZE_THREAD__
	on_base = true;
#endif
	if (!on_base)
		serve(s);
	s->base = new_base();
	must(aiotask_run(s->base, serve, s));
}

/* The process that starts one server after the other; the last one stays. */
static int keep_serving(void *arg)
{
	for (unsigned n = 0; n <= RESTARTS; n++) {
		struct server s = {.scene = arg, .how = n % EXIT_KINDS};
		pid_t pid;

		s.many = n == RESTARTS ? 0 : 100 + n * 37 % 150;
		pid = must(fork());
		if (pid == 0)
			be_server(&s, n / EXIT_KINDS % 2);
		if (s.many && s.how == KILLED)
			expect_killed(pid, SIGKILL);
		else
			expect_exit(pid, 0);
	}
	return 0;
}

struct producer {
	struct aioqueue *outbox;
	struct ledger *ledger;
	unsigned sent;
};

/* Until the last server serves, and some more. */
static void produce(void *arg)
{
	struct producer *p = arg;
	unsigned more = 1000;

	while (more > 0) {
		struct aiomsg *m = numbered(p->sent++);

		must(aioqueue_put(p->outbox, m, soon()));
		aiomsg_free(m);
		if (p->ledger->servers == RESTARTS)
			more--;
	}
	aioqueue_close(p->outbox);
}

static void expect_account(const struct ledger *ledger, unsigned sent, const struct aiolink_stats *s)
{
	unsigned came = 0;

	for (unsigned n = 0; n < MOST; n++) {
		if (ledger->came[n] > (n < sent))
			ck_abort_msg("%u of %u came %u times", n, sent, ledger->came[n]);
		came += ledger->came[n];
	}
	printf("# sent %u, received %u, not received %u; unsure %ju, sent again %ju, connections %ju\n", sent,
	       came, sent - came, (uintmax_t)s->unsure, (uintmax_t)s->resent, (uintmax_t)s->connections);
	ck_assert_uint_eq(s->msgs_out, sent);
	ck_assert_uint_le(sent - came, s->unsure);
	ck_assert_uint_lt(s->unsure, sent);
	ck_assert_uint_ge(s->connections, RESTARTS + 1);
	ck_assert_uint_eq(s->refused, 0);
}

/* The client of them all. */
static void load(void *arg)
{
	const struct scene *s = arg;
	struct aiolink_options o = options_of(AIOLINK_CONNECT, s->address, s->framing);
	struct aiolink_stats stats = {.size = sizeof stats};
	struct producer p = {.ledger = s->ledger};
	struct beside *producing;
	struct aiolink *l;

	o.reconnect_most = 5;
	o.direction = AIOLINK_SEND;
	l = start_link(&o, s->base);
	p.outbox = aiolink_outbox(l);
	producing = run_beside(s->base, produce, &p);
	must(aiolink_join(l, aioipc_after((int64_t)(40000 * harness_slowness()))));
	join_beside(producing);
	must(aiolink_stats(l, &stats));
	expect_account(s->ledger, p.sent, &stats);
	close_link(l);
}

/* The servers are there before the base and its tasks, of which they know nothing. */
static void restart(const char *address, enum aioconn_framing framing, bool on_base)
{
	struct scene s = {.address = address, .framing = framing};
	struct aioproc *servers;
	int status;

	s.ledger = mmap(NULL, sizeof *s.ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(s.ledger, MAP_FAILED);
	servers = must(aioproc_start(keep_serving, &s));
	s.base = on_base ? new_base() : NULL;
	if (on_base)
		must(aiotask_run(s.base, load, &s));
	else
		load(&s);
	if (on_base)
		event_base_free(s.base);
	must(aioproc_join(servers, &status, soon()));
	aioproc_free(servers);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	must(munmap(s.ledger, sizeof *s.ledger));
}

TEST_WITHIN(a_server_that_is_restarted_twenty_times_under_load, 60)
{
	restart(unix_at(0), AIOCONN_MESSAGES, false);
}

TEST_WITHIN(the_same_in_lines_for_a_client_on_a_base, 60)
{
	restart(unix_at(0), AIOCONN_LINES, true);
}

TEST_WITHIN(the_same_with_a_socket_in_the_file_system, 60)
{
	restart(path_at(0), AIOCONN_MESSAGES, true);
	unlink(path_at(0) + strlen("unix://"));
}

/* Its port is below those that the kernel chooses. */
TEST_WITHIN(the_same_over_tcp, 60)
{
	restart(tcp_at(20000 + (int)(getpid() % 10000)), AIOCONN_MESSAGES, false);
}

/* A message of which half was read when the server went comes whole to the next. */
enum { LARGE = 4 << 20 };

static void take_half(int listening, bool first)
{
	char *got = must(malloc(10000));
	int fd = raw_accept(listening);

	wait_readable(fd);
	get_preface(fd);
	wait_readable(fd);
	if (first)
		expect_frame(fd, BYTES, "small");
	wait_readable(fd);
	ck_assert_uint_eq(get(fd, got, 10000), 10000);
	must(close(fd));
	free(got);
}

static void expect_large(struct aioqueue *q)
{
	struct aiomsg *m;
	size_t len;
	const void *data;

	ck_assert_int_eq(must(aioqueue_get(q, &m, soon())), 1);
	data = aiomsg_bytes(m, &len);
	ck_assert_uint_eq(len, LARGE);
	ck_assert(is_filled(data, len, 1));
	aiomsg_free(m);
}

static void put_large(struct aioqueue *q)
{
	char *data = must(malloc(LARGE));
	struct aiomsg *m;

	fill(data, LARGE, 1);
	m = must(aiomsg_new_bytes(data, LARGE));
	must(aioqueue_put(q, m, soon()));
	aiomsg_free(m);
	free(data);
}

static void resend_half(struct event_base *base)
{
	struct aiolink_stats s = {.size = sizeof s};
	int listening = raw_listen(unix_at(0), 1);
	struct aiolink *l = start_connecting(unix_at(0), AIOCONN_MESSAGES, base), *server;

	put_word(aiolink_outbox(l), "small");
	put_large(aiolink_outbox(l));
	take_half(listening, true);
	take_half(listening, false);
	must(close(listening));
	server = start_listening(unix_at(0), AIOCONN_MESSAGES, base);
	expect_large(aiolink_inbox(server));
	aioqueue_close(aiolink_outbox(l));
	must(aiolink_join(l, soon()));
	must(aiolink_stats(l, &s));
	ck_assert_uint_eq(s.msgs_out, 2);
	ck_assert_uint_ge(s.resent,
			  2); /* a third time, when it was back before the listening socket was closed */
	ck_assert_uint_le(s.resent, 3);
	ck_assert_uint_eq(s.unsure, 1); /* the small one */
	close_link(l);
	close_link(server);
}

TEST(a_message_that_was_cut_is_sent_again_whole)
{
	both_ways(resend_half);
}

/* What was put while nobody was there, and what was put to one who has left, waits for the next. */
static void keep_for_next(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	struct aiolink *server = must(aiolink_new(&o)), *client;
	struct states states;

	watch_states(server, &states);
	must(aiolink_start(server, base));
	put_numbers(aiolink_outbox(server), "m", 0, 5);
	for (unsigned round = 1; round < 6; round++) {
		client = start_connecting(unix_at(0), AIOCONN_MESSAGES, base);
		expect_numbers(aiolink_inbox(client), "m", 5 * round - 5, 5 * round);
		await_state(&states, AIOLINK_CONNECTED);
		if (round % 2)
			close_link(client);
		else
			aiolink_abort(client);
		await_state(&states, AIOLINK_CONNECTING);
		put_numbers(aiolink_outbox(server), "m", 5 * round, 5 * round + 5);
	}
	must_fail(aiolink_close(server, AIOIPC_NOW), ETIMEDOUT);
	free_states(&states);
}

TEST(nothing_is_taken_for_one_who_has_left)
{
	both_ways(keep_for_next);
}
