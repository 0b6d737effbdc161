/* Threads that wait for a child: where the kernel has no pidfd, and for children whose handle was freed. */
#ifndef IPC_END_REAP_H
#define IPC_END_REAP_H

#include <sys/types.h>

struct aioend;

/* An end that is readable when @pid has ended. The caller must still wait for the child. NULL with errno. */
struct aioend *ipc_reap_notice(pid_t pid);

/* A thread waits for @pid, so that the child does not stay a zombie. -1/EAGAIN: no thread. */
int ipc_reap_later(pid_t pid);

#endif
