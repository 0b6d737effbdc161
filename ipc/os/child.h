/*
 * A child between a fork without handlers and its execve. The rule: it makes system calls and plain stores only, and takes no lock. Another
 * thread of the parent may have held any lock at the fork, also one of the C library, and in the child nobody unlocks it.
 *
 * The async-signal-safe calls of POSIX do not all keep this rule. sigaction() and _Fork() take a lock since glibc 2.41. write(), open(),
 * close() and poll() would act on a pthread_cancel() that was meant for the parent's thread. This file has raw calls instead of those.
 * The child may also call chdir, dup2, fcntl (but for locks), setpgid, setsid, getpid, execve and _exit: each is one system call.
 */
#ifndef IPC_OS_CHILD_H
#define IPC_OS_CHILD_H

#include <sys/types.h>

/* fork without atfork handlers. In the child, signals with a handler have their default action again; blocked ones stay blocked. */
pid_t ipc_os_raw_fork(void);

/* Unblocks all signals. For such a child, and for others too. */
void ipc_os_raw_unblock(void);

void ipc_os_raw_close(int fd);
void ipc_os_raw_write(int fd, const void *data, size_t len);

/* Opens /dev/null. Where there is none, opens something that can be neither read nor written. */
int ipc_os_raw_null(void);

/*
 * Changes user and group, and drops the supplementary groups. The first changes the calling thread, which is the only one in such a child. The
 * second changes all threads: after fork() somebody's atfork handler may have started some.
 */
int ipc_os_set_ids(uid_t uid, gid_t gid);
int ipc_os_set_ids_of_all(uid_t uid, gid_t gid);

/*
 * This process is killed when the thread that made it ends. -1/ECANCELED: that has ended already. @parent is that thread's process. @fd is the
 * writing end of a pipe that only @parent can read: it shows whether the parent lives where the child can't see its number, in another PID
 * namespace.
 */
int ipc_os_die_with(pid_t parent, int fd);

#endif
