/* The life of a link: made, started, closed, aborted, freed; and what it tells of itself. */
#include "ipc/link/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/end.h>
#include <aioipc/queue.h>
#include <aioipc/task.h>

#include "ipc/loop/wait.h"
#include "ipc/flow/queue.h"
#include "ipc/os/sized.h"

#define QUEUE_MESSAGES 1024
#define QUEUE_BYTES ((size_t)1 << 20)

static int fail(int error)
{
	errno = error;
	return -1;
}

int ipc_link_check(const struct aiolink *l)
{
	return l->epoch == ipc_epoch() ? 0 : fail(ECHILD);
}

static void free_parts(struct aiolink *l)
{
	aioend_free(l->end);
	aioqueue_free(l->inbox);
	aioqueue_free(l->outbox);
	ipc_link_free_options(&l->o);
	free(l);
}

void ipc_link_hold(struct aiolink *l)
{
	atomic_fetch_add_explicit(&l->holds, 1, memory_order_relaxed);
}

void ipc_link_release(struct aiolink *l)
{
	if (atomic_fetch_sub_explicit(&l->holds, 1, memory_order_acq_rel) > 1)
		return;
	ipc_link_free_thread(l);
	if (ipc_link_check(l) == 0)
		pthread_mutex_destroy(&l->lock);
	free_parts(l);
}

/* Making it. */

/* A given queue, or a new one; NULL where the direction has none. */
static int take_queue(struct aioqueue **to, struct aioqueue *given, bool needed)
{
	if (!needed)
		return 0;
	if (given && ipc_queue_check(given) == -1)
		return -1;
	*to = given ? aioqueue_ref(given) : aioqueue_new(QUEUE_MESSAGES, QUEUE_BYTES);
	return *to ? 0 : -1;
}

static int take_queues(struct aiolink *l, const struct aiolink_options *o)
{
	if (take_queue(&l->inbox, o->inbox, o->direction != AIOLINK_SEND) == -1)
		return -1;
	return take_queue(&l->outbox, o->outbox, o->direction != AIOLINK_RECV);
}

struct aiolink *aiolink_new(const struct aiolink_options *o)
{
	struct ipc_link_options taken;
	struct aiolink *l;
	int error;

	if (ipc_link_take_options(&taken, o) == -1)
		return NULL;
	l = calloc(1, sizeof *l);
	if (!l) {
		ipc_link_free_options(&taken);
		return NULL;
	}
	l->o = taken;
	l->epoch = ipc_epoch();
	if (take_queues(l, o) == -1) {
		error = errno;
		free_parts(l);
		errno = error;
		return NULL;
	}
	l->holds = 1;
	atomic_init(&l->first, l->o.first);
	atomic_init(&l->most, l->o.most);
	l->end = o->end;
	l->made_inbox = !o->inbox;
	l->made_outbox = !o->outbox;
	l->incoming.queue = l->inbox;
	l->outgoing.queue = l->outbox;
	ipc_sharers_join(l->inbox, IPC_PRODUCERS);
	ipc_sharers_join(l->outbox, IPC_CONSUMERS);
	pthread_mutex_init(&l->lock, NULL);
	return l;
}

static bool is_started(struct aiolink *l)
{
	bool started;

	pthread_mutex_lock(&l->lock);
	started = l->started;
	pthread_mutex_unlock(&l->lock);
	return started;
}

int aiolink_on_state(struct aiolink *l, aiolink_state_cb *cb, void *arg)
{
	if (ipc_link_check(l) == -1)
		return -1;
	if (is_started(l))
		return fail(EBUSY);
	l->cb = cb;
	l->arg = arg;
	return 0;
}

/* Its thread may free it before this returns. */
static int start_held(struct aiolink *l)
{
	int r, error;

	ipc_link_hold(l);
	r = ipc_link_start_thread(l);
	error = errno;
	ipc_link_release(l);
	errno = error;
	return r;
}

int aiolink_start(struct aiolink *l, struct event_base *base)
{
	if (ipc_link_check(l) == -1)
		return -1;
	if (is_started(l))
		return fail(EALREADY);
	if (!base)
		return start_held(l);
	if (ipc_link_equip(l, base) == -1)
		return -1;
	atomic_store(&l->thread, ipc_thread_serial());
	ipc_link_begin(l);
	return 0;
}

/* Telling of itself. */

struct aioqueue *aiolink_inbox(const struct aiolink *l)
{
	return l->inbox;
}

struct aioqueue *aiolink_outbox(const struct aiolink *l)
{
	return l->outbox;
}

/* What is under the lock is not const, whatever the link is to its user. */
static struct aiolink *locked(const struct aiolink *l)
{
	struct aiolink *same = (struct aiolink *)(uintptr_t)l;

	pthread_mutex_lock(&same->lock);
	return same;
}

static void unlock(struct aiolink *l)
{
	pthread_mutex_unlock(&l->lock);
}

enum aiolink_state aiolink_state(const struct aiolink *l)
{
	enum aiolink_state state;
	struct aiolink *at;

	if (ipc_link_check(l) == -1)
		return AIOLINK_ENDED;
	at = locked(l);
	state = at->state;
	unlock(at);
	return state;
}

int aiolink_error(const struct aiolink *l)
{
	struct aiolink *at;
	int error;

	if (ipc_link_check(l) == -1)
		return ECHILD;
	at = locked(l);
	error = at->error;
	unlock(at);
	return error;
}

int aiolink_why(const struct aiolink *l, char *buf, size_t size)
{
	struct aiolink *at;

	if (ipc_link_check(l) == -1)
		return -1;
	at = locked(l);
	snprintf(buf, size, "%s", at->why);
	unlock(at);
	return 0;
}

static int tell_address(const struct aiolink *l, bool local, char *buf, size_t size)
{
	struct aiolink *at;
	bool up;

	if (ipc_link_check(l) == -1)
		return -1;
	at = locked(l);
	up = at->up;
	if (up && *at->peer)
		snprintf(buf, size, "%s", local ? at->local : at->peer);
	else
		errno = up ? ENOTSOCK : ENOTCONN;
	up = up && *at->peer;
	unlock(at);
	return up ? 0 : -1;
}

int aiolink_peer(const struct aiolink *l, char *buf, size_t size)
{
	return tell_address(l, false, buf, size);
}

int aiolink_local(const struct aiolink *l, char *buf, size_t size)
{
	return tell_address(l, true, buf, size);
}

const char *aiolink_address(const struct aiolink *l)
{
	const char *where = atomic_load_explicit(&l->where, memory_order_acquire);

	return where ? where : l->o.address;
}

int aiolink_port(const struct aiolink *l)
{
	return atomic_load_explicit(&l->where, memory_order_acquire) ? l->port : 0;
}

int aiolink_stats(const struct aiolink *l, struct aiolink_stats *stats)
{
	struct aiolink_stats s = {
		.connections = ipc_counter_get(&l->connections),
		.msgs_in = ipc_counter_get(&l->incoming.in),
		.msgs_out = ipc_counter_get(&l->outgoing.out),
		.resent = ipc_counter_get(&l->outgoing.resent),
		.unsure = ipc_counter_get(&l->unsure),
		.refused = ipc_counter_get(&l->outgoing.refused),
		.dropped = ipc_counter_get(&l->incoming.dropped),
	};

	if (ipc_link_check(l) == -1)
		return -1;
	return ipc_sized_give(stats, &s, sizeof s);
}

/* Ending it. */

/*
 * In a forked child, where nobody else holds it but callbacks that this thread is in. What a thread of its own was busy
 * with may be half done: that stays as it is.
 */
static void forget(struct aiolink *l)
{
	if (l->own && !ipc_link_is_here(l))
		atomic_store(&l->holds, 1);
	if (!l->own) {
		ipc_link_unequip(l);
		aioconn_abort(l->conn);
		ipc_outgoing_forget(&l->outgoing);
		ipc_incoming_drop(&l->incoming);
	}
	ipc_link_release(l);
}

/* True for the first who gives the link back: it may be called once more by a callback of its own. */
static bool give_back(struct aiolink *l)
{
	bool first;

	pthread_mutex_lock(&l->lock);
	first = !l->freed;
	l->freed = true;
	pthread_mutex_unlock(&l->lock);
	return first;
}

/* In good order, in the thread of its loop. What came and finds no room is not waited for. */
void ipc_link_close_here(struct aiolink *l)
{
	l->hurried = true;
	ipc_link_leave_outbox(l);
	ipc_link_land(l);
	if (!l->closing || l->phase == IPC_LINK_LANDS)
		ipc_link_close_soon(l);
}

static bool is_elsewhere(const struct aiolink *l)
{
	return l->own && !ipc_link_is_here(l);
}

int aiolink_set_reconnect(struct aiolink *l, int64_t first, int64_t most)
{
	bool over, started;

	if (ipc_link_check(l) == -1 || ipc_link_check_reconnect(&l->o, first, most) == -1)
		return -1;
	pthread_mutex_lock(&l->lock);
	started = l->started;
	over = l->state == AIOLINK_ENDED || (first > 0 && l->deaf);
	if (!over) {
		atomic_store(&l->first, ipc_link_nanoseconds(first));
		atomic_store(&l->most, ipc_link_nanoseconds(most));
		l->none_follows = false;
	}
	pthread_mutex_unlock(&l->lock);
	if (over)
		return fail(EPIPE);
	if (started && is_elsewhere(l))
		ipc_link_ask_thread(l, IPC_LINK_PACE);
	else if (started)
		ipc_link_pace(l);
	return 0;
}

int aiolink_drop(struct aiolink *l)
{
	uint64_t talk;
	bool talks;

	if (ipc_link_check(l) == -1)
		return -1;
	pthread_mutex_lock(&l->lock);
	talks = l->talks;
	l->drop = talk = l->talk;
	pthread_mutex_unlock(&l->lock);
	if (!talks)
		return fail(ENOTCONN);
	if (is_elsewhere(l))
		ipc_link_ask_thread(l, IPC_LINK_DROP);
	else
		ipc_link_drop(l, talk);
	return 0;
}

static void begin_close(struct aiolink *l)
{
	if (l->outbox && ipc_sharers_count(l->outbox, IPC_CONSUMERS) == 1)
		aioqueue_close(l->outbox);
	if (is_elsewhere(l))
		ipc_link_ask_thread(l, IPC_LINK_CLOSE);
	else
		ipc_link_close_here(l);
}

static void cut(struct aiolink *l)
{
	if (is_elsewhere(l))
		ipc_link_ask_thread(l, IPC_LINK_CUT);
	else
		ipc_link_cut(l, ECONNABORTED, "aborted");
}

/* The deadline ends the grace of one that had nothing to lose. */
static void have_enough(struct aiolink *l)
{
	if (is_elsewhere(l))
		ipc_link_ask_thread(l, IPC_LINK_ENOUGH);
	else
		ipc_link_enough(l);
}

/* 0, or why it gave up. Signals do not count: this sends. */
static int wait_for_end(struct aiolink *l, int64_t deadline)
{
	int r;

	do
		r = ipc_link_wait(l, IPC_LINK_END, deadline);
	while (r == -1 && errno == EINTR && !ipc_link_is_here(l));
	return r == 0 ? 0 : errno;
}

/* 0, or what to tell of it. */
static int close_started(struct aiolink *l, int64_t deadline)
{
	bool had_ended = aiolink_state(l) == AIOLINK_ENDED;
	int error = 0;

	if (!had_ended) {
		begin_close(l);
		error = wait_for_end(l, deadline);
	}
	if (error == ECHILD) /* a callback forked, and this is the child */
		return error;
	if (error == ETIMEDOUT && !l->outbox) {
		have_enough(l);
		error = 0;
	}
	if (error)
		cut(l);
	if (l->own)
		ipc_link_leave_thread(l);
	if (!error && !ipc_link_nothing_left(l))
		error = EPIPE;
	return error || had_ended ? error : aiolink_error(l);
}

/* Its own queues end with it, or with who shares them; those that it was given and never used are as they were. */
static void close_unstarted(struct aiolink *l)
{
	ipc_sharers_leave(l->inbox, IPC_PRODUCERS, l->made_inbox);
	ipc_sharers_leave(l->outbox, IPC_CONSUMERS, l->made_outbox);
}

int aiolink_close(struct aiolink *l, int64_t deadline)
{
	int error;

	if (!l)
		return 0;
	if (ipc_deadline_check(deadline) == -1)
		return -1;
	if (ipc_link_check(l) == -1) {
		forget(l);
		return fail(ECHILD);
	}
	if (!give_back(l))
		return 0;
	if (is_started(l)) {
		error = close_started(l, deadline);
	} else {
		close_unstarted(l);
		error = ipc_link_nothing_left(l) ? 0 : EPIPE;
	}
	if (error == ECHILD)
		forget(l);
	else
		ipc_link_release(l);
	return error ? fail(error) : 0;
}

static void abort_ours(struct aiolink *l)
{
	bool first = give_back(l);

	if (is_started(l))
		cut(l);
	else if (first)
		close_unstarted(l);
	if (!first)
		return;
	if (l->own)
		ipc_link_leave_thread(l);
	ipc_link_release(l);
}

void aiolink_abort(struct aiolink *l)
{
	int error = errno;

	if (l && ipc_link_check(l) == 0)
		abort_ours(l);
	else if (l)
		forget(l);
	errno = error;
}
