/* Threads of the library's own, for what can't be done without blocking one. */
#ifndef IPC_END_THREAD_H
#define IPC_END_THREAD_H

#include <pthread.h>
#include <stddef.h>

/* Runs fn(arg) in a detached thread with all signals blocked; @stack bytes, 0 for the usual. -1/EAGAIN: none to be had. */
int ipc_thread_start(void *(*fn)(void *), void *arg, size_t stack);

/* The same in one that the caller will join or detach. */
int ipc_thread_start_joinable(pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack);

#endif
