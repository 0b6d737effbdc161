/* Reading as from a stream, under LINES and BYTES: as much as there is, exactly so much, or a line. */
#include <errno.h>
#include <string.h>

#include "ipc/conn/conn.h"

static int begin(struct aioconn *c, int64_t deadline)
{
	if (ipc_conn_begin_receive(c, deadline) < 0)
		return -1;
	if (c->in.framing == AIOCONN_MESSAGES || c->on_msg) {
		ipc_conn_end_receive(c);
		errno = EINVAL;
		return -1;
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

/* It ended, and not well: errno says how. */
static bool lost(const struct aioconn *c)
{
	bool bad = c->ended && c->cause != AIOCONN_CLEAN;

	if (bad || c->reset)
		errno = bad ? c->end_error : c->in_fault.error;
	return bad || c->reset;
}

/* Waits until @n bytes are there, or the end is. How many are, at most @n; 0 at the clean end; -1. */
static ssize_t gather(struct aioconn *c, size_t n, int64_t deadline)
{
	while (ipc_in_raw(&c->in) < n && !c->in.eof && !c->ended)
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
	while ((n = ipc_in_line(&c->in)) == 0 && !c->in.eof && !c->ended)
		if (gather(c, ipc_in_raw(&c->in) + 1, deadline) < 0)
			return finish(c, -1);
	if (n == 0 && lost(c))
		n = -1;
	if (n > 0)
		*line = (const char *)c->in.buf + c->in.start;
	return finish(c, n);
}
