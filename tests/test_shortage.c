/*
 * A kernel that is short of memory, or of descriptors on their way, takes nothing and says "writable" all the same. What
 * waits to be written is tried again a few times a second, and leaves in the end.
 */
#include "tests/peers.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define A_WHILE_MS 50
#define RETRY_MS 10
#define BULK 300000

static atomic_int shortage;         /* the error that writing gives; 0 */
static atomic_uint attempts, looks; /* to write; at what is ready */
static int64_t began;

static bool refused(void)
{
	int error = shortage;

	attempts++;
	errno = error ? error : errno;
	return error;
}

ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
	return refused() ? -1 : __real_send(fd, data, len, flags);
}

ssize_t __real_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
	return refused() ? -1 : __real_sendmsg(fd, m, flags);
}

ssize_t __real_pwritev2(int fd, const struct iovec *iov, int n, off_t at, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t at, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	return refused() ? -1 : __real_pwritev2(fd, iov, n, at, flags);
}

ssize_t __real_writev(int fd, const struct iovec *iov, int n);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int n);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int n)
{
	return refused() ? -1 : __real_writev(fd, iov, n);
}

int __real_ppoll(struct pollfd *p, nfds_t n, const struct timespec *t, const sigset_t *set);
int __wrap_ppoll(struct pollfd *p, nfds_t n, const struct timespec *t, const sigset_t *set);
int __wrap_ppoll(struct pollfd *p, nfds_t n, const struct timespec *t, const sigset_t *set)
{
	looks++;
	return __real_ppoll(p, n, t, set);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static void begin_shortage(int error)
{
	shortage = error;
	attempts = looks = 0;
	began = now_ms();
}

static void *end_it_after_a_while(void *arg)
{
	const struct timespec a_while = {.tv_nsec = A_WHILE_MS * 1000000};

	(void)arg;
	nanosleep(&a_while, NULL);
	shortage = 0;
	return NULL;
}

static pthread_t begin_short_shortage(int error)
{
	pthread_t ender;

	begin_shortage(error);
	ck_assert_int_eq(pthread_create(&ender, NULL, end_it_after_a_while, NULL), 0);
	return ender;
}

static void expect_few_attempts(void)
{
	int64_t most = 4 + (now_ms() - began) / RETRY_MS;

	ck_assert_int_ge(attempts, 1);
	ck_assert_int_le(attempts, most);
	ck_assert_int_le(looks, 2 * most);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	++*(unsigned *)arg;
}

static void run_a_while(struct event_base *base)
{
	const struct timeval a_while = {.tv_usec = A_WHILE_MS * 1000};
	unsigned over = 0, turns = 0;

	must(event_base_once(base, -1, EV_TIMEOUT, on_time, &over, &a_while));
	for (; !over; turns++)
		must(event_base_loop(base, EVLOOP_ONCE));
	expect_few_attempts();
	ck_assert_int_le(turns, 8 + 2 * (now_ms() - began) / RETRY_MS);
}

static void send_small_and_large(struct aioconn *c)
{
	send_text(c, "small");
	send_fill(c, BULK, 7);
}

static void *receive_small_and_large(void *arg)
{
	expect_text(arg, "small");
	expect_fill(arg, BULK, 7);
	return NULL;
}

static const int errors[] = {ENOBUFS, ETOOMANYREFS, ENOMEM};

TEST(a_loop_tries_again_a_few_times)
{
	for (enum transport t = PIPE; t <= PAIR; t++)
		for (int i = 0; i < 3; i++) {
			struct event_base *base = new_base();
			struct seen s = {.msgs = 0};
			struct aioconn *a, *b;

			open_pair(t, base, &a, &b);
			see(b, &s);
			begin_shortage(errors[i]);
			send_small_and_large(a);
			run_a_while(base);
			ck_assert_uint_eq(s.msgs, 0);
			shortage = 0;
			run_until(base, &s.msgs, 2);
			must(aioconn_finish(a, soon()));
			run_until(base, &s.closes, 1);
			ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
			ck_assert_uint_eq(s.bytes, BULK + 5);
			run_now(base);
			event_base_free(base);
		}
}

/* Nor does a large message, of which nothing is copied where the kernel takes it all. */
TEST(a_large_message_first_is_tried_again)
{
	for (enum transport t = PIPE; t <= PAIR; t++) {
		struct event_base *base = new_base();
		struct seen s = {.msgs = 0};
		struct aioconn *a, *b;

		open_pair(t, base, &a, &b);
		see(b, &s);
		begin_shortage(ENOBUFS);
		send_fill(a, BULK, 3);
		must(aioconn_cork(a, true));
		run_a_while(base);
		shortage = 0;
		run_until(base, &s.msgs, 1);
		ck_assert_uint_eq(s.bytes, BULK);
		aioconn_abort(a);
		run_until(base, &s.closes, 1);
		event_base_free(base);
	}
}

TEST(who_goes_on_sending_makes_no_more_attempts)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	see(b, &s);
	begin_shortage(ENOBUFS);
	for (unsigned i = 0; i < 100; i++) {
		send_text(a, "one more");
		must(event_base_loop(base, EVLOOP_NONBLOCK));
	}
	expect_few_attempts();
	shortage = 0;
	run_until(base, &s.msgs, 100);
	aioconn_abort(a);
	run_until(base, &s.closes, 1);
	event_base_free(base);
}

TEST(what_comes_in_is_read_meanwhile)
{
	struct event_base *base = new_base();
	struct seen s = {.stay = true};
	struct aioconn *c;
	int fd = raw_peer(PAIR, base, &c);

	see(c, &s);
	begin_shortage(ENOBUFS);
	send_text(c, "out");
	shortage = 0;
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, BYTES, 0, "in", 2);
	begin_shortage(ENOBUFS);
	run_until(base, &s.msgs, 1);
	shortage = 0;
	while (!is_readable(fd))
		must(event_base_loop(base, EVLOOP_ONCE));
	get_preface(fd);
	expect_frame(fd, BYTES, "out");
	aioconn_abort(c);
	close(fd);
	event_base_free(base);
}

TEST(a_blocked_sender_tries_again_a_few_times)
{
	for (enum transport t = PIPE; t <= PAIR; t++) {
		struct aioconn *a, *b;
		pthread_t reader, ender;

		open_pair(t, NULL, &a, &b);
		ender = begin_short_shortage(ETOOMANYREFS);
		send_text(a, "small");
		pthread_join(ender, NULL);
		expect_few_attempts();
		ck_assert_int_eq(pthread_create(&reader, NULL, receive_small_and_large, b), 0);
		send_fill(a, BULK, 7);
		pthread_join(reader, NULL);
		must(aioconn_close(a, soon()));
		expect_end(b, 0);
		aioconn_abort(b);
	}
}

TEST(waiting_ends_at_its_deadline)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	see(a, &s);
	begin_shortage(ENOBUFS);
	send_text(a, "never");
	must_fail(aioconn_flush(a, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aioconn_flush(a, aioipc_after(A_WHILE_MS)), ETIMEDOUT);
	expect_few_attempts();
	must(aioconn_finish(a, aioipc_after(A_WHILE_MS)));
	run_until(base, &s.closes, 1);
	ck_assert_int_eq(s.cause, AIOCONN_LOST);
	expect_few_attempts();
	shortage = 0;
	aioconn_abort(b);
	event_base_free(base);
}

static void flush_in_task(void *arg)
{
	struct aioconn *c = arg;

	send_text(c, "small");
	must(aioconn_flush(c, soon()));
	expect_few_attempts();
	send_fill(c, BULK, 7);
	must(aioconn_close(c, soon()));
}

/* The connection is on the task's base, or on none. */
TEST(a_task_tries_again_a_few_times)
{
	for (enum transport t = PIPE; t <= PAIR; t++)
		for (int on_base = 0; on_base <= 1; on_base++) {
			struct event_base *base = new_base();
			struct aioend *one, *other;
			pthread_t reader, ender;
			struct aioconn *a, *b;

			make_ends(t, &one, &other);
			a = open_end(one, on_base ? base : NULL);
			b = open_end(other, NULL);
			ender = begin_short_shortage(ENOBUFS);
			ck_assert_int_eq(pthread_create(&reader, NULL, receive_small_and_large, b), 0);
			must(aiotask_run(base, flush_in_task, a));
			pthread_join(reader, NULL);
			pthread_join(ender, NULL);
			aioconn_abort(b);
			event_base_free(base);
		}
}

static bool is_short(const struct aioconn *c)
{
	struct aioconn_stats s = {.size = sizeof s};

	must(aioconn_stats(c, &s));
	return s.queued_out > 0;
}

#define MOST_ON_THEIR_WAY 64

/* Who is not root may have only so many descriptors on their way: the rest waits until some arrived. */
static void send_more_than_may_travel(void)
{
	struct event_base *base = new_base();
	struct rlimit few;
	struct aioconn *c;
	int fd = raw_reader(PAIR, base, &c);
	unsigned kind;
	char buf[64];

	must(getrlimit(RLIMIT_NOFILE, &few));
	few.rlim_cur = MOST_ON_THEIR_WAY;
	must(setrlimit(RLIMIT_NOFILE, &few));
	if (getuid() == 0)
		must(setresuid(65534, 65534, 65534));
	for (int i = 0; i < MOST_ON_THEIR_WAY + 30; i++) {
		must(aioconn_send_fd(c, 0, "i", i));
		must(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK));
	}
	begin_shortage(0);
	if (is_short(c)) /* not under valgrind, which keeps the limit to itself */
		run_a_while(base);
	get_preface(fd);
	for (int i = 0; i < MOST_ON_THEIR_WAY + 30; i++) {
		while (!is_readable(fd))
			must(event_base_loop(base, EVLOOP_ONCE));
		ck_assert_int_gt(get_frame(fd, &kind, buf, sizeof buf), 0);
	}
	aioconn_abort(c);
	close(fd);
	event_base_free(base);
	_exit(0);
}

TEST(descriptors_wait_when_too_many_are_on_their_way)
{
	pid_t pid = must(fork());

	if (pid == 0)
		send_more_than_may_travel();
	expect_exit(pid, 0);
}

/* A firewall or a filter forbids it: that is no peer who has left. */
static int accept_error;
static unsigned accepts, peers;

int __real_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags);

int __wrap_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
	accepts++;
	errno = accept_error;
	return accept_error ? -1 : __real_accept4(fd, sa, len, flags);
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	(void)l;
	(void)arg;
	peers++;
	aioconn_abort(c);
}

TEST(who_may_not_be_taken_is_no_reason_to_spin)
{
	static const int shortages[] = {EPERM, ENOMEM, ENOBUFS};
	const struct timeval a_while = {0, 50000};
	struct event_base *base = new_base();
	struct aiolistener *l =
		must(aiolistener_new("unix:@aioipc-test-forbidden", base, NULL, on_peer, NULL));

	for (unsigned i = 0; i < 3; i++) {
		struct aioconn *c = must(aioconn_connect(aiolistener_address(l), NULL, soon()));

		accept_error = shortages[i];
		accepts = 0;
		must(event_base_loopexit(base, &a_while));
		must(event_base_dispatch(base));
		ck_assert_uint_ge(accepts, 1);
		ck_assert_uint_le(accepts, 3);
		accept_error = 0;
		run_until(base, &peers, i + 1);
		aioconn_abort(c);
	}
	aiolistener_free(l);
	event_base_free(base);
}
