/* The public calls of a link: it is made, started, asked, waited for, closed, aborted. */
#include "ipc/link/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/end.h>
#include <aioipc/queue.h>
#include <aioipc/task.h>

#include "ipc/link/call.h"
#include "ipc/loop/knock.h"
#include "ipc/loop/wait.h"
#include "ipc/flow/queue.h"
#include "ipc/os/sized.h"
#include "ipc/own/board.h"

static int fail(int error)
{
	errno = error;
	return -1;
}

static void free_parts(struct aiolink *l)
{
	ipc_board_give_back(l->row);
	aioend_free(l->end);
	aioqueue_free(l->inbox);
	aioqueue_free(l->outbox);
	ipc_link_free_options(&l->o);
	free(l);
}

/* The last reference is gone. */
static void free_link(struct ipc_status *s)
{
	struct aiolink *l = (struct aiolink *)(void *)((char *)s - offsetof(struct aiolink, status));

	ipc_runner_free(l->own);
	free_parts(l);
}

/* Making it. */

static void set_course(struct aiolink *l)
{
	ipc_status_init(&l->status, free_link);
	l->course.owner = &ipc_link_course;
	l->course.status = &l->status;
	atomic_init(&l->course.first, l->o.first);
	atomic_init(&l->course.most, l->o.most);
	l->course.attempt_limit = l->o.connect_limit;
	l->course.give_up_after = l->o.give_up_after;
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
	if (ipc_link_take_queues(l, o) == -1) {
		error = errno;
		free_parts(l);
		errno = error;
		return NULL;
	}
	set_course(l);
	l->end = o->end;
	l->made_inbox = !o->inbox;
	l->made_outbox = !o->outbox;
	l->last_due = &l->due;
	l->call_at = INT64_MAX;
	l->outgoing.link = l;
	l->outgoing.confirms = l->o.confirm;
	l->outgoing.first = 1;
	if (l->o.confirm)
		ipc_os_random_key(&l->confirm.id);
	ipc_link_join_queues(l);
	ipc_link_take_row(l);
	return l;
}

static bool is_started(struct aiolink *l)
{
	bool started;

	pthread_mutex_lock(&l->status.lock);
	started = l->status.started;
	pthread_mutex_unlock(&l->status.lock);
	return started;
}

int aiolink_on_state(struct aiolink *l, aiolink_state_cb *cb, void *arg)
{
	if (ipc_status_check(&l->status) == -1)
		return -1;
	if (is_started(l))
		return fail(EBUSY);
	l->cb = cb;
	l->arg = arg;
	return 0;
}

/* Its thread may end and free the link before this returns: it holds the link. */
static int start_held(struct aiolink *l)
{
	int r, error;

	ipc_status_hold(&l->status);
	r = ipc_runner_start(&l->own, &l->course);
	error = errno;
	ipc_status_release(&l->status);
	errno = error;
	return r;
}

int aiolink_start(struct aiolink *l, struct event_base *base)
{
	if (ipc_status_check(&l->status) == -1)
		return -1;
	if (is_started(l))
		return fail(EALREADY);
	if (!base)
		return start_held(l);
	if (ipc_link_equip(l, base) == -1)
		return -1;
	atomic_store(&l->status.thread, ipc_thread_serial());
	ipc_course_begin(&l->course);
	return 0;
}

/* What it tells. */

struct aioqueue *aiolink_inbox(const struct aiolink *l)
{
	return l->inbox;
}

struct aioqueue *aiolink_outbox(const struct aiolink *l)
{
	return l->outbox;
}

/* The link is const for its user, but not its lock. */
static struct aiolink *locked(const struct aiolink *l)
{
	struct aiolink *same = (struct aiolink *)(uintptr_t)l;

	pthread_mutex_lock(&same->status.lock);
	return same;
}

static void unlock(struct aiolink *l)
{
	pthread_mutex_unlock(&l->status.lock);
}

enum aiolink_state aiolink_state(const struct aiolink *l)
{
	enum aiolink_state state;
	struct aiolink *at;

	if (ipc_status_check(&l->status) == -1)
		return AIOLINK_ENDED;
	at = locked(l);
	state = at->status.state;
	unlock(at);
	return state;
}

int aiolink_error(const struct aiolink *l)
{
	struct aiolink *at;
	int error;

	if (ipc_status_check(&l->status) == -1)
		return ECHILD;
	at = locked(l);
	error = at->status.error;
	unlock(at);
	return error;
}

int aiolink_why(const struct aiolink *l, char *buf, size_t size)
{
	struct aiolink *at;

	if (ipc_status_check(&l->status) == -1)
		return -1;
	at = locked(l);
	snprintf(buf, size, "%s", at->status.why);
	unlock(at);
	return 0;
}

static int tell_address(const struct aiolink *l, bool local, char *buf, size_t size)
{
	struct aiolink *at;
	bool up;

	if (ipc_status_check(&l->status) == -1)
		return -1;
	at = locked(l);
	up = at->status.up;
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
		.confirmed = ipc_counter_get(&l->outgoing.confirmed),
	};

	if (ipc_status_check(&l->status) == -1)
		return -1;
	return ipc_sized_give(stats, &s, sizeof s);
}

/* Waiting. */

static int check_and_wait(struct aiolink *l, enum ipc_status_event what, int64_t deadline)
{
	return ipc_deadline_check(deadline) == -1 ? -1 : ipc_status_wait(&l->status, what, deadline);
}

int aiolink_wait_connected(struct aiolink *l, int64_t deadline)
{
	return check_and_wait(l, IPC_STATUS_UP, deadline);
}

int aiolink_wait_disconnected(struct aiolink *l, int64_t deadline)
{
	return check_and_wait(l, IPC_STATUS_DOWN, deadline);
}

int aiolink_join(struct aiolink *l, int64_t deadline)
{
	return check_and_wait(l, IPC_STATUS_END, deadline);
}

/* Ending it. */

/*
 * In a forked child. Nobody else holds the link, except callbacks that this thread is in. If the link had a thread of its own, that thread may
 * have left it half changed: then only its memory is freed.
 */
static void forget(struct aiolink *l)
{
	if (l->own && !ipc_status_is_here(&l->status))
		atomic_store(&l->status.holds, 1);
	if (!l->own) {
		ipc_link_forget_calls(l);
		ipc_knock_free(l->knock);
		ipc_link_unequip(l);
		aioconn_abort(l->conn);
		ipc_outgoing_forget(&l->outgoing);
		ipc_incoming_drop(&l->incoming);
	}
	ipc_status_release(&l->status);
}

/* True for the first call that frees the link. A callback may call once more while the first call waits. */
static bool give_back(struct aiolink *l)
{
	bool first;

	pthread_mutex_lock(&l->status.lock);
	first = !l->freed;
	l->freed = true;
	pthread_mutex_unlock(&l->status.lock);
	return first;
}

static void ask(struct aiolink *l, enum ipc_link_ask what)
{
	ipc_runner_ask(l->own, &l->course, what);
}

int aiolink_set_reconnect(struct aiolink *l, int64_t first, int64_t most)
{
	bool over, started;

	if (ipc_status_check(&l->status) == -1 || ipc_link_check_reconnect(&l->o, first, most) == -1)
		return -1;
	pthread_mutex_lock(&l->status.lock);
	started = l->status.started;
	over = l->status.state == AIOLINK_ENDED || (first > 0 && l->deaf);
	if (!over) {
		atomic_store(&l->course.first, ipc_link_nanoseconds(first));
		atomic_store(&l->course.most, ipc_link_nanoseconds(most));
		l->status.none_follows = false;
	}
	pthread_mutex_unlock(&l->status.lock);
	if (over)
		return fail(EPIPE);
	if (started)
		ask(l, IPC_LINK_PACE);
	return 0;
}

int aiolink_drop(struct aiolink *l)
{
	bool talks;

	if (ipc_status_check(&l->status) == -1)
		return -1;
	pthread_mutex_lock(&l->status.lock);
	talks = l->talks;
	l->drop = l->talk;
	pthread_mutex_unlock(&l->status.lock);
	if (!talks)
		return fail(ENOTCONN);
	ask(l, IPC_LINK_DROP);
	return 0;
}

static void begin_close(struct aiolink *l)
{
	if (l->outbox && ipc_sharers_count(l->outbox, IPC_CONSUMERS) == 1)
		aioqueue_close(l->outbox);
	ask(l, IPC_LINK_CLOSE);
}

/* 0, or why it gave up. A signal does not end this wait: messages are still being sent. */
static int wait_for_end(struct aiolink *l, int64_t deadline)
{
	int r;

	do
		r = ipc_status_wait(&l->status, IPC_STATUS_END, deadline);
	while (r == -1 && errno == EINTR && !ipc_status_is_here(&l->status));
	return r == 0 ? 0 : errno;
}

/* 0, or the errno of aiolink_close(). */
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
	/* One that only receives has nothing to lose: at the deadline it no longer waits for the goodbye. */
	if (error == ETIMEDOUT && !l->outbox) {
		ask(l, IPC_LINK_ENOUGH);
		error = 0;
	}
	if (error)
		ask(l, IPC_LINK_CUT);
	if (l->own)
		ipc_runner_leave(l->own);
	if (!error && !ipc_link_nothing_left(l))
		error = EPIPE;
	return error || had_ended ? error : aiolink_error(l);
}

int aiolink_close(struct aiolink *l, int64_t deadline)
{
	int error;

	if (!l)
		return 0;
	if (ipc_deadline_check(deadline) == -1)
		return -1;
	if (ipc_status_check(&l->status) == -1) {
		forget(l);
		return fail(ECHILD);
	}
	if (!give_back(l))
		return 0;
	if (is_started(l)) {
		error = close_started(l, deadline);
	} else {
		ipc_link_leave_unused_queues(l);
		error = ipc_link_nothing_left(l) ? 0 : EPIPE;
	}
	if (error == ECHILD)
		forget(l);
	else
		ipc_status_release(&l->status);
	return error ? fail(error) : 0;
}

static void abort_ours(struct aiolink *l)
{
	bool first = give_back(l);

	if (is_started(l))
		ask(l, IPC_LINK_CUT);
	else if (first)
		ipc_link_leave_unused_queues(l);
	if (!first)
		return;
	if (l->own)
		ipc_runner_leave(l->own);
	ipc_status_release(&l->status);
}

void aiolink_abort(struct aiolink *l)
{
	int error = errno;

	if (l && ipc_status_check(&l->status) == 0)
		abort_ours(l);
	else if (l)
		forget(l);
	errno = error;
}
