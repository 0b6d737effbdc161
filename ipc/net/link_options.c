/* What a link is asked to be: checked, and copied. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/queue.h>

#include "ipc/end/log.h"
#include "ipc/net/link.h"
#include "ipc/os/sized.h"

#define MS_MOST (INT64_C(1000) * 86400 * 1000) /* longer is for ever */

/* 0, or that far away. */
static int64_t nanoseconds(int64_t ms)
{
	return (ms < MS_MOST ? ms : MS_MOST) * 1000000;
}

static bool reconnects(const struct aiolink_options *o)
{
	return o->reconnect_first || o->reconnect_most;
}

/* NULL, or what is wrong. */
static const char *check_numbers(const struct aiolink_options *o)
{
	if (o->role > AIOLINK_LISTEN || o->direction > AIOLINK_SEND || o->framing > AIOCONN_BYTES)
		return "no such role, direction or framing";
	if (o->reconnect_first < 0 || o->connect_limit < 0 || o->idle_limit < 0 || o->send_limit < 0)
		return "a negative time";
	if (reconnects(o) && (o->reconnect_first == 0 || o->reconnect_most < o->reconnect_first))
		return "reconnecting begins after some time, and at most that much or more";
	if (o->spin > IPC_SPIN_MOST)
		return "spinning for longer than a millisecond";
	if (o->fds > IPC_FDS_MOST)
		return "more descriptors than can wait";
	if (o->delimiter && (!*o->delimiter || strlen(o->delimiter) > 8))
		return "a delimiter has 1 to 8 bytes";
	return o->half_open && reconnects(o) ? "half open, it can't reconnect" : NULL;
}

static const char *check_queues(const struct aiolink_options *o)
{
	if (o->inbox && o->direction == AIOLINK_SEND)
		return "it only sends, and has no inbox";
	if (o->outbox && o->direction == AIOLINK_RECV)
		return "it only receives, and has no outbox";
	return NULL;
}

static const char *check_end(const struct aiolink_options *o)
{
	if (reconnects(o))
		return "an end can't reconnect";
	return o->role == AIOLINK_LISTEN || o->mode || o->n_uids ? "an end does not listen" : NULL;
}

static const char *check_address(const struct aiolink_options *o)
{
	enum ipc_address_use use = o->role == AIOLINK_LISTEN ? IPC_TO_LISTEN : IPC_TO_CONNECT;
	struct ipc_address a;
	const char *why;

	if (ipc_address_read(&a, o->address, use, &why) == -1)
		return why;
	if (o->fds && a.kind == IPC_ADDRESS_TCP)
		return "descriptors travel over unix sockets only";
	if (o->n_uids && (!o->uids || a.kind == IPC_ADDRESS_TCP || use == IPC_TO_CONNECT))
		return "users are known of who connects to a unix socket only";
	if (o->mode && (a.kind != IPC_ADDRESS_PATH || use == IPC_TO_CONNECT || o->mode & ~(mode_t)0777))
		return "only a socket that is made in the file system has a mode, up to 0777";
	return NULL;
}

static const char *check(const struct aiolink_options *o)
{
	const char *why;

	if (!o->address == !o->end)
		return "an address or an end is needed, and not both";
	why = check_numbers(o);
	if (!why)
		why = check_queues(o);
	if (!why)
		why = o->end ? check_end(o) : check_address(o);
	return why;
}

static int copy_allocated(struct ipc_link_options *to, const struct aiolink_options *o)
{
	if (o->address && !(to->address = strdup(o->address)))
		return -1;
	if (!o->n_uids)
		return 0;
	to->uids = calloc(o->n_uids, sizeof *to->uids);
	if (!to->uids)
		return -1;
	memcpy(to->uids, o->uids, o->n_uids * sizeof *to->uids);
	to->n_uids = o->n_uids;
	return 0;
}

static int refuse(const char *address, const char *why)
{
	ipc_log("link%s%s: %s", address ? " to " : "", address ? address : "", why);
	errno = EINVAL;
	return -1;
}

int ipc_link_take_options(struct ipc_link_options *to, const struct aiolink_options *given)
{
	struct aiolink_options all;
	const struct aiolink_options *const o = &all;
	const char *why;

	if (!given || ipc_sized_take(&all, sizeof all, given) == -1)
		return refuse(NULL, "options of a size that is none");
	why = check(o);
	if (why)
		return refuse(o->address, why);
	*to = (struct ipc_link_options){
		.role = o->role,
		.direction = o->direction,
		.framing = o->framing,
		.fds = o->fds,
		.first = nanoseconds(o->reconnect_first),
		.most = nanoseconds(o->reconnect_most),
		.connect_limit = nanoseconds(o->connect_limit),
		.idle_limit = nanoseconds(o->idle_limit),
		.send_limit = nanoseconds(o->send_limit),
		.spin = o->spin,
		.half_open = o->half_open,
		.mode = o->mode,
	};
	if (o->delimiter)
		memcpy(to->delimiter, o->delimiter, strlen(o->delimiter) + 1);
	if (copy_allocated(to, o) == 0)
		return 0;
	ipc_link_free_options(to);
	return -1;
}

void ipc_link_free_options(struct ipc_link_options *o)
{
	free(o->address);
	free(o->uids);
}
