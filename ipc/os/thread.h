/* Threads of the library's own, for what can't be done without blocking one. */
#ifndef IPC_OS_THREAD_H
#define IPC_OS_THREAD_H

#include <pthread.h>

/*
 * Runs fn(arg) in a detached thread with all signals blocked, on a stack of the usual size, however much thread-local data the
 * program has. -1/EAGAIN: none to be had.
 */
int ipc_thread_start(void *(*fn)(void *), void *arg);

/* The same in one that the caller will join or detach. */
int ipc_thread_start_joinable(pthread_t *thread, void *(*fn)(void *), void *arg);

#endif
