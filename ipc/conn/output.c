/* Writes the queue of a connection, as much as the kernel takes. When our goodbye has left, shuts the way out. */
#include "ipc/conn/output.h"

#include <errno.h>
#include <string.h>

#include "ipc/conn/life.h"
#include "ipc/conn/trace.h"
#include "ipc/os/log.h"
#include "ipc/loop/wait.h"
#include "ipc/wire/frame.h"

#define IOV_MOST 16
#define RETRY_MS 10 /* when the kernel lacks memory */

int ipc_conn_say_goodbye(struct aioconn *c)
{
	static const struct ipc_frame goodbye = {.kind = IPC_KIND_GOODBYE};
	size_t preface = c->way_out == IPC_OUT_NEW ? IPC_PREFACE_LEN : 0;
	unsigned char *at;

	if (!c->writes || c->way_out >= IPC_OUT_GOODBYE)
		return 0;
	if (c->in.framing == AIOCONN_MESSAGES) {
		at = ipc_out_reserve(&c->out, preface + IPC_FRAME_LEN);
		if (!at)
			return -1;
		memcpy(at, ipc_preface, preface);
		ipc_frame_write(at + preface, &goodbye);
		c->goodbye_len = (uint32_t)(preface + IPC_FRAME_LEN);
		ipc_out_commit(&c->out, c->goodbye_len, NULL);
		if (c->trace)
			ipc_trace(ipc_conn_fd(c), ">", IPC_KIND_GOODBYE, NULL, 0, 0);
	}
	c->used = true;
	c->way_out = IPC_OUT_GOODBYE;
	ipc_conn_tell_muted(c);
	return 0;
}

/*
 * A broken socket tells its error once, to a read or to a write. After that, reads say "end of file". EPIPE is different: the peer
 * reads no more, but what it sent before can still be read.
 */
static bool breaks_input(const struct aioconn *c, int error)
{
	return error != EPIPE && c->carrier.can & IPC_CARRY_ONE;
}

bool ipc_conn_only_writes(const struct aioconn *c)
{
	return (!c->reads || (c->by_hand && c->way_in >= IPC_IN_ENDED)) && c->writes &&
	       c->way_out < IPC_OUT_SHUT;
}

void ipc_conn_check_reader(struct aioconn *c)
{
	const struct ipc_blame gone = ipc_blame_write(EPIPE, NULL);

	if (ipc_conn_only_writes(c) && c->carrier.how->left(&c->carrier))
		ipc_conn_lose_peer(c, &gone);
}

/* The descriptors that go with the next write. */
static unsigned list_fds(const struct aiomsg *m, int *fd)
{
	unsigned i, n = m ? m->fds->n : 0;

	for (i = 0; i < n; i++)
		fd[i] = atomic_load(&m->fds->fd[i]);
	return n;
}

static ssize_t write_some(struct aioconn *c, size_t *offered)
{
	struct iovec iov[IOV_MOST];
	const struct aiomsg *with;
	int fd[IPC_FDS_MOST], n = ipc_out_iov(&c->out, iov, IOV_MOST, &with), i;

	for (*offered = 0, i = 0; i < n; i++)
		*offered += iov[i].iov_len;
	return c->carrier.how->write(&c->carrier, iov, n, fd, list_fds(with, fd));
}

void ipc_conn_tell_wrote(struct aioconn *c)
{
	for (struct ipc_conn_hook *h = c->hooks; h; h = h->next)
		if (h->calls->wrote)
			h->calls->wrote(h);
}

int ipc_conn_not_written(struct aioconn *c)
{
	struct ipc_blame blame;

	if (errno == ENOBUFS)
		c->retry = aioipc_after(RETRY_MS);
	if (errno == ENOBUFS || errno == EAGAIN)
		return 0;
	blame = ipc_blame_write(errno, c->carrier.why);
	if (breaks_input(c, errno)) {
		c->in_fault = blame;
		c->in.cut = true;
	}
	ipc_conn_lose_peer(c, &blame);
	errno = ipc_conn_send_error(c);
	return -1;
}

/* Can the send of the message that ends at @end still return the error? It can if it has not returned yet. */
static bool told_by_send(struct aioconn *c, uint64_t end, int error)
{
	struct ipc_posting *p = c->postings;

	while (p && p->end != end)
		p = p->next;
	if (p)
		p->error = error;
	return p;
}

/* The kernel does not pass the descriptors of the first message. That message is dropped, the others stay. */
static void refuse_first(struct aioconn *c, int error)
{
	size_t lead, size = ipc_out_refuse(&c->out, &lead);
	uint64_t end;

	c->bytes_refused += size;
	c->refusals++;
	end = ipc_conn_left(c) + lead;
	if (told_by_send(c, end, error))
		return;
	ipc_log("a message whose descriptors can't be passed is not sent: %s", strerror(error));
	for (struct ipc_conn_hook *h = c->hooks; h; h = h->next)
		if (h->calls->refused)
			h->calls->refused(h, end);
}

/* A write failed. Is it because of the descriptors, and not because of the connection? */
static bool refuses_fds(const struct aioconn *c, int error)
{
	return ipc_out_fds_first(&c->out) && error != EAGAIN && error != ENOBUFS && error != EPIPE &&
	       error != ECONNRESET && error != ENOTCONN;
}

static void shut_written(struct aioconn *c)
{
	if (c->way_out != IPC_OUT_GOODBYE || c->out.count)
		return;
	ipc_conn_set_reset(c, false);
	if (c->carrier.how->shut_write(&c->carrier) == -1) {
		c->blocked = true;
		return;
	}
	c->way_out = IPC_OUT_SHUT;
	ipc_watch_blind(c->write_watch);
	ipc_conn_wake(c, IPC_FOR_CLOSE);
}

int ipc_conn_flush(struct aioconn *c)
{
	if (c->retry && ipc_deadline_left(c->retry) > 0)
		return 0;
	c->retry = 0;
	c->blocked = false;
	while (c->out.count && !c->blocked) {
		size_t offered;
		ssize_t n = write_some(c, &offered);

		if (n < 0 && refuses_fds(c, errno)) {
			refuse_first(c, errno);
			continue;
		}
		if (n < 0 && ipc_conn_not_written(c) < 0)
			break;
		if (n > 0) {
			c->bytes_out += (size_t)n;
			ipc_out_wrote(&c->out, (size_t)n);
			ipc_conn_tell_wrote(c);
			ipc_conn_wake(c, IPC_FOR_ROOM | IPC_FOR_FLUSH | IPC_FOR_CLOSE);
		}
		c->blocked = n < (ssize_t)offered;
	}
	if (c->way_out >= IPC_OUT_LOST) {
		errno = ipc_conn_send_error(c);
		return -1;
	}
	shut_written(c);
	return 0;
}
