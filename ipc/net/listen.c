/* A socket that listens: see listen.h. */
#include "ipc/net/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>

#include <aioipc/base.h>

#include "ipc/os/log.h"
#include "ipc/loop/wait.h"
#include "ipc/net/lookup.h"
#include "ipc/net/socket.h"
#include "ipc/os/socket.h"

/* A number needs no lookup, and no wait. */
static int look_up(struct ipc_lookup *l, struct event_base *base, const struct addrinfo **found,
		   const char **why)
{
	struct pollfd p = {.fd = ipc_lookup_fd(l), .events = POLLIN};
	int64_t ns;
	int r;

	while ((r = ipc_lookup_take(l, found, why, &ns)) == 0) {
		int64_t until = ns < 0 ? AIOIPC_FOREVER : aioipc_after(ns / 1000000 + 1);

		if (ipc_wait_allowed(base, AIOIPC_FOREVER) == -1 ||
		    (ipc_wait(&p, 1, until) == -1 && errno != ETIMEDOUT))
			return -1;
	}
	return r == 1 ? 0 : -1;
}

static int listen_inet(struct ipc_listen *s, const struct addrinfo *ai, bool any,
		       const struct ipc_listen_options *o)
{
	int fd;

	if (ipc_net_socket(&s->own, ai->ai_family, SOCK_STREAM) == -1)
		return -1;
	fd = s->own.r.fd;
	ipc_os_keep_alive(fd, &o->keepalive);
	if (ipc_os_reuse_address(fd) == 0 &&
	    (ai->ai_family != AF_INET6 || ipc_os_both_families(fd, any) == 0) &&
	    bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, o->backlog) == 0)
		return 0;
	ipc_own_close(&s->own);
	ipc_own_init(&s->own);
	return -1;
}

static const struct addrinfo *first_of(const struct addrinfo *ai, int family)
{
	while (ai && ai->ai_family != family)
		ai = ai->ai_next;
	return ai;
}

/* One socket is enough. For "*", an IPv6 socket takes IPv4 too. For a name, one of its addresses: clients try all. */
static int listen_at(struct ipc_listen *s, const struct addrinfo *found, bool any,
		     const struct ipc_listen_options *o)
{
	const struct addrinfo *four = first_of(found, AF_INET), *six = first_of(found, AF_INET6);
	int r = -1;

	errno = EAFNOSUPPORT;
	if (six && (any || !four))
		r = listen_inet(s, six, any, o);
	if (four && (!any || (r == -1 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))))
		r = listen_inet(s, four, any, o);
	return r;
}

static int listen_tcp(struct ipc_listen *s, const struct ipc_address *a, struct event_base *base,
		      const struct ipc_listen_options *o)
{
	struct ipc_lookup *l = ipc_lookup_start(a->host, a->port);
	const struct addrinfo *found;
	const char *why = NULL;
	int r = -1;

	if (!l)
		return -1;
	if (look_up(l, base, &found, &why) == 0)
		r = listen_at(s, found, strcmp(a->host, "*") == 0, o);
	else if (why)
		ipc_log("listen on %s://%s:%s: %s", a->tls ? "tls" : "tcp", a->host, a->port, why);
	ipc_lookup_free(l);
	return r;
}

static int listen_unix(struct ipc_listen *s, const struct ipc_address *a, const struct ipc_listen_options *o)
{
	int fd;

	if (ipc_net_socket(&s->own, AF_UNIX, SOCK_STREAM) == -1)
		return -1;
	fd = s->own.r.fd;
	if (a->kind == IPC_ADDRESS_PATH &&
	    ipc_sockfile_listen(&s->file, fd, &a->un, a->un_len, o->mode, o->backlog) == 0)
		return 0;
	if (a->kind == IPC_ADDRESS_ABSTRACT &&
	    bind(fd, (const struct sockaddr *)(const void *)&a->un, a->un_len) == 0 &&
	    listen(fd, o->backlog) == 0)
		return 0;
	ipc_own_close(&s->own);
	return -1;
}

static int port_of(int fd)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof sa;

	if (getsockname(fd, (struct sockaddr *)&sa, &len) == -1)
		return 0;
	switch (sa.ss_family) {
	case AF_INET:
		return ntohs(((struct sockaddr_in *)(void *)&sa)->sin_port);
	case AF_INET6:
		return ntohs(((struct sockaddr_in6 *)(void *)&sa)->sin6_port);
	default:
		return 0;
	}
}

int ipc_listen_open(struct ipc_listen *s, const struct ipc_address *a, struct event_base *base,
		    const struct ipc_listen_options *o)
{
	int r;

	memset(s, 0, sizeof *s);
	ipc_own_init(&s->own);
	r = a->kind == IPC_ADDRESS_TCP ? listen_tcp(s, a, base, o) : listen_unix(s, a, o);
	if (r == -1)
		return -1;
	ipc_address_of_socket(s->own.r.fd, s->address, sizeof s->address);
	s->ring = a->ring;
	if (s->ring)
		memcpy(s->address, "ring", strlen("ring"));
	if (a->tls)
		memcpy(s->address, "tls", strlen("tls"));
	s->port = port_of(s->own.r.fd);
	return 0;
}

void ipc_listen_close(struct ipc_listen *s)
{
	if (ipc_own_check(&s->own) == 0)
		ipc_sockfile_remove(&s->file);
	ipc_own_close(&s->own);
}
