/* Threads that wait for one child each: see reap.h. */
#include "ipc/end/reap.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "ipc/end/end.h"
#include "ipc/os/thread.h"

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
	if (ipc_thread_start(tell, n) == 0)
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
	return ipc_thread_start(reap, (void *)(intptr_t)pid);
}
