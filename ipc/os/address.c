/* Addresses of sockets as text: see address.h. */
#include "ipc/os/address.h"

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "ipc/os/text.h"

static void write_inet(char *buf, size_t size, const struct sockaddr *sa, socklen_t len)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];
	const char *shown = host;
	bool six;

	if (getnameinfo(sa, len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV)) {
		snprintf(buf, size, "tcp:");
		return;
	}
	if (strncmp(host, "::ffff:", 7) == 0 && strchr(host, '.'))
		shown += 7; /* an IPv4 peer of a socket of both families */
	six = strchr(shown, ':');
	snprintf(buf, size, "tcp://%s%s%s:%s", six ? "[" : "", shown, six ? "]" : "", port);
}

static void write_unix(char *buf, size_t size, const struct sockaddr_un *un, socklen_t len)
{
	int n = (int)len - (int)offsetof(struct sockaddr_un, sun_path);

	if (n <= 0)
		snprintf(buf, size, "unix:");
	else if (un->sun_path[0] == '\0')
		snprintf(buf, size, "unix:@%.*s", n - 1, un->sun_path + 1);
	else
		snprintf(buf, size, "unix://%.*s", n, un->sun_path);
}

void ipc_address_write(char *buf, size_t size, const struct sockaddr *sa, socklen_t len)
{
	if (len >= sizeof sa->sa_family && sa->sa_family != AF_UNIX)
		write_inet(buf, size, sa, len);
	else
		write_unix(buf, size, (const struct sockaddr_un *)(const void *)sa, len);
}

typedef int name_fn(int fd, struct sockaddr *sa, socklen_t *len);

static int write_name(name_fn *name, int fd, char *buf, size_t size)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof sa;

	memset(&sa, 0, sizeof sa);
	if (name(fd, (struct sockaddr *)&sa, &len) == -1)
		return -1;
	ipc_address_write(buf, size, (struct sockaddr *)&sa, len);
	return 0;
}

int ipc_address_of_socket(int fd, char *buf, size_t size)
{
	return write_name(getsockname, fd, buf, size);
}

int ipc_address_of_peer(int fd, char *buf, size_t size)
{
	if (write_name(getpeername, fd, buf, size) == -1)
		return -1;
	ipc_text_tame(buf); /* the peer has chosen its name */
	return 0;
}
