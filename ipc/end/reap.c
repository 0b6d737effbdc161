/* Threads that wait for one child each: see reap.h. Detached, with a small stack and all signals blocked. */
#include "ipc/end/reap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "ipc/end/end.h"

#define STACK (128 * 1024)

static int start(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	sigset_t all, before;
	pthread_t thread;
	int error;

	error = pthread_attr_init(&attr);
	if (error) {
		errno = error;
		return -1;
	}
	pthread_attr_setstacksize(&attr, STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	errno = error ? error : errno;
	return error ? -1 : 0;
}

struct notice {
	pid_t pid;
	struct aioend *tx;
};

static void *tell(void *arg)
{
	struct notice *n = arg;
	siginfo_t info;

	while (waitid(P_PID, (id_t)n->pid, &info, WEXITED | WNOWAIT) == -1 && errno == EINTR)
		;
	aioend_free(n->tx);
	free(n);
	return NULL;
}

struct aioend *ipc_reap_notice(pid_t pid)
{
	struct notice *n = malloc(sizeof(*n));
	struct aioend *rx;
	int error;

	if (!n || aiopipe(&rx, &n->tx) == -1) {
		free(n);
		return NULL;
	}
	n->pid = pid;
	if (start(tell, n) == 0)
		return rx;
	error = errno;
	aioend_free(rx);
	aioend_free(n->tx);
	free(n);
	errno = error;
	return NULL;
}

static void *reap(void *arg)
{
	while (waitpid((pid_t)(intptr_t)arg, NULL, 0) == -1 && errno == EINTR)
		;
	return NULL;
}

int ipc_reap_later(pid_t pid)
{
	return start(reap, (void *)(intptr_t)pid);
}
