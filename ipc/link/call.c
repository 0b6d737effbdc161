/*
 * Calls over a link. The message of a call goes through the outbox like any other, and its ticket (ipc/msg/ticket.h) leads to who waits. The
 * connection that sends it makes it a call of its own; when that connection breaks, one that had not left whole is sent on the next one with
 * what else had not; one that had left is lost, or, if it may be repeated, put into the outbox once more by who waits.
 */
#include "ipc/link/call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include <aioipc/call.h>
#include <aioipc/queue.h>

#include "ipc/conn/call.h"
#include "ipc/conn/output.h"
#include "ipc/link/link.h"
#include "ipc/loop/here.h"
#include "ipc/loop/knock.h"
#include "ipc/loop/run.h"
#include "ipc/loop/wait.h"
#include "ipc/msg/ticket.h"
#include "ipc/os/log.h"

/* The message of one attempt. */
struct asking {
	struct ipc_ticket ticket; /* first */
	struct ipc_link_call *call;
};

struct ipc_link_call {
	atomic_uint refs; /* who waits, each asking, and the connection while it is in flight */
	uint32_t epoch;
	int64_t deadline;
	bool repeats;
	struct ipc_link_call *next, **at; /* in the link's list, while somebody waits */
	struct ipc_link_call *next_ended, *next_given_up;

	pthread_mutex_t lock; /* of all below; the lock of a link's status may be taken under it */
	struct ipc_waitlist waiters;
	int send_error;        /* why its message could not be sent */
	struct asking *asking; /* the last one; NULL once its message is gone */
	bool lost;             /* it left, and its connection broke: ask again */
	bool over;
	struct aiomsg *answer;
	int error;
	struct aiocall *flying;  /* for the thread of the connection; NULL */
	struct aiolink *carrier; /* whose connection that is: another one's, where links share an outbox */
	bool given_up;           /* the carrier was told */
};

static int fail(int error)
{
	errno = error;
	return -1;
}

static void unref(struct ipc_link_call *k)
{
	if (atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) > 1)
		return;
	aiomsg_free(k->answer);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

static void ref(struct ipc_link_call *k)
{
	atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
}

/* Tells who waits: over, or lost. The caller holds the lock, which is free afterwards. */
static void wake_and_unlock(struct ipc_link_call *k)
{
	struct ipc_waitlist woken = {NULL, NULL};

	ipc_waitlist_wake_all(&k->waiters, &woken);
	pthread_mutex_unlock(&k->lock);
	ipc_waitlist_wake_threads(&woken);
}

/* With @answer, whose reference is taken over, or an error. Only the first end counts: true. */
static bool end(struct ipc_link_call *k, struct aiomsg *answer, int error)
{
	bool first;

	pthread_mutex_lock(&k->lock);
	first = !k->over;
	if (first) {
		k->over = true;
		k->answer = answer;
		k->error = error;
		answer = NULL;
	}
	wake_and_unlock(k);
	aiomsg_free(answer);
	return first;
}

/* The ticket. */

static struct asking *asking_of(const struct ipc_ticket *t)
{
	return (struct asking *)(uintptr_t)t;
}

/* The message is gone. Nobody will send it, unless it was sent. */
static void ticket_dropped(struct ipc_ticket *t)
{
	struct asking *a = asking_of(t);
	struct ipc_link_call *k = a->call;
	int error;
	bool unsent;

	if (k->epoch != ipc_epoch()) {
		free(a);
		return;
	}
	pthread_mutex_lock(&k->lock);
	unsent = k->asking == a && !k->flying && !k->lost;
	if (k->asking == a)
		k->asking = NULL;
	error = k->send_error ? k->send_error : EPIPE;
	pthread_mutex_unlock(&k->lock);
	if (unsent)
		end(k, NULL, error);
	free(a);
	unref(k);
}

static int ticket_check(const struct ipc_ticket *t)
{
	(void)t;
	return 0;
}

static bool ticket_wanted(const struct ipc_ticket *t)
{
	(void)t;
	return false;
}

static int ticket_send(struct ipc_ticket *t, struct aiomsg *answer)
{
	(void)t;
	(void)answer;
	return fail(EINVAL);
}

/* Nobody answers what we ask but the peer. */
static const struct ipc_ticket_ops ops = {ticket_check, ticket_wanted, ticket_dropped, ticket_send};

/* In the thread of the connection. */

/*
 * What had not left whole goes back to the outbox, and is sent again. Else, what became of it is told, but for a loss that may be made up for.
 */
static void on_over(struct aiomsg *answer, int error, void *arg)
{
	struct ipc_link_call *k = arg;
	bool broke = !answer && error != ETIMEDOUT && error != ECANCELED;
	const struct aiocall *call = k->flying;
	bool left = ipc_conn_left(call->conn) >= call->end, again;

	pthread_mutex_lock(&k->lock);
	k->flying = NULL;
	again = broke && ((!left && k->asking) || (left && k->repeats && !k->over));
	k->lost = again && left;
	wake_and_unlock(k);
	if (!again)
		end(k, answer ? aiomsg_ref(answer) : NULL, error);
	unref(k);
}

static bool is_wanted(struct ipc_link_call *k)
{
	bool wanted;

	pthread_mutex_lock(&k->lock);
	wanted = !k->over;
	pthread_mutex_unlock(&k->lock);
	return wanted;
}

/* Nobody waits for it any more: the thread of its connection is to tell the peer. The caller holds the lock of the call. */
static void hand_back(struct ipc_link_call *k)
{
	struct aiolink *l = k->carrier;

	if (k->given_up)
		return;
	pthread_mutex_lock(&l->status.lock);
	if (l->knock) {
		k->given_up = true;
		ref(k);
		k->next_given_up = l->given_up;
		l->given_up = k;
		ipc_knock(l->knock);
	}
	pthread_mutex_unlock(&l->status.lock);
}

/* It may have been given up while it was sent. */
static void flies(struct ipc_link_call *k, struct aiolink *l, struct aiocall *call)
{
	pthread_mutex_lock(&k->lock);
	k->flying = call;
	k->carrier = l;
	if (k->over)
		hand_back(k);
	pthread_mutex_unlock(&k->lock);
}

static struct ipc_link_call *take_given_up(struct aiolink *l)
{
	struct ipc_link_call *k;

	pthread_mutex_lock(&l->status.lock);
	k = l->given_up;
	if (k)
		l->given_up = k->next_given_up;
	pthread_mutex_unlock(&l->status.lock);
	return k;
}

static void on_knock(void *arg)
{
	struct ipc_link_call *k;

	while ((k = take_given_up(arg))) {
		if (k->flying)
			aiocall_cancel(k->flying);
		unref(k);
	}
}

/* Before a call is sent: who gives it up must be able to say so. */
static int listen_for_cancels(struct aiolink *l)
{
	struct ipc_knock *knock;

	if (l->knock)
		return 0;
	knock = ipc_knock_new(l->status.base, on_knock, l);
	if (!knock)
		return -1;
	pthread_mutex_lock(&l->status.lock);
	l->knock = knock;
	pthread_mutex_unlock(&l->status.lock);
	return 0;
}

int ipc_link_send_call(struct aiolink *l, struct aioconn *c, struct aiomsg *m)
{
	struct ipc_link_call *k = asking_of(m->ticket)->call;
	struct aiocall *flying;
	int error;

	if (listen_for_cancels(l) == -1)
		return -1;
	if (!is_wanted(k))
		return fail(ECANCELED);
	ref(k);
	flying = ipc_conn_call(c, m, on_over, k, k->deadline);
	if (flying) {
		flies(k, l, flying);
		return 0;
	}
	if (errno == EAGAIN && c->flight && c->flight->count >= c->calls_limit)
		errno = ENOMEM; /* on_writable does not tell when it is worth another try */
	error = errno;
	pthread_mutex_lock(&k->lock);
	k->send_error = error;
	pthread_mutex_unlock(&k->lock);
	unref(k);
	errno = error;
	return -1;
}

/* All that somebody waits for, each with a reference. */
static struct ipc_link_call *take_all(struct aiolink *l)
{
	struct ipc_link_call *all = NULL;

	pthread_mutex_lock(&l->status.lock);
	l->calls_over = true;
	for (struct ipc_link_call *k = l->calls; k; k = k->next) {
		ref(k);
		k->next_ended = all;
		all = k;
	}
	pthread_mutex_unlock(&l->status.lock);
	return all;
}

void ipc_link_end_calls(struct aiolink *l)
{
	struct ipc_knock *knock = l->knock;
	struct ipc_link_call *k, *all = take_all(l);

	while ((k = all)) {
		all = k->next_ended;
		end(k, NULL, EPIPE);
		unref(k);
	}
	pthread_mutex_lock(&l->status.lock);
	l->knock = NULL;
	pthread_mutex_unlock(&l->status.lock);
	while ((k = take_given_up(l)))
		unref(k);
	ipc_knock_free(knock);
}

/* Who calls. */

/* A place in the link's list, so that its end is told. */
static int join(struct aiolink *l, struct ipc_link_call *k)
{
	bool over;

	pthread_mutex_lock(&l->status.lock);
	over = l->calls_over;
	if (!over) {
		k->next = l->calls;
		k->at = &l->calls;
		if (k->next)
			k->next->at = &k->next;
		l->calls = k;
	}
	pthread_mutex_unlock(&l->status.lock);
	return over ? fail(EPIPE) : 0;
}

static void leave(struct aiolink *l, struct ipc_link_call *k)
{
	pthread_mutex_lock(&l->status.lock);
	*k->at = k->next;
	if (k->next)
		k->next->at = k->at;
	pthread_mutex_unlock(&l->status.lock);
}

/* Nobody waits any more, unless it has ended by now: false. The peer is told in the thread of the connection. */
static bool give_up(struct ipc_link_call *k, int error)
{
	if (!end(k, NULL, error))
		return false;
	pthread_mutex_lock(&k->lock);
	if (k->flying)
		hand_back(k);
	pthread_mutex_unlock(&k->lock);
	return true;
}

/* The thread of the loop can't wait for the loop, but by running it. */
static bool is_here(const struct aiolink *l)
{
	return ipc_status_is_here(&l->status) && (!aiotask_self() || !ipc_task_on(l->status.base));
}

/* Puts a message that asks into the outbox. */
static int ask(struct aiolink *l, struct ipc_link_call *k, const struct aiomsg *m)
{
	struct aiomsg *copy = ipc_msg_copy(m);
	struct asking *a = copy ? malloc(sizeof *a) : NULL;
	int r, error;

	if (!a) {
		aiomsg_free(copy);
		return fail(ENOMEM);
	}
	*a = (struct asking){.ticket.ops = &ops, .call = k};
	ref(k);
	ipc_ticket_give(&a->ticket, copy, IPC_ASK);
	pthread_mutex_lock(&k->lock);
	k->asking = a;
	k->lost = false;
	pthread_mutex_unlock(&k->lock);
	r = aioqueue_put(l->outbox, copy, is_here(l) ? AIOIPC_NOW : k->deadline);
	error = errno == ETIMEDOUT && is_here(l) ? EAGAIN : errno;
	if (r == -1)
		end(k, NULL, error);
	aiomsg_free(copy);
	errno = error;
	return r;
}

static bool has_news(const void *arg)
{
	struct ipc_link_call *k = (struct ipc_link_call *)(uintptr_t)arg;
	bool news;

	pthread_mutex_lock(&k->lock);
	news = k->over || k->lost;
	pthread_mutex_unlock(&k->lock);
	return news;
}

/* Who waits: it lies on the stack of the call. */
struct wait {
	struct ipc_wait_entry entry; /* first */
	struct aiolink *link;
	struct ipc_link_call *call;
};

/* A task that never runs again. */
static void waiter_died(struct ipc_wait_entry *p)
{
	struct wait *w = (struct wait *)p;

	give_up(w->call, ECANCELED);
	leave(w->link, w->call);
	unref(w->call);
	ipc_status_release(&w->link->status);
}

static int wait_elsewhere(struct wait *w)
{
	struct ipc_link_call *k = w->call;
	int r = 0;

	pthread_mutex_lock(&k->lock);
	while (r == 0 && !k->over && !k->lost) {
		r = ipc_waitlist_wait(&k->waiters, &w->entry, &k->lock, k->deadline);
		if (r == -1 && errno == EINTR)
			r = 0;
	}
	pthread_mutex_unlock(&k->lock);
	return r;
}

/* Until it is over, or lost and to be asked again. */
static void wait_for_news(struct wait *w)
{
	struct aiolink *l = w->link;
	struct ipc_link_call *k = w->call;
	bool cancelled;
	int r;

	if (is_here(l) && k->deadline != AIOIPC_NOW)
		r = ipc_run_until(l->status.base, has_news, k, k->deadline);
	else
		r = wait_elsewhere(w);
	if (r == 0)
		return;
	cancelled = errno == ECANCELED;
	if (!give_up(k, errno) && cancelled) /* the answer came first: the next wait tells of the cancel */
		aiotask_cancel(aiotask_self());
}

static void call_until_over(struct aiolink *l, struct ipc_link_call *k, const struct aiomsg *m)
{
	struct wait w = {.entry.died = waiter_died, .link = l, .call = k};
	bool over;

	do {
		if (ask(l, k, m) == 0)
			wait_for_news(&w);
		pthread_mutex_lock(&k->lock);
		over = k->over;
		pthread_mutex_unlock(&k->lock);
	} while (!over);
}

static struct ipc_link_call *new_call(int64_t deadline, bool repeats)
{
	struct ipc_link_call *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	k->refs = 1;
	k->epoch = ipc_epoch();
	k->deadline = deadline;
	k->repeats = repeats;
	pthread_mutex_init(&k->lock, NULL);
	return k;
}

static int check(const struct aiolink *l, unsigned flags, int64_t deadline)
{
	if (ipc_deadline_check(deadline) == -1 || ipc_status_check(&l->status) == -1)
		return -1;
	if (flags & ~(unsigned)AIOLINK_REPEAT)
		return ipc_refuse("aiolink_call: the flags %u have more than AIOLINK_REPEAT", flags);
	if (l->o.framing != AIOCONN_MESSAGES)
		return ipc_refuse("aiolink_call: the framing of the link is not AIOCONN_MESSAGES");
	if (!l->inbox || !l->outbox)
		return fail(EBADF);
	if (is_here(l) && (l->status.own_loop || ipc_in_callback(l->status.base)))
		return fail(EDEADLK);
	return 0;
}

/* 1, 0 or -1: what became of it. In a child that a callback forked, it is left as it is. */
static int finish(struct aiolink *l, struct ipc_link_call *k, struct aiomsg **answer)
{
	int r, error = ECHILD;

	if (k->epoch != ipc_epoch())
		return fail(error);
	leave(l, k);
	pthread_mutex_lock(&k->lock);
	error = k->error;
	r = !k->answer ? -1 : error ? 0 : 1;
	if (r >= 0)
		*answer = k->answer;
	k->answer = NULL;
	pthread_mutex_unlock(&k->lock);
	unref(k);
	errno = r == -1 ? error : errno;
	return r;
}

int aiolink_call_msg(struct aiolink *l, const struct aiomsg *m, unsigned flags, struct aiomsg **answer,
		     int64_t deadline)
{
	struct ipc_link_call *k;
	int r = -1, error;

	if (check(l, flags, deadline) == -1)
		return -1;
	k = new_call(deadline, flags & AIOLINK_REPEAT);
	if (!k)
		return -1;
	ipc_status_hold(&l->status);
	if (join(l, k) == 0) {
		call_until_over(l, k, m);
		r = finish(l, k, answer);
	} else {
		unref(k);
		errno = EPIPE;
	}
	error = errno;
	ipc_status_release(&l->status);
	errno = error;
	return r;
}

int aiolink_call(struct aiolink *l, unsigned flags, struct aiomsg **answer, int64_t deadline,
		 const char *format, ...)
{
	struct aiomsg *m;
	va_list values;
	int r, error;

	va_start(values, format);
	m = ipc_msg_from_values(format, values);
	va_end(values);
	if (!m)
		return -1;
	r = aiolink_call_msg(l, m, flags, answer, deadline);
	error = errno;
	aiomsg_free(m);
	errno = error;
	return r;
}
