/*
 * Ends a connection without waiting: abort and finish, and what each turn does while it is finishing. close, which waits, is in
 * close.c.
 */
#include "ipc/conn/finish.h"

#include <errno.h>

#include "ipc/conn/input.h"
#include "ipc/conn/interest.h"
#include "ipc/conn/life.h"
#include "ipc/conn/output.h"
#include "ipc/loop/wait.h"
#include "ipc/os/log.h"

void aioconn_abort(struct aioconn *c)
{
	int error = errno;

	if (c)
		ipc_conn_finalize(c, AIOCONN_LOCAL);
	errno = error;
}

bool ipc_conn_undelivered(const struct aioconn *c)
{
	if (c->way_out >= IPC_OUT_LOST)
		return false;
	if (ipc_conn_has_output(c))
		return true;
	return c->carrier.can & IPC_CARRY_READ_OUT && c->reads && c->writes &&
	       (c->way_in == IPC_IN_OPEN || ipc_conn_awaits_end(c));
}

bool ipc_conn_all_arrived(const struct aioconn *c)
{
	return c->out.count == 0 && c->way_out == IPC_OUT_SHUT && c->carrier.how->all_arrived(&c->carrier);
}

int ipc_conn_begin_close(struct aioconn *c)
{
	ipc_conn_end_calls(c);
	if (c->life == IPC_LIFE_OVER)
		return 0;
	c->corked = false;
	if (c->life == IPC_LIFE_OPEN)
		c->life = IPC_LIFE_CLOSING;
	ipc_in_drop(&c->in);
	if (ipc_conn_say_goodbye(c) < 0)
		return -1;
	ipc_conn_flush(c);
	return 0;
}

int ipc_conn_may_end(struct aioconn *c, int64_t deadline)
{
	if (ipc_deadline_check(deadline) < 0)
		return -1;
	if (ipc_own_check(&c->carrier.own) == 0)
		return 0;
	aioconn_abort(c);
	return -1;
}

static enum aioconn_cause lost_by(const struct aioconn *c)
{
	return c->out_fault.error ? c->out_fault.cause : AIOCONN_LOST;
}

/* The same, after a last try to write and to read. */
static bool still_undelivered(struct aioconn *c)
{
	const int reads_most = 64;

	c->retry = 0;
	ipc_conn_flush(c);
	for (int i = 0; i < reads_most && ipc_conn_fill(c) > 0; i++)
		;
	return ipc_conn_undelivered(c);
}

void ipc_conn_finish_turn(struct aioconn *c)
{
	int64_t left = ipc_deadline_left(c->deadline);

	if (!ipc_conn_undelivered(c) || (left == 0 && (!still_undelivered(c) || ipc_conn_all_arrived(c)))) {
		ipc_conn_finalize(c, c->lost_output ? lost_by(c) : AIOCONN_LOCAL);
	} else if (left == 0) {
		c->why = "the deadline passed before everything had left";
		ipc_conn_finalize(c, AIOCONN_LOST);
	} else if (left > 0) {
		ipc_watch_after(ipc_conn_turn_watch(c), left);
	}
}

static int begin_finish(struct aioconn *c, int64_t deadline)
{
	if (ipc_conn_begin_close(c) < 0) {
		aioconn_abort(c);
		return -1;
	}
	if (c->life == IPC_LIFE_OVER) /* a callback of a call that ended with it */
		return 0;
	c->life = IPC_LIFE_FINISHING;
	c->deadline = deadline;
	ipc_conn_interest(c);
	ipc_conn_soon(c);
	return 0;
}

int aioconn_finish(struct aioconn *c, int64_t deadline)
{
	int r;

	if (!c)
		return 0;
	if (ipc_conn_may_end(c, deadline) < 0)
		return -1;
	if (!c->base)
		return ipc_refuse("aioconn_finish: the connection was opened without an event base: use "
				  "aioconn_close()");
	if (c->life == IPC_LIFE_OVER)
		return 0;
	ipc_conn_hold(c);
	r = begin_finish(c, deadline);
	ipc_conn_release(c);
	if (r < 0)
		errno = ENOMEM;
	return r;
}
