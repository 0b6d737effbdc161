/* The public calls of a stream: it is made, started, asked, waited for, closed, aborted. */
#include "ipc/stream/stream.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <aioipc/queue.h>

#include "ipc/flow/queue.h"
#include "ipc/flow/sharers.h"
#include "ipc/loop/wait.h"
#include "ipc/os/sized.h"
#include "ipc/own/board.h"
#include "ipc/own/own.h"

#define GIVE_BACK_MS 250 /* after the deadline of a close */

static int fail(int error)
{
	errno = error;
	return -1;
}

/* Making it. */

static void free_parts(struct aiostream *s)
{
	ipc_board_give_back(s->row);
	ipc_work_leave(s->work);
	aioqueue_free(s->queue);
	ipc_stream_free_options(&s->o);
	free(s->read.arrived);
	free(s->one.out.buf);
	free(s->two.out.buf);
	free(s);
}

/* The last reference is gone. */
static void free_stream(struct ipc_status *status)
{
	struct aiostream *s =
		(struct aiostream *)(void *)((char *)status - offsetof(struct aiostream, status));

	ipc_runner_free(s->own);
	free_parts(s);
}

static void set_course(struct aiostream *s)
{
	ipc_status_init(&s->status, free_stream);
	s->course.owner = &ipc_stream_course;
	s->course.status = &s->status;
	atomic_init(&s->course.first, s->o.first);
	atomic_init(&s->course.most, s->o.most_pause);
	s->course.attempt_limit = s->o.connect_limit;
	if (s->o.first == 0) /* it ends with its connection; a refusal is still waited for */
		s->o.first = s->o.most_pause / 100;
}

struct aiostream *aiostream_new(const struct aiostream_options *o)
{
	struct aiostream *s = calloc(1, sizeof *s);
	int error;

	if (!s)
		return NULL;
	if (ipc_stream_take_options(&s->o, o, &s->queue) == -1)
		goto fail;
	if (s->o.group && !(s->work = ipc_work_new(s->o.prefetch))) {
		error = errno;
		free_parts(s);
		errno = error;
		return NULL;
	}
	s->made_queue = !o->queue;
	s->read.count = 1;
	set_course(s);
	ipc_sharers_join(s->queue, ipc_stream_sends(s) ? IPC_CONSUMERS : IPC_PRODUCERS);
	ipc_stream_take_row(s);
	return s;

fail:
	error = errno;
	free(s);
	errno = error;
	return NULL;
}

static bool is_started(struct aiostream *s)
{
	bool started;

	pthread_mutex_lock(&s->status.lock);
	started = s->status.started;
	pthread_mutex_unlock(&s->status.lock);
	return started;
}

int aiostream_on_state(struct aiostream *s, aiostream_state_cb *cb, void *arg)
{
	if (ipc_status_check(&s->status) == -1)
		return -1;
	if (is_started(s))
		return fail(EBUSY);
	s->cb = cb;
	s->arg = arg;
	return 0;
}

/* Its thread may end and free the stream before this returns: it holds it. */
static int start_held(struct aiostream *s)
{
	int r, error;

	ipc_status_hold(&s->status);
	r = ipc_runner_start(&s->own, &s->course);
	error = errno;
	ipc_status_release(&s->status);
	errno = error;
	return r;
}

int aiostream_start(struct aiostream *s, struct event_base *base)
{
	if (ipc_status_check(&s->status) == -1)
		return -1;
	if (is_started(s))
		return fail(EALREADY);
	if (!base)
		return start_held(s);
	if (ipc_stream_equip(s, base) == -1)
		return -1;
	atomic_store(&s->status.thread, ipc_thread_serial());
	ipc_course_begin(&s->course);
	return 0;
}

/* What it tells. */

struct aioqueue *aiostream_queue(const struct aiostream *s)
{
	return s->queue;
}

/* The stream is const for its user, but not its lock. */
static struct aiostream *locked(const struct aiostream *s)
{
	struct aiostream *same = (struct aiostream *)(uintptr_t)s;

	pthread_mutex_lock(&same->status.lock);
	return same;
}

static void unlock(struct aiostream *s)
{
	pthread_mutex_unlock(&s->status.lock);
}

enum aiolink_state aiostream_state(const struct aiostream *s)
{
	enum aiolink_state state;
	struct aiostream *at;

	if (ipc_status_check(&s->status) == -1)
		return AIOLINK_ENDED;
	at = locked(s);
	state = at->status.state;
	unlock(at);
	return state;
}

int aiostream_error(const struct aiostream *s)
{
	struct aiostream *at;
	int error;

	if (ipc_status_check(&s->status) == -1)
		return ECHILD;
	at = locked(s);
	error = at->status.error;
	unlock(at);
	return error;
}

int aiostream_why(const struct aiostream *s, char *buf, size_t size)
{
	struct aiostream *at;

	if (ipc_status_check(&s->status) == -1)
		return -1;
	at = locked(s);
	snprintf(buf, size, "%s", at->status.why);
	unlock(at);
	return 0;
}

int aiostream_stats(const struct aiostream *s, struct aiostream_stats *stats)
{
	struct aiostream_stats t = {
		.connections = ipc_counter_get(&s->connections),
		.sent = ipc_counter_get(&s->sent),
		.resent = ipc_counter_get(&s->resent),
		.refused = ipc_counter_get(&s->unsendable),
		.received = ipc_counter_get(&s->received),
		.again = ipc_counter_get(&s->again),
		.acked = ipc_counter_get(&s->acked),
		.nacked = ipc_counter_get(&s->nacked),
		.late = ipc_counter_get(&s->late),
		.dead = ipc_counter_get(&s->dead),
		.vanished = ipc_counter_get(&s->vanished),
	};

	if (ipc_status_check(&s->status) == -1)
		return -1;
	if (s->work)
		t.in_work = ipc_work_count(s->work);
	return ipc_sized_give(stats, &t, sizeof t);
}

/* Waiting. */

static int check_and_wait(struct aiostream *s, enum ipc_status_event what, int64_t deadline)
{
	return ipc_deadline_check(deadline) == -1 ? -1 : ipc_status_wait(&s->status, what, deadline);
}

int aiostream_wait_connected(struct aiostream *s, int64_t deadline)
{
	return check_and_wait(s, IPC_STATUS_UP, deadline);
}

int aiostream_join(struct aiostream *s, int64_t deadline)
{
	return check_and_wait(s, IPC_STATUS_END, deadline);
}

/* Ending it. */

/* In a forked child: as a link does. */
static void forget(struct aiostream *s)
{
	if (s->own && !ipc_status_is_here(&s->status))
		atomic_store(&s->status.holds, 1);
	if (!s->own) {
		ipc_stream_unequip(s);
		while (s->send.n > 0)
			aiomsg_free(s->send.m[--s->send.n]);
		while (s->read.head < s->read.n)
			aiomsg_free(s->read.arrived[s->read.head++]);
		ipc_trim_forget(s);
	}
	ipc_status_release(&s->status);
}

/* True for the first call that frees it. A callback may call once more while the first call waits. */
static bool give_back(struct aiostream *s)
{
	bool first;

	pthread_mutex_lock(&s->status.lock);
	first = !s->freed;
	s->freed = true;
	pthread_mutex_unlock(&s->status.lock);
	return first;
}

static void ask(struct aiostream *s, enum ipc_stream_ask what)
{
	ipc_runner_ask(s->own, &s->course, what);
}

/* 0, or why it gave up. A signal does not end this wait. */
static int wait_for_end(struct aiostream *s, int64_t deadline)
{
	int r;

	do
		r = ipc_status_wait(&s->status, IPC_STATUS_END, deadline);
	while (r == -1 && errno == EINTR && !ipc_status_is_here(&s->status));
	return r == 0 ? 0 : errno;
}

/* 0, or the errno of aiostream_close(). */
static int close_started(struct aiostream *s, int64_t deadline)
{
	bool sends = ipc_stream_sends(s), had_ended = aiostream_state(s) == AIOLINK_ENDED;
	int error = 0;

	if (!had_ended) {
		if (sends && ipc_sharers_count(s->queue, IPC_CONSUMERS) == 1)
			aioqueue_close(s->queue);
		ask(s, IPC_STREAM_CLOSE);
		error = wait_for_end(s, deadline);
	}
	if (error == ECHILD) /* a callback forked, and this is the child */
		return error;
	if (error == ETIMEDOUT && ipc_stream_is_member(s)) {
		ask(s, IPC_STREAM_HURRY);
		wait_for_end(s, aioipc_after(GIVE_BACK_MS));
	}
	if (error)
		ask(s, IPC_STREAM_CUT);
	if (s->own)
		ipc_runner_leave(s->own);
	if (!error && !ipc_stream_all_is_well(s))
		error = EPIPE;
	return error || had_ended ? error : aiostream_error(s);
}

static void leave_unused_queue(struct aiostream *s)
{
	ipc_sharers_leave(s->queue, ipc_stream_sends(s) ? IPC_CONSUMERS : IPC_PRODUCERS, s->made_queue);
}

int aiostream_close(struct aiostream *s, int64_t deadline)
{
	int error = 0;

	if (!s)
		return 0;
	if (ipc_deadline_check(deadline) == -1)
		return -1;
	if (ipc_status_check(&s->status) == -1) {
		forget(s);
		return fail(ECHILD);
	}
	if (!give_back(s))
		return 0;
	if (is_started(s)) {
		error = close_started(s, deadline);
	} else {
		leave_unused_queue(s);
		error = ipc_stream_all_is_well(s) ? 0 : EPIPE;
	}
	if (error == ECHILD)
		forget(s);
	else
		ipc_status_release(&s->status);
	return error ? fail(error) : 0;
}

static void abort_ours(struct aiostream *s)
{
	bool first = give_back(s);

	if (is_started(s))
		ask(s, IPC_STREAM_CUT);
	else if (first)
		leave_unused_queue(s);
	if (!first)
		return;
	if (s->own)
		ipc_runner_leave(s->own);
	ipc_status_release(&s->status);
}

void aiostream_abort(struct aiostream *s)
{
	int error = errno;

	if (s && ipc_status_check(&s->status) == 0)
		abort_ours(s);
	else if (s)
		forget(s);
	errno = error;
}
