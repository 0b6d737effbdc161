/* A stream on its loop: what it needs there, what the course and the queue tell it to do, and how it ends. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <aioipc/queue.h>

#include "ipc/flow/queue.h"
#include "ipc/flow/sharers.h"
#include "ipc/flow/watch.h"
#include "ipc/loop/knock.h"
#include "ipc/loop/watch.h"
#include "ipc/stream/stream.h"

static struct aiostream *stream_of(struct ipc_course *c)
{
	return (struct aiostream *)(void *)((char *)c - offsetof(struct aiostream, course));
}

static const struct aiostream *const_stream_of(const struct ipc_course *c)
{
	return (const struct aiostream *)(const void *)((const char *)c - offsetof(struct aiostream, course));
}

/* Of a member, both connections are kept up together. */
static struct ipc_wire *second(struct aiostream *s)
{
	return ipc_stream_is_member(s) ? &s->two : NULL;
}

static void hang_up(struct aiostream *s)
{
	ipc_wire_hang_up(&s->one);
	ipc_wire_hang_up(&s->two);
}

/* After this, nothing of it needs the loop. */
void ipc_stream_unequip(struct aiostream *s)
{
	hang_up(s);
	if (s->work && ipc_status_check(&s->status) == 0)
		ipc_work_knock_at(s->work, NULL);
	ipc_knock_free(s->knock);
	ipc_flow_watch_free(s->watch);
	ipc_course_unequip(&s->course);
	s->knock = NULL;
	s->watch = NULL;
}

/* The connection. */

static void begin(struct aiostream *s)
{
	s->begun = true;
	if (ipc_stream_sends(s))
		ipc_send_begin(s);
	else
		ipc_read_begin(s);
	if (second(s))
		ipc_keep_begin(s);
}

/* Where the next attempt goes: whoever has the stream now; when that one fails, to the address of the options. */
static void choose_server(struct aiostream *s, const struct ipc_wire *w, bool was_up)
{
	if (w->moved) {
		snprintf(s->where, sizeof s->where, "%s%s", s->o.tls ? "tls" : "tcp",
			 w->where + strlen("tcp"));
		s->asks = w->moved_asks;
	} else if (!was_up) {
		s->where[0] = '\0';
		s->asks = false;
	}
}

static void finish(struct aiostream *s)
{
	hang_up(s);
	ipc_status_note(&s->status, 0, "");
	ipc_course_finish(&s->course);
}

/* One of its connections broke: both are over. Comes last. */
static void lost(struct aiostream *s, struct ipc_wire *w)
{
	bool was_up = s->course.life == IPC_COURSE_UP;
	int error = w->error;

	ipc_status_note(&s->status, error, w->why);
	ipc_stream_tell_row(s);
	choose_server(s, w, was_up);
	hang_up(s);
	s->begun = s->knows_place = false;
	s->timer_at = 0;
	if (ipc_stream_sends(s))
		ipc_send_lost(s);
	else
		ipc_read_lost(s, error);
	if (second(s))
		ipc_keep_lost(s);
	s->unreachable = !was_up;
	if (s->course.ending >= IPC_COURSE_CLOSES && ipc_stream_sends(s) && ipc_send_is_done(s))
		finish(s);
	else if (was_up)
		ipc_course_over(&s->course);
	else
		ipc_course_failed(&s->course);
}

static struct ipc_wire *broken(struct aiostream *s)
{
	if (s->one.state == IPC_WIRE_BROKEN)
		return &s->one;
	return s->two.state == IPC_WIRE_BROKEN ? &s->two : NULL;
}

/* The time of a connection is looked at, and when it is to be looked at again. */
static void look(struct aiostream *s, struct ipc_wire *w)
{
	if (w->until && ipc_os_now() >= w->until) {
		ipc_wire_look(w);
		if (w->state >= IPC_WIRE_GREETS && w->state <= IPC_WIRE_READY)
			ipc_stream_by(s, ipc_os_now() + IPC_STREAM_MS);
	} else if (w->until) {
		ipc_stream_by(s, w->until);
	}
}

static bool is_done(const struct aiostream *s)
{
	if (s->course.ending < IPC_COURSE_CLOSES)
		return false;
	if (ipc_stream_sends(s))
		return ipc_send_is_done(s);
	return !ipc_stream_is_member(s) || ipc_keep_is_done(s);
}

/* While it is up. Comes last. */
static void turn(struct ipc_course *c)
{
	struct aiostream *s = stream_of(c);
	struct ipc_wire *w;

	if (ipc_stream_sends(s)) {
		ipc_send_pump(s);
	} else {
		ipc_read_pump(s);
		if (second(s))
			ipc_keep_pump(s);
	}
	look(s, &s->one);
	look(s, &s->two);
	ipc_stream_tell_row(s);
	w = broken(s);
	if (w)
		lost(s, w);
	else if (is_done(s))
		finish(s);
}

static void timer(struct ipc_course *c)
{
	stream_of(c)->timer_at = 0;
	turn(c);
}

/* What the course calls. */

static void attempt(struct ipc_course *c)
{
	struct aiostream *s = stream_of(c);
	const char *address = s->where[0] ? s->where : s->o.server.dial;
	struct ipc_wire *w[] = {&s->one, second(s)};

	s->timer_at = 0;
	for (int i = 0; i < 2 && w[i]; i++) {
		w[i]->asks = s->asks;
		if (ipc_wire_dial(w[i], address) == -1)
			ipc_wire_fail(w[i], errno, NULL);
	}
}

static void be_up(struct aiostream *s)
{
	ipc_counter_add(&s->connections, second(s) ? 2 : 1);
	if (s->send.pause.error == 0)
		ipc_status_note(&s->status, 0, "");
	ipc_course_succeeded(&s->course);
	ipc_course_soon(&s->course);
	ipc_course_tell(&s->course,
			s->course.ending >= IPC_COURSE_CLOSES ? AIOLINK_CLOSING : AIOLINK_CONNECTED);
}

static void go_on(struct ipc_course *c)
{
	struct aiostream *s = stream_of(c);
	struct ipc_wire *w[] = {&s->one, second(s)};
	bool ready = true;

	s->timer_at = 0;
	for (int i = 0; i < 2 && w[i]; i++) {
		if (w[i]->state == IPC_WIRE_DIALS)
			ipc_wire_step(w[i], c->until);
		look(s, w[i]);
		ready = ready && w[i]->state == IPC_WIRE_READY;
	}
	if (ready && !s->begun)
		begin(s);
	if (c->until && !ready)
		ipc_stream_by(s, c->until);
	look(s, &s->one);
	if (broken(s))
		lost(s, broken(s));
	else if (ready && s->knows_place)
		be_up(s);
}

/* What waits for room in the queue is given back when it ends: nothing holds it up. */
static bool deliver(struct ipc_course *c)
{
	(void)c;
	return true;
}

/* An answer may have been on its way when a connection broke. So a member that has nothing tries once more to give that back, too. */
static bool all_sent(const struct ipc_course *c)
{
	const struct aiostream *s = const_stream_of(c);

	if (ipc_stream_sends(s))
		return ipc_send_is_done(s);
	return !ipc_stream_is_member(s) || (s->work->count == 0 && s->unreachable);
}

static bool can_retry(const struct ipc_course *c)
{
	(void)c;
	return true;
}

static bool is_up(const struct ipc_course *c)
{
	return c->life == IPC_COURSE_UP;
}

static void tell(struct ipc_course *c, enum aiolink_state state)
{
	struct aiostream *s = stream_of(c);

	ipc_stream_tell_row(s);
	if (s->cb)
		s->cb(s, state, s->arg);
}

static void leave_queue(struct aiostream *s)
{
	if (!s->left_queue)
		ipc_sharers_leave(s->queue, ipc_stream_sends(s) ? IPC_CONSUMERS : IPC_PRODUCERS, true);
	s->left_queue = true;
}

static void end(struct ipc_course *c)
{
	struct aiostream *s = stream_of(c);

	if (ipc_stream_sends(s))
		ipc_send_end(s);
	else
		ipc_arrive_drop(s);
	ipc_trim_forget(s);
	ipc_stream_unequip(s);
	leave_queue(s);
	if (s->own)
		event_base_loopbreak(s->status.base);
}

/* Ends. */

bool ipc_stream_all_is_well(const struct aiostream *s)
{
	return !ipc_stream_sends(s) || ipc_send_is_done(s);
}

/* It takes no more. What its user has not got is given back. */
static void leave(struct aiostream *s)
{
	if (s->leaving)
		return;
	s->leaving = IPC_STREAM_LEAVES;
	ipc_arrive_drop(s);
	leave_queue(s);
	if (s->course.life == IPC_COURSE_UP)
		ipc_wire_hang_up(&s->one);
}

/* May tell its user, and so comes last. */
static void close_soon(struct aiostream *s)
{
	struct ipc_course *c = &s->course;

	if (c->ending >= IPC_COURSE_CLOSES || c->life == IPC_COURSE_OVER)
		return;
	ipc_course_will(c, IPC_COURSE_CLOSES);
	if (!ipc_stream_sends(s))
		leave(s);
	if (c->life == IPC_COURSE_UP) {
		ipc_course_soon(c);
		ipc_course_tell(c, AIOLINK_CLOSING);
	} else if (all_sent(c) || (s->work && s->work->count == 0)) {
		finish(s);
	}
}

static void cut(struct aiostream *s, int error, const char *why)
{
	if (s->course.life == IPC_COURSE_OVER)
		return;
	ipc_course_will(&s->course, IPC_COURSE_CUT);
	hang_up(s);
	ipc_status_note(&s->status, error, why);
	ipc_course_end(&s->course);
}

static void hurry(struct aiostream *s)
{
	if (s->course.life == IPC_COURSE_OVER)
		return;
	s->leaving = IPC_STREAM_HURRIES;
	if (s->course.life == IPC_COURSE_UP)
		ipc_course_soon(&s->course);
	else
		cut(s, ETIMEDOUT, "not all was answered, and there is no connection");
}

static void heed(struct ipc_course *c, unsigned asked)
{
	struct aiostream *s = stream_of(c);

	if (asked & IPC_STREAM_CLOSE)
		close_soon(s);
	if (asked & IPC_STREAM_HURRY)
		hurry(s);
	if (asked & IPC_STREAM_CUT)
		cut(s, ECONNABORTED, "aborted");
}

/* Watches. They stay until it ends. */

static void wake(struct ipc_wire *w)
{
	ipc_course_soon(&ipc_stream_of(w)->course);
}

static void on_answers(void *arg)
{
	struct aiostream *s = arg;

	ipc_course_soon(&s->course);
}

static void on_items(struct aioqueue *q, void *arg)
{
	struct aiostream *s = arg;

	(void)q;
	if (s->course.life == IPC_COURSE_UP)
		turn(&s->course);
	else
		ipc_flow_watch_want(s->watch, false, true);
}

static void on_room(struct aioqueue *q, void *arg)
{
	struct aiostream *s = arg;

	if (ipc_queue_is_closed(q))
		close_soon(s);
	else if (s->course.life == IPC_COURSE_UP)
		turn(&s->course);
}

static void equip_wire(struct aiostream *s, struct ipc_wire *w, struct event_base *base)
{
	*w = (struct ipc_wire){.wake = wake,
			       .owner = s,
			       .base = base,
			       .server = &s->o.server,
			       .tls = s->o.tls,
			       .limit = s->o.reply_limit};
}

int ipc_stream_equip(struct aiostream *s, struct event_base *base)
{
	bool sends = ipc_stream_sends(s);
	int error;

	if (ipc_watch_base_ok(base) == -1)
		return -1;
	s->status.base = base;
	equip_wire(s, &s->one, base);
	equip_wire(s, &s->two, base);
	if (ipc_course_equip(&s->course) == -1)
		goto fail;
	s->watch = ipc_flow_watch_new(s->queue, base, sends ? on_items : NULL, on_room, s);
	if (!s->watch)
		goto fail;
	if (sends)
		ipc_flow_watch_want(s->watch, false, true);
	else
		ipc_flow_watch_be_patient(s->watch);
	if (sends)
		return 0;
	s->knock = ipc_knock_new(base, on_answers, s);
	if (!s->knock)
		goto fail;
	ipc_work_knock_at(s->work, s->knock);
	return 0;

fail:
	error = errno;
	ipc_stream_unequip(s);
	s->status.base = NULL;
	errno = error;
	return -1;
}

static int equip(struct ipc_course *c, struct event_base *base)
{
	return ipc_stream_equip(stream_of(c), base);
}

const struct ipc_course_owner ipc_stream_course = {
	.attempt = attempt,
	.go_on = go_on,
	.turn = turn,
	.timer = timer,
	.deliver = deliver,
	.all_sent = all_sent,
	.can_retry = can_retry,
	.is_up = is_up,
	.tell = tell,
	.end = end,
	.equip = equip,
	.heed = heed,
};
