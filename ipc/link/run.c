/* A link on its loop: what it needs there, what the course and the queues tell it to do, and how it ends. */
#include <errno.h>
#include <stddef.h>

#include <aioipc/listener.h>

#include "ipc/conn/conn.h"
#include "ipc/flow/queue.h"
#include "ipc/flow/watch.h"
#include "ipc/link/call.h"
#include "ipc/link/link.h"
#include "ipc/loop/watch.h"

static struct aiolink *link_of(struct ipc_course *c)
{
	return (struct aiolink *)(void *)((char *)c - offsetof(struct aiolink, course));
}

static const struct aiolink *const_link_of(const struct ipc_course *c)
{
	return (const struct aiolink *)(const void *)((const char *)c - offsetof(struct aiolink, course));
}

/* After this, nothing of it needs the loop. */
void ipc_link_unequip(struct aiolink *l)
{
	ipc_link_stop_dialling(l);
	aiolistener_free(l->listener);
	aioconn_abort(l->ready);
	ipc_flow_watch_free(l->in_watch);
	ipc_flow_watch_free(l->out_watch);
	ipc_confirm_unequip(l);
	ipc_watch_free(l->call_watch);
	ipc_course_unequip(&l->course);
	l->call_watch = NULL;
	l->in_watch = l->out_watch = NULL;
	l->listener = NULL;
	l->ready = NULL;
}

/* What the course calls. */

static void attempt(struct ipc_course *c)
{
	ipc_link_attempt(link_of(c));
}

static void go_on(struct ipc_course *c)
{
	ipc_link_go_on(link_of(c));
}

static void deliver_now(struct ipc_course *c)
{
	ipc_link_deliver(link_of(c));
}

static void talk_timer(struct ipc_course *c)
{
	ipc_link_talk_timer(link_of(c));
}

static bool deliver(struct ipc_course *c)
{
	return ipc_link_deliver(link_of(c));
}

static bool all_sent(const struct ipc_course *c)
{
	return ipc_link_nothing_left(const_link_of(c));
}

static bool can_retry(const struct ipc_course *c)
{
	const struct aiolink *l = const_link_of(c);

	return l->listener || l->o.role == AIOLINK_CONNECT;
}

static bool is_up(const struct ipc_course *c)
{
	return ipc_link_has_peer(const_link_of(c));
}

/* Whoever calls hears of the end before the end is told. */
static void tell(struct ipc_course *c, enum aiolink_state state)
{
	struct aiolink *l = link_of(c);

	ipc_status_hold(&l->status);
	ipc_link_tell_row(l);
	if (state == AIOLINK_ENDED)
		ipc_link_tell_calls(l);
	if (l->cb && ipc_status_check(&l->status) == 0)
		l->cb(l, state, l->arg);
	ipc_status_release(&l->status);
}

/* The inbox ends after all that arrived. */
static void end(struct ipc_course *c)
{
	struct aiolink *l = link_of(c);

	ipc_link_end_calls(l);
	ipc_link_unequip(l);
	ipc_outgoing_give_up(&l->outgoing);
	ipc_link_leave_inbox(l);
	ipc_link_leave_outbox(l);
	if (l->own)
		event_base_loopbreak(l->status.base);
}

/* Ends. */

static void pace(struct aiolink *l)
{
	if (l->course.life == IPC_COURSE_UP && l->listener && ipc_course_is_last(&l->course))
		ipc_link_stop_listening(l);
	ipc_course_pace(&l->course);
}

/* The peer of an end is there from the beginning: first the link has to talk to it. */
static void close_soon(struct aiolink *l)
{
	ipc_course_will(&l->course, IPC_COURSE_CLOSES);
	if (l->course.life == IPC_COURSE_UP) {
		ipc_link_pump(l);
	} else if (l->course.life == IPC_COURSE_DRAINS) {
		ipc_course_step(&l->course);
	} else if (l->course.life != IPC_COURSE_OVER && !l->ready && ipc_link_nothing_left(l)) {
		ipc_status_note(&l->status, 0, "");
		ipc_link_stop_dialling(l);
		ipc_course_finish(&l->course);
	}
}

/* Messages that arrived and find no room in the inbox are dropped. */
static void close_here(struct aiolink *l)
{
	bool closed = ipc_link_closes(l);

	ipc_course_will(&l->course, IPC_COURSE_HURRIES);
	ipc_link_leave_outbox(l);
	ipc_link_deliver(l);
	if (!closed || l->course.life == IPC_COURSE_DRAINS)
		close_soon(l);
}

static void cut(struct aiolink *l, int error, const char *why)
{
	if (l->course.life == IPC_COURSE_OVER)
		return;
	ipc_course_will(&l->course, IPC_COURSE_CUT);
	aioconn_abort(l->conn);
	if (l->inbox) {
		ipc_incoming_put(&l->incoming);
		ipc_incoming_drop(&l->incoming);
	}
	ipc_status_note(&l->status, error, why);
	ipc_course_end(&l->course);
}

static void enough(struct aiolink *l)
{
	if (l->course.life == IPC_COURSE_UP && l->grace_until)
		ipc_link_end_grace(l);
	else
		cut(l, ECONNABORTED, "aborted");
}

static void drop(struct aiolink *l)
{
	uint64_t talk;

	pthread_mutex_lock(&l->status.lock);
	talk = l->drop;
	pthread_mutex_unlock(&l->status.lock);
	ipc_link_drop(l, talk);
}

static void heed(struct ipc_course *c, unsigned asked)
{
	struct aiolink *l = link_of(c);

	if (asked & IPC_LINK_PACE)
		pace(l);
	if (asked & IPC_LINK_DROP)
		drop(l);
	if ((asked & IPC_LINK_CALLS) && l->call_watch)
		ipc_watch_soon(l->call_watch);
	if (asked & IPC_LINK_CLOSE)
		close_here(l);
	if (asked & IPC_LINK_ENOUGH)
		enough(l);
	if (asked & IPC_LINK_CUT)
		cut(l, ECONNABORTED, "aborted");
}

/* Watches of its queues. They stay until it ends. */

static void on_outbox_items(struct aioqueue *q, void *arg)
{
	(void)q;
	ipc_link_pump(arg);
}

static void on_outbox_room(struct aioqueue *q, void *arg)
{
	struct aiolink *l = arg;

	if (ipc_queue_is_closed(q) && !ipc_link_closes(l))
		close_soon(l);
}

static void on_inbox_room(struct aioqueue *q, void *arg)
{
	struct aiolink *l = arg;

	if (l->course.life == IPC_COURSE_DRAINS) {
		ipc_course_step(&l->course);
		return;
	}
	ipc_link_deliver(l);
	if (ipc_queue_is_closed(q) && !l->outbox && !ipc_link_closes(l))
		close_soon(l);
}

int ipc_link_equip(struct aiolink *l, struct event_base *base)
{
	int error;

	if (ipc_watch_base_ok(base) == -1)
		return -1;
	l->status.base = base;
	if (ipc_course_equip(&l->course) == -1)
		goto fail;
	if (l->outbox &&
	    !(l->out_watch = ipc_flow_watch_new(l->outbox, base, on_outbox_items, on_outbox_room, l)))
		goto fail;
	if (l->inbox && !(l->in_watch = ipc_flow_watch_new(l->inbox, base, NULL, on_inbox_room, l)))
		goto fail;
	if (ipc_confirm_equip(l) == -1 || ipc_link_equip_calls(l) == -1)
		goto fail;
	if (l->in_watch)
		ipc_flow_watch_be_patient(l->in_watch);
	if (l->out_watch)
		ipc_flow_watch_want(l->out_watch, false, true);
	if (ipc_link_listen(l) == -1 || ipc_link_open_end(l) == -1)
		goto fail;
	return 0;

fail:
	error = errno;
	ipc_link_unequip(l);
	l->status.base = NULL;
	errno = error;
	return -1;
}

static int equip(struct ipc_course *c, struct event_base *base)
{
	return ipc_link_equip(link_of(c), base);
}

const struct ipc_course_owner ipc_link_course = {
	.attempt = attempt,
	.go_on = go_on,
	.turn = deliver_now,
	.timer = talk_timer,
	.deliver = deliver,
	.all_sent = all_sent,
	.can_retry = can_retry,
	.is_up = is_up,
	.tell = tell,
	.end = end,
	.equip = equip,
	.heed = heed,
};
