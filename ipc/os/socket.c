/* Stream sockets: see socket.h. */
#include "ipc/os/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "ipc/os/os.h"

#define IDLE_DEFAULT (INT64_C(60) * 1000)
#define TIMEOUT_DEFAULT (INT64_C(300) * 1000)
#define PROBES 6
#define SECONDS_MOST INT64_C(32767) /* of the system */

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof value);
}

/* Messages leave in as few writes as possible, so waiting for more data would only delay them. */
static void no_delay(int fd)
{
	int error = errno;

	set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	errno = error;
}

static int or_default(int64_t ms, int64_t otherwise)
{
	int64_t most = SECONDS_MOST * 1000;

	if (ms == 0)
		ms = otherwise;
	return (int)(ms < most ? ms : most);
}

/* At least one, the smallest that the system takes. */
static int seconds(int ms)
{
	return ms > 1000 ? ms / 1000 : 1;
}

/* After @idle, a few probes. @timeout counts for probes and for data that was sent. */
void ipc_os_keep_alive(int fd, const struct ipc_os_keepalive *k)
{
	int error = errno, idle;

	if (k->idle >= 0 && set(fd, SOL_SOCKET, SO_KEEPALIVE, 1) == 0) {
		idle = or_default(k->idle, IDLE_DEFAULT);
		set(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds(idle));
		set(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds(idle / PROBES));
		set(fd, IPPROTO_TCP, TCP_KEEPCNT, PROBES);
	}
	if (k->timeout >= 0)
		set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, or_default(k->timeout, TIMEOUT_DEFAULT));
	errno = error;
}

int ipc_os_socket(int family, int type)
{
	int fd = ipc_os_lift(socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));

	if (fd != -1 && family != AF_UNIX)
		no_delay(fd);
	return fd;
}

int ipc_os_reuse_address(int fd)
{
	return set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
}

int ipc_os_both_families(int fd, bool both)
{
	return set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !both);
}

/* accept(2) of Linux returns network errors of the new peer: they mean that it has left. */
static bool is_of_peer(int error)
{
	switch (error) {
	case EINTR:
	case EWOULDBLOCK:
	case ECONNABORTED:
	case EPROTO:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
#ifdef ENONET
	case ENONET:
#endif
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
		return true;
	default:
		return false;
	}
}

int ipc_os_accept(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof peer;
	int s = accept4(fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);

	if (s == -1 && is_of_peer(errno))
		errno = EAGAIN;
	s = ipc_os_lift(s);
	if (s != -1 && peer.ss_family != AF_UNIX)
		no_delay(s);
	return s;
}

int ipc_os_bind_from(int fd, const struct sockaddr *sa, socklen_t len, bool port)
{
	if (port && set(fd, SOL_SOCKET, SO_REUSEADDR, 1) == -1)
		return -1;
	if (!port)
		set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	return bind(fd, sa, len);
}

int ipc_os_connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	int r = connect(fd, sa, len);

	if (r == -1 && errno == EINTR)
		errno = EINPROGRESS;
	return r;
}

/* When nobody listens on a port of the range for outgoing connections, a socket may get that port for itself and connect to itself. */
static bool meets_itself(int fd)
{
	struct sockaddr_storage one = {0}, other = {0};
	socklen_t n = sizeof one, m = sizeof other;

	if (getsockname(fd, (struct sockaddr *)&one, &n) == -1 || one.ss_family == AF_UNIX)
		return false;
	return getpeername(fd, (struct sockaddr *)&other, &m) == 0 && n == m && memcmp(&one, &other, n) == 0;
}

int ipc_os_connected(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int error;
	socklen_t len = sizeof error;

	if (ipc_os_poll(&p, 1, 0) < 1)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		return -1;
	if (!error && meets_itself(fd))
		error = ECONNREFUSED;
	if (!error)
		return 1;
	errno = error;
	return -1;
}

int ipc_os_check_stream(int fd)
{
	int type, listens = 0;
	socklen_t len = sizeof type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == -1)
		return 0;
	len = sizeof listens;
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
	if (type == SOCK_STREAM && !listens)
		return 0;
	errno = listens ? EINVAL : EPROTOTYPE;
	return -1;
}
