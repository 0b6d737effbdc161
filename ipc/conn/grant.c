/*
 * Messages whose payload lies in memory that is passed on by a descriptor: how many the peer may send, and whether one of ours may
 * travel so. A side that takes such messages says how many in all, and says it again as its user takes them: so as many as it wants are
 * on their way or wait in its inbox, and never more. Who was granted none sends the bytes, as ever.
 */
#include "ipc/conn/grant.h"

#include <string.h>

#include "ipc/conn/input.h"
#include "ipc/conn/interest.h"
#include "ipc/conn/life.h"
#include "ipc/conn/output.h"
#include "ipc/conn/split.h"
#include "ipc/conn/trace.h"
#include "ipc/wire/frame.h"

/*
 * Below this, to map memory and to take the faults of its pages costs more than two copies. Measured on 16 processors, memory that exists and is
 * sent again, beside its bytes: 64 KiB 0.86, 256 KiB 1.37, 1 MiB 2.0, 4 MiB 1.8 times as fast.
 */
#define LEAST ((size_t)128 * 1024)

/* How many more the peer may be granted. Few are not worth a frame. */
static unsigned due(const struct aioconn *c)
{
	unsigned most = c->memory_most, out = c->in.memories + c->inbox.memories;

	return out < most && most - out >= (most + 1) / 2 ? most - out : 0;
}

/* Nothing is in front of it, and there is somebody who reads it. */
static bool can_tell(const struct aioconn *c)
{
	return c->in.framing == AIOCONN_MESSAGES && c->life == IPC_LIFE_OPEN && c->way_in == IPC_IN_OPEN &&
	       !c->in.goodbye && c->way_out < IPC_OUT_GOODBYE && !c->out.count;
}

static void written(struct aioconn *c, size_t n, size_t size)
{
	c->bytes_out += n;
	c->used = true;
	c->way_out = IPC_OUT_OPEN;
	if (n < size) {
		ipc_out_commit(&c->out, size, NULL);
		ipc_out_wrote(&c->out, n);
		c->blocked = true;
		ipc_conn_interest(c);
	}
	ipc_conn_tell_wrote(c);
}

/* A frame that can't leave now is of no use later: then more may be due. What broke the connection is told by those who send and read. */
void ipc_conn_tell_grant(struct aioconn *c)
{
	const struct ipc_frame f = {.length = IPC_GRANT_LEN, .kind = IPC_FRAME_GRANT};
	size_t preface = c->way_out == IPC_OUT_NEW ? IPC_PREFACE_LEN : 0;
	size_t size = preface + IPC_FRAME_LEN + IPC_GRANT_LEN;
	unsigned more = due(c);
	struct iovec iov = {.iov_len = size};
	unsigned char *at;
	ssize_t n;

	if (!more || !can_tell(c) || !(at = ipc_out_reserve(&c->out, size)))
		return;
	iov.iov_base = at;
	memcpy(at, ipc_preface, preface);
	ipc_frame_write(at + preface, &f);
	ipc_frame_write_id(at + preface + IPC_FRAME_LEN, c->memory_granted + more);
	n = c->carrier.how->write(&c->carrier, &iov, 1, NULL, 0);
	if (n <= 0)
		return;
	c->memory_granted += more;
	c->in.memories = (uint8_t)(c->in.memories + more);
	if (c->trace)
		ipc_trace(ipc_conn_fd(c), ">", f.kind, at + preface + IPC_FRAME_LEN, IPC_GRANT_LEN, 0);
	written(c, (size_t)n, size);
}

static bool is_granted(const struct aioconn *c)
{
	return c->in.granted > c->memory_sent && c->way_in == IPC_IN_OPEN && !c->in.goodbye;
}

bool ipc_conn_may_pass(struct aioconn *c, const struct aiomsg *m)
{
	if (!m->memory || m->len < LEAST || c->in.framing != AIOCONN_MESSAGES ||
	    !(c->carrier.can & IPC_CARRY_FDS_OUT))
		return false;
	if (!is_granted(c) && !c->calling) {
		ipc_conn_fill(c);
		ipc_conn_stow(c);
		ipc_conn_soon(c);
	}
	return is_granted(c);
}
