/* Addresses of servers: see server.h. */
#include "ipc/stream/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/net/address.h"
#include "ipc/stream/resp.h"

#define TEXT_MOST 2048
#define DATABASES 65536

const char *ipc_server_last(const char *text, char c, size_t len)
{
	while (len > 0)
		if (text[--len] == c)
			return &text[len];
	return NULL;
}

/* The rest of @text after @prefix, or NULL. */
static const char *behind(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %41 is A. NULL: -1/EINVAL (a '%' of no use, or a NUL), ENOMEM. */
static char *decoded(const char *s, size_t len)
{
	char *to = malloc(len + 1);
	size_t n = 0;

	for (size_t i = 0; to && i < len; i++) {
		int high = s[i] == '%' && i + 2 < len ? hex(s[i + 1]) : -1;
		int low = high >= 0 ? hex(s[i + 2]) : -1;

		if (s[i] == '%' && (low < 0 || high + low == 0)) {
			free(to);
			errno = EINVAL;
			return NULL;
		}
		to[n++] = s[i] == '%' ? (char)(16 * high + low) : s[i];
		i += s[i] == '%' ? 2 : 0;
	}
	if (to)
		to[n] = '\0';
	return to;
}

static const char *read_database(struct ipc_server *s, const char *text)
{
	int64_t n;

	if (ipc_resp_decimal(text, strlen(text), &n) == -1 || n < 0 || n >= DATABASES)
		return "the database is not a number";
	s->database = (unsigned)n;
	return NULL;
}

static const char *read_who(struct ipc_server *s, const char *text, size_t len)
{
	const char *colon = memchr(text, ':', len);
	size_t user = colon ? (size_t)(colon - text) : 0;

	if (!colon)
		return "in front of the '@' belongs user:password, or :password";
	if (user > 0 && !(s->user = decoded(text, user)))
		return errno == ENOMEM ? NULL : "the name of the user is not right: %40 is an '@', %25 a '%'";
	s->password = decoded(colon + 1, len - user - 1);
	return s->password || errno == ENOMEM ? NULL : "the password is not right: %40 is an '@', %25 a '%'";
}

/* "host", "host:port", "[::1]:port" */
static const char *read_host(struct ipc_server *s, const char *text, size_t len)
{
	const char *bracket = memchr(text, ']', len), *colon = ipc_server_last(text, ':', len), *why;
	bool has_port = colon && (!bracket || colon > bracket);
	char full[TEXT_MOST + 16];
	struct ipc_address a;

	snprintf(full, sizeof full, "%s://%.*s%s", s->tls ? "tls" : "tcp", (int)len, text,
		 has_port ? "" : ":6379");
	if (ipc_address_read(&a, full, IPC_TO_CONNECT, &why) == -1)
		return why;
	s->dial = strdup(full);
	return NULL;
}

static const char *read_network(struct ipc_server *s, const char *text)
{
	size_t len = strcspn(text, "/?#");
	const char *at = ipc_server_last(text, '@', len), *why = NULL;

	if (text[len] && text[len] != '/')
		return "behind the host comes /database, and nothing else";
	if (text[len] && text[len + 1])
		why = read_database(s, text + len + 1);
	if (!why && at)
		why = read_who(s, text, (size_t)(at - text));
	if (why || (at && !s->password))
		return why;
	return at ? read_host(s, at + 1, len - (size_t)(at - text) - 1) : read_host(s, text, len);
}

/* "///path?db=2", with user:password@ in front of the path or without */
static const char *read_path(struct ipc_server *s, const char *text)
{
	const char *path = strchr(text, '/'), *query = strchr(text, '?'), *why = NULL;
	size_t len = query ? (size_t)(query - text) : strlen(text);
	char full[TEXT_MOST + 16];
	struct ipc_address a;

	if (!path || path > text + len)
		return "no path";
	if (path > text && path[-1] != '@')
		return "behind redis+unix:// comes the path, which begins with a '/'";
	if (query)
		why = behind(query, "?db=") ? read_database(s, query + 4)
					    : "behind the path comes ?db=number";
	if (!why && path > text)
		why = read_who(s, text, (size_t)(path - text) - 1);
	if (why || (path > text && !s->password))
		return why;
	snprintf(full, sizeof full, "unix://%.*s", (int)(len - (size_t)(path - text)), path);
	if (ipc_address_read(&a, full, IPC_TO_CONNECT, &why) == -1)
		return why;
	s->dial = strdup(full);
	return NULL;
}

static const char *read_text(struct ipc_server *s, const char *text)
{
	const char *rest = text ? behind(text, "redis") : NULL, *from;

	if (text && !rest)
		rest = behind(text, "valkey");
	if (!text)
		return "no address";
	if (strlen(text) > TEXT_MOST)
		return "the address is too long";
	if (rest && (from = behind(rest, "+unix://")))
		return read_path(s, from);
	if (rest && (from = behind(rest, "://")))
		return read_network(s, from);
	s->tls = rest && (from = behind(rest, "s://"));
	return s->tls ? read_network(s, from)
		      : "neither redis://host[:port][/database] nor rediss:// nor redis+unix:///path";
}

int ipc_server_read(struct ipc_server *s, const char *text, const char **why)
{
	int error;

	memset(s, 0, sizeof *s);
	*why = read_text(s, text);
	if (s->dial)
		return 0;
	error = *why ? EINVAL : ENOMEM;
	ipc_server_free(s);
	errno = error;
	return -1;
}

/* Not left in memory that others get. */
static void wipe(char *secret)
{
	for (volatile char *p = secret; p && *p; p++)
		*p = 0;
	free(secret);
}

int ipc_server_as(struct ipc_server *s, const char *user, const char *password)
{
	char *who = user ? strdup(user) : NULL, *word = password ? strdup(password) : NULL;

	if ((user && !who) || (password && !word)) {
		free(who);
		wipe(word);
		return -1;
	}
	if (who) {
		free(s->user);
		s->user = who;
	}
	if (word) {
		wipe(s->password);
		s->password = word;
	}
	return 0;
}

void ipc_server_free(struct ipc_server *s)
{
	free(s->dial);
	free(s->user);
	wipe(s->password);
	memset(s, 0, sizeof *s);
}
