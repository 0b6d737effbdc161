/* The one place that waits: see wait.h. */
#include "ipc/end/wait.h"

#include <errno.h>
#include <event2/event.h>

#include <aioipc/base.h>

#include "ipc/end/watch.h"
#include "ipc/os/os.h"
#include "ipc/task/task.h"

/* Marks a deadline: no clock that counts nanoseconds gets there in 146 years, nor does a plain number. */
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
	errno = EINVAL;
	return -1;
}

int64_t ipc_deadline_left(int64_t deadline)
{
	int64_t left;

	if (deadline == AIOIPC_FOREVER || deadline == AIOIPC_NOW)
		return deadline;
	left = (deadline ^ MARK) - ipc_os_now();
	return left > 0 ? left : 0;
}

/*
 * libevent tells which event runs, but 2.1 crashes when none does. It also keeps the time for as long as
 * callbacks run: a clock that stands still while microseconds pass is that of a running loop.
 */
static bool clock_stands(struct event_base *base)
{
	int64_t now, until;
	struct timeval first, t;

	event_base_gettimeofday_cached(base, &first);
	until = ipc_os_now() + 3000;
	do { /* the last look comes after the time is up, however long this thread was off its processor */
		now = ipc_os_now();
		event_base_gettimeofday_cached(base, &t);
		if (t.tv_usec != first.tv_usec || t.tv_sec != first.tv_sec)
			return false;
	} while (now < until);
	return true;
}

bool ipc_in_callback(struct event_base *base)
{
	return base && !ipc_task_on(base) && (ipc_watch_running() == base || clock_stands(base));
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
	int ready;

	if (deadline != AIOIPC_NOW && ipc_task_on(NULL))
		return ipc_task_poll(fds, n, deadline);
	ready = ipc_os_poll(fds, n, ipc_deadline_left(deadline));
	if (ready == 0)
		errno = ETIMEDOUT;
	return ready > 0 ? 0 : -1;
}
