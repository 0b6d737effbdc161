/* A connection and the kernel: reading, writing, what the loop watches, and waiting. Calls nobody back, but through ipc_conn_wait(). */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ipc/conn/conn.h"
#include "ipc/os/log.h"
#include "ipc/loop/wait.h"

#define IOV_MOST 16
#define LITTLE ((size_t)4096)
#define WATCH_NS (INT64_C(10) * 1000 * 1000)
#define RETRY_MS 10 /* when the kernel is short of something */

static bool inbox_full(const struct aioconn *c)
{
	return c->inbox.count &&
	       (c->inbox.bytes >= c->inbox_limit || (c->fds && c->inbox.fds + c->fds->n >= c->in.fds_limit));
}

/* Should more be read now? */
static bool wants_input(const struct aioconn *c)
{
	if (!c->reads || c->ended || c->in.eof)
		return false;
	if (c->closing)
		return true;
	if ((c->paused && !c->receiving) || ipc_conn_must_wait(c))
		return false;
	return !inbox_full(c) && !ipc_in_full(&c->in);
}

bool ipc_conn_is_read(const struct aioconn *c)
{
	return wants_input(c);
}

/* Descriptors came with a read. They wait for the frame that claims them. */
static void queue_fds(struct aioconn *c, const struct ipc_fdlist *got)
{
	unsigned i, left = c->closing ? 0 : 2 * c->in.fds_limit - c->fds->n;

	if (got->n <= left && !got->cut) {
		memcpy(c->fds->fd + c->fds->n, got->fd, got->n * sizeof got->fd[0]);
		c->fds->n += got->n;
		return;
	}
	for (i = 0; i < got->n; i++)
		close(got->fd[i]);
	if (c->closing)
		return;
	if (got->cut) {
		c->in_fault = ipc_blame_read(got->cut);
		ipc_conn_end(c, c->in_fault.cause, c->in_fault.error, c->in_fault.why);
	} else {
		ipc_conn_end(c, AIOCONN_BAD, EPROTO, "more descriptors than frames and limit allow");
	}
}

static ssize_t read_into(struct aioconn *c, struct iovec *iov, int n)
{
	struct ipc_fdlist got, *fds = c->fds ? &got : NULL;
	const struct ipc_fd *r = &c->own.r;
	ssize_t len;

	got.n = 0;
	got.cut = 0;
	len = ipc_os_readv(r->fd, r->kind, iov, n, fds);
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
	if (c->closing)
		ipc_in_drop(&c->in);
	held = c->inbox.bytes + ipc_in_held(&c->in);
	if (held > c->peak_in)
		c->peak_in = held;
	ipc_conn_charge(c);
}

/* Worth another try: memory is short for a while. */
static bool is_shortage(int error)
{
	if (error == ENOBUFS)
		errno = ENOMEM;
	return error == ENOMEM || error == ENOBUFS;
}

static void input_broke(struct aioconn *c)
{
	c->in_fault = ipc_blame_read(errno);
	c->reset = c->in.cut = true;
}

/* All hold too much already. */
static int little_of(struct iovec *iov, int n)
{
	if (iov[0].iov_len >= LITTLE) {
		iov[0].iov_len = LITTLE;
		return 1;
	}
	if (n == 2 && iov[1].iov_len > LITTLE)
		iov[1].iov_len = LITTLE;
	return n;
}

static int fill(struct aioconn *c)
{
	struct iovec iov[2];
	ssize_t n;
	int room;

	c->used = true;
	room = ipc_in_room(&c->in, iov);
	if (room == 0) {
		if (ipc_conn_stow(c) < 0)
			return -1;
		room = ipc_in_room(&c->in, iov);
	}
	if (room <= 0)
		return room;
	if (c->ledger && c->ledger->over)
		room = little_of(iov, room);
	n = read_into(c, iov, room);
	if (n > 0) {
		arrived(c, (size_t)n);
		return 1;
	}
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (n < 0 && is_shortage(errno))
		return -1;
	c->in.eof = true;
	if (n < 0)
		input_broke(c);
	ipc_conn_wake(c, IPC_FOR_INPUT | IPC_FOR_CLOSE);
	return 0;
}

int ipc_conn_fill(struct aioconn *c)
{
	/* Frames that are whole claim their descriptors first: what is left is held for the next one alone. */
	if (c->fds && c->fds->n && wants_input(c) && ipc_conn_stow(c) < 0)
		return -1;
	return wants_input(c) ? fill(c) : 0;
}

void ipc_conn_drop_output(struct aioconn *c)
{
	ipc_conn_wake(c, ~0u);
	if (c->out.bytes > c->goodbye_len)
		c->lost_output = true;
	c->peer_gone = true;
	c->blocked = false;
	c->retry = 0;
	ipc_out_free(&c->out);
}

int ipc_conn_send_error(const struct aioconn *c)
{
	return ipc_blame_send_error(c->out_fault.error ? &c->out_fault : &c->in_fault);
}

/*
 * A socket says once what broke it, to a read or to a write, and then "end of file". EPIPE alone is no breach: the peer reads
 * no more, and what it sent before comes yet.
 */
static bool breaks_input(const struct aioconn *c, int error)
{
	return error != EPIPE && ipc_os_is_socket(c->own.r.kind) && c->own.r.dev == c->own.w.dev &&
	       c->own.r.ino == c->own.w.ino;
}

void ipc_conn_lose_peer(struct aioconn *c, const struct ipc_blame *why)
{
	c->out_fault = *why;
	if (!*c->why)
		c->why = why->why;
	ipc_conn_drop_output(c);
	if (!c->reads)
		ipc_conn_end(c, why->cause, why->error, why->why);
	else if (c->by_hand && ipc_os_is_socket(c->own.r.kind) && c->own.r.fd >= 0)
		ipc_os_shutdown_read(c->own.r.fd);
	ipc_conn_soon(c);
}

/* Reading, which would tell that the peer left, is over or never was; writing is not. */
static bool only_writes(const struct aioconn *c)
{
	return (!c->reads || (c->by_hand && c->ended)) && !c->peer_gone && c->own.w.fd >= 0;
}

void ipc_conn_check_reader(struct aioconn *c)
{
	const struct ipc_blame gone = ipc_blame_write(EPIPE);
	struct pollfd p = {.fd = c->own.w.fd};

	if (only_writes(c) && ipc_os_poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP)))
		ipc_conn_lose_peer(c, &gone);
}

/* The descriptors that go along with the next write. */
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
	const struct aiomsg *carrier;
	int fd[IPC_FDS_MOST], n = ipc_out_iov(&c->out, iov, IOV_MOST, &carrier), i;

	for (*offered = 0, i = 0; i < n; i++)
		*offered += iov[i].iov_len;
	return ipc_os_writev(c->own.w.fd, c->own.w.kind, iov, n, fd, list_fds(carrier, fd));
}

void ipc_conn_tell_wrote(struct aioconn *c)
{
	for (struct ipc_conn_hook *h = c->hooks; h; h = h->next)
		if (h->wrote)
			h->wrote(h);
}

int ipc_conn_not_written(struct aioconn *c)
{
	struct ipc_blame blame;

	if (errno == ENOBUFS)
		c->retry = aioipc_after(RETRY_MS);
	if (errno == ENOBUFS || errno == EAGAIN)
		return 0;
	blame = ipc_blame_write(errno);
	if (breaks_input(c, errno)) {
		c->in_fault = blame;
		c->reset = c->in.cut = true;
	}
	ipc_conn_lose_peer(c, &blame);
	errno = ipc_conn_send_error(c);
	return -1;
}

/* It can still be told by the send that is about it, if that has not returned. */
static bool told_by_send(struct aioconn *c, uint64_t end, int error)
{
	struct ipc_posting *p = c->postings;

	while (p && p->end != end)
		p = p->next;
	if (p)
		p->error = error;
	return p;
}

/* The kernel does not pass the descriptors of the first message: that one goes, and all behind it go on. */
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
		if (h->refused)
			h->refused(h, end);
}

/* Is it about the descriptors that a write failed, rather than the connection? */
static bool refuses_fds(const struct aioconn *c, int error)
{
	return ipc_out_fds_first(&c->out) && error != EAGAIN && error != ENOBUFS && error != EPIPE &&
	       error != ECONNRESET && error != ENOTCONN;
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
	if (c->peer_gone) {
		errno = ipc_conn_send_error(c);
		return -1;
	}
	ipc_conn_shut_written(c);
	return 0;
}

/*
 * What shows that the peer left, where nothing is read. A pipe without a reader is an error to whoever watches; a socket
 * stays readable at its end, and only edges tell of the rest.
 */
static short departure(const struct aioconn *c)
{
	if (!only_writes(c) || c->own.w.kind == IPC_FD_FILE)
		return 0;
	if (c->own.w.kind == IPC_FD_PIPE)
		return EV_READ;
	return c->reads && event_base_get_features(c->base) & EV_FEATURE_ET ? EV_READ | EV_ET : 0;
}

/* What the loop can't watch for want of memory, it is asked for again. */
static void want(struct aioconn *c, struct ipc_watch *w, short what)
{
	if (ipc_watch_want(w, what) == -1)
		ipc_watch_later(c->turn, WATCH_NS);
}

/* Who pauses often resumes before anything comes: its watch costs least where it is. */
static bool may_come(const struct aioconn *c)
{
	return c->paused && !c->stalled && c->reads && !c->ended && !c->in.eof;
}

void ipc_conn_interest(struct aioconn *c)
{
	short in = wants_input(c) || may_come(c) ? EV_READ : 0, out;

	if (!c->base || c->gone)
		return;
	if (c->retry && !c->more)
		ipc_watch_after(c->turn, ipc_deadline_left(c->retry));
	out = c->blocked && !c->retry ? EV_WRITE : departure(c);
	if (c->read_watch && c->own.r.fd == c->own.w.fd) {
		want(c, c->read_watch, in | out);
		return;
	}
	if (c->read_watch)
		want(c, c->read_watch, in);
	if (c->write_watch)
		want(c, c->write_watch, out);
}

void ipc_conn_soon(struct aioconn *c)
{
	if (c->turn)
		ipc_watch_soon(c->turn);
}

int ipc_conn_wait_allowed(struct aioconn *c, int64_t deadline)
{
	if (c->calling && deadline != AIOIPC_NOW) {
		errno = EDEADLK;
		return -1;
	}
	return ipc_wait_allowed(c->base, deadline);
}

/* What poll should look at: how many. Room that a blocked writer waits for counts as output. */
static nfds_t poll_set(const struct aioconn *c, struct pollfd p[2])
{
	short in = wants_input(c) ? POLLIN : 0, out = c->out.count && !c->retry ? POLLOUT : 0;
	nfds_t n = 0;

	if (c->own.r.fd >= 0 && c->own.r.fd == c->own.w.fd)
		in = out = (short)(in | out);
	if (in && c->own.r.fd >= 0)
		p[n++] = (struct pollfd){.fd = c->own.r.fd, .events = in};
	if (c->own.w.fd >= 0 && c->own.w.fd != c->own.r.fd && (out || !c->reads))
		p[n++] = (struct pollfd){.fd = c->own.w.fd, .events = out};
	return n;
}

/* Polls the input without sleeping, for those who asked for it. True when something came. */
static bool spun(struct aioconn *c)
{
	int64_t until;

	if (!c->spin || !c->receiving)
		return false;
	until = ipc_os_now() + c->spin;
	do {
		if (ipc_conn_fill(c) != 0 || c->in.eof)
			return true;
	} while (ipc_os_now() < until);
	return false;
}

/* Until @deadline, or a retry that is due before. */
static int wait_polled(struct aioconn *c, int64_t deadline)
{
	bool retry_first = c->retry && (deadline == AIOIPC_FOREVER || c->retry < deadline);
	int64_t until = retry_first ? c->retry : deadline;
	struct pollfd p[2];
	nfds_t n = poll_set(c, p);

	if (ipc_wait(p, n, until) == 0 || (errno == ETIMEDOUT && retry_first))
		return 0;
	return -1;
}

/* The deadline is there before the next try was due: it is made now, before that is told. */
static bool wrote_after_all(struct aioconn *c)
{
	uint64_t before = c->bytes_out;
	bool moved;

	if (!c->retry)
		return false;
	c->retry = 0;
	moved = ipc_conn_flush(c) < 0 || c->bytes_out > before;
	errno = ETIMEDOUT;
	return moved;
}

/* Another task of this thread may end the connection meanwhile: its caller sees that it is gone. */
static int wait_ready(struct aioconn *c, int64_t deadline)
{
	ipc_in_rest(&c->in);
	if (wait_polled(c, deadline) < 0 && (errno != ETIMEDOUT || c->gone || !wrote_after_all(c)))
		return c->gone ? 0 : -1;
	if (c->gone)
		return 0;
	if (c->out.count)
		ipc_conn_flush(c);
	else
		ipc_conn_check_reader(c);
	return ipc_conn_fill(c) < 0 ? -1 : 0;
}

void ipc_conn_wake(struct aioconn *c, unsigned what)
{
	if (c->waits & what)
		ipc_task_wake_all(&c->waiters);
}

static int park(struct aioconn *c, enum ipc_conn_for what, int64_t deadline)
{
	int r;

	if (c->waits & what) {
		errno = EBUSY;
		return -1;
	}
	ipc_conn_interest(c);
	ipc_in_rest(&c->in);
	c->waits |= what;
	r = ipc_task_wait(&c->waiters, deadline);
	c->waits &= ~(unsigned)what;
	return r;
}

/* The loop may have come to the deadline first, or a wake was not enough: what the kernel has by then came in time. */
static int wait_in_task(struct aioconn *c, enum ipc_conn_for what, int64_t deadline)
{
	if (park(c, what, deadline) == 0 || (errno == ETIMEDOUT && c->gone))
		return 0;
	if (errno != ETIMEDOUT)
		return -1;
	if (wait_ready(c, AIOIPC_NOW) == 0)
		return 0;
	errno = ETIMEDOUT;
	return -1;
}

static int wait_once(struct aioconn *c, enum ipc_conn_for what, int64_t deadline)
{
	int r;

	if (deadline != AIOIPC_NOW && c->base && ipc_task_on(c->base))
		return wait_in_task(c, what, deadline);
	if (!c->more) {
		c->polled = true;
		r = spun(c) ? 0 : wait_ready(c, deadline);
		c->polled = false;
		return r;
	}
	c->more = false;
	return 0;
}

/* A task that waits; it lies on its stack. */
struct waiting {
	struct ipc_task_end end; /* first */
	struct aioconn *conn;
	enum ipc_conn_for what;
};

/* Its base was freed under it: it gives back what its call holds. */
static void waiter_died(struct ipc_task_end *end, bool died)
{
	struct waiting *w = (struct waiting *)end;

	(void)died;
	w->conn->waits &= ~(unsigned)w->what;
	if (w->what == IPC_FOR_INPUT)
		w->conn->receiving = false;
	ipc_conn_leave(w->conn);
}

static int wait_told_of_death(struct aioconn *c, enum ipc_conn_for what, int64_t deadline)
{
	struct waiting w = {.end.cb = waiter_died, .conn = c, .what = what};
	struct aiotask *t = deadline != AIOIPC_NOW ? aiotask_self() : NULL;
	int r;

	if (!t)
		return wait_once(c, what, deadline);
	ipc_task_on_end(t, &w.end);
	r = wait_once(c, what, deadline);
	ipc_task_not_on_end(&w.end);
	return r;
}

int ipc_conn_wait(struct aioconn *c, enum ipc_conn_for what, int64_t deadline)
{
	if (wait_told_of_death(c, what, deadline) < 0)
		return -1;
	ipc_conn_turn(c);
	if (c->gone) {
		errno = EPIPE;
		return -1;
	}
	ipc_conn_interest(c);
	return 0;
}
