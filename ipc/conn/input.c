/* Reads what came for a connection into the splitter, while there is room. */
#include "ipc/conn/input.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ipc/conn/interest.h"
#include "ipc/conn/life.h"
#include "ipc/conn/split.h"
#include "ipc/os/sleep.h"

/* So much a read takes at most: where its ledger is full already, and elsewhere. A sender may keep up with a longer one. */
#define LITTLE ((size_t)4096)
#define MUCH ((size_t)256 * 1024)

static bool inbox_full(const struct aioconn *c)
{
	return c->inbox.count && (c->inbox.bytes >= c->inbox_limit ||
				  (c->fds && c->inbox.fds + c->fds->n >= ipc_conn_fds_most(c)));
}

bool ipc_conn_awaits_end(const struct aioconn *c)
{
	return c->carrier.can & IPC_CARRY_SAYS_END && c->reads && c->way_in >= IPC_IN_ENDED &&
	       c->cause == AIOCONN_CLEAN && !c->in.eof;
}

bool ipc_conn_is_read(const struct aioconn *c)
{
	if (ipc_conn_awaits_end(c))
		return true;
	if (!c->reads || c->way_in != IPC_IN_OPEN)
		return false;
	if (c->life != IPC_LIFE_OPEN)
		return true;
	if ((c->paused && !c->receiving && !c->callers) || ipc_conn_must_wait(c))
		return false;
	if (c->refusing && c->out.bytes > c->outbox_limit)
		return false;
	return !inbox_full(c) && !ipc_in_full(&c->in);
}

bool ipc_conn_at_hand(struct aioconn *c)
{
	return ipc_carry_at_hand(&c->carrier, IPC_CARRY_IN) && ipc_conn_is_read(c);
}

bool ipc_conn_comes(struct aioconn *c)
{
	const int looks = 16;

	for (int i = 0; c->carrier.how->at_hand && i < looks; i++) {
		if (ipc_conn_at_hand(c))
			return true;
		ipc_os_relax();
	}
	return false;
}

/* Descriptors came with a read. They wait for the frame that claims them. */
static void queue_fds(struct aioconn *c, const struct ipc_fdlist *got)
{
	unsigned i, left = c->life != IPC_LIFE_OPEN ? 0 : 2 * ipc_conn_fds_most(c) - c->fds->n;

	if (got->n <= left && !got->cut) {
		memcpy(c->fds->fd + c->fds->n, got->fd, got->n * sizeof got->fd[0]);
		c->fds->n += got->n;
		return;
	}
	for (i = 0; i < got->n; i++)
		close(got->fd[i]);
	if (c->life != IPC_LIFE_OPEN)
		return;
	if (got->cut) {
		c->in_fault = ipc_blame_read(got->cut, NULL);
		ipc_conn_end(c, c->in_fault.cause, c->in_fault.error, c->in_fault.why);
	} else {
		ipc_conn_end(c, AIOCONN_BAD, EPROTO, "more descriptors than frames and limit allow");
	}
}

static size_t length_of(const struct iovec *iov, int n)
{
	return n == 2 ? iov[0].iov_len + iov[1].iov_len : iov[0].iov_len;
}

static ssize_t read_into(struct aioconn *c, struct iovec *iov, int n)
{
	struct ipc_fdlist got, *fds = c->fds ? &got : NULL;
	ssize_t len;

	got.n = 0;
	got.cut = 0;
	len = c->carrier.how->read(&c->carrier, iov, n, fds);
	if (len >= 0 && fds && (got.n || got.cut))
		queue_fds(c, &got);
	return len;
}

static void arrived(struct aioconn *c, size_t n)
{
	size_t held;

	c->bytes_in += n;
	ipc_conn_wake(c, IPC_FOR_INPUT);
	ipc_in_filled(&c->in, n);
	if (c->life != IPC_LIFE_OPEN || ipc_conn_awaits_end(c))
		ipc_in_drop(&c->in);
	held = c->inbox.bytes + ipc_in_held(&c->in);
	if (held > c->peak_in)
		c->peak_in = held;
	ipc_conn_charge(c);
}

/* Memory is short for a while: worth another try. */
static bool is_shortage(int error)
{
	if (error == ENOBUFS)
		errno = ENOMEM;
	return error == ENOMEM || error == ENOBUFS;
}

/* Behind the goodbye nothing is missed. */
static void input_broke(struct aioconn *c)
{
	if (ipc_conn_awaits_end(c))
		return;
	c->in_fault = ipc_blame_read(errno, c->carrier.why);
	c->in.cut = true;
}

/* The connections of the ledger hold too much already. */
static bool reads_little(const struct aioconn *c)
{
	return c->ledger && c->ledger->over;
}

static int at_most(size_t most, struct iovec *iov, int n)
{
	if (iov[0].iov_len >= most) {
		iov[0].iov_len = most;
		return 1;
	}
	if (n == 2 && iov[1].iov_len > most)
		iov[1].iov_len = most;
	return n;
}

/* No more bytes come. */
static void input_ended(struct aioconn *c)
{
	c->in.eof = true;
	if (c->way_in == IPC_IN_OPEN)
		c->way_in = IPC_IN_EOF;
	ipc_conn_wake(c, IPC_FOR_INPUT | IPC_FOR_CLOSE);
}

/* Where the next bytes go. Frames that are whole may have to leave before there is room. As ipc_in_room(). */
static int make_room(struct aioconn *c, struct iovec iov[2])
{
	int room = ipc_in_room(&c->in, iov);

	if (room == 0) {
		if (ipc_conn_stow(c) < 0)
			return -1;
		room = ipc_in_room(&c->in, iov);
	}
	return room > 0 ? at_most(reads_little(c) ? LITTLE : MUCH, iov, room) : room;
}

static int fill(struct aioconn *c)
{
	struct iovec iov[2];
	ssize_t n;
	int room;

	c->used = true;
	room = make_room(c, iov);
	if (room <= 0)
		return room;
	n = read_into(c, iov, room);
	if (n > 0) {
		c->filled = ipc_in_is_bulk(&c->in) && !reads_little(c) && (size_t)n == length_of(iov, room);
		arrived(c, (size_t)n);
		return 1;
	}
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0 && is_shortage(errno))
		return -1;
	if (n < 0)
		input_broke(c);
	input_ended(c);
	return 0;
}

int ipc_conn_fill(struct aioconn *c)
{
	/* Frames that are whole claim their descriptors first. The rest belongs to the next frame. */
	if (c->fds && c->fds->n && ipc_conn_is_read(c) && ipc_conn_stow(c) < 0)
		return -1;
	return ipc_conn_is_read(c) ? fill(c) : 0;
}

bool ipc_conn_read_on(struct aioconn *c, bool shares)
{
	if (!c->filled || (shares && c->in_a_row >= IPC_CONN_IN_A_ROW))
		return false;
	c->filled = false;
	c->in_a_row = (uint8_t)(c->in_a_row + shares);
	return ipc_conn_fill(c) != 0 || c->way_in != IPC_IN_OPEN;
}
