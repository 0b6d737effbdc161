/*
 * With AIOIPC_TRACE=1 in the environment, a line on stderr for every frame. With AIOIPC_TRACE=2 the line also has the values, as
 * aiomsg_text() writes them, the time of day in UTC, and the peer.
 */
#include "ipc/conn/trace.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ipc/msg/image.h"
#include "ipc/msg/show.h"
#include "ipc/os/log.h"
#include "ipc/os/os.h"
#include "ipc/wire/frame.h"

#define LINE_MOST 1024
#define SHOWN_MOST 700 /* of the values */

static int level;

static void read_environment(void)
{
	level = ipc_log_asked("AIOIPC_TRACE");
	if (level > 2)
		level = 0;
}

bool ipc_trace_wanted(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, read_environment);
	return level > 0;
}

/* " 13:37:00.123456Z" */
static void write_time(char *text, size_t size)
{
	struct timespec now;
	unsigned long s;

	clock_gettime(CLOCK_REALTIME, &now);
	s = (unsigned long)now.tv_sec % 86400;
	snprintf(text, size, " %02lu:%02lu:%02lu.%06ldZ", s / 3600, s / 60 % 60, s % 60, now.tv_nsec / 1000);
}

/* " (127.0.0.1:4711)" or " (process 42)"; nothing of a pipe. */
static void write_peer(int fd, char *text, size_t size)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof peer;
	char host[64], port[8];
	pid_t pid;
	uid_t uid;
	gid_t gid;

	text[0] = '\0';
	if (getpeername(fd, (struct sockaddr *)&peer, &len) == -1)
		return;
	if (peer.ss_family != AF_UNIX && getnameinfo((struct sockaddr *)&peer, len, host, sizeof host, port,
						     sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		snprintf(text, size, strchr(host, ':') ? " ([%s]:%s)" : " (%s:%s)", host, port);
	else if (ipc_os_peer_cred(fd, &pid, &uid, &gid) == 0)
		snprintf(text, size, " (process %d)", (int)pid);
}

/* Of a call, or of what answers or cancels one: says so, and that leaves its content. */
static uint8_t write_role(uint8_t kind, char *text, size_t size)
{
	static const char *const roles[] = {"call", "call", "answer", "answer", "refusal", "cancel"};

	if (!ipc_frame_is_call(kind))
		return kind;
	snprintf(text, size, "%s ", roles[kind - IPC_FRAME_CALL]);
	return kind == IPC_FRAME_CALL || kind == IPC_FRAME_ANSWER ? IPC_KIND_TPL : IPC_KIND_BYTES;
}

static void write_kind(uint8_t kind, const unsigned char *data, size_t len, char *text, size_t size)
{
	static const char *const confirming[] = {"hello", "had", "taken"};

	if (kind == IPC_KIND_GOODBYE)
		snprintf(text, size, "goodbye");
	else if (ipc_frame_confirms(kind))
		snprintf(text, size, "%s", confirming[kind - IPC_FRAME_HELLO]);
	else if (kind == IPC_FRAME_GRANT)
		snprintf(text, size, "grant %llu", (unsigned long long)ipc_frame_read_id(data));
	else if (level > 1)
		ipc_show_brief(kind, data ? data : (const unsigned char *)"", len, text, size);
	else if (kind == IPC_KIND_TPL)
		snprintf(text, size, "%s", (const char *)data + IPC_IMAGE_FORMAT);
	else
		snprintf(text, size, "bytes");
}

void ipc_trace(int fd, const char *direction, uint8_t kind, const unsigned char *data, size_t len,
	       unsigned nfds)
{
	char line[LINE_MOST], when[32] = "", peer[96] = "", role[16] = "", what[SHOWN_MOST];
	int error = errno, n;

	if (level > 1) {
		write_time(when, sizeof when);
		write_peer(fd, peer, sizeof peer);
	}
	kind = write_role(kind, role, sizeof role);
	write_kind(kind, data, len, what, sizeof what);
	n = snprintf(line, sizeof line, "aioipc %d%s: fd %d%s %s %s%s, %zu bytes, %u descriptors\n",
		     (int)getpid(), when, fd, peer, direction, role, what, len, nfds);
	ipc_log_print(line, (size_t)n);
	errno = error;
}
