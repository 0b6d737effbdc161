/* One call over a link: see asked.h. */
#include "ipc/link/asked.h"

#include <errno.h>
#include <stdlib.h>

#include <aioipc/queue.h>

#include "ipc/conn/call.h"
#include "ipc/conn/output.h"
#include "ipc/link/call.h"
#include "ipc/loop/knock.h"
#include "ipc/loop/wait.h"
#include "ipc/msg/ticket.h"
#include "ipc/os/log.h"

/* The message of one attempt. */
struct asking {
	struct ipc_ticket ticket; /* first */
	uint32_t epoch;           /* a forked child may have freed the call */
	struct ipc_link_call *call;
};

static int fail(int error)
{
	errno = error;
	return -1;
}

void ipc_asked_unref(struct ipc_link_call *k)
{
	if (atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) > 1)
		return;
	aiomsg_free(k->answer);
	aiomsg_free(k->m);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

void ipc_asked_ref(struct ipc_link_call *k)
{
	atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
}

/* Something is due in the owner's loop. Any thread; the caller holds the lock of a call of this link that is not over, or was not until now. */
void ipc_asked_rouse(struct aiolink *l)
{
	if (ipc_status_is_here(&l->status)) {
		if (l->call_watch)
			ipc_watch_soon(l->call_watch);
	} else if (l->own) {
		ipc_runner_ask(l->own, &l->course, IPC_LINK_CALLS);
	} else {
		pthread_mutex_lock(&l->status.lock);
		if (l->knock)
			ipc_knock(l->knock);
		pthread_mutex_unlock(&l->status.lock);
	}
}

bool ipc_asked_stay_due(struct ipc_link_call *k)
{
	struct aiolink *l = k->owner;
	bool first;

	pthread_mutex_lock(&l->status.lock);
	first = !k->is_due;
	if (first) {
		k->is_due = true;
		ipc_asked_ref(k);
		k->next_due = NULL;
		*l->last_due = k;
		l->last_due = &k->next_due;
	}
	pthread_mutex_unlock(&l->status.lock);
	return first;
}

static void make_due(struct ipc_link_call *k)
{
	if (ipc_asked_stay_due(k))
		ipc_asked_rouse(k->owner);
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
bool ipc_asked_end(struct ipc_link_call *k, struct aiomsg *answer, int error)
{
	bool first;

	pthread_mutex_lock(&k->lock);
	first = !k->over;
	if (first) {
		k->over = true;
		k->answer = answer;
		k->error = error;
		answer = NULL;
		if (k->owner)
			make_due(k);
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

	if (a->epoch != ipc_epoch()) {
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
		ipc_asked_end(k, NULL, error);
	free(a);
	ipc_asked_unref(k);
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
	if (k->lost && k->owner)
		make_due(k);
	wake_and_unlock(k);
	if (!again)
		ipc_asked_end(k, answer ? aiomsg_ref(answer) : NULL, error);
	ipc_asked_unref(k);
}

bool ipc_asked_is_wanted(struct ipc_link_call *k)
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
		ipc_asked_ref(k);
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
	struct aiolink *l = arg;
	struct ipc_link_call *k;

	while ((k = take_given_up(l))) {
		if (k->flying)
			aiocall_cancel(k->flying);
		ipc_asked_unref(k);
	}
	if (l->call_watch)
		ipc_watch_soon(l->call_watch);
}

/* Before a call is sent: who gives it up must be able to say so. */
int ipc_asked_listen(struct aiolink *l)
{
	struct ipc_knock *knock;

	if (l->knock)
		return 0;
	if (l->calls_over) /* set in this thread; nobody would free it */
		return fail(EPIPE);
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

	if (ipc_asked_listen(l) == -1)
		return -1;
	if (!ipc_asked_is_wanted(k))
		return fail(ECANCELED);
	ipc_asked_ref(k);
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
	ipc_asked_unref(k);
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
		ipc_asked_ref(k);
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
		ipc_asked_end(k, NULL, EPIPE);
		ipc_asked_unref(k);
	}
	pthread_mutex_lock(&l->status.lock);
	l->knock = NULL;
	pthread_mutex_unlock(&l->status.lock);
	while ((k = take_given_up(l)))
		ipc_asked_unref(k);
	ipc_knock_free(knock);
}

/* Who calls. */

/* A place in the link's list, so that its end is told. */
int ipc_asked_join(struct aiolink *l, struct ipc_link_call *k)
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

void ipc_asked_leave(struct aiolink *l, struct ipc_link_call *k)
{
	pthread_mutex_lock(&l->status.lock);
	*k->at = k->next;
	if (k->next)
		k->next->at = k->at;
	pthread_mutex_unlock(&l->status.lock);
}

/* Nobody waits any more, unless it has ended by now: false. The peer is told in the thread of the connection. */
bool ipc_asked_give_up(struct ipc_link_call *k, int error)
{
	if (!ipc_asked_end(k, NULL, error))
		return false;
	pthread_mutex_lock(&k->lock);
	if (k->flying)
		hand_back(k);
	pthread_mutex_unlock(&k->lock);
	return true;
}

/* The thread of the loop can't wait for the loop, but by running it. */
bool ipc_asked_is_here(const struct aiolink *l)
{
	return ipc_status_is_here(&l->status) && (!aiotask_self() || !ipc_task_on(l->status.base));
}

/* Nobody is to hear that the message is gone. */
static void unask(struct ipc_link_call *k)
{
	pthread_mutex_lock(&k->lock);
	k->asking = NULL;
	pthread_mutex_unlock(&k->lock);
}

/* Puts a message that asks into the outbox. Who calls back never waits for room. */
int ipc_asked_put(struct aiolink *l, struct ipc_link_call *k, const struct aiomsg *m)
{
	struct aiomsg *copy = ipc_msg_copy(m);
	struct asking *a = copy ? malloc(sizeof *a) : NULL;
	bool now = k->owner || ipc_asked_is_here(l);
	int r, error;

	if (!a) {
		error = copy ? ENOMEM : errno;
		aiomsg_free(copy);
		return fail(error);
	}
	*a = (struct asking){.ticket.ops = &ops, .epoch = k->epoch, .call = k};
	ipc_asked_ref(k);
	ipc_ticket_give(&a->ticket, copy, IPC_ASK);
	pthread_mutex_lock(&k->lock);
	k->asking = a;
	k->lost = false;
	pthread_mutex_unlock(&k->lock);
	r = aioqueue_put(l->outbox, copy, now ? AIOIPC_NOW : k->deadline);
	error = errno == ETIMEDOUT && now ? EAGAIN : errno;
	if (r == -1)
		unask(k);
	aiomsg_free(copy);
	errno = error;
	return r;
}

struct ipc_link_call *ipc_asked_new(int64_t deadline, bool repeats)
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

int ipc_asked_check(const struct aiolink *l, unsigned flags, int64_t deadline)
{
	if (ipc_deadline_check(deadline) == -1 || ipc_status_check(&l->status) == -1)
		return -1;
	if (flags & ~(unsigned)AIOLINK_REPEAT)
		return ipc_refuse("aiolink_call: the flags %u have more than AIOLINK_REPEAT", flags);
	if (l->o.framing != AIOCONN_MESSAGES)
		return ipc_refuse("aiolink_call: the framing of the link is not AIOCONN_MESSAGES");
	return l->inbox && l->outbox ? 0 : fail(EBADF);
}
