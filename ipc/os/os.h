/*
 * What the kernel does, and the only folder with #ifdef of an operating system. Every function here is a system call or two and returns like
 * one. The only state is what was learned about the kernel.
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

struct stat;

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
	int cut; /* 0, or why the kernel closed some that came too: EMFILE, or EACCES (a security module refused them) */
};

/*
 * Moves a new descriptor away from 0, 1 and 2: where these are closed, the program still writes there what is meant for others. Returns @fd, or
 * the same file at a higher number, close-on-exec. -1: @fd was -1 (errno is kept), or EMFILE (@fd was closed).
 */
int ipc_os_lift(int fd);

/* The same for both of @fd when @made is 0. Returns @made, or -1 with both closed. */
int ipc_os_lift_pair(int made, int fd[2]);

/* Fills those of 0, 1 and 2 that are closed, while something is opened that can't be lifted. Undo it with _end. */
int ipc_os_block_stdio(int fd[3]);
void ipc_os_block_stdio_end(const int fd[3]);

/* Close-on-exec and blocking: calls on sockets say MSG_DONTWAIT. */
int ipc_os_pipe(int fd[2]);
int ipc_os_sockpair(int fd[2]);

/*
 * What @fd is. A file is what is always ready and what epoll(7) refuses, also /dev/null. Everything else that is no socket counts as a pipe, also
 * a terminal.
 */
enum ipc_fdkind ipc_os_fdkind(int fd);
enum ipc_fdkind ipc_os_fdkind_of(int fd, const struct stat *st); /* as fstat(2) told */
int ipc_os_set_cloexec(int fd);

/* Can epoll(7) watch @fd, a character device? */
bool ipc_os_can_watch(int fd);

/* The calls below need pipes that are O_NONBLOCK. *@was (may be NULL): was it on before? */
int ipc_os_set_nonblock(int fd, bool on, bool *was);

/*
 * Never block, never raise SIGPIPE, go on after EINTR. macOS' EPROTOTYPE becomes ECONNRESET.
 * readv: 0 is EOF. @fds, for sockets only: the descriptors that came; NULL: the kernel closes them. writev: @nfds descriptors travel with the
 * first byte. ENOBUFS: memory is missing, or this user has too many descriptors on their way. Try again after a while: the kernel says
 * "writable" all the time.
 */
ssize_t ipc_os_readv(int fd, enum ipc_fdkind kind, struct iovec *iov, int n, struct ipc_fdlist *fds);
ssize_t ipc_os_writev(int fd, enum ipc_fdkind kind, const struct iovec *iov, int n, const int *fds,
		      unsigned nfds);

/* What readv would give of a unix socket, which stays in it. The descriptors are duplicates. */
ssize_t ipc_os_peek(int fd, struct iovec *iov, struct ipc_fdlist *fds);

/*
 * How writev writes to a pipe: with a flag that keeps SIGPIPE away, where the kernel has it, else as masked does. masked blocks SIGPIPE during the
 * call, and SIGXFSZ, because a file may reach its user's limit. Both return EINTR.
 */
ssize_t ipc_os_write_pipe(int fd, const struct iovec *iov, int n);
ssize_t ipc_os_write_masked(int fd, const struct iovec *iov, int n);

/* @on: the peer of a TCP socket sees a reset when the socket is closed, not an end. Also when the process dies. */
int ipc_os_set_reset(int fd, bool on);

/* Half-close of a socket's sending side. */
int ipc_os_shutdown_write(int fd);

/* Has the system of a TCP peer acknowledged all that was sent, also the end? */
bool ipc_os_all_arrived(int fd);

/* Half-close of the receiving side: what has arrived can still be read, then comes EOF. */
int ipc_os_shutdown_read(int fd);

/* Credentials of the process that made the peer of a unix socket. -1/EOPNOTSUPP on others. */
int ipc_os_peer_cred(int fd, pid_t *pid, uid_t *uid, gid_t *gid);

/* Monotonic, in nanoseconds. */
int64_t ipc_os_now(void);

/*
 * ppoll for @ns nanoseconds, or for ever (-1), of the events POLLIN and POLLOUT. EINTR: a signal handler ran; never because of a stop or a
 * debugger. Works under any RLIMIT_NOFILE.
 */
int ipc_os_poll(struct pollfd *fds, nfds_t n, int64_t ns);

/*
 * Makes a descriptor that is never ready for anything, close-on-exec (see ipc/loop/watch.h); async-signal-safe. And: is @fd one, or a duplicate
 * of one?
 */
int ipc_os_placeholder(void);
bool ipc_os_is_placeholder(int fd);

/* A descriptor that polls readable when @pid, a child, has ended. -1: see ipc_os_is_missing(), or as pidfd_open(2). */
int ipc_os_pidfd(pid_t pid);

/*
 * Closes every descriptor from @low to @high (INT_MAX: all), by the rule of child.h. The second is the way where there is no close_range(2), with
 * or without /proc.
 */
void ipc_os_close_range(int low, int high);
void ipc_os_close_range_slowly(int low, int high);

/* Signals with a handler get their default action, and none is blocked. For a child of fork(); for others see child.h. */
void ipc_os_reset_signals(void);

/* Has this process only one thread? False also when neither /proc nor the C library nor the kernel tells. */
bool ipc_os_one_thread(void);

/* Memory for stacks, @len bytes in whole pages. A page costs nothing until it is touched. NULL with ENOMEM. */
size_t ipc_os_page_size(void);
void *ipc_os_map_stacks(size_t len);
void ipc_os_unmap_stacks(void *at, size_t len, unsigned guards);

/*
 * Makes whole pages of them trap. -1/ENOMEM: a kernel without MADV_GUARD_INSTALL (before 6.13) needs two mappings for each guard, so it has only
 * some thousands.
 */
int ipc_os_guard(void *at, size_t len);

/* How much thread-local data the program and its libraries have, in bytes. A thread has at most that on its stack. */
size_t ipc_os_thread_locals(void);

/* A zeroed page that fork wipes: in a child it is zero again (MADV_WIPEONFORK, since 4.14). NULL where the kernel has none. */
void *ipc_os_page_of_this_process(void);

/* When this process was started, as /proc/PID/stat tells it: with its pid, it is no other. 0: not known. */
uint64_t ipc_os_started(void);

/* chmod of the file that is open (O_PATH), whatever its path means now. -1: as chmod(2); ENOENT: an old kernel without /proc. */
int ipc_os_chmod_opened(int fd, mode_t mode);

#endif
