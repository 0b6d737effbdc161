/* A connection is opened, set, and asked about itself. */
#include "ipc/conn/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/carry/seal.h"
#include "ipc/carry/shared.h"
#include "ipc/conn/interest.h"
#include "ipc/conn/life.h"
#include "ipc/conn/row.h"
#include "ipc/conn/trace.h"
#include "ipc/conn/turn.h"
#include "ipc/end/end.h"
#include "ipc/os/log.h"
#include "ipc/os/sized.h"

#define QUEUE_DEFAULT ((size_t)1 << 20)

static int make_watches(struct aioconn *c)
{
	int r = c->carrier.own.r.fd, w = c->carrier.own.w.fd;

	if (r >= 0 && !(c->read_watch = ipc_watch_new(c->base, r, ipc_conn_on_event, c)))
		return -1;
	if (w >= 0 && w != r && !(c->write_watch = ipc_watch_new(c->base, w, ipc_conn_on_event, c)))
		return -1;
	return 0;
}

static struct aioconn *new_conn(struct event_base *base)
{
	struct aioconn *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->base = base;
	ipc_in_init(&c->in);
	c->inbox_limit = c->outbox_limit = QUEUE_DEFAULT;
	c->calls_limit = c->unanswered_limit = IPC_CALLS_USUAL;
	c->send_wait = AIOIPC_FOREVER;
	c->owes = true;
	c->refused = 1; /* on_writable is due once after opening */
	c->why = "";
	c->holds = 1;
	ipc_waiters_init(&c->waiters);
	c->trace = ipc_trace_wanted();
	return c;
}

static int choose_carrier(struct ipc_carrier *k, enum ipc_end_ring ring, struct ipc_seal *seal)
{
	if (seal) {
		ipc_carry_by_seal(k, seal);
		return 0;
	}
	if (ring == IPC_RING_COMES)
		return ipc_carry_by_rings(k);
	if (ring == IPC_RING_OFFERS)
		return ipc_carry_offer(k);
	ipc_carry_by_fd(k);
	return 0;
}

struct aioconn *ipc_conn_open(struct aioend *end, struct event_base *base, struct ipc_seal *seal)
{
	struct aioconn *c = new_conn(base);

	if (!c)
		return NULL;
	if (ipc_own_transfer(&c->carrier.own, &end->own) < 0)
		goto fail;
	if ((base && make_watches(c) < 0) || ipc_own_set_nonblock(&c->carrier.own) < 0)
		goto fail_transferred;
	if (choose_carrier(&c->carrier, end->ring, seal) < 0)
		goto fail_transferred;
	c->reads = c->carrier.own.r.fd >= 0;
	c->writes = c->carrier.own.w.fd >= 0;
	ipc_conn_take_row(c);
	ipc_conn_interest(c);
	ipc_end_dispose(end);
	return c;

fail_transferred:
	ipc_watch_free(c->write_watch);
	ipc_watch_free(c->read_watch);
	ipc_own_transfer(&end->own, &c->carrier.own);
fail:
	free(c);
	return NULL;
}

struct aioconn *aioend_open(struct aioend *end, struct event_base *base)
{
	return ipc_conn_open(end, base, NULL);
}

int aioconn_set_callbacks(struct aioconn *c, aioconn_msg_cb *on_msg, aioconn_cb *on_writable,
			  aioconn_close_cb *on_close, void *arg)
{
	if (ipc_own_check(&c->carrier.own) < 0)
		return -1;
	c->on_msg = on_msg;
	c->on_writable = on_writable;
	c->on_close = on_close;
	c->arg = arg;
	ipc_conn_soon(c);
	ipc_conn_wake(c, IPC_FOR_INPUT);
	return 0;
}

static int unused(const struct aioconn *c)
{
	if (ipc_own_check(&c->carrier.own) < 0)
		return -1;
	if (c->used) {
		errno = EBUSY;
		return -1;
	}
	return 0;
}

int aioconn_set_framing(struct aioconn *c, enum aioconn_framing f, const char *delimiter)
{
	size_t len = delimiter ? strlen(delimiter) : 1;

	if (unused(c) < 0)
		return -1;
	if (f < AIOCONN_MESSAGES || f > AIOCONN_BYTES)
		return ipc_refuse("aioconn_set_framing: %d is none: AIOCONN_MESSAGES, AIOCONN_LINES and "
				  "AIOCONN_BYTES are",
				  (int)f);
	if (len == 0 || len > IPC_DELIMITER_MOST)
		return ipc_refuse("aioconn_set_framing: the delimiter has %zu bytes, 1 to %d are right", len,
				  (int)IPC_DELIMITER_MOST);
	c->in.framing = f;
	c->in.delimiter_len = (uint8_t)len;
	memcpy(c->in.delimiter, delimiter ? delimiter : "\n", len);
	ipc_conn_set_reset(c, f != AIOCONN_MESSAGES);
	return 0;
}

/* Descriptors may come: @fds for the user, and so many @memories that messages lie in. */
static int take_fds(struct aioconn *c, unsigned fds, unsigned memories)
{
	bool any = fds || memories;

	if (any && !c->fds && !(c->fds = calloc(1, sizeof *c->fds)))
		return -1;
	if (!any) {
		free(c->fds);
		c->fds = NULL;
	}
	c->in.fds_limit = fds;
	c->memory_most = (uint8_t)memories;
	c->carrier.takes_fds = any;
	return 0;
}

int aioconn_allow_fds(struct aioconn *c, unsigned most_queued)
{
	if (unused(c) < 0)
		return -1;
	if (most_queued > IPC_FDS_MOST)
		return ipc_refuse("aioconn_allow_fds: %u descriptors, %d is the most", most_queued,
				  (int)IPC_FDS_MOST);
	if (!c->reads || !(c->carrier.can & IPC_CARRY_FDS_IN)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return take_fds(c, most_queued, c->memory_most);
}

int aioconn_allow_shared(struct aioconn *c, unsigned most_queued)
{
	if (unused(c) < 0)
		return -1;
	if (most_queued > IPC_MEMORIES_MOST)
		return ipc_refuse("aioconn_allow_shared: %u messages, %d is the most", most_queued,
				  (int)IPC_MEMORIES_MOST);
	if (!c->reads || !c->writes || !(c->carrier.can & IPC_CARRY_FDS_IN)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if (take_fds(c, c->in.fds_limit, most_queued) < 0)
		return -1;
	ipc_conn_soon(c);
	return 0;
}

int aioconn_set_send_wait(struct aioconn *c, int64_t ms)
{
	if (ipc_own_check(&c->carrier.own) < 0)
		return -1;
	if (ms < 0 && ms != AIOIPC_FOREVER)
		return ipc_refuse(
			"aioconn_set_send_wait: %lld: it takes milliseconds, 0 or more, or AIOIPC_FOREVER",
			(long long)ms);
	c->send_wait = ms;
	return 0;
}

int aioconn_set_spin(struct aioconn *c, unsigned us)
{
	if (ipc_own_check(&c->carrier.own) < 0)
		return -1;
	if (us > IPC_SPIN_MOST)
		return ipc_refuse("aioconn_set_spin: %u microseconds, %d is the most", us,
				  (int)IPC_SPIN_MOST);
	if (us && c->base && !c->awake && !(c->awake = ipc_watch_new(c->base, -1, ipc_conn_on_awake, c)))
		return -1;
	c->spin = us * 1000;
	return 0;
}

int ipc_conn_take_limits(struct aioconn_limits *to, const struct aioconn_limits *from)
{
	if (ipc_sized_take(to, sizeof *to, from) < 0)
		return -1;
	if (to->message <= IPC_MESSAGE_MOST && to->line <= IPC_MESSAGE_MOST && to->calls <= IPC_CALLS_MOST)
		return 0;
	if (to->calls > IPC_CALLS_MOST)
		return ipc_refuse("the limits are %zu for calls, %zu is the most", to->calls, IPC_CALLS_MOST);
	return ipc_refuse("the limits are %zu for a message and %zu for a line, %zu is the most", to->message,
			  to->line, (size_t)IPC_MESSAGE_MOST);
}

int aioconn_set_limits(struct aioconn *c, const struct aioconn_limits *limits)
{
	struct aioconn_limits l;

	if (ipc_own_check(&c->carrier.own) < 0 || ipc_conn_take_limits(&l, limits) < 0)
		return -1;
	if (l.message)
		c->in.message_limit = (uint32_t)l.message;
	if (l.line)
		c->in.line_limit = (uint32_t)l.line;
	if (l.long_lines)
		c->in.long_lines = true;
	if (l.inbox)
		c->inbox_limit = l.inbox;
	if (l.outbox) {
		c->outbox_limit = l.outbox;
		c->outbox_set = true;
	}
	if (l.calls)
		c->calls_limit = (uint32_t)l.calls;
	if (l.unanswered)
		c->unanswered_limit = l.unanswered < UINT32_MAX ? (uint32_t)l.unanswered : UINT32_MAX;
	ipc_conn_soon(c);
	return 0;
}

int aioconn_stats(const struct aioconn *c, struct aioconn_stats *stats)
{
	struct aioconn_stats s = {
		.msgs_in = c->msgs_in,
		.msgs_out = c->msgs_out,
		.bytes_in = c->bytes_in,
		.bytes_out = c->bytes_out,
		.refused = c->refusals,
		.queued_in = c->inbox.bytes + ipc_in_held(&c->in),
		.queued_out = c->out.bytes,
		.peak_in = c->peak_in,
		.peak_out = c->peak_out,
		.calls_out = c->calls_out,
		.calls_in = c->calls_in,
		.strays = c->strays,
		.in_flight = c->flight ? c->flight->count : 0,
		.unanswered = ipc_desk_count(c->desk),
		.shared_in = c->memory_granted - c->in.memories,
		.shared_out = c->memory_sent,
	};

	return ipc_sized_give(stats, &s, sizeof s);
}

int aioconn_peer_cred(const struct aioconn *c, pid_t *pid, uid_t *uid, gid_t *gid)
{
	if (ipc_own_check(&c->carrier.own) < 0)
		return -1;
	return ipc_os_peer_cred(ipc_conn_fd(c), pid, uid, gid);
}

const char *aioconn_why(const struct aioconn *c)
{
	return c->why;
}

void *aioconn_arg(const struct aioconn *c)
{
	return c->arg;
}

struct event_base *aioconn_base(const struct aioconn *c)
{
	return c->base;
}

int aioconn_fd(const struct aioconn *c)
{
	return ipc_conn_fd(c);
}
