/* recv, keep, pause and resume. A message that the callback must see first is not given to recv. */
#include <errno.h>

#include "ipc/conn/grant.h"
#include "ipc/conn/interest.h"
#include "ipc/conn/life.h"
#include "ipc/conn/note.h"
#include "ipc/conn/output.h"
#include "ipc/conn/recv.h"
#include "ipc/conn/split.h"
#include "ipc/conn/turn.h"
#include "ipc/conn/wait.h"
#include "ipc/loop/wait.h"

/* What recv returns when nothing more will come. */
static int ended(const struct aioconn *c)
{
	if (c->cause == AIOCONN_CLEAN)
		return 0;
	errno = c->end_error;
	return -1;
}

int ipc_conn_begin_receive(struct aioconn *c, int64_t deadline)
{
	int error = 0;

	if (ipc_deadline_check(deadline) < 0 || ipc_conn_enter(c) < 0)
		return -1;
	if (!c->reads)
		error = EBADF;
	else if (c->receiving)
		error = c->calling ? EDEADLK : EBUSY;
	if (error) {
		ipc_conn_leave(c);
		errno = error;
		return -1;
	}
	c->receiving = true;
	if (c->corked) {
		c->corked = false;
		ipc_conn_flush(c);
	}
	return 0;
}

/* Does what became due: on_close, where there is no loop, and reading again, where the inbox was full. */
void ipc_conn_end_receive(struct aioconn *c)
{
	int error = errno;

	c->receiving = false;
	if (!c->base && c->way_in >= IPC_IN_ENDED)
		ipc_conn_turn(c);
	if (c->life != IPC_LIFE_OVER) {
		ipc_conn_charge(c);
		ipc_conn_grant(c);
		ipc_conn_interest(c);
		if (c->way_in != IPC_IN_OPEN)
			ipc_conn_soon(c);
	}
	ipc_conn_leave(c);
	errno = error;
}

/* The user has it now, and may give it to another thread. */
static inline int received(struct aioconn *c, const struct aiomsg *m)
{
	c->msgs_in++;
	if (m->role == IPC_CALL)
		ipc_conn_mind_desk(c);
	return 1;
}

/* The next message, unless the callback must see it first: 1, 0, -1/ENOMEM. */
static int take(struct aioconn *c, struct aiomsg **m)
{
	int r;

	if (c->on_msg && !c->kept && !c->paused && !c->calling)
		return 0;
	r = ipc_conn_next(c, m);
	if (r != 1)
		return r;
	received(c, *m);
	if (c->kept) {
		c->kept = false;
		ipc_conn_soon(c);
	}
	return 1;
}

static int receive(struct aioconn *c, struct aiomsg **m, int64_t deadline)
{
	for (;;) {
		int r;

		if (c->on_msg || ipc_flight_has_due(c->flight)) {
			ipc_conn_turn(c);
			if (c->life == IPC_LIFE_OVER) {
				errno = EPIPE;
				return -1;
			}
		}
		r = take(c, m);
		if (r)
			return r;
		if (c->way_in >= IPC_IN_ENDED && c->inbox.count == 0)
			return ended(c);
		if (ipc_conn_wait_allowed(c, deadline) < 0 || ipc_conn_wait(c, IPC_FOR_INPUT, deadline) < 0)
			return -1;
	}
}

/* Is the next message in the buffer, and nothing else due? This short way makes a loop of recvs as fast as callbacks. */
static inline bool is_plain(const struct aioconn *c)
{
	bool special =
		(c->life != IPC_LIFE_OPEN) | (c->way_in != IPC_IN_OPEN) | c->receiving | c->corked | c->trace;
	return !special && c->in.start != c->in.end && !c->on_msg && !c->inbox.count && !c->fds &&
	       !c->unsorted && c->in.framing == AIOCONN_MESSAGES;
}

static inline int recv_plain(struct aioconn *c, struct aiomsg **m)
{
	return is_plain(c) && ipc_in_common(&c->in, m) == 1 ? received(c, *m) : 0;
}

/* 0: it takes the long way. */
static inline int recv_shortly(struct aioconn *c, struct aiomsg **m)
{
	int r;

	if (c->base)
		return ipc_own_check(&c->carrier.own) == 0 ? recv_plain(c, m) : 0;
	if (!ipc_conn_slip_in(c))
		return 0;
	r = recv_plain(c, m);
	ipc_conn_unclaim(c);
	return r;
}

int aioconn_recv(struct aioconn *c, struct aiomsg **m, int64_t deadline)
{
	int r;

	if ((deadline == AIOIPC_FOREVER || ipc_deadline_check(deadline) == 0) && recv_shortly(c, m) == 1)
		return 1;
	if (ipc_conn_begin_receive(c, deadline) < 0)
		return -1;
	r = receive(c, m, deadline);
	ipc_conn_end_receive(c);
	return r;
}

void aioconn_keep(struct aioconn *c)
{
	if (c->calling)
		c->verdict = IPC_MSG_KEPT;
}

void aioconn_pause(struct aioconn *c)
{
	if (ipc_own_check(&c->carrier.own) < 0 || c->life == IPC_LIFE_OVER)
		return;
	if (!c->paused)
		c->paused = IPC_PAUSED;
	ipc_conn_interest(c);
}

void aioconn_resume(struct aioconn *c)
{
	if (ipc_own_check(&c->carrier.own) < 0 || c->life == IPC_LIFE_OVER)
		return;
	c->paused = IPC_NOT_PAUSED;
	c->kept = false;
	c->more = true;
	ipc_conn_interest(c);
	ipc_conn_soon(c);
}
