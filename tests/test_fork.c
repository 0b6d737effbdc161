/* Fork where it is hard: when it fails, from several threads, without handlers, under other handlers, in daemon(3). */
#include <aioipc.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/end/end.h"
#include "ipc/own/registry.h"
#include "ipc/os/child.h"
#include "tests/harness.h"
#include "tests/no_fork.h"

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) != -1;
}

static int status_of(pid_t pid)
{
	int status;

	ck_assert_int_eq(must(waitpid(pid, &status, 0)), pid);
	return status;
}

static void set_errno_0(void)
{
	errno = 0;
}

static void take_a_nap(void)
{
	usleep(50000);
}

static void set_errno_eagain(void)
{
	errno = EAGAIN;
}

/* Twice, and then one that works: the pipe that tells is used up by each. */
static void failing_forks_leave_it_detached(void)
{
	struct aioend *a, *b;
	pid_t pid;

	if (!forks_can_fail())
		return;
	must(aiosockpair(&a, &b));
	must(aioend_detach(a));
	forks_fail(true);
	for (int i = 0; i < 2; i++) {
		must_fail(fork(), EAGAIN);
		ck_assert(is_open(a->own.r.fd));
		must_fail(aioproc_start(NULL, NULL), EAGAIN);
	}
	forks_fail(false);
	pid = must(fork());
	if (pid == 0)
		_exit(is_open(a->own.r.fd));
	must_fail(aioend_reclaim(a), EBADF);
	ck_assert_int_eq(WEXITSTATUS(status_of(pid)), 1);
	aioend_free(a);
	aioend_free(b);
}

TEST(failed_fork_leaves_it_detached)
{
	failing_forks_leave_it_detached();
}

TEST(failed_fork_is_known_though_a_handler_clears_errno)
{
	pthread_atfork(NULL, set_errno_0, NULL);
	failing_forks_leave_it_detached();
}

TEST(made_child_is_known_though_a_handler_sets_errno)
{
	struct aioend *a, *b;
	pid_t pid;

	pthread_atfork(NULL, set_errno_eagain, take_a_nap);
	must(aiosockpair(&a, &b));
	must(aioend_detach(a));
	pid = must(fork());
	if (pid == 0)
		_exit(is_open(a->own.r.fd));
	must_fail(aioend_reclaim(a), EBADF);
	ck_assert_int_eq(WEXITSTATUS(status_of(pid)), 1);
	aioend_free(a);
	aioend_free(b);
}

/* A process that ran no handlers holds the pipe that tells whether a child was made. */
static void beside_a_holder(bool fail)
{
	struct aioend *a, *b;
	int hold[2];
	pid_t holder, pid;
	char c;

	if (fail && !forks_can_fail())
		return;
	must(pipe(hold));
	must(aiosockpair(&a, &b));
	must(aioend_detach(a));
	holder = must(ipc_os_raw_fork());
	if (holder == 0) {
		close(hold[1]);
		(void)!read(hold[0], &c, 1);
		_exit(0);
	}
	if (fail) {
		forks_fail(true);
		must_fail(fork(), EAGAIN);
		forks_fail(false);
		must(aioend_reclaim(a));
	} else {
		pid = must(fork());
		if (pid == 0)
			_exit(0);
		must_fail(aioend_reclaim(a), EBADF);
		status_of(pid);
	}
	close(hold[1]);
	close(hold[0]);
	status_of(holder);
	aioend_free(a);
	aioend_free(b);
}

TEST(failed_fork_beside_one_without_handlers)
{
	beside_a_holder(true);
}

TEST(fork_beside_one_without_handlers)
{
	beside_a_holder(false);
}

TEST(errno_survives_a_fork)
{
	struct aioend *a, *b;
	pid_t pid;

	must(aiopipe(&a, &b));
	must(aioend_detach(a));
	errno = EXDEV;
	pid = fork();
	if (pid == 0)
		_exit(0);
	ck_assert_int_eq(errno, EXDEV);
	status_of(pid);
	aioend_free(a);
	aioend_free(b);
}

static atomic_bool stop;

/* How many sockets this process has. */
static unsigned count_sockets(void)
{
	struct stat st;
	unsigned n = 0;

	for (int fd = 0; fd < 200; fd++)
		n += fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
	return n;
}

/* Its children must not see the other thread's ends, detached or not. */
static void *fork_only(void *arg)
{
	pid_t pid;

	(void)arg;
	while (!stop) {
		pid = must(fork());
		if (pid == 0)
			_exit(count_sockets() ? 1 : 0);
		ck_assert_int_eq(status_of(pid), 0);
	}
	return NULL;
}

TEST_WITHIN(fork_in_one_thread_while_the_other_detaches, 60)
{
	static struct aioend *a, *b; /* for children of the other thread these must not look lost */
	pthread_t t;
	pid_t pid;

	ck_assert_uint_eq(count_sockets(), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, fork_only, NULL), 0);
	for (int i = 0; i < 200; i++) {
		must(aiosockpair(&a, &b));
		must(aioend_detach(b));
		if (i % 2)
			sched_yield();
		pid = must(fork());
		if (pid == 0)
			_exit(count_sockets() == 1 && is_open(b->own.r.fd) ? 0 : 1);
		aioend_free(b);
		ck_assert_int_eq(must(read(a->own.r.fd, &(char){0}, 1)), 0);
		ck_assert_int_eq(status_of(pid), 0);
		aioend_free(a);
	}
	stop = true;
	pthread_join(t, NULL);
}

static void *detach(void *arg)
{
	must(aioend_detach(arg));
	return NULL;
}

/* Nor is the thread's number mistaken for that of a later one. */
TEST(detach_belongs_to_its_thread)
{
	struct aioend *a, *b;
	pthread_t t;
	pid_t pid;

	must(aiopipe(&a, &b));
	ck_assert_int_eq(pthread_create(&t, NULL, detach, a), 0);
	pthread_join(t, NULL);
	must_fail(aioend_detach(a), EBUSY);
	pid = must(fork());
	if (pid == 0)
		_exit(is_open(a->own.r.fd));
	ck_assert_int_eq(status_of(pid), 0);
	must(aioend_reclaim(a));
	must(aioend_detach(a));
	aioend_free(a);
	aioend_free(b);
}

TEST(daemon_takes_it_along)
{
	struct aioend *rx, *tx;
	char text[3] = "";
	pid_t pid;

	must(aiopipe(&rx, &tx));
	must(aioend_detach(tx));
	pid = must(fork());
	if (pid == 0) {
		must(aioend_detach(tx));
		must(daemon(1, 1));
		must(write(tx->own.w.fd, "d", 1));
		_exit(0);
	}
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert_int_eq(must(read(rx->own.r.fd, text, 2)), 1);
	ck_assert_str_eq(text, "d");
	ck_assert_int_eq(must(read(rx->own.r.fd, text, 2)), 0);
	aioend_free(rx);
	aioend_free(tx);
}

/* Where it does not, nothing tells of a fork without handlers, and ours are the first. */
static bool kernel_wipes_pages(void)
{
	void *page = ipc_os_page_of_this_process();

	return page && munmap(page, 4096) == 0;
}

/* No handler ran; yet nothing of the parent's can be used, and what is made here can. */
TEST(fork_without_handlers)
{
	struct aioend *a, *b, *c, *d;
	unsigned fds;
	pid_t pid, again;
	int r, w;

	if (!kernel_wipes_pages())
		return;
	must(aiosockpair(&a, &b));
	must(aioend_detach(b));
	pid = must(ipc_os_raw_fork());
	if (pid == 0) {
		must_fail(aioend_detach(a), ECHILD);
		must_fail(aioend_reclaim(b), ECHILD);
		must_fail(aioend_release(b, &r, &w), ECHILD);
		fds = harness_count_fds();
		aioend_free(a);
		aioend_free(b);
		must(aiosockpair(&c, &d));
		must(aioend_detach(d));
		again = must(fork());
		if (again == 0)
			_exit(is_open(d->own.r.fd) && !is_open(c->own.r.fd) ? 0 : 1);
		ck_assert_int_eq(status_of(again), 0);
		aioend_free(c);
		aioend_free(d);
		ck_assert_uint_eq(harness_count_fds(), fds);
		_exit(0);
	}
	ck_assert_int_eq(status_of(pid), 0);
	must(write(a->own.w.fd, "x", 1));
	ck_assert_int_eq(must(read(b->own.r.fd, &(char){0}, 1)), 1);
	must(aioend_reclaim(b));
	aioend_free(a);
	aioend_free(b);
}

/* Another thread may have been anywhere. */
TEST(fork_without_handlers_while_the_registry_is_held)
{
	struct aioend *a, *b;
	pid_t pid;

	if (!kernel_wipes_pages())
		return;
	must(ipc_own_hold());
	pid = must(ipc_os_raw_fork());
	if (pid == 0) {
		must(aiopipe(&a, &b));
		aioend_free(a);
		aioend_free(b);
		_exit(0);
	}
	ipc_own_let_go();
	ck_assert_int_eq(status_of(pid), 0);
}

static struct aioend *in_handler, *to_free, *to_release;

static void call_from_handler(void)
{
	int r, w;

	must_fail(aioend_detach(in_handler), EBUSY);
	must_fail(aioend_reclaim(in_handler), EBUSY);
	must_fail(aioend_from_fds(0, -1), EBUSY);
	must_fail(aioproc_start(NULL, NULL), EBUSY);
	aioend_free(to_free);
	to_free = NULL;
	if (to_release) {
		must(aioend_release(to_release, &r, &w));
		close(w);
		to_release = NULL;
	}
}

/*
 * Of handlers that are registered earlier than ours, prepare runs after it, and parent and child before: it has the
 * mutex then. What can't fail is done all the same.
 */
static void calls_from_handlers(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	struct aioend *other;
	pid_t pid;

	if (!kernel_wipes_pages())
		return;
	pthread_atfork(prepare, parent, child);
	must(aiopipe(&to_release, &to_free));
	aioend_free(to_release);
	must(aiopipe(&other, &to_release));
	aioend_free(other);
	must(aioend_detach(to_free));
	must(aiopipe(&in_handler, &other));
	must(aioend_detach(other));
	pid = must(fork());
	if (pid == 0) {
		must_fail(aioend_detach(in_handler), ECHILD);
		must(aioend_detach(other));
		_exit(is_open(other->own.w.fd) && !is_open(in_handler->own.r.fd) ? 0 : 1);
	}
	must_fail(aioend_detach(other), EBADF);
	ck_assert_int_eq(status_of(pid), 0);
	ck_assert_int_eq(must(read(in_handler->own.r.fd, &(char){0}, 1)), 0);
	must(aioend_detach(in_handler));
	aioend_free(in_handler);
	aioend_free(other);
	aioend_free(to_free);
	aioend_free(to_release);
}

TEST(calls_from_prepare_handlers)
{
	calls_from_handlers(call_from_handler, NULL, NULL);
}

TEST(calls_from_parent_handlers)
{
	calls_from_handlers(NULL, call_from_handler, NULL);
}

TEST(calls_from_child_handlers)
{
	calls_from_handlers(NULL, NULL, call_from_handler);
}

TEST(children_of_children)
{
	struct aioend *a, *b;
	pid_t pid = 0;
	int depth;
	char c;

	must(aiopipe(&a, &b));
	for (depth = 0; depth < 5; depth++) {
		must(aioend_detach(b));
		pid = must(fork());
		if (pid)
			break;
		must_fail(aioend_detach(a), ECHILD);
	}
	if (depth == 5) {
		must(write(b->own.w.fd, "x", 1));
		_exit(0);
	}
	ck_assert_int_eq(status_of(pid), 0);
	if (depth > 0)
		_exit(0);
	ck_assert_int_eq(must(read(a->own.r.fd, &c, 1)), 1);
	ck_assert_int_eq(must(read(a->own.r.fd, &c, 1)), 0);
	aioend_free(a);
	aioend_free(b);
}
