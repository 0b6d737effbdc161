/* Addresses as text: see address.h. */
#include "ipc/net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"
#define HOST_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "-._"

/* The rest of @text after @prefix, or NULL. */
static const char *behind(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

static const char *read_port(struct ipc_address *a, const char *text, enum ipc_address_use use)
{
	size_t len = strlen(text);

	if (len == 0 || strspn(text, DIGITS) != len)
		return "the port is not a number";
	if (len >= sizeof a->port || atoi(text) > 65535)
		return "the port is over 65535";
	if (atoi(text) == 0 && use == IPC_TO_CONNECT)
		return "port 0 is only to listen on";
	memcpy(a->port, text, len + 1);
	return NULL;
}

/* An IPv6 number in brackets, perhaps with '%' and an interface. */
static bool is_ipv6(const char *host)
{
	char number[INET6_ADDRSTRLEN];
	size_t len = strcspn(host, "%");
	struct in6_addr in6;

	if (len >= sizeof number)
		return false;
	memcpy(number, host, len);
	number[len] = '\0';
	return inet_pton(AF_INET6, number, &in6) == 1;
}

static const char *check_host(const char *host, bool brackets, enum ipc_address_use use)
{
	if (brackets)
		return is_ipv6(host) ? NULL : "no IPv6 address in the brackets";
	if (*host == '\0')
		return "no host";
	if (strcmp(host, "*") == 0)
		return use == IPC_TO_LISTEN ? NULL : "host * is only to listen on";
	if (strchr(host, ':'))
		return "an IPv6 address goes in brackets";
	return host[strspn(host, HOST_CHARS)] == '\0' ? NULL : "a character that no host name has";
}

static const char *read_tcp(struct ipc_address *a, const char *text, enum ipc_address_use use)
{
	bool brackets = *text == '[';
	const char *start = text + brackets, *end = brackets ? strchr(text, ']') : strrchr(text, ':');
	const char *port = end ? end + brackets : NULL, *why;

	if (brackets && !end)
		return "a bracket is not closed";
	if (!port || *port != ':')
		return "no port";
	if ((size_t)(end - start) >= sizeof a->host)
		return "the host is too long";
	a->kind = IPC_ADDRESS_TCP;
	memcpy(a->host, start, (size_t)(end - start));
	a->host[end - start] = '\0';
	why = check_host(a->host, brackets, use);
	return why ? why : read_port(a, port + 1, use);
}

/* The length of a path includes its NUL. An abstract name begins with a NUL. */
static const char *read_unix(struct ipc_address *a, const char *text, bool abstract)
{
	size_t len = strlen(text);

	if (len + 1 > sizeof a->un.sun_path)
		return abstract ? "the name is too long" : "the path is too long for a socket";
	if (len < 2)
		return abstract ? "no name" : "no path";
	a->kind = abstract ? IPC_ADDRESS_ABSTRACT : IPC_ADDRESS_PATH;
	a->un.sun_family = AF_UNIX;
	memcpy(a->un.sun_path, text, len);
	if (abstract)
		a->un.sun_path[0] = '\0';
	a->un_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + !abstract);
	return NULL;
}

static const char *read_address(struct ipc_address *a, const char *text, enum ipc_address_use use)
{
	const char *rest;

	a->tls = behind(text, "tls://");
	if ((rest = behind(text, a->tls ? "tls://" : "tcp://")))
		return read_tcp(a, rest, use);
	a->ring = behind(text, "ring:");
	rest = a->ring ? text + strlen("ring:") : behind(text, "unix:");
	if (rest && *rest == '@')
		return read_unix(a, rest, true);
	if (rest && (rest = behind(rest, "//")) && *rest == '/')
		return read_unix(a, rest, false);
	return "neither tcp://host:port nor unix:///path nor unix:@name (nor ring: for unix:, nor tls: for "
	       "tcp:)";
}

int ipc_address_read(struct ipc_address *a, const char *text, enum ipc_address_use use, const char **why)
{
	const char *wrong;

	memset(a, 0, sizeof *a);
	wrong = text ? read_address(a, text, use) : "no address";
	if (!wrong)
		return 0;
	if (why)
		*why = wrong;
	errno = EINVAL;
	return -1;
}
