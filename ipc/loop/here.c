/* What runs in this thread: see here.h. */
#include "ipc/loop/here.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/util.h>

#include "ipc/os/os.h"

_Thread_local struct ipc_here ipc_here;

/*
 * Does the loop of a base run? libevent can tell which event runs, but 2.1 crashes when none does. It also caches the time while
 * callbacks run (unless the base has EVENT_BASE_FLAG_NO_CACHE_TIME: such a loop is not seen). So a loop runs when the time of its base stands
 * still while a clock of libevent's moves. A clock that stands still tells nothing: then the other clock is asked.
 */
enum answer { NO, YES, UNKNOWN };

static bool is_same(const struct timeval *a, const struct timeval *b)
{
	return a->tv_sec == b->tv_sec && a->tv_usec == b->tv_usec;
}

/* By the wall clock, which takes about a microsecond. Without a base its time is never cached. */
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

/* When is a timer due that is set now? libevent counts from the monotonic time that the base has cached, or else from the clock. */
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
	const struct ipc_waits *task = ipc_waits_here();

	if (!base || (task && task->base == base))
		return false;
	return ipc_here.calling == base || runs(base);
}
