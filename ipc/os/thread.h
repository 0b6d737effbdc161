/* The library's own threads, for work that must block a thread. */
#ifndef IPC_OS_THREAD_H
#define IPC_OS_THREAD_H

#include <pthread.h>

/*
 * Runs fn(arg) in a detached thread with all signals blocked. Its stack has the usual size, however much thread-local data the program has.
 * -1/EAGAIN: the system has no more threads.
 */
int ipc_thread_start(void *(*fn)(void *), void *arg);

/* The same in a thread that the caller will join or detach. */
int ipc_thread_start_joinable(pthread_t *thread, void *(*fn)(void *), void *arg);

#endif
