/* What the loop should watch for on behalf of a connection. */
#include "ipc/conn/interest.h"

#include "ipc/conn/input.h"
#include "ipc/conn/output.h"
#include "ipc/loop/wait.h"

#define WATCH_NS (INT64_C(10) * 1000 * 1000)

/*
 * What shows that the peer left, where nothing is read. A pipe without a reader is an error to whoever watches; a socket
 * stays readable at its end, and only edges tell of the rest.
 */
static short departure(const struct aioconn *c)
{
	if (!ipc_conn_only_writes(c) || c->own.w.kind == IPC_FD_FILE)
		return 0;
	if (c->own.w.kind == IPC_FD_PIPE)
		return EV_READ;
	return c->reads && event_base_get_features(c->base) & EV_FEATURE_ET ? EV_READ | EV_ET : 0;
}

/* What the loop can't watch for want of memory, it is asked for again. */
static void want(struct aioconn *c, struct ipc_watch *w, short what)
{
	if (ipc_watch_want(w, what) == -1)
		ipc_watch_later(c->turn, WATCH_NS);
}

/* Who pauses often resumes before anything comes: its watch costs least where it is. */
static bool may_come(const struct aioconn *c)
{
	return c->paused && !c->stalled && c->reads && !c->ended && !c->in.eof;
}

void ipc_conn_interest(struct aioconn *c)
{
	short in = ipc_conn_is_read(c) || may_come(c) ? EV_READ : 0, out;

	if (!c->base || c->gone)
		return;
	if (c->retry && !c->more)
		ipc_watch_after(c->turn, ipc_deadline_left(c->retry));
	out = c->blocked && !c->retry ? EV_WRITE : departure(c);
	if (c->read_watch && c->own.r.fd == c->own.w.fd) {
		want(c, c->read_watch, in | out);
		return;
	}
	if (c->read_watch)
		want(c, c->read_watch, in);
	if (c->write_watch)
		want(c, c->write_watch, out);
}
