/* The options of a link: checked, and copied. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/queue.h>

#include "ipc/os/log.h"
#include "ipc/link/link.h"
#include "ipc/net/secure.h"
#include "ipc/os/sized.h"

#define GRACE_MS 500
#define MS_MOST (INT64_C(1000) * 86400 * 1000) /* a longer time means for ever */

/* Times that are too long for an int64_t are cut. */
static int64_t nanoseconds(int64_t ms)
{
	return (ms < MS_MOST ? ms : MS_MOST) * 1000000;
}

static bool reconnects(const struct aiolink_options *o)
{
	return o->reconnect_first || o->reconnect_most;
}

static const char *check_reconnect(int64_t first, int64_t most, bool half_open)
{
	if (first < 0)
		return "a negative time";
	if ((first || most) && (first == 0 || most < first))
		return "reconnecting begins after some time, and at most that much or more";
	return half_open && first ? "half open, it can't reconnect" : NULL;
}

static bool is_negative(const struct aiolink_options *o)
{
	return o->connect_limit < 0 || o->idle_limit < 0 || o->send_limit < 0 || o->give_up_after < 0 ||
	       o->grace < AIOIPC_FOREVER || o->keepalive < AIOIPC_FOREVER || o->user_timeout < AIOIPC_FOREVER;
}

/* NULL, or a text that says what is wrong. */
static const char *check_numbers(const struct aiolink_options *o)
{
	if (o->role > AIOLINK_LISTEN || o->direction > AIOLINK_SEND || o->framing > AIOCONN_BYTES)
		return "no such role, direction or framing";
	if (is_negative(o))
		return "a negative time";
	if (o->spin > IPC_SPIN_MOST)
		return "spinning for longer than a millisecond";
	if (o->fds > IPC_FDS_MOST)
		return "more descriptors than can wait";
	if (o->delimiter && (!*o->delimiter || strlen(o->delimiter) > 8))
		return "a delimiter has 1 to 8 bytes";
	if (o->confirm && o->framing != AIOCONN_MESSAGES)
		return "only AIOCONN_MESSAGES can be confirmed";
	if (o->confirm && o->half_open)
		return "half open, a peer that has said goodbye confirms nothing";
	if (o->confirm && o->fds)
		return "messages with descriptors can't be confirmed";
	return check_reconnect(o->reconnect_first, o->reconnect_most, o->half_open);
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
	if (o->give_up_after || o->local || o->tls)
		return "an end is connected";
	return o->role == AIOLINK_LISTEN || o->mode || o->n_uids ? "an end does not listen" : NULL;
}

static const char *check_address(const struct aiolink_options *o)
{
	enum ipc_address_use use = o->role == AIOLINK_LISTEN ? IPC_TO_LISTEN : IPC_TO_CONNECT;
	struct ipc_address a;
	const char *why = NULL;

	if (ipc_address_read(&a, o->address, use, &why) == -1)
		return why;
	if (o->fds && a.kind == IPC_ADDRESS_TCP)
		return "descriptors travel over unix sockets only";
	if (o->n_uids && (!o->uids || a.kind == IPC_ADDRESS_TCP || use == IPC_TO_CONNECT))
		return "only a unix socket tells the user of a peer";
	if (o->mode && (a.kind != IPC_ADDRESS_PATH || use == IPC_TO_CONNECT || o->mode & ~(mode_t)0777))
		return "only a socket that is made in the file system has a mode, up to 0777";
	if (o->local && (a.kind != IPC_ADDRESS_TCP || use == IPC_TO_LISTEN))
		return "only a connection of TCP comes from an address that can be chosen";
	ipc_secure_check(&a, o->tls, use == IPC_TO_LISTEN, &why);
	return why;
}

static const char *take_limits(struct aioconn_limits *to, const struct aiolink_options *o)
{
	if (o->limits && ipc_conn_take_limits(to, o->limits) == -1)
		return "limits of a size that is none, or over 1 GiB";
	to->size = sizeof *to;
	return NULL;
}

/* With errno. */
static const char *check(const struct aiolink_options *o)
{
	struct aioconn_limits limits = {.size = 0};
	const char *why;

	errno = EINVAL;
	if (!o->address == !o->end)
		return "an address or an end is needed, and not both";
	why = check_numbers(o);
	if (!why)
		why = take_limits(&limits, o);
	if (!why)
		why = check_queues(o);
	if (!why)
		why = o->end ? check_end(o) : check_address(o);
	return why;
}

static int refuse_with(int error, const char *address, const char *why)
{
	ipc_log("link%s%s: %s", address ? " to " : "", address ? address : "", why);
	errno = error;
	return -1;
}

static int refuse(const char *address, const char *why)
{
	return refuse_with(EINVAL, address, why);
}

static int copy_allocated(struct ipc_link_options *to, const struct aiolink_options *o)
{
	const char *why;

	if (o->address && !(to->address = strdup(o->address)))
		return -1;
	if (o->local) {
		to->local = calloc(1, sizeof *to->local);
		if (!to->local)
			return -1;
		if (ipc_local_read(to->local, o->local, &why) == -1)
			return refuse(o->local, why);
	}
	if (!o->n_uids)
		return 0;
	to->uids = calloc(o->n_uids, sizeof *to->uids);
	if (!to->uids)
		return -1;
	memcpy(to->uids, o->uids, o->n_uids * sizeof *to->uids);
	to->n_uids = o->n_uids;
	return 0;
}

int ipc_link_take_options(struct ipc_link_options *to, const struct aiolink_options *given)
{
	struct aiolink_options all;
	const struct aiolink_options *const o = &all;
	const char *why;

	if (!given || ipc_sized_take(&all, sizeof all, given) == -1)
		return refuse(NULL, "the size of the options is wrong");
	why = check(o);
	if (why)
		return refuse_with(errno, o->address, why);
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
		.grace = o->grace == 0 ? nanoseconds(GRACE_MS) : nanoseconds(o->grace),
		.give_up_after = nanoseconds(o->give_up_after),
		.keepalive = {.idle = o->keepalive, .timeout = o->user_timeout},
		.spin = o->spin,
		.half_open = o->half_open,
		.confirm = o->confirm,
		.mode = o->mode,
	};
	take_limits(&to->limits, o);
	to->tls = ipc_secure_ref(o->tls);
	if (o->delimiter)
		memcpy(to->delimiter, o->delimiter, strlen(o->delimiter) + 1);
	if (copy_allocated(to, o) == 0)
		return 0;
	ipc_link_free_options(to);
	return -1;
}

int ipc_link_check_reconnect(const struct ipc_link_options *o, int64_t first, int64_t most)
{
	const char *why = check_reconnect(first, most, o->half_open);

	if (!o->address && first)
		why = "an end can't reconnect";
	return why ? refuse(o->address, why) : 0;
}

int64_t ipc_link_nanoseconds(int64_t ms)
{
	return nanoseconds(ms);
}

void ipc_link_free_options(struct ipc_link_options *o)
{
	ipc_secure_unref(o->tls);
	free(o->local);
	free(o->address);
	free(o->uids);
}
