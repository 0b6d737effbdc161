/* Takes messages and their descriptors out of the bytes that came, and finds the end after them. Reads nothing. */
#include "ipc/conn/split.h"

#include <errno.h>

#include "ipc/conn/life.h"
#include "ipc/conn/sort.h"
#include "ipc/conn/trace.h"
#include "ipc/wire/frame.h"

static const char *broken_where(const struct aioconn *c)
{
	if (c->in_fault.error == ECONNRESET && ipc_in_is_inside(&c->in))
		return "connection reset by the peer inside a line";
	return c->in_fault.why;
}

void ipc_conn_end_of_stream(struct aioconn *c)
{
	if (c->in.framing == AIOCONN_MESSAGES ? c->in.goodbye : !c->in.cut)
		ipc_conn_end(c, AIOCONN_CLEAN, 0, "the peer said goodbye");
	else if (c->in.cut)
		ipc_conn_end(c, c->in_fault.cause, c->in_fault.error, broken_where(c));
	else
		ipc_conn_end(c, AIOCONN_LOST, ECONNRESET, "the peer closed without goodbye");
}

static void drop_first(struct ipc_loose_fds *fds, unsigned n)
{
	fds->n -= n;
	for (unsigned i = 0; i < fds->n; i++)
		fds->fd[i] = fds->fd[i + n];
}

/* The first descriptor of a message in memory is that memory. */
static int claim_memory(struct aioconn *c, struct aiomsg *m)
{
	int fd = c->fds->fd[0];
	const char *wrong;

	drop_first(c->fds, 1);
	if (ipc_msg_map(m, fd, &wrong) == 0)
		return 0;
	if (wrong)
		ipc_conn_end(c, AIOCONN_BAD, EBADMSG, wrong);
	else
		ipc_conn_end(c, AIOCONN_FAILED, errno, "a message in memory can't be mapped");
	return -1;
}

/* A frame announced @n descriptors. They came before its last byte. */
static int claim_fds(struct aioconn *c, struct aiomsg *m, unsigned n)
{
	if (c->fds->n < n) {
		ipc_conn_end(c, AIOCONN_BAD, EBADMSG, "frame without the descriptors that it announced");
		return -1;
	}
	if (m->memory && claim_memory(c, m) < 0)
		return -1;
	n -= m->memory;
	if (!n)
		return 0;
	if (ipc_msg_give_fds(m, c->fds->fd, n) < 0) {
		ipc_conn_end(c, AIOCONN_FAILED, ENOMEM, "there is no memory for descriptors that came");
		return -1;
	}
	drop_first(c->fds, n);
	return 0;
}

/* Did descriptors come that belong to no frame? After the preface alone, they may belong to the next frame. */
static bool unannounced_fds(const struct aioconn *c)
{
	return c->fds && c->fds->n && c->bytes_in > IPC_PREFACE_LEN && c->fds->n > ipc_in_fds_due(&c->in);
}

static uint8_t frame_kind(const struct aiomsg *m)
{
	uint8_t bytes = m->kind == IPC_KIND_BYTES;

	switch ((enum ipc_role)m->role) {
	case IPC_CALL:
		return IPC_FRAME_CALL + bytes;
	case IPC_ANSWER:
		return IPC_FRAME_ANSWER + bytes;
	case IPC_REFUSAL:
		return IPC_FRAME_REFUSAL;
	case IPC_CANCEL:
		return IPC_FRAME_CANCEL;
	default:
		return m->kind;
	}
}

/* Whatever is next in the stream: 1, 0 none (the end may have been found), -1/ENOMEM. */
static int split_any(struct aioconn *c, struct aiomsg **m)
{
	struct aiomsg *next;
	unsigned nfds;
	int r = ipc_in_next(&c->in, &next, &nfds);

	if (r == 1 && nfds && claim_fds(c, next, nfds) < 0) {
		aiomsg_free(next);
		return 0;
	}
	if (r == 1)
		*m = next;
	if (r == 1 && !c->trace)
		return 1;
	if (r == 1 && c->trace)
		ipc_trace(ipc_conn_fd(c), "<", frame_kind(*m), ipc_msg_bytes(*m), (*m)->len, nfds);
	if (r == 0 && unannounced_fds(c))
		ipc_conn_end(c, AIOCONN_BAD, EPROTO, "descriptors that no frame announced");
	if (r == 0 && (c->way_in == IPC_IN_EOF || c->in.goodbye))
		ipc_conn_end_of_stream(c);
	if (r < 0 && c->in.error) {
		ipc_conn_end(c, AIOCONN_BAD, c->in.error,
			     c->in.why ? c->in.why : "the peer broke the protocol");
		return 0;
	}
	return r;
}

/* The next message that is the user's. Others are sorted out on the way. */
static int split(struct aioconn *c, struct aiomsg **m)
{
	struct aiomsg *next;
	int r;

	do {
		next = c->unsorted;
		c->unsorted = NULL;
		r = next ? 1 : split_any(c, &next);
		if (r == 1 && next->role)
			r = ipc_conn_sorted(c, next);
		else if (r <= 0)
			return r;
	} while (r == 0 && c->way_in < IPC_IN_ENDED);
	if (r == 1)
		*m = next;
	return r;
}

int ipc_conn_sorted(struct aioconn *c, struct aiomsg *m)
{
	int r = ipc_conn_sort(c, m);

	if (r < 0)
		c->unsorted = m;
	return r;
}

int ipc_conn_next_any(struct aioconn *c, struct aiomsg **m)
{
	if (c->inbox.count) {
		*m = ipc_inbox_shift(&c->inbox);
		return 1;
	}
	return split(c, m);
}

int ipc_conn_stow(struct aioconn *c)
{
	struct aiomsg *m;
	int r = 0;

	if (c->in.framing != AIOCONN_MESSAGES)
		return 0;
	while (c->inbox.bytes < c->inbox_limit && (!c->fds || c->inbox.fds < ipc_conn_fds_most(c))) {
		if (ipc_inbox_prepare(&c->inbox) < 0)
			return -1;
		r = split(c, &m);
		if (r <= 0)
			return r;
		ipc_inbox_push(&c->inbox, m);
	}
	return 0;
}
