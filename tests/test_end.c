/* Ends in one process, and what plain fork() does to them. */
#include <aioipc.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/end/end.h"
#include "tests/harness.h"

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) != -1;
}

/* 'e' at the end of @fd, 'b' when nothing comes within a moment, else the byte. */
static char next_byte(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char c;

	if (poll(&p, 1, 100) == 0)
		return 'b';
	return read(fd, &c, 1) == 1 ? c : 'e';
}

/* Waits for @fd's end, however late it comes. */
static void wait_end(int fd)
{
	char c;

	ck_assert_int_eq(must(read(fd, &c, 1)), 0);
}

static int status_of(pid_t pid)
{
	int status;

	ck_assert_int_eq(must(waitpid(pid, &status, 0)), pid);
	return status;
}

TEST(unused_pair_is_closed_when_freed)
{
	unsigned before = harness_count_fds();
	struct aioend *a, *b;

	must(aiopipe(&a, &b));
	aioend_free(a);
	aioend_free(b);
	must(aioduplex(&a, &b));
	ck_assert_uint_eq(harness_count_fds(), before + 4);
	aioend_free(a);
	aioend_free(b);
	must(aiosockpair(&a, &b));
	aioend_free(a);
	aioend_free(b);
	aioend_free(NULL);
}

TEST(pairs_are_connected_and_close_on_exec)
{
	struct aioend *a, *b;
	int r, w, r2, w2;

	must(aiopipe(&a, &b));
	must(aioend_release(a, &r, &w));
	ck_assert_int_eq(w, -1);
	must(aioend_release(b, &r2, &w));
	ck_assert_int_eq(r2, -1);
	must(write(w, "x", 1));
	ck_assert_int_eq(next_byte(r), 'x');
	ck_assert_int_eq(fcntl(r, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(w, F_GETFD), FD_CLOEXEC);
	close(r);
	close(w);
	must(aioduplex(&a, &b));
	must(aioend_release(a, &r, &w));
	must(aioend_release(b, &r2, &w2));
	must(write(w, "y", 1));
	must(write(w2, "z", 1));
	ck_assert_int_eq(next_byte(r2), 'y');
	ck_assert_int_eq(next_byte(r), 'z');
	close(r);
	close(w);
	close(r2);
	close(w2);
	must(aiosockpair(&a, &b));
	must(aioend_release(a, &r, &w));
	must(aioend_release(b, &r2, &w2));
	ck_assert_int_eq(r, w);
	must(write(r, "y", 1));
	must(write(r2, "z", 1));
	ck_assert_int_eq(next_byte(r2), 'y');
	ck_assert_int_eq(next_byte(r), 'z');
	ck_assert_int_eq(fcntl(r, F_GETFD), FD_CLOEXEC);
	close(r);
	close(r2);
}

TEST(reused_number_is_not_closed)
{
	struct aioend *rx, *tx;
	int was, fd;

	must(aiopipe(&rx, &tx));
	was = rx->own.r.fd;
	must(close(was));
	fd = must(open("/dev/null", O_RDONLY));
	ck_assert_int_eq(fd, was);
	aioend_free(rx);
	ck_assert(is_open(fd));
	close(fd);
	aioend_free(tx);
}

TEST(moved_end_does_not_close_a_reused_number)
{
	struct aioend *rx, *tx;
	int was, fd;
	pid_t pid;

	must(aiopipe(&rx, &tx));
	was = tx->own.w.fd;
	must(aioend_detach(tx));
	pid = must(fork());
	if (pid == 0)
		_exit(0);
	ck_assert(!is_open(was));
	fd = must(fcntl(STDIN_FILENO, F_DUPFD, was));
	ck_assert_int_eq(fd, was);
	aioend_free(tx);
	ck_assert(is_open(fd));
	close(fd);
	aioend_free(rx);
	ck_assert_int_eq(status_of(pid), 0);
}

TEST(adopting_says_what_is_wrong)
{
	struct aioend *end;
	int p[2];

	must(pipe(p));
	must_fail(aioend_from_fds(-1, -1), EINVAL);
	must_fail(aioend_from_fds(p[1], -1), EBADF);
	must_fail(aioend_from_fds(-1, p[0]), EBADF);
	must_fail(aioend_from_fds(1000, -1), EBADF);
	end = must(aioend_from_fds(p[0], p[1]));
	ck_assert_int_eq(fcntl(p[0], F_GETFD), FD_CLOEXEC);
	must_fail(aioend_from_fds(p[0], -1), EBUSY);
	aioend_free(end);
	ck_assert(!is_open(p[0]) && !is_open(p[1]));
}

TEST(adopted_gets_its_flags_back)
{
	int p[2], copy;
	struct aioend *end;

	must(pipe(p));
	copy = must(dup(p[0]));
	end = must(aioend_from_fds(p[0], -1));
	must(ipc_own_set_nonblock(&end->own));
	ck_assert(fcntl(copy, F_GETFL) & O_NONBLOCK);
	aioend_free(end);
	ck_assert(!(fcntl(copy, F_GETFL) & O_NONBLOCK));
	end = must(aioend_from_fds(copy, -1));
	must(ipc_os_set_nonblock(p[1], true, NULL));
	copy = must(dup(p[1]));
	aioend_free(end);
	end = must(aioend_from_fds(-1, p[1]));
	must(ipc_own_set_nonblock(&end->own));
	aioend_free(end);
	ck_assert(fcntl(copy, F_GETFL) & O_NONBLOCK);
	close(copy);
}

TEST(out_of_descriptors_at_every_step)
{
	unsigned before = harness_count_fds(), reached = 0;
	struct rlimit was, l;
	struct aioend *a, *b;

	must(getrlimit(RLIMIT_NOFILE, &was));
	l = was;
	for (l.rlim_cur = 3; reached < 2; l.rlim_cur++) {
		must(setrlimit(RLIMIT_NOFILE, &l));
		a = b = NULL;
		if (aioduplex(&a, &b) == -1) {
			ck_assert_int_eq(errno, EMFILE);
			ck_assert_ptr_null(a);
			ck_assert_ptr_null(b);
		} else if (aioend_detach(a) == -1) {
			ck_assert_int_eq(errno, EMFILE);
			must_fail(aioend_reclaim(a), EINVAL);
			reached = 1;
		} else {
			ck_assert_int_eq(reached++, 1);
		}
		aioend_free(a);
		aioend_free(b);
		must(setrlimit(RLIMIT_NOFILE, &was));
		ck_assert_uint_eq(harness_count_fds(), before);
	}
}

TEST(fork_moves_what_was_detached_and_closes_the_rest)
{
	struct aioend *one, *other;
	pid_t pid;
	int r, w;

	must(aiosockpair(&one, &other));
	must(aioend_detach(other));
	pid = must(fork());
	if (pid == 0) {
		ck_assert(!is_open(one->own.r.fd));
		must_fail(aioend_detach(one), ECHILD);
		must_fail(aioend_release(one, &r, &w), ECHILD);
		must_fail(aioend_set_name(one, "x"), ECHILD);
		must_fail(aioend_set_stdio(one, 0, 1), ECHILD);
		must_fail(aioend_open(one, NULL), ECHILD);
		aioend_free(one);
		must(aioend_release(other, &r, &w));
		ck_assert_int_eq(next_byte(r), 'p');
		must(write(w, "c", 1));
		wait_end(r);
		_exit(7);
	}
	must_fail(aioend_detach(other), EBADF);
	must_fail(aioend_reclaim(other), EBADF);
	must_fail(aioend_release(other, &r, &w), EBADF);
	must_fail(aioend_open(other, NULL), EBADF);
	aioend_free(other);
	must(aioend_release(one, &r, &w));
	must(write(w, "p", 1));
	ck_assert_int_eq(next_byte(r), 'c');
	close(r);
	ck_assert_int_eq(WEXITSTATUS(status_of(pid)), 7);
}

/* It would be closed here by the next fork, behind the connection's back. */
TEST(a_detached_end_is_not_opened)
{
	struct aioend *one, *other;
	struct aioconn *c;

	must(aiosockpair(&one, &other));
	must(aioend_detach(other));
	must_fail(aioend_open(other, NULL), EBUSY);
	must(aioend_reclaim(other));
	c = must(aioend_open(other, NULL));
	aioconn_abort(c);
	wait_end(one->own.r.fd);
	aioend_free(one);
}

TEST(a_detach_is_used_up_by_one_fork)
{
	struct aioend *rx, *tx, *more;
	pid_t first, second;
	int fd = 0;

	must(aiopipe(&rx, &tx));
	must(aioend_detach(tx));
	must(aioend_detach(tx));
	first = must(fork());
	if (first == 0) {
		must(aioend_detach(tx));
		must(aioend_reclaim(tx));
		second = must(fork());
		if (second == 0)
			_exit(is_open(tx->own.w.fd));
		_exit(status_of(second) || !is_open(tx->own.w.fd));
	}
	ck_assert_int_eq(status_of(first), 0);
	wait_end(rx->own.r.fd);
	aioend_free(tx);
	must(aiopipe(&more, &tx));
	fd = tx->own.w.fd;
	second = must(fork());
	if (second == 0)
		_exit(is_open(fd) || is_open(more->own.r.fd));
	ck_assert_int_eq(status_of(second), 0);
	aioend_free(rx);
	aioend_free(more);
	aioend_free(tx);
}

TEST(reclaimed_end_stays)
{
	struct aioend *rx, *tx;
	unsigned before;
	pid_t pid;

	must(aiopipe(&rx, &tx));
	must_fail(aioend_reclaim(tx), EINVAL);
	before = harness_count_fds();
	must(aioend_detach(tx));
	must(aioend_reclaim(tx));
	ck_assert_uint_eq(harness_count_fds(), before);
	pid = must(fork());
	if (pid == 0)
		_exit(is_open(tx->own.w.fd));
	ck_assert_int_eq(status_of(pid), 0);
	must(write(tx->own.w.fd, "x", 1));
	ck_assert_int_eq(next_byte(rx->own.r.fd), 'x');
	aioend_free(rx);
	aioend_free(tx);
}

/* Both see the end at once although siblings were forked before, between and after. */
static void end_is_seen(bool parent_first)
{
	struct aioend *one, *other;
	int go[2];
	char c;
	pid_t pid[3];

	must(pipe(go));
	for (int i = 0; i < 3; i++) {
		if (i == 0)
			must(aiosockpair(&one, &other));
		if (i == 1)
			must(aioend_detach(other));
		pid[i] = must(fork());
		if (pid[i])
			continue;
		close(go[1]);
		if (i == 1 && parent_first)
			wait_end(other->own.r.fd);
		else if (i != 1)
			while (read(go[0], &c, 1) == -1)
				;
		_exit(0);
	}
	if (parent_first)
		aioend_free(one);
	else
		wait_end(one->own.r.fd);
	ck_assert_int_eq(status_of(pid[1]), 0);
	close(go[1]);
	close(go[0]);
	ck_assert_int_eq(status_of(pid[0]), 0);
	ck_assert_int_eq(status_of(pid[2]), 0);
	if (!parent_first)
		aioend_free(one);
	aioend_free(other);
}

TEST(child_sees_that_the_parent_closed)
{
	end_is_seen(true);
}

TEST(parent_sees_that_the_child_died)
{
	end_is_seen(false);
}
