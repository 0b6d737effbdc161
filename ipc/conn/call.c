/* Calls that are made on a connection: sent, waited for, called back, cancelled. Who answers them is the business of note.c and desk.c. */
#include "ipc/conn/call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "ipc/conn/interest.h"
#include "ipc/conn/life.h"
#include "ipc/conn/note.h"
#include "ipc/conn/output.h"
#include "ipc/conn/send.h"
#include "ipc/conn/turn.h"
#include "ipc/conn/wait.h"
#include "ipc/loop/wait.h"
#include "ipc/os/log.h"

static int fail(int error)
{
	errno = error;
	return -1;
}

static int check(const struct aioconn *c)
{
	if (c->in.framing != AIOCONN_MESSAGES)
		return ipc_refuse("calls need the framing AIOCONN_MESSAGES, this connection has %s",
				  c->in.framing == AIOCONN_LINES ? "AIOCONN_LINES" : "AIOCONN_BYTES");
	if (!c->reads || !c->writes)
		return fail(EBADF);
	if (c->way_in >= IPC_IN_ENDED && c->cause == AIOCONN_CLEAN) /* nobody would answer */
		return fail(EPIPE);
	return 0;
}

/* Cancelling. */

static void cancel(struct aioconn *c, struct aiocall *call)
{
	struct aiocall gone = *call;

	if (!call->over)
		ipc_conn_give_up(c, call, ECANCELED);
	gone.answer = call->answer ? aiomsg_ref(call->answer) : NULL;
	gone.error = call->error;
	call->cb = NULL; /* it stays in the line of those that are due, and is freed there */
	ipc_conn_soon(c);
	gone.cb(gone.answer, gone.error, gone.arg);
	aiomsg_free(gone.answer);
}

static int cancel_here(struct ipc_call_handle *h)
{
	struct aiocall *call = (struct aiocall *)h;
	struct aioconn *c = call->conn;
	bool calling;

	if (ipc_conn_enter(c) < 0)
		return -1;
	calling = c->calling;
	c->calling = true;
	cancel(c, call);
	c->calling = calling;
	if (!c->base && c->life == IPC_LIFE_OPEN)
		ipc_conn_flush(c);
	ipc_conn_leave(c);
	return 0;
}

int aiocall_cancel(struct aiocall *call)
{
	struct ipc_call_handle *h = (struct ipc_call_handle *)call;

	return h ? h->cancel(h) : 0;
}

/* Calling. */

static struct aiocall *new_call(struct aioconn *c, aiocall_cb *cb, void *arg, int64_t deadline)
{
	struct aiocall *call;

	if (!c->flight && !(c->flight = ipc_flight_new()))
		return NULL;
	if (deadline != AIOIPC_FOREVER && c->base && !c->flight->timer &&
	    !(c->flight->timer = ipc_watch_new(c->base, -1, ipc_conn_on_call_timer, c)))
		return NULL;
	call = calloc(1, sizeof *call);
	if (!call)
		return NULL;
	*call = (struct aiocall){.handle.cancel = cancel_here,
				 .conn = c,
				 .deadline = deadline,
				 .cb = cb,
				 .arg = arg,
				 .at = SIZE_MAX,
				 .sending = true};
	ipc_waiters_init(&call->waiters);
	if (ipc_flight_add(c->flight, call, c->calls_limit) == 0)
		return call;
	free(call);
	return NULL;
}

/* It may be answered, and the connection over, before the send returns. */
static struct aiocall *send_call(struct aioconn *c, const struct aiomsg *m, aiocall_cb *cb, void *arg,
				 int64_t deadline)
{
	struct aiocall *call = check(c) < 0 ? NULL : new_call(c, cb, arg, deadline);
	int error;

	if (!call)
		return NULL;
	if (ipc_conn_send_call(c, m, call->id) < 0 && !(call->over && call->answer)) {
		error = errno;
		if (!call->over)
			ipc_flight_end(c->flight, call, NULL, error);
		ipc_call_free(call);
		errno = error;
		return NULL;
	}
	c->calls_out++;
	call->end = ipc_conn_left(c) + c->out.bytes;
	ipc_flight_sent(c->flight, call);
	if (call->over)
		ipc_conn_soon(c);
	return call;
}

struct aiocall *ipc_conn_call(struct aioconn *c, const struct aiomsg *m, aiocall_cb *cb, void *arg,
			      int64_t deadline)
{
	struct aiocall *call;

	if (ipc_conn_enter(c) < 0)
		return NULL;
	call = send_call(c, m, cb, arg, deadline);
	if (call && c->life == IPC_LIFE_OPEN)
		ipc_conn_time_calls(c);
	ipc_conn_leave(c);
	return call;
}

struct aiocall *aioconn_call_later(struct aioconn *c, const struct aiomsg *m, aiocall_cb *cb, void *arg,
				   int64_t deadline)
{
	if (ipc_deadline_check(deadline) < 0)
		return NULL;
	if (cb)
		return ipc_conn_call(c, m, cb, arg, deadline);
	ipc_refuse("aioconn_call_later: there is no callback");
	return NULL;
}

/* Waiting. */

/* Who waits for an answer; it lies on the stack of the call. */
struct waiting {
	struct ipc_task_end end; /* first */
	struct aioconn *conn;
	struct aiocall *call;
};

/* The loop moves the bytes meanwhile. What the kernel has at the deadline came in time. */
static int wait_in_task(struct aioconn *c, struct aiocall *call, int64_t deadline)
{
	ipc_conn_interest(c);
	if (ipc_task_wait(&call->waiters, deadline) == 0)
		return 0;
	if (errno != ETIMEDOUT || call->over)
		return -1;
	if (ipc_conn_wait(c, IPC_FOR_INPUT, AIOIPC_NOW) == 0 && call->over)
		return 0;
	return fail(ETIMEDOUT);
}

static int wait_once(struct aioconn *c, struct aiocall *call, int64_t deadline)
{
	if (deadline != AIOIPC_NOW && c->base && ipc_task_on(c->base))
		return wait_in_task(c, call, deadline);
	return ipc_conn_wait(c, IPC_FOR_INPUT, deadline);
}

/* The wait ended with an error. An answer that had come by then counts, and the next wait of the task tells of a cancel. */
static void stop_waiting(struct aioconn *c, struct aiocall *call)
{
	if (!call->over)
		ipc_conn_give_up(c, call, errno);
	else if (errno == ECANCELED)
		aiotask_cancel(aiotask_self());
}

/* Until it is over. One that is given up is over too. */
static void wait_for_answer(struct aioconn *c, struct aiocall *call, int64_t deadline)
{
	c->callers++;
	while (!call->over)
		if (wait_once(c, call, deadline) < 0 && errno != EINTR)
			stop_waiting(c, call);
	c->callers--;
}

/* Its base was freed under it: nobody waits any more. */
static void waiter_died(struct ipc_task_end *end, bool died)
{
	struct waiting *w = (struct waiting *)end;

	(void)died;
	w->conn->callers--;
	if (!w->call->over)
		ipc_flight_end(w->conn->flight, w->call, NULL, ECANCELED);
	ipc_call_free(w->call);
	ipc_conn_leave(w->conn);
}

static void wait_told_of_death(struct aioconn *c, struct aiocall *call, int64_t deadline)
{
	struct waiting w = {.end.cb = waiter_died, .conn = c, .call = call};
	struct aiotask *t = deadline != AIOIPC_NOW ? aiotask_self() : NULL;

	if (t)
		ipc_task_on_end(t, &w.end);
	wait_for_answer(c, call, deadline);
	if (t)
		ipc_task_not_on_end(&w.end);
}

/* 1, 0, or -1: what became of it. */
static int take_result(struct aiocall *call, struct aiomsg **answer)
{
	int error = call->error, r = !call->answer ? -1 : error ? 0 : 1;

	if (call->answer)
		*answer = call->answer;
	call->answer = NULL;
	ipc_call_free(call);
	errno = r < 0 ? error : errno;
	return r;
}

static int call_and_wait(struct aioconn *c, const struct aiomsg *m, struct aiomsg **answer, int64_t deadline)
{
	struct aiocall *call;

	if (ipc_conn_wait_allowed(c, deadline) < 0)
		return -1;
	call = send_call(c, m, NULL, NULL, AIOIPC_FOREVER);
	if (!call)
		return -1;
	if (c->corked) {
		c->corked = false;
		ipc_conn_flush(c);
	}
	wait_told_of_death(c, call, deadline);
	if (!c->base && c->life == IPC_LIFE_OPEN) {
		ipc_conn_flush(c);
		if (c->way_in >= IPC_IN_ENDED)
			ipc_conn_turn(c);
	}
	if (c->life != IPC_LIFE_OVER)
		ipc_conn_interest(c);
	return take_result(call, answer);
}

int aioconn_call_msg(struct aioconn *c, const struct aiomsg *m, struct aiomsg **answer, int64_t deadline)
{
	int r, error;

	if (ipc_deadline_check(deadline) < 0 || ipc_conn_enter(c) < 0)
		return -1;
	r = call_and_wait(c, m, answer, deadline);
	error = errno;
	ipc_conn_leave(c);
	errno = error;
	return r;
}

int aioconn_call(struct aioconn *c, struct aiomsg **answer, int64_t deadline, const char *format, ...)
{
	struct aiomsg *m;
	va_list values;
	int r, error;

	va_start(values, format);
	m = ipc_msg_from_values(format, values);
	va_end(values);
	if (!m)
		return -1;
	r = aioconn_call_msg(c, m, answer, deadline);
	error = errno;
	aiomsg_free(m);
	errno = error;
	return r;
}
