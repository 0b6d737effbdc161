/* When what was sent leaves: cork, flush, and the goodbye behind it. */
#include <errno.h>

#include "ipc/conn/interest.h"
#include "ipc/conn/life.h"
#include "ipc/conn/output.h"
#include "ipc/conn/send.h"
#include "ipc/conn/wait.h"
#include "ipc/loop/wait.h"

static int uncork(struct aioconn *c)
{
	c->corked = false;
	if (ipc_conn_flush(c) < 0)
		return -1;
	if (c->base)
		ipc_conn_interest(c);
	else
		ipc_conn_write_out(c);
	return 0;
}

int aioconn_cork(struct aioconn *c, bool on)
{
	int r = 0;

	if (ipc_conn_enter(c) < 0)
		return -1;
	if (on)
		c->corked = true;
	else if (c->corked)
		r = uncork(c);
	ipc_conn_leave(c);
	return r;
}

static int flush(struct aioconn *c, int64_t deadline)
{
	c->corked = false;
	if (ipc_conn_flush(c) < 0)
		return -1;
	if (c->out.count && ipc_conn_wait_allowed(c, deadline) < 0)
		return -1;
	while (c->out.count)
		if (ipc_conn_wait(c, IPC_FOR_FLUSH, deadline) < 0 && errno != EINTR)
			return -1;
	if (c->way_out < IPC_OUT_LOST)
		return 0;
	errno = ipc_conn_send_error(c);
	return -1;
}

int aioconn_flush(struct aioconn *c, int64_t deadline)
{
	int r;

	if (ipc_deadline_check(deadline) < 0 || ipc_conn_enter(c) < 0)
		return -1;
	r = flush(c, deadline);
	ipc_conn_leave(c);
	return r;
}

int aioconn_write_eof(struct aioconn *c)
{
	int r;

	if (ipc_conn_enter(c) < 0)
		return -1;
	r = ipc_conn_may_send(c);
	if (r == 0)
		r = ipc_conn_say_goodbye(c);
	if (r == 0)
		r = uncork(c);
	ipc_conn_leave(c);
	return r;
}
