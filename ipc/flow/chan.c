/*
 * The channel: two sides, and what is on offer between them. All of it happens in one thread, and tasks switch only where
 * they wait, so there is nothing to lock: a call looks, changes, wakes the other side, and waits until what it waits for is so.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include <aioipc/chan.h>

#include "ipc/end/own.h"
#include "ipc/end/wait.h"
#include "ipc/task/task.h"

struct side {
	struct ipc_task_end end; /* of its user; first, as in the next */
	struct aiochan *ch;
	struct aiotask *user;  /* that used it last; NULL */
	struct aiotask *waits; /* in a call; NULL */
	unsigned calls;        /* that hold the channel: a call may consist of others */
	bool cancelled;        /* in its last call */
};

/* The task of a generator, which holds the channel. */
struct producer {
	struct ipc_task_end end;
	struct aiochan *ch;
	struct aiotask *task; /* NULL: none, or over */
	int (*run)(struct aiochan *ch, void *arg);
	void *arg;
};

struct aiochan {
	uint32_t epoch;
	unsigned refs; /* the handle, calls that wait, the producer */
	uint64_t thread;
	struct side server, client;

	void *const *items; /* on offer */
	size_t left, taken; /* of them */
	bool asking;        /* the client waits for an item */
	bool owed;          /* it has taken items and not come back: somebody hears what it sends then */
	void *reply;

	bool closed;
	const struct side *closer; /* NULL: neither */
	int error;

	struct producer producer;
};

static void let_go(struct aiochan *ch)
{
	if (--ch->refs > 0)
		return;
	/* in a forked child the tasks may be freed already */
	if (ch->epoch == ipc_epoch()) {
		ipc_task_not_on_end(&ch->server.end);
		ipc_task_not_on_end(&ch->client.end);
		ipc_task_not_on_end(&ch->producer.end);
	}
	free(ch);
}

/* Sides. */

static void begin_call(struct side *s)
{
	s->calls++;
	s->ch->refs++;
}

static void end_call(struct side *s)
{
	s->calls--;
	let_go(s->ch);
}

static void rouse(struct side *s)
{
	if (s->waits)
		ipc_task_wake(s->waits);
}

static void close_by(struct aiochan *ch, const struct side *closer, int error)
{
	if (ch->closed)
		return;
	ch->closed = true;
	ch->closer = closer;
	ch->error = error;
	ch->left = 0;
	rouse(&ch->server);
	rouse(&ch->client);
}

/* A call that it died in does not return. */
static void user_ended(struct ipc_task_end *end, bool died)
{
	struct side *s = (struct side *)end;
	unsigned calls = died ? s->calls : 0;

	s->user = NULL;
	if (calls > 0)
		s->waits = NULL;
	close_by(s->ch, s, s->cancelled ? ECANCELED : ECONNRESET);
	while (calls-- > 0)
		end_call(s);
}

static void side_init(struct side *s, struct aiochan *ch)
{
	*s = (struct side){.end = {.cb = user_ended}, .ch = ch};
	s->end.next = s->end.prev = &s->end;
}

static int fail(int error)
{
	errno = error;
	return -1;
}

/* This task uses the side from now on. */
static int use(struct side *s, int64_t deadline)
{
	struct aiotask *t = aiotask_self();

	if (s->ch->epoch != ipc_epoch())
		return fail(ECHILD);
	if (ipc_deadline_check(deadline) == -1)
		return -1;
	if (!t)
		return fail(EPERM);
	if (!s->ch->thread)
		s->ch->thread = ipc_thread_serial();
	if (s->waits || s->ch->thread != ipc_thread_serial())
		return fail(EBUSY);
	if (s->user == t)
		return 0;
	ipc_task_not_on_end(&s->end);
	ipc_task_on_end(t, &s->end);
	s->user = t;
	return 0;
}

/* What a call on @s returns when the channel is closed. */
static int over(const struct side *s)
{
	const struct aiochan *ch = s->ch;

	if (ch->closer == s)
		return fail(EPIPE);
	return ch->error ? fail(ch->error) : 0;
}

/* 0: it is so, or the channel was closed; -1. */
static int wait_until(struct side *s, bool (*is_so)(const struct aiochan *ch), int64_t deadline)
{
	struct aiochan *ch = s->ch;
	int result = 0;

	s->waits = aiotask_self();
	while (result == 0 && !ch->closed && !is_so(ch))
		result = ipc_task_park(deadline);
	s->waits = NULL;
	s->cancelled = result == -1 && errno == ECANCELED;
	if (result == -1 && !s->cancelled && (ch->closed || is_so(ch)))
		return 0; /* it came so before this ran again */
	return result;
}

/* Of a call that was cancelled, but has something to tell: the next wait tells of the cancel. */
static void cancel_later(struct side *s)
{
	if (s->cancelled)
		aiotask_cancel(s->user);
	s->cancelled = false;
}

/* The server. */

static bool is_asking(const struct aiochan *ch)
{
	return ch->asking;
}

static bool is_back(const struct aiochan *ch)
{
	return !ch->owed && ch->left == 0;
}

int aiochan_serve(struct aiochan *ch, int64_t deadline)
{
	int result;

	if (use(&ch->server, deadline) == -1)
		return -1;
	begin_call(&ch->server);
	result = wait_until(&ch->server, is_asking, deadline);
	if (result == 0 && ch->closed)
		result = over(&ch->server) == 0 ? fail(EPIPE) : -1;
	end_call(&ch->server);
	return result;
}

/* Gives the client @n items, and waits until it has come back from them: 1; 0 or -1 as the calls. */
static int give(struct aiochan *ch, void *const *items, size_t n, int64_t deadline)
{
	struct side *s = &ch->server;
	int result = wait_until(s, is_asking, deadline);

	if (result == -1 || ch->closed)
		return result == -1 ? -1 : over(s);
	ch->items = items;
	ch->left = n;
	rouse(&ch->client);
	result = wait_until(s, is_back, deadline);
	ch->left = 0;
	if (ch->taken == n && !ch->owed) {
		cancel_later(s);
		return 1;
	}
	return result == -1 ? -1 : over(s);
}

int aiochan_send(struct aiochan *ch, void *item, void **reply, int64_t deadline)
{
	int result;

	if (use(&ch->server, deadline) == -1)
		return -1;
	begin_call(&ch->server);
	ch->taken = 0;
	result = give(ch, &item, 1, deadline);
	if (result == 1 && reply)
		*reply = ch->reply;
	end_call(&ch->server);
	return result;
}

ssize_t aiochan_send_all(struct aiochan *ch, void *const *items, size_t n, int64_t deadline)
{
	ssize_t result = 0;

	if (use(&ch->server, deadline) == -1)
		return -1;
	begin_call(&ch->server);
	ch->taken = 0;
	if (n > 0)
		result = give(ch, items, n, deadline);
	if (ch->taken > 0) {
		cancel_later(&ch->server);
		result = (ssize_t)ch->taken;
	}
	end_call(&ch->server);
	return result;
}

/* The client. */

static bool is_served(const struct aiochan *ch)
{
	return ch->left > 0;
}

/* Comes back from what it has, if anything, and asks for more: 1 when there is some; 0 or -1 as the calls. */
static int ask(struct aiochan *ch, void *item, int64_t deadline)
{
	int result;

	if (ch->owed) {
		ch->owed = false;
		ch->reply = item;
	}
	ch->asking = true;
	rouse(&ch->server);
	result = wait_until(&ch->client, is_served, deadline);
	ch->asking = false;
	if (result == -1)
		return -1;
	return ch->closed ? over(&ch->client) : 1;
}

static size_t take(struct aiochan *ch, void **items, size_t n)
{
	size_t some = n < ch->left ? n : ch->left;

	for (size_t i = 0; i < some; i++)
		items[i] = *ch->items++;
	ch->left -= some;
	ch->taken += some;
	ch->owed = true;
	return some;
}

/* As many as are on offer at once. */
static ssize_t next(struct aiochan *ch, void *item, void **items, size_t n, int64_t deadline)
{
	int result = 1;

	if (use(&ch->client, deadline) == -1)
		return -1;
	if (ch->closed)
		return over(&ch->client);
	if (item && !ch->owed)
		return fail(EINVAL);
	begin_call(&ch->client);
	if (ch->left == 0)
		result = ask(ch, item, deadline);
	if (result == 1)
		result = (int)take(ch, items, n);
	end_call(&ch->client);
	return result;
}

int aiochan_next(struct aiochan *ch, void *item, void **got, int64_t deadline)
{
	return (int)next(ch, item, got, 1, deadline);
}

ssize_t aiochan_next_once(struct aiochan *ch, void **items, size_t n, int64_t deadline)
{
	return n > 0 ? next(ch, NULL, items, n, deadline) : 0;
}

ssize_t aiochan_next_all(struct aiochan *ch, void **items, size_t n, int64_t deadline)
{
	size_t got = 0;
	ssize_t result = 1;

	begin_call(&ch->client);
	while (got < n && (result = next(ch, NULL, items + got, n - got, deadline)) > 0)
		got += (size_t)result;
	if (got > 0 && result == -1)
		cancel_later(&ch->client);
	end_call(&ch->client);
	return got > 0 ? (ssize_t)got : n > 0 ? result : 0;
}

/* Beginning and end. */

static void producer_ended(struct ipc_task_end *end, bool died)
{
	struct producer *p = (struct producer *)end;

	(void)died;
	p->task = NULL;
	let_go(p->ch);
}

struct aiochan *aiochan_new(void)
{
	struct aiochan *ch = calloc(1, sizeof *ch);

	if (!ch)
		return NULL;
	ch->epoch = ipc_epoch();
	ch->refs = 1;
	side_init(&ch->server, ch);
	side_init(&ch->client, ch);
	ch->producer = (struct producer){.end = {.cb = producer_ended}, .ch = ch};
	ch->producer.end.next = ch->producer.end.prev = &ch->producer.end;
	return ch;
}

void aiochan_close(struct aiochan *ch, int error)
{
	const struct aiotask *t = aiotask_self();
	const struct side *closer = NULL;

	if (!ch || ch->epoch != ipc_epoch())
		return;
	if (t && t == ch->server.user)
		closer = &ch->server;
	else if (t && t == ch->client.user)
		closer = &ch->client;
	close_by(ch, closer, error);
}

/* Does it hold the channel, and never run again? */
static void notice(struct aiotask *t)
{
	if (t)
		ipc_task_notice(t);
}

void aiochan_free(struct aiochan *ch)
{
	if (!ch)
		return;
	if (ch->epoch == ipc_epoch()) {
		notice(ch->server.user);
		notice(ch->client.user);
		notice(ch->producer.task);
	}
	aiochan_close(ch, 0);
	let_go(ch);
}

static void run_producer(void *arg)
{
	struct aiochan *ch = arg;

	if (aiochan_serve(ch, AIOIPC_FOREVER) == 0)
		aiochan_close(ch, ch->producer.run(ch, ch->producer.arg));
	if (ch->epoch != ipc_epoch()) /* there its end is not told */
		let_go(ch);
}

struct aiochan *aiochan_produce(struct event_base *base, int (*fn)(struct aiochan *ch, void *arg), void *arg)
{
	struct aiochan *ch = aiochan_new();
	struct aiotask *t;

	if (!ch)
		return NULL;
	ch->producer.run = fn;
	ch->producer.arg = arg;
	t = aiotask_spawn(base, run_producer, ch);
	if (!t) {
		let_go(ch);
		return NULL;
	}
	ch->refs++;
	ch->producer.task = t;
	ipc_task_on_end(t, &ch->producer.end);
	aiotask_free(t);
	return ch;
}
