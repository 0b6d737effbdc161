/*
 * One connection of a link. Messages of the outbox go to the peer, and messages of the peer go into the inbox, until one side
 * says goodbye or is lost. The link drives the connection itself (by_hand). The end of the connection is reported by its hook, and only there.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <aioipc/listener.h>
#include <aioipc/queue.h>

#include "ipc/conn/input.h"
#include "ipc/conn/life.h"
#include "ipc/conn/output.h"
#include "ipc/end/end.h"
#include "ipc/link/link.h"
#include "ipc/wire/frame.h"

/* Small enough for the processor's cache. The queue holds the rest. */
#define OUTBOX ((size_t)128 * 1024)

#define RETRY_NS                                                                                             \
	(INT64_C(10) * 1000 * 1000) /* the time to the next try when there was no memory or descriptor */

#define HELLO_NS (INT64_C(10) * 1000 * 1000 * 1000)

int ipc_link_check_end(const struct aiolink *l, const struct aioend *end)
{
	const struct ipc_own *own = &end->own;

	if ((l->inbox && own->r.fd == -1) || (l->outbox && own->w.fd == -1)) {
		errno = EBADF;
		return -1;
	}
	if (l->o.fds && own->r.kind != IPC_FD_UNIX) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return 0;
}

int ipc_link_set_up(const struct aiolink *l, struct aioconn *c)
{
	struct aioconn_limits limits = l->o.limits;

	if (!limits.outbox)
		limits.outbox = OUTBOX;
	if (aioconn_set_framing(c, l->o.framing, *l->o.delimiter ? l->o.delimiter : NULL) == -1 ||
	    aioconn_set_send_wait(c, 0) == -1 || aioconn_set_limits(c, &limits) == -1 ||
	    aioconn_set_spin(c, l->o.spin) == -1 || (l->o.fds && aioconn_allow_fds(c, l->o.fds) == -1))
		return -1;
	c->by_hand = true;
	c->in.confirms = l->o.framing == AIOCONN_MESSAGES;
	return 0;
}

static bool they_have_left(const struct aiolink *l)
{
	return l->theirs == IPC_LINK_LEFT_FIRST || l->theirs == IPC_LINK_LEFT_LAST;
}

bool ipc_link_has_peer(const struct aiolink *l)
{
	return l->conn && !they_have_left(l);
}

static void remember_why(struct aiolink *l, int error, const char *why)
{
	l->talk_error = error;
	snprintf(l->talk_why, sizeof l->talk_why, "%s", why);
}

/* Not all was sent. @otherwise is the reason, if the kernel gave none. */
static void remember_loss(struct aiolink *l, const struct aioconn *c, const char *otherwise)
{
	const struct ipc_blame *b = &c->out_fault;

	if (b->error && b->error != ECONNRESET)
		remember_why(l, b->error, b->why);
	else
		remember_why(l, ECONNRESET, otherwise);
}

static void show_closing(struct aiolink *l)
{
	if (l->course.life == IPC_COURSE_UP)
		ipc_course_tell(&l->course, AIOLINK_CLOSING);
}

/* In which the peer has to say hello, where messages are confirmed. */
static int64_t hello_limit(const struct aiolink *l)
{
	return l->o.connect_limit ? l->o.connect_limit : HELLO_NS;
}

/* The time until the limits are checked next; 0: never. */
static int64_t next_look(const struct aiolink *l)
{
	int64_t least = l->o.idle_limit, left = l->grace_until - ipc_os_now();

	if (!least || (l->o.send_limit && l->o.send_limit < least))
		least = l->o.send_limit;
	if (l->o.confirm && !l->confirm.heard_hello && (!least || hello_limit(l) < least))
		least = hello_limit(l);
	least /= 4;
	if (!l->grace_until || l->grace_until == INT64_MAX)
		return least;
	left = left > 0 ? left : 1;
	return !least || left < least ? left : least;
}

static void look_later(struct aiolink *l)
{
	int64_t ns = next_look(l);

	if (ns)
		ipc_course_after(&l->course, ns);
}

static void want_items(struct aiolink *l, bool items)
{
	if (l->out_watch)
		ipc_flow_watch_want(l->out_watch, items, true);
}

/* The connection still sends what it holds, and our goodbye. Then it is gone. */
static void finish(struct aiolink *l)
{
	if (l->ours == IPC_LINK_FINISHES)
		return;
	l->ours = IPC_LINK_FINISHES;
	want_items(l, false);
	aioconn_finish(l->conn, AIOIPC_FOREVER);
}

/* A link that only receives has nothing for the peer to confirm: it waits only for a limited time. */
static void begin_grace(struct aiolink *l)
{
	if (l->outbox)
		return;
	l->grace_until = l->o.grace < 0 ? INT64_MAX : ipc_os_now() + l->o.grace;
	l->grace_looked = false;
	look_later(l);
}

void ipc_link_end_grace(struct aiolink *l)
{
	ipc_conn_flush(l->conn);
	ipc_conn_finalize(l->conn, AIOCONN_LOCAL);
}

/* We send nothing more. We do not wait for a peer that has said goodbye too, or can't hear ours. */
static void leave(struct aiolink *l)
{
	struct aioconn *c = l->conn;

	if (l->ours != IPC_LINK_SENDS)
		return;
	want_items(l, false);
	ipc_confirm_look(l);
	if (they_have_left(l) || !c->reads || !c->writes) {
		finish(l);
		return;
	}
	l->ours = IPC_LINK_LEFT;
	if (aioconn_write_eof(c) == -1 && errno == ENOMEM) {
		l->ours = IPC_LINK_SENDS;
		ipc_course_after(&l->course, RETRY_NS);
		return;
	}
	begin_grace(l);
}

static void send_some(struct aiolink *l)
{
	int r = ipc_outgoing_send(&l->outgoing, l->conn), error = errno;

	want_items(l, r == 1);
	if (r == 0)
		ipc_course_after(&l->course, 0);
	errno = error;
	if (r >= 0 || errno == EAGAIN || errno == EPIPE)
		return;
	if (errno != ESHUTDOWN && errno != EINPROGRESS) {
		ipc_course_after(&l->course, RETRY_NS);
		return;
	}
	ipc_course_will(&l->course, IPC_COURSE_CLOSES);
	if (errno == ESHUTDOWN)
		leave(l);
}

/* The peer has not said yet what it had: until then nothing is sent, and a link with nothing to send may leave. */
static bool may_send(struct aiolink *l)
{
	if (!l->o.confirm || l->confirm.begun || (ipc_link_closes(l) && ipc_link_nothing_left(l)))
		return true;
	want_items(l, false);
	return false;
}

void ipc_link_pump(struct aiolink *l)
{
	if (l->course.life != IPC_COURSE_UP || l->ours != IPC_LINK_SENDS)
		return;
	ipc_status_hold(&l->status);
	ipc_confirm_flush(l);
	if (l->outbox && may_send(l))
		send_some(l);
	else if (!l->outbox && ipc_link_closes(l))
		leave(l);
	if (ipc_link_closes(l))
		show_closing(l);
	ipc_link_tell_row(l);
	ipc_status_release(&l->status);
}

/* Messages that arrive. */

static void mind_room(struct aiolink *l, bool room)
{
	if (room && they_have_left(l) && l->o.half_open)
		ipc_link_leave_inbox(l);
	if (l->paused != room)
		return;
	l->paused = !room;
	if (room)
		aioconn_resume(l->conn);
	else
		aioconn_pause(l->conn);
}

bool ipc_link_deliver(struct aiolink *l)
{
	bool room = !l->inbox || ipc_incoming_put(&l->incoming) == 0;

	if (!room && errno != ETIMEDOUT)
		ipc_course_after(&l->course, RETRY_NS);
	if (!room && l->course.ending >= IPC_COURSE_HURRIES) {
		ipc_incoming_drop(&l->incoming);
		room = true;
	}
	if (l->conn)
		mind_room(l, room);
	ipc_confirm_mind(l);
	ipc_link_tell_row(l);
	return room;
}

/* Will more messages come in this turn? A half message looks like it: the end of the turn then puts what there is. */
static bool more_to_come(const struct aioconn *c)
{
	return c->inbox.count > 0 || ipc_in_raw(&c->in) > 0;
}

/* The peer did what ends the connection, with errno; or we can't go on. */
static void break_off(struct aiolink *l, const char *why)
{
	remember_why(l, errno, why);
	if (errno == EPROTO)
		l->theirs = IPC_LINK_BROKE;
	aioconn_abort(l->conn);
}

/* Only the peer confirms. It is told so, and hears our goodbye. */
static void decline(struct aiolink *l)
{
	remember_why(
		l, EPROTO,
		"the peer wants messages confirmed, and this link does not: both sides must ask for that");
	l->theirs = IPC_LINK_BROKE;
	ipc_confirm_decline(l->conn);
	finish(l);
}

static void on_confirming(struct aiolink *l, const struct aiomsg *m)
{
	const char *why = NULL;

	if (l->o.confirm)
		why = ipc_confirm_heard(l, m);
	else
		decline(l);
	if (why)
		break_off(l, why);
	else
		ipc_link_pump(l);
}

/* True if it is for the inbox. What comes after our goodbye can't be confirmed any more: the peer keeps it. */
static bool is_for_inbox(struct aiolink *l, struct aiomsg *m)
{
	const char *why;

	if (!l->o.confirm)
		return true;
	if (l->ours != IPC_LINK_SENDS)
		return false;
	why = ipc_confirm_came(l, m);
	if (why)
		break_off(l, why);
	return !why;
}

/* The last message of a turn goes into the inbox at once, with all before it. */
static void on_msg(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct aiolink *l = arg;

	if (ipc_frame_confirms(m->kind)) {
		on_confirming(l, m);
		return;
	}
	if (!l->inbox || !is_for_inbox(l, m))
		return;
	c->verdict = IPC_MSG_TAKEN;
	ipc_incoming_take(&l->incoming, m);
	if (!more_to_come(c) || ipc_incoming_is_full(&l->incoming))
		ipc_link_deliver(l);
	else if (l->incoming.count == 1)
		ipc_course_soon(&l->course);
}

static void on_writable(struct aioconn *c, void *arg)
{
	(void)c;
	ipc_link_pump(arg);
}

/* The end of the connection. */

/* The peer has said goodbye. Do we still send? */
static void they_leave(struct aiolink *l)
{
	bool never = ipc_course_is_last(&l->course), we_left = l->ours != IPC_LINK_SENDS;

	ipc_status_hold(&l->status);
	l->theirs = we_left && l->conn->out.count == 0 ? IPC_LINK_LEFT_LAST : IPC_LINK_LEFT_FIRST;
	if (we_left || !l->outbox) {
		finish(l);
	} else if (l->o.confirm) {
		if (never)
			ipc_link_leave_outbox(l);
		finish(l);
	} else if (never && l->o.half_open) {
		ipc_link_deliver(l);
	} else if (never || ipc_link_closes(l)) {
		ipc_link_leave_outbox(l);
		ipc_course_will(&l->course, IPC_COURSE_CLOSES);
		ipc_link_pump(l);
	} else {
		finish(l);
	}
	show_closing(l);
	ipc_status_release(&l->status);
}

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct aiolink *l = arg;

	if (cause == AIOCONN_CLEAN) {
		they_leave(l);
	} else if (cause != AIOCONN_LOCAL) {
		remember_why(l, c->end_error, c->why);
		if (cause == AIOCONN_BAD)
			l->theirs = IPC_LINK_BROKE;
		aioconn_abort(c);
	}
}

static struct aiolink *link_of(struct ipc_conn_hook *h)
{
	return (struct aiolink *)(void *)((char *)h - offsetof(struct aiolink, hook));
}

static void on_wrote(struct ipc_conn_hook *h)
{
	struct aiolink *l = link_of(h);

	ipc_outgoing_left(&l->outgoing, ipc_conn_left(l->conn));
}

static void on_refused(struct ipc_conn_hook *h, uint64_t end)
{
	ipc_outgoing_refused(&link_of(h)->outgoing, end);
}

/* The peer said goodbye before, and now it is gone altogether. */
static void on_lost(struct ipc_conn_hook *h)
{
	struct aiolink *l = link_of(h);

	remember_loss(l, l->conn, "the peer left before it was told all");
	aioconn_abort(l->conn);
}

/* Was it a good connection? Then the next pause is short again. */
static bool worked(const struct aiolink *l, const struct aioconn *c)
{
	return (c->bytes_in > 0 && l->theirs != IPC_LINK_BROKE) || ipc_os_now() - l->since >= l->course.delay;
}

static void on_gone(struct ipc_conn_hook *h)
{
	struct aiolink *l = link_of(h);
	struct aioconn *c = l->conn;

	l->conn = NULL;
	if (ipc_status_check(&l->status) == -1)
		return;
	pthread_mutex_lock(&l->status.lock);
	l->talks = false;
	pthread_mutex_unlock(&l->status.lock);
	ipc_outgoing_back(&l->outgoing, ipc_conn_left(c));
	if (l->theirs != IPC_LINK_LEFT_LAST && !l->o.confirm)
		ipc_counter_add(&l->unsure, ipc_counter_get(&l->outgoing.out) - l->handed);
	if (c->lost_output && !l->talk_error)
		remember_loss(l, c, "the peer left before it had taken all");
	if (l->o.confirm && !l->confirm.heard_hello && (!l->talk_error || l->talk_error == ECONNRESET))
		remember_why(
			l, EPROTO,
			"the peer left before it agreed to confirm messages: both sides must ask for that");
	ipc_confirm_end(l);
	if (worked(l, c))
		ipc_course_was_good(&l->course);
	l->paused = false;
	want_items(l, false);
	ipc_link_deliver(l);
	if (l->course.ending == IPC_COURSE_CUT)
		return;
	ipc_status_note(&l->status, l->talk_error, l->talk_why);
	ipc_course_over(&l->course);
}

static const struct ipc_conn_hook_calls hook_calls = {
	.gone = on_gone, .lost = on_lost, .wrote = on_wrote, .refused = on_refused};

/* Limits. They are checked now and then, if there are any. */

static void lose(struct aiolink *l, const char *why)
{
	remember_why(l, ETIMEDOUT, why);
	if (l->conn->way_in >= IPC_IN_ENDED) {
		aioconn_abort(l->conn);
		return;
	}
	ipc_conn_end(l->conn, AIOCONN_LOST, ETIMEDOUT, why);
	ipc_conn_soon(l->conn);
}

static bool is_past(int64_t since, int64_t limit)
{
	return limit && ipc_os_now() - since >= limit;
}

/* True if a count that should grow has not grown for @limit. */
static bool stands_still(uint64_t *last, int64_t *since, uint64_t now, bool should_move, int64_t limit)
{
	if (*last != now || !should_move) {
		*last = now;
		*since = ipc_os_now();
	}
	return is_past(*since, limit);
}

/* The loop may have run this timer before it read from the peer. What the kernel has by now, or takes, still counts. */
static void look_once_more(struct aioconn *c)
{
	c->retry = 0;
	ipc_conn_flush(c);
	if (ipc_conn_fill(c) != 0 || c->way_in != IPC_IN_OPEN)
		ipc_conn_soon(c);
}

/* It has to come in time, if we read. */
static bool no_hello(struct aiolink *l)
{
	if (!l->o.confirm || l->confirm.heard_hello || l->paused || !is_past(l->since, hello_limit(l)))
		return false;
	if (l->confirm.looked)
		return true;
	l->confirm.looked = true;
	look_once_more(l->conn);
	return false;
}

static void watch_limits(struct aiolink *l)
{
	struct aioconn *c = l->conn;

	if (is_past(l->read_since, l->o.idle_limit) || is_past(l->wrote_since, l->o.send_limit))
		look_once_more(c);
	if (stands_still(&l->read, &l->read_since, c->bytes_in,
			 c->way_in == IPC_IN_OPEN && c->reads && !l->paused, l->o.idle_limit))
		lose(l, "the peer was silent for longer than the limit");
	else if (no_hello(l))
		lose(l, "the peer did not agree to confirm messages within the limit");
	else if (stands_still(&l->wrote, &l->wrote_since, c->bytes_out, c->out.count > 0, l->o.send_limit))
		lose(l, "the peer took nothing for longer than the limit");
	else
		look_later(l);
}

static bool grace_is_over(const struct aiolink *l)
{
	return l->course.life == IPC_COURSE_UP && l->grace_until && ipc_os_now() >= l->grace_until;
}

/* Messages and the goodbye may have arrived by now: they are read first. */
static void grace_ends(struct aiolink *l)
{
	if (l->grace_looked) {
		ipc_link_end_grace(l);
		return;
	}
	l->grace_looked = true;
	look_once_more(l->conn);
	ipc_course_after(&l->course, 0);
}

/* The timer serves the limits, the next share of a turn, and another try after ENOMEM. The latter two are due sooner: they set the timer last. */
void ipc_link_talk_timer(struct aiolink *l)
{
	ipc_status_hold(&l->status);
	if (grace_is_over(l))
		grace_ends(l);
	else if (!l->talk_error)
		watch_limits(l);
	ipc_link_deliver(l);
	ipc_link_pump(l);
	ipc_status_release(&l->status);
}

/* The user means this connection, and not a later one. */
void ipc_link_drop(struct aiolink *l, uint64_t talk)
{
	if (l->course.life != IPC_COURSE_UP || l->talk != talk)
		return;
	ipc_status_hold(&l->status);
	remember_why(l, ECONNABORTED, "dropped");
	aioconn_abort(l->conn);
	ipc_status_release(&l->status);
}

/* The beginning of a connection. */

static void start_afresh(struct aiolink *l)
{
	l->ours = IPC_LINK_SENDS;
	l->theirs = IPC_LINK_SPEAKS;
	l->paused = false;
	l->grace_until = 0;
	l->since = l->read_since = l->wrote_since = ipc_os_now();
	l->read = l->wrote = 0;
	l->handed = ipc_counter_get(&l->outgoing.out);
	remember_why(l, 0, "");
}

static void remember_peer(struct aiolink *l, const struct aioconn *c)
{
	char peer[IPC_ADDRESS_SIZE] = "", local[IPC_ADDRESS_SIZE] = "";

	if (aioconn_peer_address(c, peer, sizeof peer) == -1 ||
	    ipc_address_of_socket(aioconn_fd(c), local, sizeof local) == -1)
		*peer = '\0';
	pthread_mutex_lock(&l->status.lock);
	l->talks = true;
	l->talk++;
	memcpy(l->peer, peer, sizeof l->peer);
	memcpy(l->local, local, sizeof l->local);
	pthread_mutex_unlock(&l->status.lock);
}

int ipc_link_talk(struct aiolink *l, struct aioconn *c)
{
	int error;

	if (!c->by_hand && ipc_link_set_up(l, c) == -1) {
		error = errno;
		aioconn_abort(c);
		errno = error;
		return -1;
	}
	start_afresh(l);
	l->conn = c;
	l->hook.calls = &hook_calls;
	ipc_conn_hook(c, &l->hook);
	aioconn_set_callbacks(c, on_msg, on_writable, on_close, l);
	ipc_course_succeeded(&l->course);
	want_items(l, true);
	ipc_confirm_begin(l);
	look_later(l);
	ipc_link_deliver(l);
	ipc_counter_add(&l->connections, 1);
	ipc_status_note(&l->status, 0, "");
	remember_peer(l, c);
	ipc_course_tell(&l->course, AIOLINK_CONNECTED);
	return 0;
}
