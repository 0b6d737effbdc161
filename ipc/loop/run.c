/* Running a base until something has happened: see run.h. */
#include "ipc/loop/run.h"

#include <errno.h>

#include <aioipc/base.h>

#include "ipc/own/own.h"
#include "ipc/loop/here.h"
#include "ipc/loop/wait.h"
#include "ipc/loop/watch.h"

static int fail(int error)
{
	errno = error;
	return -1;
}

static void on_deadline(short what, void *arg)
{
	(void)what;
	*(bool *)arg = true;
}

/* After the deadline the loop runs one more turn, without sleeping: what came in time is seen first. */
static int run(struct event_base *base, bool (*done)(const void *arg), const void *arg, const bool *late)
{
	uint32_t epoch = ipc_epoch();
	bool last = false;

	while (!done(arg)) {
		if (last)
			return fail(ETIMEDOUT);
		last = *late;
		if (event_base_loop(base, last ? EVLOOP_ONCE | EVLOOP_NONBLOCK : EVLOOP_ONCE) == -1)
			return fail(EDEADLK);
		if (epoch != ipc_epoch())
			return fail(ECHILD);
		if (!done(arg) && (event_base_got_break(base) || event_base_got_exit(base)))
			return fail(EINTR);
	}
	return 0;
}

int ipc_run_until(struct event_base *base, bool (*done)(const void *arg), const void *arg, int64_t deadline)
{
	struct ipc_watch *timer = NULL;
	bool late = false;
	int r, error;

	if (ipc_in_callback(base))
		return fail(EDEADLK);
	if (deadline != AIOIPC_FOREVER) {
		timer = ipc_watch_new(base, -1, on_deadline, &late);
		if (!timer || ipc_watch_after(timer, ipc_deadline_left(deadline)) == -1) {
			error = errno;
			ipc_watch_free(timer);
			return fail(error);
		}
	}
	r = run(base, done, arg, &late);
	error = errno;
	ipc_watch_free(timer);
	errno = error;
	return r;
}
