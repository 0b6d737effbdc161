/* Reads as from a stream, under LINES and BYTES: what there is, an exact length, a line, up to a mark, or everything. */
#include <errno.h>
#include <string.h>

#include "ipc/conn/recv.h"
#include "ipc/conn/wait.h"
#include "ipc/os/log.h"

static int begin(struct aioconn *c, int64_t deadline)
{
	if (ipc_conn_begin_receive(c, deadline) < 0)
		return -1;
	if (c->in.framing == AIOCONN_MESSAGES || c->on_msg) {
		ipc_conn_end_receive(c);
		return ipc_refuse(
			"bytes are read of a connection that has the framing AIOCONN_BYTES or AIOCONN_LINES "
			"by aioconn_set_framing(), and no callback for messages");
	}
	return 0;
}

static ssize_t finish(struct aioconn *c, ssize_t r)
{
	if (r > 0)
		ipc_in_take(&c->in, (size_t)r);
	ipc_conn_end_receive(c);
	return r;
}

/* Did it end with an error? errno says which. */
static bool lost(const struct aioconn *c)
{
	bool bad = c->way_in >= IPC_IN_ENDED && c->cause != AIOCONN_CLEAN;

	if (bad || c->in.cut)
		errno = bad ? c->end_error : c->in_fault.error;
	return bad || c->in.cut;
}

/* Waits until @n bytes are there, or the end has come. Returns how many are there, at most @n; 0 at the clean end; -1. */
static ssize_t gather(struct aioconn *c, size_t n, int64_t deadline)
{
	while (ipc_in_raw(&c->in) < n && c->way_in == IPC_IN_OPEN)
		if (ipc_in_reserve(&c->in, n) < 0 || ipc_conn_wait_allowed(c, deadline) < 0 ||
		    ipc_conn_wait(c, IPC_FOR_INPUT, deadline) < 0)
			return -1;
	if (ipc_in_raw(&c->in) == 0 && lost(c))
		return -1;
	return (ssize_t)(ipc_in_raw(&c->in) < n ? ipc_in_raw(&c->in) : n);
}

ssize_t aioconn_read(struct aioconn *c, void *buf, size_t len, int64_t deadline)
{
	ssize_t n;

	if (begin(c, deadline) < 0)
		return -1;
	n = len ? gather(c, 1, deadline) : 0;
	if (n > 0) {
		n = (ssize_t)(ipc_in_raw(&c->in) < len ? ipc_in_raw(&c->in) : len);
		memcpy(buf, c->in.buf + c->in.start, (size_t)n);
	}
	return finish(c, n);
}

ssize_t aioconn_read_exactly(struct aioconn *c, void *buf, size_t len, int64_t deadline)
{
	ssize_t n = -1;

	if (begin(c, deadline) < 0)
		return -1;
	if (len > c->in.message_limit)
		errno = EMSGSIZE;
	else
		n = gather(c, len, deadline);
	if (n > 0)
		memcpy(buf, c->in.buf + c->in.start, (size_t)n);
	return finish(c, n);
}

ssize_t aioconn_read_line(struct aioconn *c, const char **line, int64_t deadline)
{
	ssize_t n;

	if (begin(c, deadline) < 0)
		return -1;
	while ((n = ipc_in_line(&c->in)) == 0 && c->way_in == IPC_IN_OPEN)
		if (gather(c, ipc_in_raw(&c->in) + 1, deadline) < 0)
			return finish(c, -1);
	if (n == 0 && lost(c))
		n = -1;
	if (n > 0)
		*line = (const char *)c->in.buf + c->in.start;
	return finish(c, n);
}

/* Waits for more bytes: 1; 0 the end came instead; -1. With more than @limit bytes already there: -1/EMSGSIZE. */
static int gather_more(struct aioconn *c, size_t limit, int64_t deadline)
{
	size_t held = ipc_in_raw(&c->in), want = 2 * c->in.block;

	if (held > limit) {
		errno = EMSGSIZE;
		return -1;
	}
	if (held && held == c->in.block && ipc_in_reserve(&c->in, want > limit ? limit + 1 : want) < 0)
		return -1;
	if (gather(c, held + 1, deadline) < 0)
		return -1;
	return ipc_in_raw(&c->in) > held;
}

/* How many bytes there are up to the end of the first @mark; 0 while there is no mark. */
static size_t find_mark(const struct ipc_in *in, const void *mark, size_t len, size_t *searched)
{
	const unsigned char *from, *at;
	size_t held = ipc_in_raw(in);

	if (held < *searched + len)
		return 0;
	from = in->buf + in->start;
	at = memmem(from + *searched, held - *searched, mark, len);
	*searched = held - len + 1;
	return at ? (size_t)(at - from) + len : 0;
}

static ssize_t find_until(struct aioconn *c, const void *mark, size_t len, size_t limit, int64_t deadline)
{
	size_t searched = 0, n;
	int r = 1;

	while ((n = find_mark(&c->in, mark, len, &searched)) == 0 && r == 1)
		if ((r = gather_more(c, limit, deadline)) < 0)
			return -1;
	if (n > limit) {
		errno = EMSGSIZE;
		return -1;
	}
	if (n == 0 && lost(c))
		return -1;
	return (ssize_t)(n ? n : ipc_in_raw(&c->in));
}

ssize_t aioconn_read_until(struct aioconn *c, const void *mark, size_t len, size_t limit, const char **data,
			   int64_t deadline)
{
	ssize_t n = -1;

	if (begin(c, deadline) < 0)
		return -1;
	if (limit == 0)
		limit = c->in.line_limit;
	if (len == 0 || len > limit || limit > IPC_MESSAGE_MOST)
		ipc_refuse("aioconn_read_until: a mark of %zu bytes, within a limit of %zu: it has 1 byte or "
			   "more, and they are in the "
			   "limit, of %zu at most",
			   len, limit, (size_t)IPC_MESSAGE_MOST);
	else
		n = find_until(c, mark, len, limit, deadline);
	if (n > 0)
		*data = (const char *)c->in.buf + c->in.start;
	return finish(c, n);
}

/* Everything up to the end. */
static struct aiomsg *gather_all(struct aioconn *c, size_t limit, int64_t deadline)
{
	int r;

	do {
		r = gather_more(c, limit, deadline);
	} while (r == 1);
	if (r < 0 || lost(c))
		return NULL;
	return aiomsg_new_bytes(c->in.buf + c->in.start, ipc_in_raw(&c->in));
}

ssize_t aioconn_read_all(struct aioconn *c, struct aiomsg **all, size_t limit, int64_t deadline)
{
	struct aiomsg *m = NULL;

	if (begin(c, deadline) < 0)
		return -1;
	if (limit == 0)
		limit = c->in.message_limit;
	if (limit > IPC_MESSAGE_MOST)
		ipc_refuse("aioconn_read_all: a limit of %zu bytes, %zu is the most", limit,
			   (size_t)IPC_MESSAGE_MOST);
	else
		m = gather_all(c, limit, deadline);
	if (m)
		*all = m;
	return finish(c, m ? (ssize_t)m->len : -1);
}
