/*
 * What a machine of today may lack. An old kernel does not have it (ENOSYS, EINVAL, EOPNOTSUPP). A system call filter that is older than the
 * kernel refuses it (EPERM, EACCES). A chroot has no /proc. This table has everything for which the library knows a second way;
 * tests/old_kernel takes each away, with either kind of error.
 *
 *   wanted                        since   errno              what is done instead
 *   pwritev2 with RWF_NOSIGNAL    6.18    any, of a pipe     SIGPIPE is blocked around writev: os_linux.c
 *   pidfd_open                    5.3     any                a thread waits for the child: end/proc.c, end/reap.c
 *   clone3 with CLEAR_SIGHAND     5.5     any error          clone, and signals are reset one by one: child.c
 *   close_range                   5.9     any error          /proc/self/fd is read: fds_linux.c
 *   /proc/self/fd                         any error          numbers are polled, a thousand at a time: fds_linux.c
 *   /proc/self/task                       any error          the C library is asked, then unshare(CLONE_THREAD): os_linux.c
 *   fchmodat2                     6.6     any error          chmod by /proc/self/fd: os_linux.c; or by name: net/sockfile.c
 *   /dev/null                             any error          a descriptor that can't be read or written: child.c
 *   madvise MADV_WIPEONFORK       4.14    any error          only fork handlers notice a fork: own/epoch.c
 *   madvise MADV_GUARD_INSTALL    6.13    any                mprotect, and fewer tasks: os_linux.c
 *   madvise MADV_NOHUGEPAGE               any error          nothing
 *   eventfd                               any                a pipe: bell.c
 *   timerfd_create                        any error          no placeholders: loop/watch.c
 *
 * "any" is any errno that ipc_os_is_missing() knows. Such an errno may also be a real error. Then the second way fails too, with the right
 * errno. So only a success of the second way proves that the first is missing.
 */
#ifndef IPC_OS_MISSING_H
#define IPC_OS_MISSING_H

#include <errno.h>
#include <stdbool.h>

static inline bool ipc_os_is_missing(int error)
{
	return error == ENOSYS || error == EPERM || error == EINVAL || error == EOPNOTSUPP || error == EACCES;
}

#endif
