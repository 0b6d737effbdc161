/* Links when something runs short: calls over them, and messages that are confirmed. */
#include "tests/fail_each.h"
#include "tests/inject.h"
#include "tests/peers.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static struct aiolink *start_link(enum aiolink_role role, bool confirm, struct event_base *base)
{
	char address[64];
	struct aiolink_options o = {.size = sizeof o,
				    .role = role,
				    .address = address,
				    .confirm = confirm,
				    .reconnect_first = 1,
				    .reconnect_most = 5};
	struct aiolink *l;

	snprintf(address, sizeof address, "unix:@aioipc-test-short-%ld", (long)getpid());
	l = aiolink_new(&o);
	if (l && aiolink_start(l, base) == 0)
		return l;
	aiolink_abort(l);
	return NULL;
}

static void turn(struct event_base *base)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
	nanosleep(&(struct timespec){0, 200000}, NULL);
}

enum { TURNS = 8000 };

static void end_links(struct aiolink *a, struct aiolink *b, struct event_base *base)
{
	aiolink_abort(a);
	aiolink_abort(b);
	event_base_loop(base, EVLOOP_NONBLOCK);
	quiet_free(base);
}

/* Calls. */

/* 1 is answered, 2 is refused, 3 is freed. */
static void answer_one(struct aiolink *l, struct aiomsg *m)
{
	struct aiomsg *answer = NULL;
	int32_t n = 0;

	if (aiomsg_unpack(m, "i", &n) == -1)
		return;
	if (n == 1)
		answer = aiomsg_answer(m, "s", "one");
	else if (n == 2)
		answer = aiomsg_answer_error(m, EDOM, "two");
	if (answer)
		aioqueue_put(aiolink_outbox(l), answer, AIOIPC_NOW);
	aiomsg_free(answer);
}

static void answer_all(struct aioqueue *inbox, void *arg)
{
	struct aiomsg *m;

	while (aioqueue_get(inbox, &m, AIOIPC_NOW) == 1) {
		answer_one(arg, m);
		aiomsg_free(m);
	}
}

struct call_outcome {
	unsigned times;
	int error;
};

static void call_ended(struct aiomsg *answer, int error, void *arg)
{
	struct call_outcome *o = arg;

	(void)answer;
	o->times++;
	o->error = error;
}

static bool call_number(struct aiolink *l, int32_t n, struct call_outcome *o)
{
	struct aiomsg *m = aiomsg_new("i", n);
	unsigned flags = n == 2 ? AIOLINK_REPEAT : 0;
	bool made = m && aiolink_call_later(l, m, flags, call_ended, o, n == 1 ? soon() : AIOIPC_FOREVER);

	aiomsg_free(m);
	return made;
}

static bool told_each_once(const struct call_outcome *o, unsigned made)
{
	for (unsigned i = 0; i < made; i++)
		if (o[i].times != 1)
			return false;
	return true;
}

static enum outcome calls_called_back(void)
{
	struct event_base *base = quiet_base();
	struct aiolink *server = start_link(AIOLINK_LISTEN, false, base), *client = NULL;
	struct call_outcome o[3] = {{0, 0}};
	enum outcome outcome = TOLD;
	unsigned made = 0;

	if (server)
		client = start_link(AIOLINK_CONNECT, false, base);
	while (client && made < 3 && call_number(client, (int32_t)made + 1, &o[made]))
		made++;
	for (int i = 0; i < TURNS && !told_each_once(o, made); i++) {
		turn(base);
		answer_all(aiolink_inbox(server), server);
	}
	if (!told_each_once(o, made))
		outcome = SILENT;
	else if (made == 3 && o[0].error == 0 && o[1].error == EDOM && o[2].error == ENOMSG)
		outcome = COMPLETE;
	end_links(client, server, base);
	return told_each_once(o, made) ? outcome : SILENT;
}

TEST_WITHIN(calls_that_are_called_back, 120)
{
	fail_each(calls_called_back);
}

/* In the thread of the base, which the call runs. */
static enum outcome calls_that_wait(void)
{
	struct event_base *base = quiet_base();
	struct aiolink *server = start_link(AIOLINK_LISTEN, false, base), *client = NULL;
	struct aiomsg *answer = NULL;
	enum outcome outcome = TOLD;

	if (server && aioqueue_watch(aiolink_inbox(server), base, answer_all, NULL, server) == 0)
		client = start_link(AIOLINK_CONNECT, false, base);
	if (client && aiolink_call(client, 0, &answer, soon(), "i", (int32_t)1) == 1) {
		aiomsg_free(answer);
		answer = NULL;
		if (aiolink_call(client, AIOLINK_REPEAT, &answer, soon(), "i", (int32_t)2) == 0 &&
		    aiomsg_error(answer, NULL) == EDOM)
			outcome = COMPLETE;
	}
	aiomsg_free(answer);
	if (server)
		aioqueue_watch(aiolink_inbox(server), base, NULL, NULL, NULL);
	end_links(client, server, base);
	return outcome;
}

TEST_WITHIN(calls_in_plain_code, 120)
{
	fail_each(calls_that_wait);
}

/* Confirmations. */

enum { WORDS = 5 };

static unsigned put_words(struct aioqueue *q)
{
	unsigned n;

	for (n = 0; n < WORDS; n++) {
		struct aiomsg *m = aiomsg_new("u", (uint32_t)n);
		bool done = m && aioqueue_put(q, m, AIOIPC_NOW) == 0;

		aiomsg_free(m);
		if (!done)
			break;
	}
	return n;
}

/* The next ones in order, and nothing twice. */
static bool take_words(struct aioqueue *q, uint32_t *next)
{
	bool right = true;
	struct aiomsg *m;
	uint32_t n;

	inject_pause();
	while (aioqueue_get(q, &m, AIOIPC_NOW) == 1) {
		must(aiomsg_unpack(m, "u", &n));
		right = right && n == *next;
		++*next;
		aiomsg_free(m);
	}
	inject_resume();
	return right;
}

static uint64_t confirmed(const struct aiolink *l)
{
	struct aiolink_stats s = {.size = sizeof s};

	must(aiolink_stats(l, &s));
	return s.confirmed;
}

/* Whatever fails while they talk: what was put arrives, once, and is confirmed. */
static enum outcome confirm_words(void)
{
	struct event_base *base = quiet_base();
	struct aiolink *server = start_link(AIOLINK_LISTEN, true, base), *client = NULL;
	enum outcome outcome = TOLD;
	bool right = true;
	uint32_t got = 0;
	unsigned n;

	if (server)
		client = start_link(AIOLINK_CONNECT, true, base);
	if (client) {
		n = put_words(aiolink_outbox(client));
		for (int i = 0; i < TURNS && right && confirmed(client) < n; i++) {
			turn(base);
			right = take_words(aiolink_inbox(server), &got);
		}
		if (!right || got != n || confirmed(client) != n)
			outcome = SILENT;
		else
			outcome = n == WORDS ? COMPLETE : TOLD;
	}
	end_links(client, server, base);
	return outcome;
}

TEST_WITHIN(messages_that_are_confirmed, 120)
{
	fail_each(confirm_words);
}
