/* Whether a loop runs is not judged by a clock that stands still, or is set: this program's clocks do what a test wants. */
#include <aioipc.h>

#include <event2/event.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "ipc/loop/here.h"
#include "ipc/loop/wait.h"
#include "tests/harness.h"

enum does { GOES, STANDS, STEPS_BACK };

static enum does wall, monotonic;

static void tell(struct timespec *t, clockid_t clock, enum does does)
{
	static time_t steps;

	syscall(SYS_clock_gettime, clock, t);
	if (does == STANDS)
		*t = (struct timespec){.tv_sec = 1700000000, .tv_nsec = 5000};
	if (does == STEPS_BACK)
		t->tv_sec -= ++steps;
}

/* These take the place of the C library's, for libevent too. */
int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	tell(&now, CLOCK_REALTIME, wall);
	*t = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
	return 0;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
	tell(t, clock, clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ? wall : monotonic);
	return 0;
}

static unsigned seen;

static void in_callback(evutil_socket_t fd, short what, void *base)
{
	(void)fd, (void)what;
	ck_assert(ipc_in_callback(base));
	must_fail(ipc_wait_allowed(base, AIOIPC_FOREVER), EDEADLK);
	seen++;
}

static struct event_base *base_with(int flags)
{
	struct event_config *config = must(event_config_new());
	struct event_base *base;

	must(event_config_set_flag(config, flags));
	base = must(event_base_new_with_config(config));
	event_config_free(config);
	return base;
}

static const int flags[] = {0, EVENT_BASE_FLAG_PRECISE_TIMER, EVENT_BASE_FLAG_NO_CACHE_TIME};

static void no_loop_runs(void)
{
	for (int i = 0; i < 3; i++) {
		struct event_base *base = base_with(flags[i]);

		for (int n = 0; n < 5; n++)
			ck_assert(!ipc_in_callback(base));
		must(ipc_wait_allowed(base, AIOIPC_FOREVER));
		event_base_free(base);
	}
}

static void a_loop_is_seen(void)
{
	for (int i = 0; i < 2; i++) {
		struct event_base *base = base_with(flags[i]);

		seen = 0;
		must(event_base_once(base, -1, EV_TIMEOUT, in_callback, base, NULL));
		must(event_base_once(base, -1, EV_TIMEOUT, in_callback, base, &(struct timeval){0, 2000}));
		must(event_base_dispatch(base));
		ck_assert_uint_eq(seen, 2);
		ck_assert(!ipc_in_callback(base));
		event_base_free(base);
	}
}

TEST(no_loop_is_seen_where_none_runs)
{
	no_loop_runs();
	a_loop_is_seen();
}

TEST(the_wall_clock_may_stand_still)
{
	wall = STANDS;
	no_loop_runs();
	a_loop_is_seen();
}

TEST(the_wall_clock_may_be_set_back_all_the_time)
{
	wall = STEPS_BACK;
	no_loop_runs();
	a_loop_is_seen();
}

/* Then nothing tells: a wait is allowed that may be in vain, rather than one refused that is not. */
TEST(all_clocks_may_stand_still)
{
	wall = monotonic = STANDS;
	no_loop_runs();
	wall = monotonic = GOES;
}

static void receive(struct aioend *end, struct event_base *base)
{
	struct aioconn *c = must(aioend_open(end, base));
	struct aiomsg *m;

	ck_assert_int_eq(must(aioconn_recv(c, &m, AIOIPC_FOREVER)), 1);
	aiomsg_free(m);
	aioconn_abort(c);
}

TEST(a_wait_for_ever_on_a_base_is_no_deadlock)
{
	struct event_base *base = must(event_base_new());
	struct aioend *ours, *theirs;
	struct aioconn *peer;

	wall = STANDS;
	must(aiosockpair(&ours, &theirs));
	peer = must(aioend_open(theirs, NULL));
	must(aioconn_send(peer, "i", 1));
	receive(ours, base);
	aioconn_abort(peer);
	event_base_free(base);
}
