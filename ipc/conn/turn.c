/*
 * What a turn of the loop does for a connection: messages go to their callback, room is told, the end is told. Only this file calls
 * back, but for LOCAL (life.c).
 */
#include "ipc/conn/turn.h"

#include <errno.h>

#include "ipc/conn/finish.h"
#include "ipc/conn/grant.h"
#include "ipc/conn/input.h"
#include "ipc/conn/interest.h"
#include "ipc/conn/life.h"
#include "ipc/conn/note.h"
#include "ipc/conn/output.h"
#include "ipc/conn/split.h"
#include "ipc/loop/wait.h"

/* A connection's share of one turn. So a flood does not starve the other connections. */
#define TURN_MESSAGES 1024
#define TURN_BYTES ((size_t)256 * 1024)
#define PASS_NS (INT64_C(5) * 1000 * 1000)   /* all connections that have messages share this, in each pass */
#define RETRY_NS (INT64_C(10) * 1000 * 1000) /* when memory is short */

/*
 * The loop of this thread visits its connections in passes. @count connections had more than one message in this pass so far, and
 * @before in the last one. The more there are, the less time each one gets.
 */
static _Thread_local struct {
	uint32_t number;
	unsigned count, before;
} pass;

/* Goes on in a later turn of the loop, after the other connections. */
static void later(struct aioconn *c, int64_t ns)
{
	struct ipc_watch *w = ipc_conn_turn_watch(c);

	c->more = ns == 0 || !w;
	if (w)
		ipc_watch_later(w, ns);
}

static bool deliverable(const struct aioconn *c)
{
	return c->on_msg && !c->paused && !c->kept && c->life == IPC_LIFE_OPEN;
}

/* Gives one message to the callback. The message is consumed unless the callback kept it. */
static void hand(struct aioconn *c, struct aiomsg *m)
{
	c->verdict = IPC_MSG_READ;
	c->calling = true;
	c->on_msg(c, m, c->arg);
	c->calling = false;
	if (c->verdict == IPC_MSG_KEPT && c->life != IPC_LIFE_OVER) {
		ipc_inbox_unshift(&c->inbox, m);
		c->kept = true;
		ipc_conn_wake(c, IPC_FOR_INPUT);
		return;
	}
	c->msgs_in++;
	if (c->verdict == IPC_MSG_READ && c->life != IPC_LIFE_OVER)
		ipc_in_give_back(&c->in, m);
	else if (c->verdict != IPC_MSG_TAKEN)
		aiomsg_free(m);
}

/* A connection that comes a second time begins another pass. */
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

/* Looks at the clock at messages 1, 2, 4, 8, 16 and each 32nd. For a single message it would cost too much. */
static inline bool is_share_over(struct aioconn *c, unsigned n, int64_t *until)
{
	if ((n & (n - 1)) && n % 32)
		return false;
	if (n == 1)
		*until = ipc_os_now() + share_of(c);
	return n > 1 && ipc_os_now() >= *until;
}

/* Calls whose answers came before @m are told first. False: @m is not to be handed out any more. */
static bool told_before(struct aioconn *c, struct aiomsg *m)
{
	if (!ipc_flight_has_due(c->flight))
		return true;
	ipc_conn_tell_calls(c);
	if (deliverable(c))
		return true;
	if (c->life == IPC_LIFE_OVER)
		aiomsg_free(m);
	else
		ipc_inbox_unshift(&c->inbox, m);
	return false;
}

/* The next message for the callback, as ipc_conn_next(). Reads on for it while @most bytes have not come yet. */
static int next_due(struct aioconn *c, struct aiomsg **m, uint64_t most)
{
	int r;

	do
		r = ipc_inbox_prepare(&c->inbox) < 0 ? -1 : ipc_conn_next(c, m);
	while (r == 0 && c->bytes_in < most && ipc_conn_read_on(c, true));
	return r;
}

static void deliver(struct aioconn *c)
{
	uint64_t most = c->bytes_in + TURN_BYTES;
	int64_t until = 0;
	size_t bytes = 0;
	unsigned n;

	for (n = 0; n < TURN_MESSAGES && bytes < TURN_BYTES && !is_share_over(c, n, &until); n++) {
		struct aiomsg *m;
		int r;

		if (!deliverable(c))
			return;
		r = next_due(c, &m, most);
		if (r < 0)
			later(c, RETRY_NS);
		if (r <= 0)
			return;
		bytes += m->len;
		if (!told_before(c, m))
			return;
		hand(c, m);
	}
	later(c, 0);
}

/* Nobody takes messages, but answers, or cancels, may come behind them. */
static void look_for_answers(struct aioconn *c)
{
	bool any = (c->flight && c->flight->count) || ipc_desk_count(c->desk);

	if (any && !deliverable(c) && c->life == IPC_LIFE_OPEN && c->way_in < IPC_IN_ENDED &&
	    ipc_conn_stow(c) < 0)
		later(c, RETRY_NS);
}

static bool is_overdue(const struct aioconn *c)
{
	const struct aiocall *next = ipc_flight_next_deadline(c->flight);

	return next && ipc_deadline_left(next->deadline) == 0;
}

/* Deadlines have passed. What the kernel has by now came in time. */
static void end_overdue(struct aioconn *c)
{
	if (!is_overdue(c))
		return;
	ipc_conn_flush(c);
	if (ipc_conn_fill(c) > 0) {
		deliver(c);
		look_for_answers(c);
	}
	while (c->life != IPC_LIFE_OVER && is_overdue(c))
		ipc_conn_give_up(c, ipc_flight_next_deadline(c->flight), ETIMEDOUT);
}

void ipc_conn_time_calls(struct aioconn *c)
{
	const struct aiocall *next = ipc_flight_next_deadline(c->flight);
	struct ipc_flight *f = c->flight;

	if (!next || !f->timer || (f->timer_at && f->timer_at <= next->deadline))
		return;
	f->timer_at = next->deadline;
	ipc_watch_later(f->timer, ipc_deadline_left(next->deadline));
}

/* Whether the calls of both sides are where they should be. */
static void turn_calls(struct aioconn *c)
{
	look_for_answers(c);
	end_overdue(c);
	ipc_conn_tell_calls(c);
	if (c->life == IPC_LIFE_OVER)
		return;
	if (ipc_conn_pay(c) < 0)
		later(c, RETRY_NS);
	ipc_conn_mind_desk(c);
	ipc_conn_time_calls(c);
}

static void tell_room(struct aioconn *c)
{
	if (c->way_in == IPC_IN_TOLD && !c->by_hand) /* on_close was the last callback */
		return;
	if (!c->refused || !c->on_writable || c->life != IPC_LIFE_OPEN || c->way_out >= IPC_OUT_GOODBYE ||
	    !c->writes || !ipc_conn_has_room_told(c, c->refused))
		return;
	c->refused = 0;
	c->calling = true;
	c->telling = !c->outbox_set;
	c->on_writable(c, c->arg);
	c->telling = false;
	c->calling = false;
}

/* Nobody takes messages now. Finds out whether the stream ends after the messages that wait. */
static void look_for_end(struct aioconn *c)
{
	if (c->way_in != IPC_IN_EOF || c->paused || deliverable(c))
		return;
	if (c->in.framing != AIOCONN_MESSAGES && !c->on_msg)
		ipc_conn_end_of_stream(c);
	else if (ipc_conn_stow(c) < 0)
		later(c, RETRY_NS);
}

/* With on_msg, the answers and then our goodbye leave before the end is told. True when they have left. */
static bool answered(struct aioconn *c)
{
	if (c->cause != AIOCONN_CLEAN || !c->on_msg || !c->writes || c->way_out >= IPC_OUT_LOST || c->by_hand)
		return true;
	if (c->way_out < IPC_OUT_GOODBYE && ipc_desk_count(c->desk))
		return false;
	if (ipc_conn_say_goodbye(c) < 0) {
		later(c, RETRY_NS);
		return false;
	}
	if (!c->blocked && ipc_conn_flush(c) < 0)
		return true;
	return c->out.count == 0;
}

/* Are there bytes of a stream that on_msg must still see? Not those after a line over the limit, and not half a line before a break. */
static bool undelivered_stream(struct aioconn *c)
{
	if (c->in.framing == AIOCONN_MESSAGES || c->in.error)
		return false;
	return c->in.framing == AIOCONN_LINES ? ipc_in_line(&c->in) > 0 : ipc_in_raw(&c->in) > 0;
}

static void tell_end(struct aioconn *c)
{
	if (c->way_in != IPC_IN_ENDED || c->life != IPC_LIFE_OPEN)
		return;
	if (c->on_msg && (c->inbox.count || undelivered_stream(c)))
		return;
	if (!answered(c) || !c->on_close)
		return;
	c->way_in = IPC_IN_TOLD;
	c->calling = true;
	c->on_close(c, c->cause, c->arg);
	c->calling = false;
}

/* on_close told that the peer says no more. Now the peer does not read any more, either. */
static void tell_lost(struct aioconn *c)
{
	if (!c->by_hand || c->way_in != IPC_IN_TOLD || c->cause != AIOCONN_CLEAN ||
	    c->way_out != IPC_OUT_LOST || c->life != IPC_LIFE_OPEN)
		return;
	c->way_out = IPC_OUT_TOLD;
	c->calling = true;
	for (struct ipc_conn_hook *h = c->hooks, *next; h && c->life != IPC_LIFE_OVER; h = next) {
		next = h->next;
		if (h->calls->lost)
			h->calls->lost(h);
	}
	c->calling = false;
}

void ipc_conn_turn(struct aioconn *c)
{
	if (c->calling || c->life == IPC_LIFE_OVER)
		return;
	tell_room(c);
	deliver(c);
	if ((c->flight || c->desk) && c->life != IPC_LIFE_OVER)
		turn_calls(c);
	if (c->life == IPC_LIFE_OVER)
		return;
	look_for_end(c);
	tell_end(c);
	if (c->life != IPC_LIFE_OVER)
		tell_lost(c);
}

/* A turn is over. What was queued in it is written. */
static void turn_over(struct aioconn *c)
{
	if (c->turn_sent)
		c->burst = c->turn_sent >= 2;
	c->turn_sent = 0;
	if (c->retry || (!c->corked && !c->blocked))
		ipc_conn_flush(c);
}

/* Where the user asked for it, the loop does not sleep for a while. It still serves everyone. */
static void stay_awake(struct aioconn *c)
{
	if (!c->spin || c->way_in >= IPC_IN_ENDED)
		return;
	c->awake_until = ipc_os_now() + c->spin;
	ipc_watch_later(c->awake, 0);
}

/* Tells the hooks when it changed whether the peer must say more. */
static void tell_owes(struct aioconn *c)
{
	bool owes = c->hooks && c->way_in < IPC_IN_ENDED && ipc_in_owes(&c->in);

	if (owes == c->owes || !c->hooks)
		return;
	c->owes = owes;
	for (struct ipc_conn_hook *h = c->hooks; h; h = h->next)
		if (h->calls->owes)
			h->calls->owes(h, owes);
}

/* Calls back what is due. Then tells the loop what to wait for. */
static void settle(struct aioconn *c)
{
	if (c->life == IPC_LIFE_FINISHING)
		ipc_conn_finish_turn(c);
	else
		ipc_conn_turn(c);
	if (c->life == IPC_LIFE_OVER)
		return;
	tell_owes(c);
	ipc_conn_grant(c);
	ipc_in_rest(&c->in);
	ipc_inbox_rest(&c->inbox);
	ipc_out_rest(&c->out);
	ipc_conn_charge(c);
	stay_awake(c);
	ipc_conn_interest(c);
	ipc_conn_tell_row(c);
}

/* Messages that were read before wait for the next turn. So no more is read now. */
static bool has_enough(const struct aioconn *c)
{
	return c->more && c->base && deliverable(c);
}

static void read_more(struct aioconn *c)
{
	if (!has_enough(c) && ipc_conn_fill(c) < 0)
		later(c, RETRY_NS);
}

/* @timed: the loop began another pass. */
static void on_turn(struct aioconn *c, bool timed)
{
	if (timed)
		c->in_a_row = 0;
	c->more = false;
	turn_over(c);
	if (c->in_a_row < IPC_CONN_IN_A_ROW && ipc_conn_at_hand(c)) {
		c->in_a_row++;
		read_more(c);
	}
	settle(c);
}

void ipc_conn_hear(struct aioconn *c)
{
	if (!ipc_conn_at_hand(c))
		return;
	ipc_conn_hold(c);
	on_turn(c, true);
	ipc_conn_release(c);
}

void ipc_conn_on_awake(short what, void *arg)
{
	struct aioconn *c = arg;

	(void)what;
	if (ipc_os_now() >= c->awake_until) {
		c->awake_until = 0;
		ipc_conn_interest(c);
		return;
	}
	ipc_watch_later(c->awake, 0);
	if (ipc_conn_comes(c))
		ipc_conn_hear(c);
}

void ipc_conn_on_call_timer(short what, void *arg)
{
	struct aioconn *c = arg;

	(void)what;
	c->flight->timer_at = 0;
	ipc_conn_hold(c);
	settle(c);
	ipc_conn_release(c);
}

void ipc_conn_doze(struct aioconn *c, bool on)
{
	c->awake_until = on ? INT64_MAX : 0;
	if (!on)
		ipc_conn_interest(c);
}

/* Its callbacks begin. Of what they send, end_answering() sees to what is left, so that a lone answer needs no call at the turn's end. */
static void begin_answering(struct aioconn *c)
{
	c->answering = c->turn_sent == 0;
}

static void end_answering(struct aioconn *c)
{
	bool was = c->answering;

	c->answering = false;
	if (!was || !c->turn_sent || c->life == IPC_LIFE_OVER)
		return;
	if (c->turn_sent == 1 && !c->out.count && !(c->refused && c->on_writable)) {
		c->turn_sent = 0;
		c->burst = false;
	} else {
		ipc_conn_soon(c);
	}
}

static void on_ready(struct aioconn *c, short what)
{
	c->in_a_row = 0;
	begin_answering(c);
	if (c->blocked && what & c->shown[IPC_CARRY_OUT])
		ipc_conn_flush(c);
	if (what & c->shown[IPC_CARRY_GONE])
		ipc_conn_check_reader(c);
	if (what & c->shown[IPC_CARRY_IN]) {
		if (c->paused)
			c->paused = IPC_STALLED;
		read_more(c);
	}
	settle(c);
	end_answering(c);
}

void ipc_conn_on_event(short what, void *arg)
{
	struct aioconn *c = arg;

	ipc_conn_hold(c);
	if (what & (EV_READ | EV_WRITE))
		on_ready(c, what);
	if (what & EV_TIMEOUT && c->life != IPC_LIFE_OVER)
		on_turn(c, what & IPC_WATCH_TIMED);
	ipc_conn_release(c);
}
