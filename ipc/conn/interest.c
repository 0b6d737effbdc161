/* Tells the loop what to watch for a connection. */
#include "ipc/conn/interest.h"

#include "ipc/conn/input.h"
#include "ipc/conn/life.h"
#include "ipc/conn/output.h"
#include "ipc/loop/wait.h"

#define WATCH_NS (INT64_C(10) * 1000 * 1000)

short ipc_conn_shown(struct aioconn *c, enum ipc_carry_wait what)
{
	short events = c->carrier.how->shown_by(&c->carrier, what);

	c->shown[what] = (uint8_t)(events & (EV_READ | EV_WRITE));
	return events;
}

bool ipc_conn_sleeps(struct aioconn *c, enum ipc_carry_wait what)
{
	if (!c->awake_until)
		ipc_carry_sleep(&c->carrier, what);
	return !ipc_carry_at_hand(&c->carrier, what);
}

/* The events that show that the peer left, where nothing is read. Not every base tells edges. */
static short departure(struct aioconn *c)
{
	short events = ipc_conn_only_writes(c) ? ipc_conn_shown(c, IPC_CARRY_GONE) : 0;

	if (events & EV_ET && !(c->reads && event_base_get_features(c->base) & EV_FEATURE_ET))
		return 0;
	return events;
}

/* Where there is no memory to watch it, asks again later. */
static void want(struct aioconn *c, struct ipc_watch *w, short what)
{
	if (ipc_watch_want(w, what) == -1)
		ipc_watch_later(ipc_conn_turn_watch(c), WATCH_NS);
}

/* A user who pauses often resumes before anything comes. Until something comes, the watch stays, which costs least. */
static bool may_come(const struct aioconn *c)
{
	return c->paused == IPC_PAUSED && c->reads && c->way_in == IPC_IN_OPEN;
}

/* Sets the watches. */
static void watch(struct aioconn *c)
{
	bool reads = ipc_conn_is_read(c) || may_come(c);
	short in = reads ? ipc_conn_shown(c, IPC_CARRY_IN) : 0;
	short out = c->blocked && !c->retry ? ipc_conn_shown(c, IPC_CARRY_OUT) : 0;

	if (!out && !ipc_conn_awaits_end(c)) /* reading tells the rest */
		out = departure(c);

	if (c->read_watch && c->carrier.own.r.fd == c->carrier.own.w.fd) {
		want(c, c->read_watch, in | out);
		return;
	}
	if (c->read_watch)
		want(c, c->read_watch, in);
	if (c->write_watch)
		want(c, c->write_watch, out);
}

/* There is input that no descriptor shows. */
static void go_on(struct aioconn *c)
{
	if (c->in_a_row >= IPC_CONN_IN_A_ROW && ipc_watch_after(ipc_conn_turn_watch(c), 0) == 0)
		return;
	if (c->in_a_row >= IPC_CONN_IN_A_ROW)
		c->in_a_row = 0;
	ipc_conn_soon(c);
}

void ipc_conn_interest(struct aioconn *c)
{
	if (!c->base || c->life == IPC_LIFE_OVER)
		return;
	if (c->retry && !c->more)
		ipc_watch_after(ipc_conn_turn_watch(c), ipc_deadline_left(c->retry));
	watch(c);
	if (c->blocked && !c->retry && !ipc_conn_sleeps(c, IPC_CARRY_OUT)) {
		c->blocked = false;
		ipc_conn_soon(c);
	}
	if (ipc_conn_is_read(c) && !ipc_conn_sleeps(c, IPC_CARRY_IN))
		go_on(c);
}
