/* aioconn_close: says goodbye, and waits until all has arrived. */
#include <errno.h>

#include "ipc/conn/finish.h"
#include "ipc/conn/life.h"
#include "ipc/conn/wait.h"
#include "ipc/loop/wait.h"

/* After the deadline, for what has come by then. A peer that never stops sending is not waited for. */
#define LATE_LOOKS 16

/* Waiting failed. */
static int close_late(const struct aioconn *c)
{
	int error = errno;

	if (error == ETIMEDOUT && ipc_conn_all_arrived(c))
		return 0;
	errno = error;
	return -1;
}

static int close_waiting(struct aioconn *c, int64_t deadline)
{
	unsigned looks = LATE_LOOKS;

	if (ipc_conn_begin_close(c) < 0)
		return -1;
	if (c->life == IPC_LIFE_OVER) /* a callback of a call that ended with it */
		return 0;
	if (ipc_conn_undelivered(c) && ipc_conn_wait_allowed(c, deadline) < 0)
		return -1;
	while (ipc_conn_undelivered(c)) {
		bool late = ipc_deadline_left(deadline) == 0;

		if (ipc_conn_wait(c, IPC_FOR_CLOSE, deadline) < 0 && errno != EINTR)
			return close_late(c);
		if (late && looks-- == 0) {
			errno = ETIMEDOUT;
			return close_late(c);
		}
	}
	if (c->lost_output) {
		errno = ipc_conn_send_error(c);
		return -1;
	}
	return 0;
}

/* The other task frees it. */
static bool another_closes(const struct aioconn *c, int64_t deadline)
{
	if (!(c->waits & IPC_FOR_CLOSE) || deadline == AIOIPC_NOW)
		return false;
	errno = EBUSY;
	return true;
}

int aioconn_close(struct aioconn *c, int64_t deadline)
{
	int r, error;

	if (!c)
		return 0;
	if (ipc_conn_may_end(c, deadline) < 0)
		return -1;
	if (c->life == IPC_LIFE_OVER)
		return 0;
	if (another_closes(c, deadline) || ipc_conn_enter(c) < 0)
		return -1;
	r = close_waiting(c, deadline);
	error = errno;
	ipc_conn_finalize(c, AIOCONN_LOCAL);
	ipc_conn_leave(c);
	errno = error;
	return r;
}
