/* Waits for a connection: by poll, or in a task of its base while the loop moves the bytes. Then calls back what is due. */
#include "ipc/conn/wait.h"

#include <errno.h>

#include "ipc/conn/grant.h"
#include "ipc/conn/input.h"
#include "ipc/conn/interest.h"
#include "ipc/conn/life.h"
#include "ipc/conn/note.h"
#include "ipc/conn/output.h"
#include "ipc/conn/turn.h"
#include "ipc/loop/wait.h"
#include "ipc/os/bell.h"

int ipc_conn_wait_allowed(struct aioconn *c, int64_t deadline)
{
	if (c->calling && deadline != AIOIPC_NOW) {
		errno = EDEADLK;
		return -1;
	}
	return ipc_wait_allowed(c->base, deadline);
}

/* What poll should look for, so that the carrier can go on. */
static short shown(struct aioconn *c, enum ipc_carry_wait what)
{
	short events = ipc_conn_shown(c, what);

	return (short)((events & EV_READ ? POLLIN : 0) | (events & EV_WRITE ? POLLOUT : 0));
}

/* Fills in what poll should look at: how many. A writer that waits for room is to find that its peer left, too. */
static nfds_t poll_set(struct aioconn *c, struct pollfd p[2])
{
	short in = ipc_conn_is_read(c) ? shown(c, IPC_CARRY_IN) : 0;
	short out = ipc_conn_has_output(c) && !c->retry ? shown(c, IPC_CARRY_OUT) : 0;
	int r = c->carrier.own.r.fd, w = c->carrier.own.w.fd;
	nfds_t n = 0;

	if (r >= 0 && r == w)
		in = out = (short)(in | out);
	if (in && r >= 0)
		p[n++] = (struct pollfd){.fd = r, .events = in};
	if (w >= 0 && w != r && (out || !c->reads))
		p[n++] = (struct pollfd){.fd = w, .events = out};
	return n;
}

/* Where the user asked for it: looks for input again and again, without sleeping. True when something came. */
static bool spun(struct aioconn *c)
{
	int64_t until;

	if (!c->spin || (!c->receiving && !c->callers))
		return false;
	until = ipc_os_now() + c->spin;
	do {
		if (ipc_conn_fill(c) != 0 || c->way_in != IPC_IN_OPEN)
			return true;
	} while (ipc_conn_comes(c) || ipc_os_now() < until);
	return false;
}

/* Of @deadline and what else is due, whichever comes first. */
static int64_t first_due(const struct aioconn *c, int64_t deadline)
{
	const struct aiocall *next = ipc_flight_next_deadline(c->flight);
	int64_t first = deadline;

	if (c->retry && (first == AIOIPC_FOREVER || c->retry < first))
		first = c->retry;
	if (next && (first == AIOIPC_FOREVER || next->deadline < first))
		first = next->deadline;
	return first;
}

static void ring_off(struct aioconn *c)
{
	ipc_desk_set_bell(c->desk, NULL);
	ipc_os_bell_quiet(c->bell->r.fd);
}

/* While calls of the peer are not answered, another thread may free one: adds what tells that. */
static nfds_t add_bell(struct aioconn *c, struct pollfd *p)
{
	if (!ipc_desk_count(c->desk) || !ipc_conn_has_bell(c))
		return 0;
	ipc_desk_set_bell(c->desk, c->bell);
	*p = (struct pollfd){.fd = c->bell->r.fd, .events = POLLIN};
	return 1;
}

/* This thread is about to sleep, whatever its loop does: is what it waits for there already? */
static bool is_there(struct aioconn *c)
{
	c->awake_until = 0;
	return (ipc_conn_is_read(c) && !ipc_conn_sleeps(c, IPC_CARRY_IN)) ||
	       (ipc_conn_has_output(c) && !c->retry && !ipc_conn_sleeps(c, IPC_CARRY_OUT));
}

/* Until @deadline, or something else that is due before. */
static int wait_polled(struct aioconn *c, int64_t deadline)
{
	int64_t until = first_due(c, deadline);
	struct pollfd p[3];
	nfds_t n = poll_set(c, p), bell = add_bell(c, p + n);
	bool owes = bell && ipc_conn_owes(c);
	int r = 0;

	if (!is_there(c) && !owes)
		r = ipc_wait(p, n + bell, until);
	if (bell && c->desk)
		ring_off(c);
	if (r == 0 || (errno == ETIMEDOUT && until != deadline))
		return 0;
	return -1;
}

/* The deadline has come before the next retry was due. Tries now, before ETIMEDOUT is told. */
static bool wrote_after_all(struct aioconn *c)
{
	uint64_t before = c->bytes_out;
	bool moved;

	if (!c->retry)
		return false;
	c->retry = 0;
	moved = ipc_conn_flush(c) < 0 || c->bytes_out > before;
	errno = ETIMEDOUT;
	return moved;
}

/* Another task of this thread may end the connection meanwhile. The caller looks for that. */
static int wait_ready(struct aioconn *c, int64_t deadline)
{
	ipc_in_rest(&c->in);
	if (wait_polled(c, deadline) < 0 &&
	    (errno != ETIMEDOUT || c->life == IPC_LIFE_OVER || !wrote_after_all(c)))
		return c->life == IPC_LIFE_OVER ? 0 : -1;
	if (c->life == IPC_LIFE_OVER)
		return 0;
	if (ipc_conn_has_output(c))
		ipc_conn_flush(c);
	else
		ipc_conn_check_reader(c);
	return ipc_conn_fill(c) < 0 ? -1 : 0;
}

static int park(struct aioconn *c, enum ipc_conn_for what, int64_t deadline)
{
	int r;

	if (c->waits & what) {
		errno = EBUSY;
		return -1;
	}
	ipc_conn_interest(c);
	ipc_in_rest(&c->in);
	c->waits = (uint8_t)(c->waits | what);
	r = ipc_task_wait(&c->waiters, deadline);
	c->waits = (uint8_t)(c->waits & ~(unsigned)what);
	return r;
}

/* At the deadline, what the kernel has came in time: the loop may have seen the deadline before the input. */
static int wait_in_task(struct aioconn *c, enum ipc_conn_for what, int64_t deadline)
{
	if (park(c, what, deadline) == 0 || (errno == ETIMEDOUT && c->life == IPC_LIFE_OVER))
		return 0;
	if (errno != ETIMEDOUT)
		return -1;
	if (wait_ready(c, AIOIPC_NOW) == 0)
		return 0;
	errno = ETIMEDOUT;
	return -1;
}

static int wait_once(struct aioconn *c, enum ipc_conn_for what, int64_t deadline)
{
	bool in_task = c->base && ipc_task_on(c->base);
	int r;

	if (what == IPC_FOR_INPUT && ipc_conn_read_on(c, in_task))
		return 0;
	if (deadline != AIOIPC_NOW && in_task)
		return wait_in_task(c, what, deadline);
	if (!c->more) {
		c->polled = true;
		r = spun(c) ? 0 : wait_ready(c, deadline);
		c->polled = false;
		return r;
	}
	c->more = false;
	return 0;
}

/* A task that waits. This is on its stack. */
struct waiting {
	struct ipc_task_end end; /* first */
	struct aioconn *conn;
	enum ipc_conn_for what;
};

/* The base was freed while the task waited, so the task will not run again. Gives back what its call holds. */
static void waiter_died(struct ipc_task_end *end, bool died)
{
	struct waiting *w = (struct waiting *)end;

	(void)died;
	w->conn->waits = (uint8_t)(w->conn->waits & ~(unsigned)w->what);
	if (w->what == IPC_FOR_INPUT)
		w->conn->receiving = false;
	ipc_conn_leave(w->conn);
}

static int wait_told_of_death(struct aioconn *c, enum ipc_conn_for what, int64_t deadline)
{
	struct waiting w = {.end.cb = waiter_died, .conn = c, .what = what};
	struct aiotask *t = deadline != AIOIPC_NOW ? aiotask_self() : NULL;
	int r;

	if (!t)
		return wait_once(c, what, deadline);
	ipc_task_on_end(t, &w.end);
	r = wait_once(c, what, deadline);
	ipc_task_not_on_end(&w.end);
	return r;
}

int ipc_conn_wait(struct aioconn *c, enum ipc_conn_for what, int64_t deadline)
{
	ipc_conn_tell_row(c);
	if (ipc_conn_pay(c) < 0)
		return -1;
	ipc_conn_grant(c);
	if (wait_told_of_death(c, what, deadline) < 0)
		return -1;
	ipc_conn_turn(c);
	if (c->life == IPC_LIFE_OVER) {
		errno = EPIPE;
		return -1;
	}
	ipc_conn_interest(c);
	return 0;
}
