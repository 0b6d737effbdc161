/*
 * A child between a fork without handlers and its execve. Another thread of the parent may have held any lock, those of the C library too,
 * which nobody will ever let go of in the child. So nothing that runs there takes one: system calls and plain stores, no more. What
 * POSIX calls async-signal-safe is not enough: sigaction() takes a lock since glibc 2.41, and so does _Fork(); and write(), open(), close()
 * and poll() would act upon a pthread_cancel() that was meant for the parent's thread. Here are raw ones of those. What else a child
 * may call, because it is its system call and nothing else: chdir, dup2, fcntl (but for locks), setpgid, setsid, getpid, execve, _exit.
 */
#ifndef IPC_OS_CHILD_H
#define IPC_OS_CHILD_H

#include <sys/types.h>

/* fork without atfork handlers, in which signals that were caught are back at their defaults in the child. What is blocked stays so. */
pid_t ipc_os_raw_fork(void);

/* For such a child, and for others too. No signal is blocked any more. */
void ipc_os_raw_unblock(void);

void ipc_os_raw_close(int fd);
void ipc_os_raw_write(int fd, const void *data, size_t len);

/* Opens /dev/null, or, where there is none, something that can neither be read nor written. */
int ipc_os_raw_null(void);

/*
 * Become this user and group, without supplementary groups: this thread, which is all that there is; or all threads, which after fork() may have
 * been started by somebody's handler.
 */
int ipc_os_set_ids(uid_t uid, gid_t gid);
int ipc_os_set_ids_of_all(uid_t uid, gid_t gid);

/*
 * This process is killed when the thread that made it ends. -1/ECANCELED: it has ended already. @parent is its process; @fd, the writing end of
 * a pipe that only @parent can read, tells of it where it has no number: in another name space of process ids.
 */
int ipc_os_die_with(pid_t parent, int fd);

#endif
