/* Threads that wait for a child where nothing else can: the kernel has no pidfd, or nobody is left to ask for it. */
#ifndef IPC_END_REAP_H
#define IPC_END_REAP_H

#include <sys/types.h>

struct aioend;

/* An end that polls readable when @pid has ended; leaves the child to be waited for. */
struct aioend *ipc_reap_notice(pid_t pid);

/* Waits for @pid, and forgets it. */
int ipc_reap_later(pid_t pid);

#endif
