/*
 * The states of a link, and what leads from one to the next: attempts to connect, pauses that grow, listening, the end. What happens
 * while it is connected is in talk.c, which comes back here when that is over.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <aioipc/end.h>
#include <aioipc/listener.h>
#include <aioipc/queue.h>

#include "ipc/flow/queue.h"
#include "ipc/link/link.h"

bool ipc_link_is_last(const struct aiolink *l)
{
	return atomic_load_explicit(&l->first, memory_order_relaxed) == 0;
}

static int64_t first_pause(const struct aiolink *l)
{
	return atomic_load_explicit(&l->first, memory_order_relaxed);
}

static int64_t longest_pause(const struct aiolink *l)
{
	return atomic_load_explicit(&l->most, memory_order_relaxed);
}

static bool can_go_on(const struct aiolink *l)
{
	return !ipc_link_is_last(l) && (l->listener || l->o.role == AIOLINK_CONNECT);
}

/* When it has tried in vain for long enough; INT64_MAX: never. */
static int64_t patience_ends(const struct aiolink *l)
{
	return l->o.give_up_after ? l->tries_since + l->o.give_up_after : INT64_MAX;
}

static bool has_had_enough(const struct aiolink *l)
{
	return ipc_os_now() >= patience_ends(l);
}

void ipc_link_leave_inbox(struct aiolink *l)
{
	if (!l->left_inbox)
		ipc_sharers_leave(l->inbox, IPC_PRODUCERS, true);
	l->left_inbox = true;
}

void ipc_link_leave_outbox(struct aiolink *l)
{
	if (!l->outbox || l->left_outbox)
		return;
	l->left_outbox = true;
	l->outgoing.stopped = !ipc_sharers_leave(l->outbox, IPC_CONSUMERS, true);
}

bool ipc_link_nothing_left(const struct aiolink *l)
{
	if (!l->outbox)
		return true;
	return l->outgoing.count == 0 && (l->outgoing.stopped || aioqueue_count(l->outbox) == 0);
}

void ipc_link_note(struct aiolink *l, int error, const char *why)
{
	pthread_mutex_lock(&l->lock);
	l->error = error;
	snprintf(l->why, sizeof l->why, "%s", why && *why ? why : error ? strerror(error) : "");
	pthread_mutex_unlock(&l->lock);
}

void ipc_link_tell(struct aiolink *l, enum aiolink_state state)
{
	bool again = l->told == state;

	l->told = state;
	ipc_link_enter(l, state);
	if (l->cb && !again)
		l->cb(l, state, l->arg);
}

static void stop_watching_dial(struct aiolink *l)
{
	for (int i = 0; i < IPC_DIAL_MOST; i++) {
		ipc_watch_free(l->dial_watch[i]);
		l->dial_watch[i] = NULL;
	}
}

static void stop_dialling(struct aiolink *l)
{
	stop_watching_dial(l);
	ipc_dial_free(l->dial);
	l->dial = NULL;
}

/* Nothing that it holds needs the loop any more. */
void ipc_link_unequip(struct aiolink *l)
{
	stop_dialling(l);
	aiolistener_free(l->listener);
	aioconn_abort(l->ready);
	ipc_flow_watch_free(l->in_watch);
	ipc_flow_watch_free(l->out_watch);
	ipc_watch_free(l->turn);
	ipc_watch_free(l->timer);
	l->turn = l->timer = NULL;
	l->in_watch = l->out_watch = NULL;
	l->listener = NULL;
	l->ready = NULL;
}

/* The end of the inbox comes behind all that arrived. */
static void end(struct aiolink *l)
{
	l->phase = IPC_LINK_OVER;
	ipc_link_unequip(l);
	ipc_link_leave_inbox(l);
	ipc_link_leave_outbox(l);
	if (l->own)
		event_base_loopbreak(l->base);
	ipc_link_tell(l, AIOLINK_ENDED);
}

/* No connection follows. */
static void end_when_landed(struct aiolink *l)
{
	l->phase = IPC_LINK_LANDS;
	if (ipc_link_land(l))
		end(l);
	else
		ipc_link_tell(l, AIOLINK_CLOSING);
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void attempt(struct aiolink *l)
{
	int64_t now = ipc_os_now(), limit = l->o.connect_limit ? now + l->o.connect_limit : INT64_MAX;

	if (l->listener) {
		l->phase = IPC_LINK_LISTENS;
		l->looked = false;
		aiolistener_resume(l->listener);
		if (l->o.give_up_after)
			ipc_link_after(l, now < patience_ends(l) ? patience_ends(l) - now : 0);
	} else {
		l->phase = IPC_LINK_DIALS;
		limit = least(limit, patience_ends(l));
		l->until = limit == INT64_MAX ? 0 : limit;
		ipc_watch_soon(l->turn);
	}
	ipc_link_tell(l, AIOLINK_CONNECTING);
}

/* Up to a fifth is taken off, so that those who lost their peer together do not come back together. */
static int64_t shortened(int64_t ns)
{
	uint64_t x = (uint64_t)ipc_os_now();

	x ^= x >> 12;
	x *= UINT64_C(2685821657736338717);
	return ns - ns / 5 / 1024 * (int64_t)(x >> 54);
}

static void pause_for_a_while(struct aiolink *l)
{
	int64_t now = ipc_os_now(), most = longest_pause(l);

	l->phase = IPC_LINK_PAUSES;
	l->until = least(now + shortened(l->delay), patience_ends(l));
	l->delay = l->delay < most / 2 ? 2 * l->delay : most;
	ipc_link_after(l, l->until > now ? l->until - now : 0);
	ipc_link_tell(l, AIOLINK_WAITING);
}

static void go_on(struct aiolink *l)
{
	if (!can_go_on(l) || (l->closing && ipc_link_nothing_left(l)) || has_had_enough(l))
		end_when_landed(l);
	else if (l->listener)
		attempt(l);
	else
		pause_for_a_while(l);
}

void ipc_link_talk_over(struct aiolink *l, int error, const char *why)
{
	l->tries_since = ipc_os_now();
	ipc_link_note(l, error, why);
	go_on(l);
}

/* What is still looked up is there for the next attempt. */
static void attempt_failed(struct aiolink *l, int error, const char *why)
{
	ipc_link_note(l, error, why);
	stop_watching_dial(l);
	if (l->dial && !ipc_dial_looks_up(l->dial))
		stop_dialling(l);
	go_on(l);
}

static void on_dial_ready(short what, void *arg)
{
	(void)what;
	ipc_link_step(arg);
}

void ipc_link_after(struct aiolink *l, int64_t ns)
{
	if (ipc_watch_after(l->timer, ns) == 0)
		return;
	l->late = true;
	ipc_watch_soon(l->turn);
}

static int watch_dial(struct aiolink *l, struct ipc_watch **w, const struct pollfd *p)
{
	*w = ipc_watch_new(l->base, p->fd, on_dial_ready, l);
	return *w ? ipc_watch_want(*w, p->events & POLLOUT ? EV_WRITE : EV_READ) : -1;
}

/* -1 when that can't be waited for. */
static int wait_for_dial(struct aiolink *l, const struct ipc_dial_wait *w)
{
	int64_t left = l->until ? l->until - ipc_os_now() : w->ns;

	if (w->ns >= 0 && w->ns < left)
		left = w->ns;
	if (left >= 0 && ipc_watch_after(l->timer, left) == -1)
		return -1;
	for (unsigned i = 0; i < w->n; i++)
		if (watch_dial(l, &l->dial_watch[i], &w->fd[i]) == -1)
			return -1;
	return 0;
}

static void dial(struct aiolink *l)
{
	struct ipc_dial_wait w;
	struct aioconn *c = NULL;
	int r;

	stop_watching_dial(l);
	if (!l->dial && !(l->dial = ipc_dial_new(l->o.address))) {
		attempt_failed(l, errno, NULL);
		return;
	}
	ipc_dial_until(l->dial, l->until);
	ipc_dial_from(l->dial, l->o.local);
	ipc_dial_keep_alive(l->dial, &l->o.keepalive);
	r = ipc_dial_step(l->dial, &w);
	if (r == 0 && l->until && ipc_os_now() >= l->until) {
		attempt_failed(l, ETIMEDOUT, "no connection within the limit");
		return;
	}
	if (r == 0 && wait_for_dial(l, &w) == 0)
		return;
	if (r == 1)
		c = ipc_dial_open(l->dial, l->base);
	if (!c) {
		attempt_failed(l, errno, r == -1 ? ipc_dial_why(l->dial) : NULL);
		return;
	}
	stop_dialling(l);
	if (ipc_link_talk(l, c) == -1)
		attempt_failed(l, errno, NULL);
}

static void talk_over_end(struct aiolink *l)
{
	struct aioconn *c = l->ready;

	l->ready = NULL;
	ipc_link_hold(l);
	if (ipc_link_talk(l, c) == -1)
		attempt_failed(l, errno, NULL);
	else if (l->closing)
		ipc_link_pump(l);
	ipc_link_release(l);
}

static void stop_listening(struct aiolink *l)
{
	aiolistener_free(l->listener);
	l->listener = NULL;
	pthread_mutex_lock(&l->lock);
	l->deaf = true;
	pthread_mutex_unlock(&l->lock);
}

/* Whoever comes when there is never to be another one is the last that could. */
static void on_peer(struct aiolistener *listener, struct aioconn *c, void *arg)
{
	struct aiolink *l = arg;

	aiolistener_pause(listener);
	if (ipc_link_is_last(l))
		stop_listening(l);
	if (ipc_link_talk(l, c) == -1)
		attempt_failed(l, errno, NULL);
}

/* Nobody came. Who waits in the kernel comes first: one more turn shows it. */
static void tire_of_listening(struct aiolink *l)
{
	int64_t left = patience_ends(l) - ipc_os_now();

	if (left > 0 || !l->looked) {
		l->looked = left <= 0;
		ipc_link_after(l, left > 0 ? left : 0);
		return;
	}
	ipc_link_note(l, ETIMEDOUT, "nobody came within the limit");
	end_when_landed(l);
}

static void end_of_pause(struct aiolink *l)
{
	int64_t left = l->until - ipc_os_now();

	if (left > 0)
		ipc_link_after(l, left);
	else if (has_had_enough(l))
		end_when_landed(l);
	else
		attempt(l);
}

void ipc_link_pace(struct aiolink *l)
{
	int64_t now = ipc_os_now();

	l->delay = first_pause(l);
	if (l->phase == IPC_LINK_PAUSES && ipc_link_is_last(l)) {
		end_when_landed(l);
	} else if (l->phase == IPC_LINK_PAUSES && l->until > now + l->delay) {
		l->until = now + shortened(l->delay);
		ipc_link_after(l, l->until - now);
	} else if (l->phase == IPC_LINK_TALKS && l->listener && ipc_link_is_last(l)) {
		stop_listening(l);
	}
}

void ipc_link_step(struct aiolink *l)
{
	switch (l->phase) {
	case IPC_LINK_BEGINS:
		attempt(l);
		break;
	case IPC_LINK_DIALS:
		if (l->ready)
			talk_over_end(l);
		else
			dial(l);
		break;
	case IPC_LINK_PAUSES:
		end_of_pause(l);
		break;
	case IPC_LINK_LISTENS:
		if (l->o.give_up_after)
			tire_of_listening(l);
		break;
	case IPC_LINK_LANDS:
		if (ipc_link_land(l))
			end(l);
		break;
	default:
		break;
	}
}

/* The peer at the other end of an end is there before it is talked to: that is still to come. */
void ipc_link_close_soon(struct aiolink *l)
{
	l->closing = true;
	if (l->phase == IPC_LINK_TALKS) {
		ipc_link_pump(l);
	} else if (l->phase == IPC_LINK_LANDS) {
		ipc_link_step(l);
	} else if (l->phase != IPC_LINK_OVER && !l->ready && ipc_link_nothing_left(l)) {
		ipc_link_note(l, 0, "");
		stop_dialling(l);
		end_when_landed(l);
	}
}

void ipc_link_cut(struct aiolink *l, int error, const char *why)
{
	if (l->phase == IPC_LINK_OVER)
		return;
	l->cut = true;
	aioconn_abort(l->conn);
	if (l->inbox) {
		ipc_incoming_put(&l->incoming);
		ipc_incoming_drop(&l->incoming);
	}
	ipc_link_note(l, error, why);
	end(l);
}

/* Its watches. They stay until it ends. */

static void on_timer(short what, void *arg)
{
	struct aiolink *l = arg;

	(void)what;
	l->late = false;
	if (l->phase == IPC_LINK_TALKS) {
		ipc_link_talk_timer(l);
		return;
	}
	ipc_link_land(l);
	ipc_link_step(l);
}

static void on_turn(short what, void *arg)
{
	struct aiolink *l = arg;

	atomic_store_explicit(&l->thread, ipc_thread_serial(), memory_order_relaxed);
	if (l->phase == IPC_LINK_TALKS)
		ipc_link_land(l);
	if (l->phase != IPC_LINK_TALKS || l->late)
		on_timer(what, l);
}

static void on_outbox_items(struct aioqueue *q, void *arg)
{
	(void)q;
	ipc_link_pump(arg);
}

static void on_outbox_room(struct aioqueue *q, void *arg)
{
	struct aiolink *l = arg;

	if (ipc_queue_is_closed(q) && !l->closing)
		ipc_link_close_soon(l);
}

static void on_inbox_room(struct aioqueue *q, void *arg)
{
	struct aiolink *l = arg;

	if (l->phase == IPC_LINK_LANDS) {
		ipc_link_step(l);
		return;
	}
	ipc_link_land(l);
	if (ipc_queue_is_closed(q) && !l->outbox && !l->closing)
		ipc_link_close_soon(l);
}

static int listen_at(struct aiolink *l)
{
	struct aiolistener_options o = {.size = sizeof o,
					.peers = 1,
					.mode = l->o.mode,
					.uids = l->o.uids,
					.n_uids = l->o.n_uids,
					.keepalive = l->o.keepalive.idle,
					.user_timeout = l->o.keepalive.timeout};

	if (!l->o.address || l->o.role != AIOLINK_LISTEN)
		return 0;
	l->listener = aiolistener_new(l->o.address, l->base, &o, on_peer, l);
	if (!l->listener)
		return -1;
	aiolistener_pause(l->listener);
	return 0;
}

/* What remains of the listener when it is freed. */
static void remember_address(struct aiolink *l)
{
	if (!l->listener)
		return;
	snprintf(l->listens_at, sizeof l->listens_at, "%s", aiolistener_address(l->listener));
	l->port = aiolistener_port(l->listener);
	atomic_store_explicit(&l->where, l->listens_at, memory_order_release);
}

static int open_end(struct aiolink *l)
{
	struct aioend *end = l->end;

	if (!end)
		return 0;
	if (ipc_link_check_end(l, end) == -1)
		return -1;
	l->ready = aioend_open(end, l->base);
	if (!l->ready)
		return -1;
	l->end = NULL;
	ipc_link_set_up(l, l->ready); /* or later: the end is open, and can't be had back */
	return 0;
}

int ipc_link_equip(struct aiolink *l, struct event_base *base)
{
	int error;

	if (ipc_watch_base_ok(base) == -1)
		return -1;
	l->base = base;
	l->turn = ipc_watch_new(base, -1, on_turn, l);
	l->timer = ipc_watch_new(base, -1, on_timer, l);
	if (!l->turn || !l->timer)
		goto fail;
	if (l->outbox &&
	    !(l->out_watch = ipc_flow_watch_new(l->outbox, base, on_outbox_items, on_outbox_room, l)))
		goto fail;
	if (l->inbox && !(l->in_watch = ipc_flow_watch_new(l->inbox, base, NULL, on_inbox_room, l)))
		goto fail;
	if (l->in_watch)
		ipc_flow_watch_be_patient(l->in_watch);
	if (l->out_watch)
		ipc_flow_watch_want(l->out_watch, false, true);
	if (listen_at(l) == -1 || open_end(l) == -1)
		goto fail;
	remember_address(l);
	return 0;

fail:
	error = errno;
	ipc_link_unequip(l);
	l->base = NULL;
	errno = error;
	return -1;
}

void ipc_link_begin(struct aiolink *l)
{
	l->phase = IPC_LINK_BEGINS;
	l->delay = first_pause(l);
	l->tries_since = ipc_os_now();
	pthread_mutex_lock(&l->lock);
	l->started = true;
	l->state = AIOLINK_CONNECTING;
	pthread_mutex_unlock(&l->lock);
	ipc_watch_soon(l->turn);
}
