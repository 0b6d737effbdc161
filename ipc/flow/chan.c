/*
 * A channel: two sides, a server and a client, and the items that the server offers. All of it happens in one thread, and tasks switch only
 * where they wait. So there is no lock: a call checks, changes, wakes the other side, and waits for its condition.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include <aioipc/chan.h>

#include "ipc/os/log.h"
#include "ipc/own/own.h"
#include "ipc/loop/wait.h"
#include "ipc/task/task.h"

/* A side that was lent. The lender gets it back when its user ends. */
struct loan {
	struct ipc_task_end end; /* of the lender; first, as in the next two */
	struct aiotask *lender;  /* NULL: it has ended */
	struct loan *before;
};

struct side {
	struct ipc_task_end end; /* of its user */
	struct aiochan *ch;
	struct aiotask *user;  /* the task that used it last, or NULL */
	struct loan *loan;     /* by whom the side was lent, or NULL */
	struct aiotask *waits; /* the task that waits in a call, or NULL */
	unsigned calls;        /* calls that hold the channel; one call may make others */
	bool cancelled;        /* its last call was cancelled */
};

/* The task of a generator. It holds the channel. */
struct producer {
	struct ipc_task_end end;
	struct aiochan *ch;
	struct aiotask *task; /* NULL: there is none, or it has ended */
	int (*run)(struct aiochan *ch, void *arg);
	void *arg;
};

struct aiochan {
	uint32_t epoch;
	unsigned refs; /* the handle, calls that wait, the producer */
	uint64_t thread;
	struct side server, client;

	void *const *items;                   /* on offer */
	size_t left, taken;                   /* of them */
	bool (*make)(void *arg, void **item); /* items are made on demand by this, or NULL */
	void *make_arg;
	bool making; /* it is running */
	bool asking; /* the client waits for an item */
	bool owed;   /* the client took items and has not come back: the server waits for that */
	void *reply;

	bool closed;
	const struct side *closer; /* NULL: nobody has closed it */
	int error;

	struct producer producer;
};

static void free_loans(struct side *s)
{
	struct loan *l;

	while ((l = s->loan)) {
		s->loan = l->before;
		ipc_task_not_on_end(&l->end);
		free(l);
	}
}

static void let_go(struct aiochan *ch)
{
	if (--ch->refs > 0)
		return;
	/* in a forked child the tasks may be freed already */
	if (ch->epoch == ipc_epoch()) {
		ipc_task_not_on_end(&ch->server.end);
		ipc_task_not_on_end(&ch->client.end);
		ipc_task_not_on_end(&ch->producer.end);
		free_loans(&ch->server);
		free_loans(&ch->client);
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
	ch->make = NULL;
	rouse(&ch->server);
	rouse(&ch->client);
}

static void set_user(struct side *s, struct aiotask *t)
{
	ipc_task_not_on_end(&s->end);
	ipc_task_on_end(t, &s->end);
	s->user = t;
}

/* The side goes back to the last lender that has not ended. */
static bool gave_back(struct side *s)
{
	while (s->loan && !s->user) {
		struct loan *l = s->loan;

		s->loan = l->before;
		if (l->lender)
			set_user(s, l->lender);
		ipc_task_not_on_end(&l->end);
		free(l);
	}
	return s->user;
}

/* The task died in a call, which never returns. */
static void user_ended(struct ipc_task_end *end, bool died)
{
	struct side *s = (struct side *)end;
	unsigned calls = died ? s->calls : 0;

	s->user = NULL;
	if (calls > 0)
		s->waits = NULL;
	if (gave_back(s))
		s->cancelled = false;
	else
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

/* The calling task uses the side from now on. */
static int use(struct side *s, int64_t deadline)
{
	struct aiotask *t = aiotask_self();

	if (s->ch->epoch != ipc_epoch())
		return fail(ECHILD);
	if (ipc_deadline_check(deadline) == -1)
		return -1;
	if (!t) {
		ipc_log("a channel is for tasks, and this call is made outside one: aiotask_run() or "
			"aiotask_spawn() makes a task");
		return fail(EPERM);
	}
	if (!s->ch->thread)
		s->ch->thread = ipc_thread_serial();
	if (s->waits || s->ch->making || s->ch->thread != ipc_thread_serial())
		return fail(EBUSY);
	if (s->user == t)
		return 0;
	if (s->loan)
		return fail(EBUSY);
	set_user(s, t);
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

/* 0: the condition holds, or the channel was closed; -1. */
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
		return 0; /* the condition came true before this ran again */
	return result;
}

/* The call was cancelled, but has a result to return: the next wait reports the cancel. */
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
	return !ch->owed && ch->left == 0 && !ch->make;
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

/* The client takes what is on offer, and comes back: 1. Otherwise 0 or -1, as the public calls. @all: so many items. */
static int hand_over(struct aiochan *ch, size_t all, int64_t deadline)
{
	struct side *s = &ch->server;
	int result;

	rouse(&ch->client);
	result = wait_until(s, is_back, deadline);
	ch->left = 0;
	ch->make = NULL;
	if (ch->taken == all && !ch->owed) {
		cancel_later(s);
		return 1;
	}
	return result == -1 ? -1 : over(s);
}

/* Gives the client @n items, and waits until it has come back from them. */
static int give(struct aiochan *ch, void *const *items, size_t n, int64_t deadline)
{
	int result = wait_until(&ch->server, is_asking, deadline);

	if (result == -1 || ch->closed)
		return result == -1 ? -1 : over(&ch->server);
	ch->items = items;
	ch->left = n;
	return hand_over(ch, n, deadline);
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

/* The same with items that are made on demand. Their number is not known before. */
static int give_each(struct aiochan *ch, bool (*make)(void *arg, void **item), void *arg, int64_t deadline)
{
	int result = wait_until(&ch->server, is_asking, deadline);

	if (result == -1 || ch->closed)
		return result == -1 ? -1 : over(&ch->server);
	ch->make = make;
	ch->make_arg = arg;
	result = hand_over(ch, SIZE_MAX, deadline);
	return result == 0 && !ch->closed ? 1 : result;
}

ssize_t aiochan_send_each(struct aiochan *ch, bool (*make)(void *arg, void **item), void *arg,
			  int64_t deadline)
{
	ssize_t result;

	if (!make)
		return ipc_refuse("aiochan_send_each: make is NULL: it must be a function that makes items");
	if (use(&ch->server, deadline) == -1)
		return -1;
	begin_call(&ch->server);
	ch->taken = 0;
	result = give_each(ch, make, arg, deadline);
	if (ch->taken > 0 || result == 1) {
		cancel_later(&ch->server);
		result = (ssize_t)ch->taken;
	}
	end_call(&ch->server);
	return result;
}

/* The client. */

static bool is_served(const struct aiochan *ch)
{
	return ch->left > 0 || ch->make;
}

/* The client comes back with what it took, if anything, and asks for more. 1: there is more; 0 or -1 as the public calls. */
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

/* Runs in the client's task: an item needs no switch. */
static bool make_one(struct aiochan *ch, void **item)
{
	bool made;

	ch->making = true;
	made = ch->make(ch->make_arg, item);
	ch->making = false;
	if (!made)
		ch->make = NULL;
	return made && ch->make;
}

static size_t take(struct aiochan *ch, void **items, size_t n)
{
	size_t some = 0;

	while (some < n && ch->left > 0) {
		items[some++] = *ch->items++;
		ch->left--;
	}
	while (some < n && ch->make && make_one(ch, &items[some]))
		some++;
	ch->taken += some;
	if (some > 0)
		ch->owed = true;
	return some;
}

/* Takes as many as are on offer. For items that are made on demand, only this finds out that there is none. */
static ssize_t next(struct aiochan *ch, void *item, void **items, size_t n, int64_t deadline)
{
	int result = 1;
	size_t some = 0;

	if (use(&ch->client, deadline) == -1)
		return -1;
	if (ch->closed)
		return over(&ch->client);
	if (item && !ch->owed)
		return ipc_refuse("aiochan_next: nobody would hear the item, it must be NULL in the first "
				  "question and after one that failed");
	begin_call(&ch->client);
	while (result == 1 && some == 0) {
		if (!is_served(ch))
			result = ask(ch, item, deadline);
		if (result == 1)
			some = take(ch, items, n);
	}
	end_call(&ch->client);
	return result == 1 ? (ssize_t)some : result;
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

/* Making, closing and freeing it. */

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

static void lender_ended(struct ipc_task_end *end, bool died)
{
	struct loan *l = (struct loan *)end;

	(void)died;
	l->lender = NULL;
}

/* The side that this task uses, or NULL. */
static struct side *side_of(struct aiochan *ch, const struct aiotask *t)
{
	if (t && t == ch->server.user)
		return &ch->server;
	return t && t == ch->client.user ? &ch->client : NULL;
}

int aiochan_lend(struct aiochan *ch, struct aiotask *helper)
{
	struct aiotask *t = aiotask_self();
	struct side *s;
	struct loan *l;

	if (ch->epoch != ipc_epoch())
		return fail(ECHILD);
	s = side_of(ch, t);
	if (!s) {
		ipc_log("aiochan_lend: this task has no side of the channel yet: its first call gives it "
			"one");
		return fail(EPERM);
	}
	if (s->calls)
		return fail(EBUSY);
	if (helper == t)
		return ipc_refuse("aiochan_lend: helper is this task itself: it must be another one");
	if (ipc_task_check_running(helper) == -1)
		return -1;
	l = malloc(sizeof *l);
	if (!l)
		return -1;
	*l = (struct loan){.end = {.cb = lender_ended}, .lender = t, .before = s->loan};
	l->end.next = l->end.prev = &l->end;
	ipc_task_on_end(t, &l->end);
	s->loan = l;
	set_user(s, helper);
	return 0;
}

void aiochan_close(struct aiochan *ch, int error)
{
	if (ch && ch->epoch == ipc_epoch())
		close_by(ch, side_of(ch, aiotask_self()), error);
}

/* The task may hold the channel, and never run again: find out. */
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
	if (ch->epoch != ipc_epoch()) /* in a forked child nobody is told of its end */
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
