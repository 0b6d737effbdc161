/* The local address of connections. See local.h. */
#include "ipc/net/local.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "ipc/net/address.h"
#include "ipc/os/socket.h"

static int refuse(const char **why, const char *text)
{
	*why = text;
	errno = EINVAL;
	return -1;
}

static void take(struct ipc_local *l, const struct addrinfo *ai)
{
	memcpy(&l->of[l->n], ai->ai_addr, ai->ai_addrlen);
	l->len[l->n++] = ai->ai_addrlen;
}

int ipc_local_read(struct ipc_local *l, const char *text, const char **why)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
	struct ipc_address a;
	struct addrinfo *found;

	memset(l, 0, sizeof *l);
	if (ipc_address_read(&a, text, IPC_TO_LISTEN, why) == -1)
		return -1;
	if (a.kind != IPC_ADDRESS_TCP || a.tls)
		return refuse(why, "only a connection of TCP comes from an address that can be chosen");
	if (getaddrinfo(strcmp(a.host, "*") == 0 ? NULL : a.host, a.port, &hints, &found))
		return refuse(why, "the address to come from is a number, not a name");
	for (const struct addrinfo *ai = found; ai && l->n < 2; ai = ai->ai_next)
		take(l, ai);
	freeaddrinfo(found);
	return 0;
}

static bool has_port(const struct sockaddr_storage *sa)
{
	return sa->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)(const void *)sa)->sin6_port
					 : ((const struct sockaddr_in *)(const void *)sa)->sin_port;
}

int ipc_local_bind(const struct ipc_local *l, int fd, int family)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->of[i].ss_family == family)
			return ipc_os_bind_from(fd, (const struct sockaddr *)&l->of[i], l->len[i],
						has_port(&l->of[i]));
	errno = EADDRNOTAVAIL;
	return -1;
}
