/* The one place that waits: see wait.h. */
#include "ipc/loop/wait.h"

#include <errno.h>

#include <aioipc/base.h>

#include "ipc/loop/here.h"
#include "ipc/os/log.h"
#include "ipc/os/os.h"

/* This bit marks a deadline. A clock in nanoseconds needs 146 years to reach it, and no caller passes such a number by mistake. */
#define MARK (INT64_C(1) << 62)

int64_t aioipc_after(int64_t ms)
{
	int64_t now = ipc_os_now();

	if (ms <= 0)
		return AIOIPC_NOW;
	if (ms > (MARK - 1 - now) / 1000000)
		return INT64_MAX;
	return MARK | (now + ms * 1000000);
}

int ipc_deadline_check(int64_t deadline)
{
	if (deadline == AIOIPC_NOW || deadline == AIOIPC_FOREVER || deadline >= MARK)
		return 0;
	return ipc_refuse("the deadline %lld is neither AIOIPC_NOW nor AIOIPC_FOREVER: for so many "
			  "milliseconds from now, use "
			  "aioipc_after()",
			  (long long)deadline);
}

int64_t ipc_deadline_left(int64_t deadline)
{
	int64_t left;

	if (deadline == AIOIPC_FOREVER || deadline == AIOIPC_NOW)
		return deadline;
	left = (deadline ^ MARK) - ipc_os_now();
	return left > 0 ? left : 0;
}

int ipc_wait_allowed(struct event_base *base, int64_t deadline)
{
	if (ipc_deadline_check(deadline) == -1)
		return -1;
	if (deadline != AIOIPC_FOREVER || !ipc_in_callback(base))
		return 0;
	errno = EDEADLK;
	return -1;
}

int ipc_wait(struct pollfd *fds, nfds_t n, int64_t deadline)
{
	const struct ipc_waits *task = deadline == AIOIPC_NOW ? NULL : ipc_waits_here();
	int ready;

	if (task)
		return task->poll(fds, n, deadline);
	ready = ipc_os_poll(fds, n, ipc_deadline_left(deadline));
	if (ready == 0)
		errno = ETIMEDOUT;
	return ready > 0 ? 0 : -1;
}
