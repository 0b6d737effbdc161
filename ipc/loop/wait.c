/* The one place that waits: see wait.h. */
#include "ipc/loop/wait.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/util.h>

#include <aioipc/base.h>

#include "ipc/loop/watch.h"
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
 * Does the loop of a base run? libevent tells which event runs, but 2.1 crashes when none does. It also keeps the time for as long
 * as callbacks run (unless the base has EVENT_BASE_FLAG_NO_CACHE_TIME: such a loop is not seen). So a base whose time stands still,
 * while a clock of libevent's moves, runs. A clock that stands still itself tells nothing, then the other one is asked.
 */
enum answer { NO, YES, UNKNOWN };

static bool is_same(const struct timeval *a, const struct timeval *b)
{
	return a->tv_sec == b->tv_sec && a->tv_usec == b->tv_usec;
}

/* By the wall clock, which takes about a microsecond: without a base it is never kept. */
static enum answer ask_wall_clock(struct event_base *base)
{
	const int looks_most = 1000;
	struct timeval of_base, of_base_now, wall, wall_now;

	event_base_gettimeofday_cached(base, &of_base);
	event_base_gettimeofday_cached(NULL, &wall);
	for (int i = 0; i < looks_most; i++) {
		event_base_gettimeofday_cached(NULL, &wall_now);
		if (is_same(&wall_now, &wall))
			continue;
		event_base_gettimeofday_cached(base, &of_base_now);
		return is_same(&of_base_now, &of_base) ? YES : NO;
	}
	return UNKNOWN;
}

static void never(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
}

/* When would a timer that is set now be due? By the monotonic time that the base keeps, or else by the clock. */
static struct timeval due(struct event *timer, const struct timeval *after)
{
	return event_add(timer, after) == 0 ? timer->ev_timeout : (struct timeval){0, 0};
}

/* By the monotonic clock, which moves only every few milliseconds. */
static enum answer compare_timers(struct event *timer, struct evutil_monotonic_timer *clock)
{
	const struct timeval after = {.tv_sec = 1000000};
	const struct timeval first = due(timer, &after);
	const int looks_most = 40;
	struct timeval now, then;

	for (int i = 0; i < looks_most; i++) {
		evutil_gettime_monotonic(clock, &now);
		then = due(timer, &after);
		if (!is_same(&then, &first))
			return NO;
		evutil_timeradd(&now, &after, &then);
		if (evutil_timercmp(&then, &first, >))
			return YES;
		ipc_os_poll(NULL, 0, 1000000);
	}
	return UNKNOWN;
}

static enum answer ask_monotonic_clock(struct event_base *base)
{
	struct evutil_monotonic_timer *clock = evutil_monotonic_timer_new();
	struct event *timer = clock ? event_new(base, -1, 0, never, NULL) : NULL;
	enum answer answer = UNKNOWN;

	if (timer && evutil_configure_monotonic_time(clock, 0) == 0)
		answer = compare_timers(timer, clock);
	if (timer)
		event_free(timer);
	evutil_monotonic_timer_free(clock);
	return answer;
}

static bool runs(struct event_base *base)
{
	enum answer answer = ask_wall_clock(base);

	if (answer == UNKNOWN)
		answer = ask_monotonic_clock(base);
	return answer == YES;
}

bool ipc_in_callback(struct event_base *base)
{
	return base && !ipc_task_on(base) && (ipc_watch_running() == base || runs(base));
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
