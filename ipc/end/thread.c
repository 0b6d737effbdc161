/* Threads of the library's own: see thread.h. */
#include "ipc/end/thread.h"

#include <errno.h>
#include <signal.h>

int ipc_thread_start_joinable(pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack)
{
	pthread_attr_t attr;
	sigset_t all, before;
	int error;

	error = pthread_attr_init(&attr);
	if (error) {
		errno = error;
		return -1;
	}
	if (stack)
		pthread_attr_setstacksize(&attr, stack);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(thread, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	errno = error ? error : errno;
	return error ? -1 : 0;
}

int ipc_thread_start(void *(*fn)(void *), void *arg, size_t stack)
{
	pthread_t thread;

	if (ipc_thread_start_joinable(&thread, fn, arg, stack) == -1)
		return -1;
	pthread_detach(thread);
	return 0;
}
