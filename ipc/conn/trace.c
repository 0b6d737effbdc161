/*
 * With AIOIPC_TRACE=1 in the environment, a line on stderr for every frame. If the reader of stderr left, the process goes on. If that
 * reader is slow, the process waits, as with anything that is printed there.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ipc/conn/trace.h"

#include "ipc/os/os.h"

static bool wanted;

static void read_environment(void)
{
	const char *value = secure_getenv("AIOIPC_TRACE");

	wanted = value && value[0] == '1' && value[1] == '\0';
}

bool ipc_trace_wanted(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, read_environment);
	return wanted;
}

void ipc_trace(int fd, const char *direction, const char *what, size_t len, unsigned nfds)
{
	char line[512];
	int error = errno, n;
	struct iovec iov = {.iov_base = line};

	n = snprintf(line, sizeof line, "aioipc %d: fd %d %s %s, %zu bytes, %u descriptors\n", (int)getpid(),
		     fd, direction, what ? what : "bytes", len, nfds);
	if (n >= (int)sizeof line) {
		n = sizeof line;
		line[n - 1] = '\n';
	}
	iov.iov_len = (size_t)n;
	while (n > 0 && ipc_os_write_masked(STDERR_FILENO, &iov, 1) == -1 && errno == EINTR)
		;
	errno = error;
}
