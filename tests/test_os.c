/* Floor 1: what the kernel does, as the other floors see it. */
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/os/child.h"
#include "ipc/os/bell.h"
#include "ipc/os/os.h"
#include "ipc/os/socket.h"
#include "tests/harness.h"

typedef ssize_t write_fn(int fd, const struct iovec *iov, int n);

static volatile sig_atomic_t caught;

static void catch (int sig)
{
	(void)sig;
	caught++;
}

static struct iovec bytes(const void *data, size_t len)
{
	return (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
}

static bool is_pending(int sig)
{
	sigset_t set;

	must(sigpending(&set));
	return sigismember(&set, sig);
}

static void block(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	must(sigprocmask(how, &set, NULL));
}

/* Under each disposition, blocked and not, and with one pending already, a write to nobody is EPIPE and nothing else. */
static void writes_without_sigpipe(write_fn *write_pipe)
{
	void (*const how[])(int) = {SIG_DFL, SIG_IGN, catch};
	struct iovec iov = bytes("x", 1);
	int p[2];

	must(ipc_os_pipe(p));
	close(p[0]);
	for (int i = 0; i < 3; i++) {
		signal(SIGPIPE, how[i]);
		must_fail(write_pipe(p[1], &iov, 1), EPIPE);
		block(SIG_BLOCK);
		must_fail(write_pipe(p[1], &iov, 1), EPIPE);
		ck_assert(!is_pending(SIGPIPE));
		raise(SIGPIPE);
		must_fail(write_pipe(p[1], &iov, 1), EPIPE);
		ck_assert(is_pending(SIGPIPE));
		signal(SIGPIPE, SIG_IGN);
		block(SIG_UNBLOCK);
	}
	ck_assert_int_eq(caught, 0);
	close(p[1]);
}

TEST(pipe_writes_raise_no_sigpipe)
{
	writes_without_sigpipe(ipc_os_write_pipe);
}

TEST(pipe_writes_raise_no_sigpipe_on_old_kernels)
{
	writes_without_sigpipe(ipc_os_write_masked);
}

TEST(socket_writes_raise_no_sigpipe)
{
	struct iovec iov[2] = {bytes("x", 1), bytes("y", 1)};
	int s[2], fd = 0;

	must(ipc_os_sockpair(s));
	close(s[0]);
	must_fail(ipc_os_writev(s[1], IPC_FD_UNIX, iov, 1, NULL, 0), EPIPE);
	must_fail(ipc_os_writev(s[1], IPC_FD_UNIX, iov, 2, NULL, 0), EPIPE);
	must_fail(ipc_os_writev(s[1], IPC_FD_UNIX, iov, 2, &fd, 1), EPIPE);
	close(s[1]);
}

/* Nothing to read, then no room to write, then the end. */
static void neither_blocks(int r, int w, enum ipc_fdkind kind)
{
	char room[4096] = "";
	struct iovec in[2] = {bytes(room, 3), bytes(room + 3, 100)},
		     out[2] = {bytes("abc", 3), bytes("defg", 4)};
	struct iovec all = bytes(room, sizeof(room));

	must_fail(ipc_os_readv(r, kind, in, 1, NULL), EAGAIN);
	must_fail(ipc_os_readv(r, kind, in, 2, NULL), EAGAIN);
	ck_assert_int_eq(must(ipc_os_writev(w, kind, out, 2, NULL, 0)), 7);
	ck_assert_int_eq(must(ipc_os_readv(r, kind, in, 2, NULL)), 7);
	ck_assert_mem_eq(room, "abcdefg", 7);
	while (ipc_os_writev(w, kind, &all, 1, NULL, 0) > 0)
		;
	ck_assert_int_eq(errno, EAGAIN);
	close(w);
	while (must(ipc_os_readv(r, kind, &all, 1, NULL)) > 0)
		;
	close(r);
}

TEST(reads_and_writes_do_not_block)
{
	bool was = true;
	int fd[2];

	must(ipc_os_sockpair(fd));
	neither_blocks(fd[0], fd[1], IPC_FD_UNIX);
	must(ipc_os_pipe(fd));
	must(ipc_os_set_nonblock(fd[0], true, &was));
	ck_assert(!was);
	must(ipc_os_set_nonblock(fd[1], true, NULL));
	must(ipc_os_set_nonblock(fd[1], true, &was));
	ck_assert(was);
	neither_blocks(fd[0], fd[1], IPC_FD_PIPE);
}

TEST(kinds)
{
	int p[2], s[2], tcp = must(socket(AF_INET, SOCK_STREAM, 0));
	pid_t pid = 0;

	must(ipc_os_pipe(p));
	must(ipc_os_sockpair(s));
	ck_assert_int_eq(ipc_os_fdkind(p[0]), IPC_FD_PIPE);
	ck_assert_int_eq(ipc_os_fdkind(s[0]), IPC_FD_UNIX);
	ck_assert_int_eq(ipc_os_fdkind(tcp), IPC_FD_SOCKET);
	must_fail(ipc_os_peer_cred(tcp, &pid, NULL, NULL), EOPNOTSUPP);
	must_fail(ipc_os_peer_cred(p[0], &pid, NULL, NULL), EOPNOTSUPP);
	must(ipc_os_peer_cred(s[0], &pid, NULL, NULL));
	ck_assert_int_eq(pid, getpid());
	close(p[0]);
	close(p[1]);
	close(s[0]);
	close(s[1]);
	close(tcp);
}

static void close_all(struct ipc_fdlist *list)
{
	for (unsigned i = 0; i < list->n; i++) {
		ck_assert_int_eq(fcntl(list->fd[i], F_GETFD), FD_CLOEXEC);
		close(list->fd[i]);
	}
}

TEST(descriptors_travel)
{
	static struct ipc_fdlist list;
	int s[2], fd[IPC_FDS_MOST + 1];
	char room[100];
	struct iovec out = bytes("hello", 5), in = bytes(room, sizeof(room));

	if (!harness_has_fds(600))
		return;
	must(ipc_os_sockpair(s));
	for (int i = 0; i <= IPC_FDS_MOST; i++)
		fd[i] = s[0];
	must_fail(ipc_os_writev(s[0], IPC_FD_UNIX, &out, 1, fd, IPC_FDS_MOST + 1), EINVAL);
	must_fail(ipc_os_writev(s[0], IPC_FD_PIPE, &out, 1, fd, 1), EOPNOTSUPP);
	for (unsigned n = 0; n <= IPC_FDS_MOST; n += IPC_FDS_MOST) {
		ck_assert_int_eq(must(ipc_os_writev(s[0], IPC_FD_UNIX, &out, 1, fd, n)), 5);
		list.n = 9;
		ck_assert_int_eq(must(ipc_os_readv(s[1], IPC_FD_UNIX, &in, 1, &list)), 5);
		ck_assert_uint_eq(list.n, n);
		ck_assert(!list.cut);
		close_all(&list);
	}
	must(ipc_os_writev(s[0], IPC_FD_UNIX, &out, 1, fd, 3));
	ck_assert_int_eq(must(ipc_os_readv(s[1], IPC_FD_UNIX, &in, 1, NULL)), 5);
	close(s[0]);
	close(s[1]);
}

TEST(descriptors_without_room_are_cut)
{
	static struct ipc_fdlist list;
	struct rlimit was, l;
	int s[2], fd[3];
	char room[100];
	struct iovec out = bytes("hello", 5), in = bytes(room, sizeof(room));

	must(ipc_os_sockpair(s));
	fd[0] = fd[1] = fd[2] = s[0];
	must(ipc_os_writev(s[0], IPC_FD_UNIX, &out, 1, fd, 3));
	must(getrlimit(RLIMIT_NOFILE, &was));
	l = was;
	l.rlim_cur = (rlim_t)must(dup(0)) + 1;
	close((int)l.rlim_cur - 1);
	must(setrlimit(RLIMIT_NOFILE, &l));
	ck_assert_int_eq(must(ipc_os_readv(s[1], IPC_FD_UNIX, &in, 1, &list)), 5);
	must(setrlimit(RLIMIT_NOFILE, &was));
	ck_assert(list.cut || list.n == 3); /* valgrind keeps the limit to itself */
	ck_assert(!list.cut || list.n == 1);
	close_all(&list);
	close(s[0]);
	close(s[1]);
}

static void poll_is_interrupted(int flags)
{
	const struct itimerval soon = {.it_value = {0, 20000}, .it_interval = {0, 20000}}, never = {{0}, {0}};
	struct sigaction sa = {.sa_handler = catch, .sa_flags = flags};
	struct pollfd p = {.fd = -1};

	must(sigaction(SIGALRM, &sa, NULL));
	must(setitimer(ITIMER_REAL, &soon, NULL));
	must_fail(ipc_os_poll(&p, 1, -1), EINTR);
	must_fail(ipc_os_poll(NULL, 0, INT64_C(60000000000)), EINTR);
	must(setitimer(ITIMER_REAL, &never, NULL));
}

TEST(handlers_interrupt_poll)
{
	poll_is_interrupted(0);
	poll_is_interrupted(SA_RESTART);
}

/* Descriptors beyond what a fd_set holds, too. */
TEST(poll_works_where_no_descriptor_may_be_had)
{
	struct rlimit most, none;
	struct pollfd p[3];
	int fd[2], high;

	must(ipc_os_sockpair(fd));
	must(getrlimit(RLIMIT_NOFILE, &most));
	high = must(dup(fd[0]));
	if (most.rlim_cur > 3000) {
		close(high);
		high = must(fcntl(fd[0], F_DUPFD, 2999));
	}
	p[0] = (struct pollfd){.fd = high, .events = POLLIN};
	p[1] = (struct pollfd){.fd = -1, .events = POLLIN};
	p[2] = (struct pollfd){.fd = fd[1], .events = POLLIN | POLLOUT};
	for (rlim_t limit = 0; limit < 3; limit++) {
		none = (struct rlimit){limit, most.rlim_max};
		must(setrlimit(RLIMIT_NOFILE, &none));
		ck_assert_int_eq(must(ipc_os_poll(p, 1, 0)), 0);
		ck_assert_int_eq(must(ipc_os_poll(p, 3, 1000000)), 1);
		ck_assert_int_eq(p[0].revents, 0);
		ck_assert_int_eq(p[2].revents, POLLOUT);
		must(write(fd[1], "x", 1));
		ck_assert_int_eq(must(ipc_os_poll(p, 3, -1)), 2);
		ck_assert_int_eq(p[0].revents, POLLIN);
		ck_assert_int_eq(must(read(fd[0], &(char){0}, 1)), 1);
	}
	must(setrlimit(RLIMIT_NOFILE, &most));
	close(high);
	close(fd[0]);
	close(fd[1]);
}

TEST(placeholder_is_never_ready_and_is_known)
{
	struct itimerspec t = {.it_value = {1000, 0}};
	int fd = must(ipc_os_placeholder()), copy = must(dup(fd));
	int other = must(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
	struct pollfd p = {.fd = copy, .events = POLLIN | POLLOUT | POLLPRI};

	ck_assert_int_eq(must(poll(&p, 1, 0)), 0);
	ck_assert(ipc_os_is_placeholder(fd) && ipc_os_is_placeholder(copy));
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert(!ipc_os_is_placeholder(other) && !ipc_os_is_placeholder(0) && !ipc_os_is_placeholder(999));
	must(timerfd_settime(other, 0, &t, NULL));
	ck_assert(!ipc_os_is_placeholder(other));
	close(fd);
	close(copy);
	close(other);
}

TEST(page_is_wiped_by_every_fork)
{
	volatile char *page = ipc_os_page_of_this_process();
	pid_t pid;
	int status;

	if (!page)
		return;
	*page = 1;
	pid = must(ipc_os_raw_fork());
	if (pid == 0)
		_exit(*page);
	must(waitpid(pid, &status, 0));
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(*page, 1);
}

typedef void close_fn(int low, int high);

static void closes_ranges(close_fn *close_range)
{
	int base = must(fcntl(0, F_DUPFD, 500));

	for (int i = 1; i < 5; i++)
		ck_assert_int_eq(must(dup2(0, base + i)), base + i);
	close_range(base + 1, base);
	close_range(base + 1, base + 2);
	ck_assert_int_ne(fcntl(base, F_GETFD), -1);
	must_fail(fcntl(base + 1, F_GETFD), EBADF);
	must_fail(fcntl(base + 2, F_GETFD), EBADF);
	ck_assert_int_ne(fcntl(base + 3, F_GETFD), -1);
	close(base);
	close_range(base + 3, INT_MAX);
	must_fail(fcntl(base + 4, F_GETFD), EBADF);
}

/* From now on clone3(2) is refused, as by filters that are older than it. */
static bool refuse_clone3(int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 435, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* No handler of the parent's runs in the child of a raw fork; what was ignored still is. */
static void signals_after_a_raw_fork(void)
{
	sigset_t all;
	pid_t pid;
	int status;

	signal(SIGUSR1, catch);
	signal(SIGUSR2, SIG_IGN);
	sigfillset(&all);
	must(sigprocmask(SIG_SETMASK, &all, NULL));
	pid = must(ipc_os_raw_fork());
	if (pid == 0) {
		kill(getpid(), SIGUSR2);
		kill(getpid(), SIGUSR1);
		ipc_os_raw_unblock();
		_exit(1);
	}
	must(waitpid(pid, &status, 0));
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGUSR1);
	ipc_os_raw_unblock();
	must(kill(getpid(), SIGUSR1));
	ck_assert_int_eq(caught, 1);
}

TEST(raw_fork_leaves_no_handler)
{
	signals_after_a_raw_fork();
}

TEST(raw_fork_leaves_no_handler_without_clone3)
{
	if (refuse_clone3(ENOSYS))
		signals_after_a_raw_fork();
}

TEST(raw_fork_leaves_no_handler_when_clone3_is_refused)
{
	if (refuse_clone3(EPERM))
		signals_after_a_raw_fork();
}

/* 0, or the errno of dying with @parent in a new child, that is told by @fd whether the parent lives. */
static int die_with(pid_t parent, int fd)
{
	pid_t pid = must(fork());
	int status;

	if (pid == 0)
		_exit(ipc_os_die_with(parent, fd) == 0 ? 0 : errno);
	must(waitpid(pid, &status, 0));
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

TEST(a_parent_that_is_gone_is_noticed)
{
	int p[2];

	must(ipc_os_pipe(p));
	ck_assert_int_eq(die_with(getpid(), p[1]), 0);
	ck_assert_int_eq(die_with(getppid(), p[1]), ECANCELED);
	close(p[0]);
	close(p[1]);
}

/* In a name space of its own a child can't see that somebody else has inherited it: the pipe tells. */
static int die_with_outside(bool alive)
{
	pid_t pid = must(fork());
	int p[2], status;

	if (pid == 0) {
		must(ipc_os_pipe(p));
		if (!alive)
			close(p[0]);
		_exit(unshare(CLONE_NEWPID) == 0 ? die_with(getpid(), p[1]) : 77);
	}
	must(waitpid(pid, &status, 0));
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

TEST(a_parent_in_another_name_space_that_is_gone_is_noticed)
{
	int alive = die_with_outside(true), gone = die_with_outside(false);

	ck_assert(alive == 0 || alive == 77); /* 77: not allowed here */
	ck_assert(gone == ECANCELED || gone == 77);
}

TEST(ranges_are_closed)
{
	if (!harness_has_fds(1024))
		return;
	closes_ranges(ipc_os_close_range);
}

TEST(ranges_are_closed_on_old_kernels)
{
	if (!harness_has_fds(1024))
		return;
	closes_ranges(ipc_os_close_range_slowly);
}

/* The limit says what may be opened now, not what is open. */
TEST(ranges_are_closed_above_the_limit)
{
	close_fn *const all[] = {ipc_os_close_range, ipc_os_close_range_slowly};
	struct rlimit was, l;
	int high = 900;

	if (!harness_has_fds(1024))
		return;
	must(getrlimit(RLIMIT_NOFILE, &was));
	for (int i = 0; i < 4; i++) {
		must(dup2(0, high));
		l = was;
		l.rlim_cur = i < 2 ? 64 : 0;
		must(setrlimit(RLIMIT_NOFILE, &l));
		all[i % 2](high - 10, INT_MAX);
		must_fail(fcntl(high, F_GETFD), EBADF);
		must(setrlimit(RLIMIT_NOFILE, &was));
	}
}

static bool stdio_is_closed(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) != -1)
			return false;
	return true;
}

static void close_pair(const int fd[2])
{
	close(fd[0]);
	if (fd[1] != fd[0])
		close(fd[1]);
}

/* Whatever is opened here; -1 in the second place where it is one. */
static void open_each(int kind, int fd[2])
{
	fd[1] = -1;
	switch (kind) {
	case 0:
		must(ipc_os_pipe(fd));
		break;
	case 1:
		must(ipc_os_sockpair(fd));
		break;
	case 2:
		must(ipc_os_bell(fd));
		break;
	case 3:
		fd[0] = must(ipc_os_socket(AF_UNIX, SOCK_STREAM));
		break;
	default:
		fd[0] = ipc_os_pidfd(getpid());
	}
}

static void lifts_all(void)
{
	int fd[2];

	for (int kind = 0; kind < 5; kind++) {
		open_each(kind, fd);
		ck_assert(stdio_is_closed());
		ck_assert(fd[0] == -1 || fcntl(fd[0], F_GETFD) == FD_CLOEXEC);
		close_pair(fd);
	}
}

/* With room for nothing above 2, nothing is left behind. */
static void lifts_nothing(void)
{
	struct rlimit l;
	int fd[2];

	must(getrlimit(RLIMIT_NOFILE, &l));
	l.rlim_cur = 3;
	must(setrlimit(RLIMIT_NOFILE, &l));
	must_fail(ipc_os_pipe(fd), EMFILE);
	must_fail(ipc_os_sockpair(fd), EMFILE);
	must_fail(ipc_os_socket(AF_UNIX, SOCK_STREAM), EMFILE);
	ck_assert(stdio_is_closed());
	l.rlim_cur = l.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &l));
}

static void without_stdio(void (*look)(void))
{
	pid_t pid = must(fork());
	int status;

	if (pid == 0) {
		for (int fd = 0; fd <= 2; fd++)
			close(fd);
		look();
		_exit(0);
	}
	must(waitpid(pid, &status, 0));
	ck_assert_int_eq(status, 0);
}

TEST(nothing_takes_the_numbers_of_stdio)
{
	without_stdio(lifts_all);
	if (!getenv("RUNNING_ON_VALGRIND"))
		without_stdio(lifts_nothing);
}

static void receives_above(void)
{
	static struct ipc_fdlist list;
	char room[10];
	struct iovec out = bytes("x", 1), in = bytes(room, sizeof room);
	int s[2], fd[3];

	must(ipc_os_sockpair(s));
	fd[0] = fd[1] = fd[2] = s[0];
	must(ipc_os_writev(s[0], IPC_FD_UNIX, &out, 1, fd, 3));
	must(ipc_os_readv(s[1], IPC_FD_UNIX, &in, 1, &list));
	ck_assert_uint_eq(list.n, 3);
	ck_assert(stdio_is_closed());
	close_all(&list);
}

TEST(received_descriptors_do_not_take_the_numbers_of_stdio)
{
	without_stdio(receives_above);
}

static void blocks_stdio(void)
{
	int low[3], fd;

	must(ipc_os_block_stdio(low));
	fd = must(dup(low[0]));
	ck_assert_int_gt(fd, 2);
	ipc_os_block_stdio_end(low);
	ck_assert(stdio_is_closed());
}

TEST(numbers_of_stdio_are_blocked_for_a_while)
{
	int low[3];

	without_stdio(blocks_stdio);
	must(ipc_os_block_stdio(low));
	ipc_os_block_stdio_end(low);
}

static void *waits(void *arg)
{
	char c;

	must(read(*(int *)arg, &c, 1));
	return NULL;
}

TEST(one_thread_is_told_from_two)
{
	bool before = ipc_os_one_thread();
	pthread_t t;
	int p[2];

	must(ipc_os_pipe(p));
	ck_assert_int_eq(pthread_create(&t, NULL, waits, &p[0]), 0);
	ck_assert(!ipc_os_one_thread());
	must(write(p[1], "", 1));
	pthread_join(t, NULL);
	ck_assert(before || harness_slowness() > 1); /* the thread sanitizer has one of its own */
	close_pair(p);
}

/* However many there are: what was rung once, or a thousand times, is quiet afterwards. */
TEST(bells)
{
	struct pollfd p = {.events = POLLIN};
	int fd[2];

	must(ipc_os_bell(fd));
	p.fd = fd[0];
	ck_assert_int_eq(must(poll(&p, 1, 0)), 0);
	for (int i = 0; i < 10000; i++)
		ipc_os_bell_ring(fd[1]);
	ck_assert_int_eq(must(poll(&p, 1, 0)), 1);
	for (int i = 0; i < 10000 && poll(&p, 1, 0) == 1; i++)
		ipc_os_bell_quiet(fd[0]);
	ck_assert_int_eq(must(poll(&p, 1, 0)), 0);
	ipc_os_bell_close(fd);
}
