/* Threads of the library's own: see thread.h. */
#include "ipc/os/thread.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>

#include "ipc/os/os.h"

/* The C library takes thread-local data from the stack, so this adds it to the default size. */
static void make_room(pthread_attr_t *attr)
{
	size_t page = ipc_os_page_size(), locals = ipc_os_thread_locals(), stack;

	if (locals >= page && pthread_attr_getstacksize(attr, &stack) == 0)
		pthread_attr_setstacksize(attr, stack + (locals + page - 1) / page * page);
}

int ipc_thread_start_joinable(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	sigset_t all, before;
	int error;

	error = pthread_attr_init(&attr);
	if (error) {
		errno = error;
		return -1;
	}
	make_room(&attr);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(thread, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	errno = error ? error : errno;
	return error ? -1 : 0;
}

int ipc_thread_start(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	if (ipc_thread_start_joinable(&thread, fn, arg) == -1)
		return -1;
	pthread_detach(thread);
	return 0;
}
