/* AIOIPC_TRACE=1 in the environment: every frame in a line on stderr. The only thing the library ever prints, and only when asked. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ipc/conn/conn.h"

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

void ipc_trace(const struct aioconn *c, const char *direction, const char *what, size_t len, unsigned nfds)
{
	fprintf(stderr, "aioipc %d: fd %d %s %s, %zu bytes, %u descriptors\n", (int)getpid(), aioconn_fd(c),
		direction, what ? what : "bytes", len, nfds);
}
