/* What a turn does for a connection: messages to their callback, room told, the end told. The only place that calls back, but for LOCAL. */
#include <errno.h>

#include "ipc/conn/conn.h"
#include "ipc/loop/wait.h"
#include "ipc/wire/frame.h"

/* A connection's share of one turn, so that a flood does not starve its neighbours. */
#define TURN_MESSAGES 1024
#define TURN_BYTES ((size_t)256 * 1024)
#define PASS_NS (INT64_C(5) * 1000 * 1000)   /* what all that have something share, each time round */
#define RETRY_NS (INT64_C(10) * 1000 * 1000) /* when memory is short */

/*
 * The loop goes round its connections in passes. That of this thread: how many had more than one message in it so far, and in the
 * one before. The more there are, the less time each of them has.
 */
static _Thread_local struct {
	uint64_t number;
	unsigned count, before;
} pass;

void ipc_conn_end(struct aioconn *c, enum aioconn_cause cause, int error, const char *why)
{
	if (c->ended)
		return;
	c->ended = true;
	c->cause = cause;
	c->end_error = error;
	c->why = why;
	ipc_conn_wake(c, ~0u);
	if (cause == AIOCONN_CLEAN)
		return;
	ipc_conn_drop_output(c);
	ipc_watch_free(c->read_watch);
	ipc_watch_free(c->write_watch);
	c->read_watch = c->write_watch = NULL;
	ipc_own_close_read(&c->own);
	ipc_own_close_write(&c->own);
}

static const char *broken_where(const struct aioconn *c)
{
	if (c->in_fault.error == ECONNRESET && ipc_in_is_inside(&c->in))
		return "connection reset by the peer inside a line";
	return c->in_fault.why;
}

/* Everything that came is split, and nothing more comes. */
static void end_of_stream(struct aioconn *c)
{
	if (c->in.framing == AIOCONN_MESSAGES ? c->in.goodbye : !c->reset)
		ipc_conn_end(c, AIOCONN_CLEAN, 0, "the peer said goodbye");
	else if (c->reset)
		ipc_conn_end(c, c->in_fault.cause, c->in_fault.error, broken_where(c));
	else
		ipc_conn_end(c, AIOCONN_LOST, ECONNRESET, "the peer closed without goodbye");
}

/* A frame said so many descriptors travel with it: they came before its last byte. */
static int claim_fds(struct aioconn *c, struct aiomsg *m, unsigned n)
{
	unsigned i;

	if (c->fds->n < n) {
		ipc_conn_end(c, AIOCONN_BAD, EBADMSG, "frame without the descriptors that it announced");
		return -1;
	}
	if (ipc_msg_give_fds(m, c->fds->fd, n) < 0) {
		ipc_conn_end(c, AIOCONN_FAILED, ENOMEM, "there is no memory for descriptors that came");
		return -1;
	}
	c->fds->n -= n;
	for (i = 0; i < c->fds->n; i++)
		c->fds->fd[i] = c->fds->fd[i + n];
	return 0;
}

/* Descriptors that came, and no frame is left that they could belong to. Where there is but a preface yet, they may be the next one's. */
static bool unannounced_fds(const struct aioconn *c)
{
	return c->fds && c->fds->n && c->bytes_in > IPC_PREFACE_LEN && c->fds->n > ipc_in_fds_due(&c->in);
}

/* The next message of the stream: 1, 0 none (maybe the end was found), -1/ENOMEM. */
static int split(struct aioconn *c, struct aiomsg **m)
{
	struct aiomsg *next;
	unsigned nfds;
	int r = ipc_in_next(&c->in, &next, &nfds);

	if (r == 1 && nfds && claim_fds(c, next, nfds) < 0) {
		aiomsg_free(next);
		return 0;
	}
	if (r == 1)
		*m = next;
	if (r == 1 && !c->trace)
		return 1;
	if (r == 1 && c->trace)
		ipc_trace(c, "<", aiomsg_format(*m), (*m)->len, nfds);
	if (r == 0 && unannounced_fds(c))
		ipc_conn_end(c, AIOCONN_BAD, EPROTO, "descriptors that no frame announced");
	if (r == 0 && (c->in.eof || c->in.goodbye))
		end_of_stream(c);
	if (r < 0 && c->in.error) {
		ipc_conn_end(c, AIOCONN_BAD, c->in.error, c->in.why);
		return 0;
	}
	return r;
}

int ipc_conn_next(struct aioconn *c, struct aiomsg **m)
{
	if (c->inbox.count) {
		*m = ipc_inbox_shift(&c->inbox);
		return 1;
	}
	return split(c, m);
}

int ipc_conn_stow(struct aioconn *c)
{
	struct aiomsg *m;
	int r = 0;

	if (c->in.framing != AIOCONN_MESSAGES)
		return 0;
	while (c->inbox.bytes < c->inbox_limit && (!c->fds || c->inbox.fds < c->in.fds_limit)) {
		if (ipc_inbox_prepare(&c->inbox) < 0)
			return -1;
		r = split(c, &m);
		if (r <= 0)
			return r;
		ipc_inbox_push(&c->inbox, m);
	}
	return 0;
}

/* Goes on in a later turn of the loop: others come first. */
static void later(struct aioconn *c, int64_t ns)
{
	c->more = ns == 0 || !c->turn;
	if (c->turn)
		ipc_watch_later(c->turn, ns);
}

static bool deliverable(const struct aioconn *c)
{
	return c->on_msg && !c->paused && !c->kept && !c->closing && !c->gone;
}

/* One message to the callback; it is consumed unless that kept it. */
static void hand(struct aioconn *c, struct aiomsg *m)
{
	c->keep = c->take = false;
	c->calling = true;
	c->on_msg(c, m, c->arg);
	c->calling = false;
	if (c->keep && !c->gone) {
		ipc_inbox_unshift(&c->inbox, m);
		c->kept = true;
		ipc_conn_wake(c, IPC_FOR_INPUT);
		return;
	}
	c->msgs_in++;
	if (!c->take)
		aiomsg_free(m);
}

/* Who comes again begins another pass. */
static int64_t share_of(struct aioconn *c)
{
	if (c->pass == pass.number) {
		pass.number++;
		pass.before = pass.count;
		pass.count = 0;
	}
	c->pass = pass.number;
	pass.count++;
	return PASS_NS / (pass.before > pass.count ? pass.before : pass.count);
}

/* Looks at the clock before more and more messages, at most 32: one that comes alone is not worth it. */
static inline bool is_share_over(struct aioconn *c, unsigned n, int64_t *until)
{
	if ((n & (n - 1)) && n % 32)
		return false;
	if (n == 1)
		*until = ipc_os_now() + share_of(c);
	return n > 1 && ipc_os_now() >= *until;
}

static void deliver(struct aioconn *c)
{
	int64_t until = 0;
	size_t bytes = 0;
	unsigned n;

	for (n = 0; n < TURN_MESSAGES && bytes < TURN_BYTES && !is_share_over(c, n, &until); n++) {
		struct aiomsg *m;
		int r;

		if (!deliverable(c))
			return;
		r = ipc_inbox_prepare(&c->inbox) < 0 ? -1 : ipc_conn_next(c, &m);
		if (r < 0)
			later(c, RETRY_NS);
		if (r <= 0)
			return;
		bytes += m->len;
		hand(c, m);
	}
	later(c, 0);
}

static void tell_room(struct aioconn *c)
{
	if (c->told && !c->by_hand) /* on_close was the last */
		return;
	if (!c->refused || !c->on_writable || c->closing || c->said_goodbye || c->peer_gone || !c->writes ||
	    !ipc_conn_has_room(c, c->refused))
		return;
	c->refused = 0;
	c->calling = true;
	c->on_writable(c, c->arg);
	c->calling = false;
}

/* Nobody takes messages now: find out whether the stream ended behind those that wait. */
static void look_for_end(struct aioconn *c)
{
	if (!c->in.eof || c->ended || c->paused || deliverable(c))
		return;
	if (c->in.framing != AIOCONN_MESSAGES && !c->on_msg)
		end_of_stream(c);
	else if (ipc_conn_stow(c) < 0)
		later(c, RETRY_NS);
}

/* With on_msg, the answers go out and our goodbye follows, before the end is told. True when that is done. */
static bool answered(struct aioconn *c)
{
	if (c->cause != AIOCONN_CLEAN || !c->on_msg || !c->writes || c->peer_gone || c->by_hand)
		return true;
	if (ipc_conn_say_goodbye(c) < 0) {
		later(c, RETRY_NS);
		return false;
	}
	if (!c->blocked && ipc_conn_flush(c) < 0)
		return true;
	return c->out.count == 0;
}

/* Bytes of a stream that on_msg is still to see: not those behind a line over the limit, nor half a line before a breach or a break. */
static bool undelivered_stream(struct aioconn *c)
{
	if (c->in.framing == AIOCONN_MESSAGES || c->in.error)
		return false;
	return c->in.framing == AIOCONN_LINES ? ipc_in_line(&c->in) > 0 : ipc_in_raw(&c->in) > 0;
}

static void tell_end(struct aioconn *c)
{
	if (!c->ended || c->told || c->closing)
		return;
	if (c->on_msg && (c->inbox.count || undelivered_stream(c)))
		return;
	if (!answered(c) || !c->on_close)
		return;
	c->told = true;
	c->calling = true;
	c->on_close(c, c->cause, c->arg);
	c->calling = false;
}

/* The end that was told is not the whole of it: the peer does not read either. */
static void tell_lost(struct aioconn *c)
{
	if (!c->by_hand || !c->told || c->cause != AIOCONN_CLEAN || !c->peer_gone || c->closing ||
	    c->told_lost)
		return;
	c->told_lost = true;
	c->calling = true;
	for (struct ipc_conn_hook *h = c->hooks, *next; h && !c->gone; h = next) {
		next = h->next;
		if (h->lost)
			h->lost(h);
	}
	c->calling = false;
}

void ipc_conn_turn(struct aioconn *c)
{
	if (c->calling || c->gone)
		return;
	tell_room(c);
	deliver(c);
	if (c->gone)
		return;
	look_for_end(c);
	tell_end(c);
	if (!c->gone)
		tell_lost(c);
}

/* A turn is over: what was queued in it leaves. */
static void turn_over(struct aioconn *c)
{
	if (c->turn_sent)
		c->burst = c->turn_sent >= 2;
	c->turn_sent = 0;
	if (c->retry || (!c->corked && !c->blocked))
		ipc_conn_flush(c);
}

/* For those who asked for it: the loop goes round without sleeping, and everybody on it is served. */
static void stay_awake(struct aioconn *c)
{
	if (!c->spin || c->ended)
		return;
	c->awake_until = ipc_os_now() + c->spin;
	ipc_watch_later(c->awake, 0);
}

void ipc_conn_on_awake(short what, void *arg)
{
	struct aioconn *c = arg;

	(void)what;
	if (ipc_os_now() < c->awake_until)
		ipc_watch_later(c->awake, 0);
}

/* The hooks, when it changed: is the peer to say more? */
static void tell_owes(struct aioconn *c)
{
	bool owes = c->hooks && !c->ended && ipc_in_owes(&c->in);

	if (owes == c->owes || !c->hooks)
		return;
	c->owes = owes;
	for (struct ipc_conn_hook *h = c->hooks; h; h = h->next)
		if (h->owes)
			h->owes(h, owes);
}

/* Calls back what is due, and says what the loop should wait for next. */
static void settle(struct aioconn *c)
{
	if (c->finishing && !c->gone)
		ipc_conn_finish_turn(c);
	else
		ipc_conn_turn(c);
	if (c->gone)
		return;
	tell_owes(c);
	ipc_in_rest(&c->in);
	ipc_out_rest(&c->out);
	ipc_conn_charge(c);
	ipc_conn_interest(c);
	stay_awake(c);
}

void ipc_conn_on_turn(short what, void *arg)
{
	struct aioconn *c = arg;

	(void)what;
	c->more = false;
	ipc_conn_hold(c);
	turn_over(c);
	settle(c);
	ipc_conn_release(c);
}

/* What was read before waits for the next turn. */
static bool has_enough(const struct aioconn *c)
{
	return c->more && c->turn && deliverable(c);
}

void ipc_conn_on_ready(short what, void *arg)
{
	struct aioconn *c = arg;

	ipc_conn_hold(c);
	if (what & EV_WRITE)
		ipc_conn_flush(c);
	if (what & EV_READ)
		ipc_conn_check_reader(c);
	if (what & EV_READ)
		c->stalled = c->paused;
	if ((what & EV_READ) && !has_enough(c) && ipc_conn_fill(c) < 0)
		later(c, RETRY_NS);
	settle(c);
	ipc_conn_release(c);
}
