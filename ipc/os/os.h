/*
 * Floor 1: what the kernel does, and the only place with #ifdef of an operating system. Every function
 * here is a system call or two, returns as one, and keeps no state but what it learned of the kernel.
 */
#ifndef IPC_OS_H
#define IPC_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <poll.h>

#define IPC_FDS_MOST 253 /* descriptors in one sendmsg or recvmsg: SCM_MAX_FD */

/* Which calls suit a descriptor. */
enum ipc_fdkind { IPC_FD_PIPE, IPC_FD_SOCKET, IPC_FD_UNIX, IPC_FD_FILE };

static inline bool ipc_os_is_socket(enum ipc_fdkind kind)
{
	return kind == IPC_FD_SOCKET || kind == IPC_FD_UNIX;
}

/* Descriptors that came with a read. */
struct ipc_fdlist {
	int fd[IPC_FDS_MOST];
	unsigned n;
	int cut; /* the kernel had more, and closed them: why; EMFILE, or EACCES when it kept them out */
};

/*
 * What is opened here is never 0, 1 or 2, even where these are closed: what is written there is meant for somebody else. Takes over @fd;
 * the same file, close-on-exec, at another number if need be. -1: @fd is -1, then errno is kept, or EMFILE, then it is closed.
 */
int ipc_os_lift(int fd);

/* Both of @fd, when @made is 0: returns that, or -1 with both closed. */
int ipc_os_lift_pair(int made, int fd[2]);

/* Keeps others off 0, 1 and 2 where these are closed, while something is opened that can't be lifted. Undone by _end. */
int ipc_os_block_stdio(int fd[3]);
void ipc_os_block_stdio_end(const int fd[3]);

/* close-on-exec; sockets blocking (calls say MSG_DONTWAIT), both kinds of pipe ends blocking too. */
int ipc_os_pipe(int fd[2]);
int ipc_os_sockpair(int fd[2]);

/*
 * What @fd is. Files, /dev/null and the like are always ready, and epoll(7) does not take them; anything else that is no socket counts as
 * a pipe, a terminal too.
 */
enum ipc_fdkind ipc_os_fdkind(int fd);
int ipc_os_set_cloexec(int fd);

/* Of @fd, a character device: can it be waited for? */
bool ipc_os_can_watch(int fd);

/* Pipes must be O_NONBLOCK to be used below; *@was (may be NULL) says whether it was on. */
int ipc_os_set_nonblock(int fd, bool on, bool *was);

/*
 * Never block, never raise SIGPIPE, go on after EINTR; macOS' EPROTOTYPE comes back as ECONNRESET.
 * readv: 0 is EOF; @fds, of a socket only: what came; NULL: descriptors that come are closed by the kernel. writev: @nfds descriptors travel
 * with the first byte. ENOBUFS when it is not room that is missing but memory, or one more descriptor on its way
 * than this user may have: worth another try after a while, but the kernel says "writable" all the time.
 */
ssize_t ipc_os_readv(int fd, enum ipc_fdkind kind, struct iovec *iov, int n, struct ipc_fdlist *fds);
ssize_t ipc_os_writev(int fd, enum ipc_fdkind kind, const struct iovec *iov, int n, const int *fds,
		      unsigned nfds);

/*
 * What writev does to a pipe: by a flag of the kernel's, else, as masked does, by blocking SIGPIPE around it, and, since
 * a file may be as large as its user is allowed to make it, SIGXFSZ. EINTR comes back.
 */
ssize_t ipc_os_write_pipe(int fd, const struct iovec *iov, int n);
ssize_t ipc_os_write_masked(int fd, const struct iovec *iov, int n);

/* Should the peer see a reset, rather than an end, when a TCP socket is closed as it is, by whom ever? */
int ipc_os_set_reset(int fd, bool on);

/* Half-close of a socket's sending side. */
int ipc_os_shutdown_write(int fd);

/* Does the system of a TCP peer have all that was sent, the end among it? */
bool ipc_os_all_arrived(int fd);

/* What arrived can still be read, and is followed by EOF. */
int ipc_os_shutdown_read(int fd);

/* Credentials of who made the peer of a unix socket; EOPNOTSUPP on others. */
int ipc_os_peer_cred(int fd, pid_t *pid, uid_t *uid, gid_t *gid);

/* Monotonic, in nanoseconds. */
int64_t ipc_os_now(void);

/*
 * ppoll with nanoseconds, -1 for ever; of events POLLIN and POLLOUT. EINTR comes back: a signal handler ran, and only then (not after a
 * stop, or when a debugger came). Works under any RLIMIT_NOFILE.
 */
int ipc_os_poll(struct pollfd *fds, nfds_t n, int64_t ns);

/*
 * A descriptor that is never ready for anything, close-on-exec (see ipc/loop/watch.h), and whether a number is
 * one, or a duplicate of one. The first is async-signal-safe.
 */
int ipc_os_placeholder(void);
bool ipc_os_is_placeholder(int fd);

/* A descriptor that polls readable when @pid, a child, has ended. -1: see ipc_os_is_missing(), or as pidfd_open(2). */
int ipc_os_pidfd(pid_t pid);

/*
 * Closes every descriptor from @low to @high (INT_MAX: all). The second is what it does where there is no
 * close_range(2), by /proc or without it. By the rule of child.h.
 */
void ipc_os_close_range(int low, int high);
void ipc_os_close_range_slowly(int low, int high);

/* Signals that were caught get their default, and none is blocked. For a child of fork(): others see child.h. */
void ipc_os_reset_signals(void);

/* True when this process has one thread, false also where neither /proc nor the C library nor the kernel tells. */
bool ipc_os_one_thread(void);

/* Memory for stacks, @len bytes in whole pages, which cost nothing until touched. NULL with ENOMEM. */
size_t ipc_os_page_size(void);
void *ipc_os_map_stacks(size_t len);
void ipc_os_unmap_stacks(void *at, size_t len, unsigned guards);

/*
 * Makes whole pages of them trap. -1/ENOMEM: a kernel without MADV_GUARD_INSTALL (before 6.13) keeps two
 * mappings for each guard, so there are only some thousands of them.
 */
int ipc_os_guard(void *at, size_t len);

/* Thread-local data of the program and its libraries, in bytes: no less than what each thread has of it on its stack. */
size_t ipc_os_thread_locals(void);

/* A zeroed page that reads as zero in every process but this one (MADV_WIPEONFORK, since 4.14); NULL where there is none. */
void *ipc_os_page_of_this_process(void);

/* Of a file that was opened with O_PATH, whatever its path leads to by now. -1: as chmod(2); ENOENT: not without /proc. */
int ipc_os_chmod_opened(int fd, mode_t mode);

#endif
