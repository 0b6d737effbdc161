/*
 * TLS in plain code: one process sends messages of 64 KiB and blocks, another one receives them and blocks, no loop runs. However one of them
 * ends, the other one learns it at once, and no message that was closed behind is lost.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sides.h"
#include "tls/tls.h"

enum { ALL = 48, HALF = ALL / 2, SIZE = 64 * 1024 };
enum ending { CLOSES, ABORTS, EXITS, DIES };

/* What one of the two does: sends or receives so many, then ends. One that follows goes on until it learns that the other one has ended. */
struct part {
	bool sends, follows;
	unsigned n;
	enum ending ending;
};

static int step(struct aioconn *c, bool sends, unsigned n)
{
	static char data[SIZE];
	struct aiomsg *m;
	size_t len;
	const void *got;
	int r;

	if (sends) {
		fill(data, SIZE, n);
		return aioconn_send_bytes(c, data, SIZE) == 0 ? 1 : -1;
	}
	r = aioconn_recv(c, &m, soon());
	if (r != 1)
		return r;
	got = aiomsg_bytes(m, &len);
	ck_assert_uint_eq(len, SIZE);
	ck_assert(is_filled(got, len, n));
	aiomsg_free(m);
	return 1;
}

static void end_it(struct aioconn *c, enum ending ending)
{
	if (ending == CLOSES)
		must(aioconn_close(c, soon()));
	else if (ending == ABORTS)
		aioconn_abort(c);
	else if (ending == EXITS)
		exit(0);
	else
		raise(SIGKILL);
}

/* How many it sent or received. */
static unsigned play(struct aioconn *c, const struct part *p)
{
	unsigned n = 0;
	int r = 1;

	while ((p->follows || n < p->n) && (r = step(c, p->sends, n)) == 1)
		n++;
	if (r == -1 && !(p->follows && (errno == ECONNRESET || (p->sends && errno == EPIPE))))
		ck_abort_msg("after %u messages: %s, %s", n, strerror(errno), aioconn_why(c));
	if (p->follows && r == -1)
		aioconn_abort(c);
	else
		end_it(c, p->ending);
	return n;
}

static void come(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct aioconn **peer = arg;

	(void)l;
	*peer = c;
}

/* One process of a pair of them: who connects has no base, who listens lets none run. */
static pid_t start(const char *address, const struct part *p)
{
	pid_t pid = must(fork());
	struct aiotls *tls;
	struct aioconn *c;

	if (pid)
		return pid;
	tls = new_tls("client");
	c = must(aioconn_connect_tls(address, tls, NULL, soon()));
	aiotls_free(tls);
	play(c, p);
	exit(0);
}

static void expect_ended(pid_t pid, enum ending ending)
{
	if (ending == DIES)
		expect_killed(pid, SIGKILL);
	else
		expect_exit(pid, 0);
}

/* @theirs is played by another process, @ours by this one. How many we sent or received. */
static unsigned round_of(const struct part *theirs, const struct part *ours)
{
	struct event_base *base = new_base();
	struct aiolistener_options o = {.size = sizeof o, .tls = new_tls("server")};
	struct aioconn *peer = NULL;
	struct aiolistener *l = must(aiolistener_new("tls://127.0.0.1:0", base, &o, come, &peer));
	pid_t pid = start(aiolistener_address(l), theirs);
	unsigned n;

	while (!peer)
		must(event_base_loop(base, EVLOOP_ONCE));
	n = play(peer, ours);
	expect_ended(pid, theirs->ending);
	aiolistener_free(l);
	aiotls_free(o.tls);
	event_base_free(base);
	return n;
}

/* With one key for all, and with new keys all the time. */
static void with_keys(void (*body)(void))
{
	make_usual_certs();
	body();
	ipc_tls_records_most = 3;
	body();
	remove_certs();
}

static const struct part sender = {.sends = true, .n = ALL, .ending = CLOSES};

static void all_of_it(void)
{
	const struct part reader = {.follows = true, .ending = CLOSES};

	ck_assert_uint_eq(round_of(&sender, &reader), ALL);
	ck_assert_uint_eq(round_of(&reader, &sender), ALL);
}

TEST_WITHIN(who_sends_and_closes_loses_nothing, 60)
{
	with_keys(all_of_it);
}

/* Not more of it arrives than was sent. */
static void without_sender(void)
{
	const struct part reader = {.follows = true};

	for (enum ending e = ABORTS; e <= DIES; e++) {
		const struct part leaves = {.sends = true, .n = HALF, .ending = e};

		ck_assert_uint_le(round_of(&leaves, &reader), HALF);
	}
}

TEST_WITHIN(a_reader_learns_that_its_sender_is_gone, 60)
{
	with_keys(without_sender);
}

/* Whoever sends without end ends by an error. */
static void without_reader(void)
{
	const struct part endless = {.sends = true, .follows = true};

	for (enum ending e = ABORTS; e <= DIES; e++) {
		const struct part leaves = {.n = HALF, .ending = e};

		ck_assert_uint_ge(round_of(&leaves, &endless), HALF);
	}
}

TEST_WITHIN(a_sender_learns_that_its_reader_is_gone, 60)
{
	with_keys(without_reader);
}

/* A reader that closes lets the sender send on, and both end well. */
static void in_the_middle(void)
{
	const struct part reader = {.n = HALF, .ending = CLOSES};

	round_of(&sender, &reader);
	round_of(&reader, &sender);
}

TEST_WITHIN(a_reader_may_close_in_the_middle, 60)
{
	with_keys(in_the_middle);
}
