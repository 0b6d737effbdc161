/* The errors of a server: see refusal.h. */
#include "ipc/stream/refusal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ipc/net/address.h"
#include "ipc/stream/resp.h"
#include "ipc/stream/server.h"

static const struct {
	const char *name;
	struct ipc_refusal is;
} known[] = {
	{"NOAUTH", {EACCES, IPC_REFUSAL_LEAVE}},       {"WRONGPASS", {EACCES, IPC_REFUSAL_LEAVE}},
	{"DENIED", {EACCES, IPC_REFUSAL_LEAVE}},       {"NOPERM", {EACCES, IPC_REFUSAL_WAIT}},
	{"OOM", {ENOSPC, IPC_REFUSAL_WAIT}},           {"READONLY", {EROFS, IPC_REFUSAL_LEAVE}},
	{"LOADING", {EAGAIN, IPC_REFUSAL_WAIT}},       {"CLUSTERDOWN", {EAGAIN, IPC_REFUSAL_WAIT}},
	{"TRYAGAIN", {EAGAIN, IPC_REFUSAL_WAIT}},      {"MASTERDOWN", {EAGAIN, IPC_REFUSAL_WAIT}},
	{"BUSY", {EAGAIN, IPC_REFUSAL_WAIT}},          {"MISCONF", {EIO, IPC_REFUSAL_WAIT}},
	{"NOREPLICAS", {EIO, IPC_REFUSAL_WAIT}},       {"NOGOODSLAVE", {EIO, IPC_REFUSAL_WAIT}},
	{"WRONGTYPE", {EINVAL, IPC_REFUSAL_WAIT}},     {"MOVED", {EAGAIN, IPC_REFUSAL_MOVE}},
	{"ASK", {EAGAIN, IPC_REFUSAL_MOVE}},           {"NOGROUP", {ENOENT, IPC_REFUSAL_GROUP}},
	{"UNBLOCKED", {EAGAIN, IPC_REFUSAL_GROUP}},    {"CROSSSLOT", {EINVAL, IPC_REFUSAL_WAIT}},
	{"ERR Protocol", {EPROTO, IPC_REFUSAL_LEAVE}},
};

int ipc_refusal_is(const struct ipc_resp_item *i, const char *name)
{
	size_t len = strlen(name);

	return i->s && i->len >= len && memcmp(i->s, name, len) == 0 && (i->len == len || i->s[len] == ' ');
}

struct ipc_refusal ipc_refusal_of(const struct ipc_resp_item *i)
{
	for (size_t k = 0; k < sizeof known / sizeof *known; k++)
		if (ipc_refusal_is(i, known[k].name))
			return known[k].is;
	return (struct ipc_refusal){EPROTO, IPC_REFUSAL_WAIT};
}

void ipc_refusal_unwrap(struct ipc_resp_item *i)
{
	static const char before[] = "because of: ";
	const char *at =
		ipc_refusal_is(i, "EXECABORT") ? memmem(i->s, i->len, before, sizeof before - 1) : NULL;

	if (!at)
		return;
	at += sizeof before - 1;
	i->len -= (size_t)(at - i->s);
	i->s = at;
}

int ipc_refusal_where(const struct ipc_resp_item *i, char *to, size_t size)
{
	const char *end = i->s + i->len, *at = memchr(i->s, ' ', i->len), *colon;
	struct ipc_address a;
	bool six;
	int n;

	at = at ? memchr(at + 1, ' ', (size_t)(end - at - 1)) : NULL;
	colon = at ? ipc_server_last(at, ':', (size_t)(end - at)) : NULL;
	if (!colon || end - at > IPC_HOST_MOST)
		return -1;
	at++;
	six = memchr(at, ':', (size_t)(colon - at)) && *at != '[';
	n = snprintf(to, size, "tcp://%s%.*s%s%.*s", six ? "[" : "", (int)(colon - at), at, six ? "]" : "",
		     (int)(end - colon), colon);
	return n > 0 && (size_t)n < size && ipc_address_read(&a, to, IPC_TO_CONNECT, NULL) == 0 ? 0 : -1;
}
