/* Deadlines, and whether one may wait. */
#include <aioipc.h>

#include <event2/event.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "ipc/loop/here.h"
#include "ipc/loop/wait.h"
#include "ipc/os/os.h"
#include "tests/harness.h"

TEST(deadlines_are_marked)
{
	const int64_t plain[] = {1, 5000, -2, INT64_MIN, (INT64_C(1) << 62) - 1, ipc_os_now()};

	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		must_fail(ipc_deadline_check(plain[i]), EINVAL);
	must(ipc_deadline_check(AIOIPC_NOW));
	must(ipc_deadline_check(AIOIPC_FOREVER));
	must(ipc_deadline_check(aioipc_after(1)));
	must(ipc_deadline_check(aioipc_after(INT64_MAX)));
	ck_assert_int_eq(aioipc_after(0), AIOIPC_NOW);
	ck_assert_int_eq(aioipc_after(INT64_MIN), AIOIPC_NOW);
}

TEST(time_left)
{
	const int64_t hour = INT64_C(3600) * 1000000000;
	int64_t left = ipc_deadline_left(aioipc_after(3600 * 1000));

	ck_assert_int_gt(left, hour - INT64_C(60) * 1000000000);
	ck_assert_int_le(left, hour);
	ck_assert_int_eq(ipc_deadline_left(AIOIPC_NOW), 0);
	ck_assert_int_eq(ipc_deadline_left(AIOIPC_FOREVER), -1);
	ck_assert_int_gt(ipc_deadline_left(aioipc_after(INT64_MAX)), 0);
}

static void ignore(int sig)
{
	(void)sig;
}

TEST(waiting_ends_with_input_the_deadline_or_a_signal)
{
	struct sigaction sa = {.sa_handler = ignore, .sa_flags = SA_RESTART};
	struct itimerval soon = {.it_value = {0, 20000}, .it_interval = {0, 20000}}, never = {0};
	struct pollfd p = {.events = POLLIN};
	int fd[2];

	must(ipc_os_pipe(fd));
	p.fd = fd[0];
	must_fail(ipc_wait(&p, 1, AIOIPC_NOW), ETIMEDOUT);
	must_fail(ipc_wait(&p, 1, aioipc_after(2)), ETIMEDOUT);
	must(sigaction(SIGALRM, &sa, NULL));
	must(setitimer(ITIMER_REAL, &soon, NULL));
	must_fail(ipc_wait(&p, 1, AIOIPC_FOREVER), EINTR);
	must(setitimer(ITIMER_REAL, &never, NULL));
	must(write(fd[1], "x", 1));
	must(ipc_wait(&p, 1, AIOIPC_FOREVER));
	ck_assert_int_eq(p.revents, POLLIN);
	must(ipc_wait(&p, 1, AIOIPC_NOW));
	close(fd[0]);
	close(fd[1]);
}

static struct event_base *other;

static void inside(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	ck_assert(ipc_in_callback(arg));
	ck_assert(!ipc_in_callback(other));
	must_fail(ipc_wait_allowed(arg, AIOIPC_FOREVER), EDEADLK);
	must(ipc_wait_allowed(arg, AIOIPC_NOW));
	must(ipc_wait_allowed(arg, aioipc_after(5)));
	must(ipc_wait_allowed(other, AIOIPC_FOREVER));
}

static void sees_callbacks(int flags)
{
	struct event_config *config = must(event_config_new());
	struct event_base *base;
	struct timeval soon = {0, 1000};
	int p[2];

	must(event_config_set_flag(config, flags));
	base = must(event_base_new_with_config(config));
	event_config_free(config);
	other = must(event_base_new());
	ck_assert(!ipc_in_callback(NULL));
	for (int i = 0; i < 50; i++)
		ck_assert(!ipc_in_callback(base));
	must(ipc_os_pipe(p));
	must(write(p[1], "x", 1));
	must(event_base_once(base, -1, EV_TIMEOUT, inside, base, NULL));
	must(event_base_once(base, -1, EV_TIMEOUT, inside, base, &soon));
	must(event_base_once(base, p[0], EV_READ, inside, base, NULL));
	ck_assert_int_eq(event_base_dispatch(base), 1);
	ck_assert(!ipc_in_callback(base));
	must_fail(ipc_wait_allowed(base, 77), EINVAL);
	must(ipc_wait_allowed(base, AIOIPC_FOREVER));
	event_base_free(base);
	event_base_free(other);
	close(p[0]);
	close(p[1]);
}

TEST(callbacks_of_the_user_are_seen)
{
	sees_callbacks(0);
	sees_callbacks(EVENT_BASE_FLAG_PRECISE_TIMER);
	sees_callbacks(EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
}
