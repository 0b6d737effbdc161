/* Puts messages into the queue, waits for room in it, and decides when they leave. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "ipc/conn/grant.h"
#include "ipc/conn/interest.h"
#include "ipc/conn/life.h"
#include "ipc/conn/output.h"
#include "ipc/conn/share.h"
#include "ipc/conn/send.h"
#include "ipc/conn/trace.h"
#include "ipc/conn/wait.h"
#include "ipc/loop/here.h"
#include "ipc/loop/wait.h"
#include "ipc/os/log.h"
#include "ipc/wire/frame.h"
#include "ipc/msg/image.h"
#include "ipc/msg/ticket.h"

/* From this size on, the kernel copies straight from the caller's memory. */
#define DIRECT ((size_t)16 * 1024)
/* From this size on, the payload of a message is queued by reference. */
#define BY_REFERENCE ((size_t)4 * 1024)
/* Pieces of a queue, each of which may keep a whole block of shared memory for a few bytes. */
#define SPARSE_MOST 16
#define FLAGS 6 /* where they are in a header */

/* The lengths of what is in front of a payload, of the payload, and of what is behind it. */
struct envelope {
	size_t head, len, tail;
};

/* How a message is marked as a call, or as what answers one: as a part of the payload, in front. */
struct label {
	uint8_t kind;
	size_t len; /* 0: a message */
	unsigned char at[IPC_REFUSAL_LEN + IPC_MEMORY_LEN];
};

static int fail(int error)
{
	errno = error;
	return -1;
}

/* A line counts with its delimiter, as it does where it comes. */
size_t ipc_conn_most(const struct aioconn *c)
{
	if (c->in.framing != AIOCONN_LINES || c->in.long_lines)
		return c->in.message_limit;
	return c->in.line_limit > c->in.delimiter_len ? c->in.line_limit - c->in.delimiter_len : 0;
}

/* Fails where this can't be sent, however much room there is. */
static int check(const struct aioconn *c, enum ipc_kind kind, size_t len)
{
	if (!c->writes)
		return fail(EBADF);
	if (c->life == IPC_LIFE_OVER || c->way_out >= IPC_OUT_GOODBYE)
		return fail(c->way_out >= IPC_OUT_LOST ? ipc_conn_send_error(c) : EPIPE);
	if (c->in.framing != AIOCONN_MESSAGES && kind != IPC_KIND_BYTES)
		return ipc_refuse("typed values need the framing AIOCONN_MESSAGES, this connection has %s: "
				  "send bytes here",
				  c->in.framing == AIOCONN_LINES ? "AIOCONN_LINES" : "AIOCONN_BYTES");
	if (len - ipc_frame_label((uint8_t)kind) > ipc_conn_most(c))
		return fail(EMSGSIZE);
	return 0;
}

int ipc_conn_may_send(const struct aioconn *c)
{
	return check(c, IPC_KIND_BYTES, 0);
}

static struct envelope envelope_of(const struct aioconn *c, size_t len)
{
	struct envelope e = {.len = len};

	if (c->in.framing == AIOCONN_MESSAGES)
		e.head = IPC_FRAME_LEN + (c->way_out == IPC_OUT_NEW ? IPC_PREFACE_LEN : 0);
	else if (c->in.framing == AIOCONN_LINES)
		e.tail = c->in.delimiter_len;
	return e;
}

static int refuse(struct aioconn *c, size_t size, int error)
{
	c->refusals++;
	c->refused = size;
	ipc_conn_interest(c);
	return fail(error);
}

/* Now, for who sends? */
static inline bool has_room(const struct aioconn *c, size_t size)
{
	bool large = size >= IPC_CONN_LARGE && c->on_writable && (c->calling || ipc_in_callback(c->base));

	if (large || c->telling)
		return ipc_conn_has_room_told(c, size);
	return ipc_conn_has_room(c, size);
}

static int wait_for_room(struct aioconn *c, enum ipc_kind kind, size_t size)
{
	int64_t deadline;
	bool loop_flushes = c->base && c->blocked;

	if (!loop_flushes && ipc_conn_flush(c) < 0)
		return -1;
	if (has_room(c, size))
		return 0;
	if (c->send_wait == 0 || c->calling || ipc_in_callback(c->base))
		return refuse(c, size, EAGAIN);
	deadline = c->send_wait < 0 ? AIOIPC_FOREVER : aioipc_after(c->send_wait);
	while (!ipc_conn_has_room(c, size)) {
		if (ipc_conn_wait(c, IPC_FOR_ROOM, deadline) < 0 && errno != EINTR)
			return errno == ETIMEDOUT ? refuse(c, size, ETIMEDOUT) : -1;
		if (check(c, kind, 0) < 0)
			return -1;
	}
	return 0;
}

static unsigned char *put_head(struct aioconn *c, unsigned char *at, enum ipc_kind kind, size_t len,
			       unsigned nfds)
{
	struct ipc_frame f = {.length = (uint32_t)len, .kind = (uint8_t)kind, .nfds = (uint8_t)nfds};

	if (c->in.framing != AIOCONN_MESSAGES)
		return at;
	if (c->way_out == IPC_OUT_NEW) {
		memcpy(at, ipc_preface, IPC_PREFACE_LEN);
		at += IPC_PREFACE_LEN;
	}
	ipc_frame_write(at, &f);
	return at + IPC_FRAME_LEN;
}

/*
 * Makes room for one message and writes what is in front of it. Returns the place for @inside bytes of the payload. The caller
 * appends the rest of its @len bytes. NULL with errno.
 */
static unsigned char *begin(struct aioconn *c, enum ipc_kind kind, size_t len, size_t inside, unsigned nfds,
			    struct envelope *e)
{
	unsigned char *at;

	if (check(c, kind, len) < 0)
		return NULL;
	*e = envelope_of(c, len);
	if (!has_room(c, e->head + len + e->tail)) {
		if (wait_for_room(c, kind, e->head + len + e->tail) < 0)
			return NULL;
		*e = envelope_of(c, len); /* a callback may have sent the preface meanwhile */
	}
	at = ipc_out_reserve(&c->out, e->head + inside + e->tail);
	return at ? put_head(c, at, kind, len, nfds) : NULL;
}

void ipc_conn_write_out(struct aioconn *c)
{
	int64_t deadline = c->send_wait < 0 ? AIOIPC_FOREVER : aioipc_after(c->send_wait);

	ipc_conn_flush(c);
	while (ipc_conn_has_output(c) && !c->calling && c->send_wait != 0) {
		if (ipc_conn_wait(c, IPC_FOR_FLUSH, deadline) == 0 || errno == EINTR)
			continue;
		if (errno == ECANCELED)
			aiotask_cancel(aiotask_self()); /* this message is queued: the next wait tells */
		return;
	}
}

/* A message is in the queue. Decides whether it leaves now. One with descriptors does: it needs a write of its own, which may fail. */
static void leave(struct aioconn *c, bool with_fds)
{
	if (c->corked)
		return;
	if (!c->base) {
		ipc_conn_write_out(c);
		return;
	}
	if (!c->blocked && ((c->turn_sent == 0 && !c->burst) || c->out.bytes >= IPC_CONN_BATCH || with_fds)) {
		ipc_conn_flush(c);
		if (c->blocked)
			ipc_conn_interest(c);
	}
	if (c->turn_sent++ == 0 && !c->answering)
		ipc_conn_soon(c);
}

/* As leave(). -1 where the kernel does not pass its descriptors. */
static int leave_with_fds(struct aioconn *c)
{
	struct ipc_posting p = {.end = ipc_conn_left(c) + c->out.bytes, .next = c->postings}, **at;

	c->postings = &p;
	leave(c, true);
	for (at = &c->postings; *at != &p; at = &(*at)->next)
		;
	*at = p.next;
	return p.error ? fail(p.error) : 0;
}

/* A message is in the queue. -1 when it is known at once that it can't be sent. */
static int posted(struct aioconn *c, uint8_t kind, const unsigned char *data, size_t len, unsigned nfds)
{
	c->used = true;
	if (c->way_out == IPC_OUT_NEW)
		c->way_out = IPC_OUT_OPEN;
	if (c->out.bytes > c->peak_out)
		c->peak_out = c->out.bytes;
	if (c->trace)
		ipc_trace(ipc_conn_fd(c), ">", kind, data, len, nfds);
	if (!nfds)
		leave(c, false);
	else if (leave_with_fds(c) < 0)
		return -1;
	if (c->life == IPC_LIFE_OVER || c->lost_output)
		return fail(ipc_conn_send_error(c));
	c->msgs_out++;
	return 0;
}

/*
 * The short way for the common case: other messages were sent in this turn, so it is settled when they leave. Nothing here can call
 * back, so the connection is not entered. Is it open to that? Only on a base, and until it is over.
 */
static inline bool has_others(const struct aioconn *c)
{
	bool special = (c->way_out != IPC_OUT_OPEN) | c->trace | (c->in.framing != AIOCONN_MESSAGES);

	return c->turn_sent && !special && c->out.open && ipc_own_check(&c->carrier.own) == 0;
}

/*
 * The same without a base: what is corked does not leave. Then this thread is in a call, until it says ipc_conn_unclaim(). Another one may be:
 * it is asked for last.
 */
static inline bool is_corked(struct aioconn *c)
{
	if (c->base || !__atomic_load_n(&c->corked, __ATOMIC_RELAXED) || !ipc_conn_slip_in(c))
		return false;
	if (c->corked && c->way_out == IPC_OUT_OPEN && c->life == IPC_LIFE_OPEN && !c->trace &&
	    c->in.framing == AIOCONN_MESSAGES && c->out.open)
		return true;
	ipc_conn_unclaim(c);
	return false;
}

static inline bool fits_corked(const struct aioconn *c, size_t len)
{
	return len < DIRECT && IPC_FRAME_LEN + len <= c->out.spare && len <= c->in.message_limit &&
	       ipc_conn_has_room(c, IPC_FRAME_LEN + len);
}

/* And to a payload of @len bytes? */
static inline bool fits_behind(const struct aioconn *c, size_t len)
{
	size_t size = IPC_FRAME_LEN + len;

	return len < DIRECT && size <= c->out.spare && len <= c->in.message_limit &&
	       ((c->blocked && !c->telling) || c->out.bytes + size < IPC_CONN_BATCH) &&
	       ipc_conn_has_room(c, size);
}

/* The place for the payload. Then follows join_others(). */
static inline unsigned char *place_behind(const struct aioconn *c)
{
	return c->out.next + IPC_FRAME_LEN;
}

static inline void join(struct aioconn *c, enum ipc_kind kind, size_t len)
{
	struct ipc_out *out = &c->out;

	ipc_frame_write(out->next, &(struct ipc_frame){.length = (uint32_t)len, .kind = (uint8_t)kind});
	ipc_out_extend(out, IPC_FRAME_LEN + len);
	if (out->bytes > c->peak_out)
		c->peak_out = out->bytes;
	c->msgs_out++;
}

static inline int join_others(struct aioconn *c, enum ipc_kind kind, size_t len)
{
	join(c, kind, len);
	c->turn_sent++;
	return 0;
}

/* -1: the long way finds out why. */
static inline int join_corked(struct aioconn *c, const void *data, size_t len)
{
	bool fits;

	if (!is_corked(c))
		return -1;
	fits = fits_corked(c, len);
	if (fits && len) /* if not, @data may be NULL */
		memcpy(place_behind(c), data, len);
	if (fits)
		join(c, IPC_KIND_BYTES, len);
	ipc_conn_unclaim(c);
	return fits ? 0 : -1;
}

static int send_values(struct aioconn *c, const char *format, va_list ap)
{
	struct envelope e;
	unsigned char *at;
	va_list again;
	size_t len;

	va_copy(again, ap);
	if (ipc_image_size(format, again, &len) < 0) {
		va_end(again);
		return -1;
	}
	va_end(again);
	at = begin(c, IPC_KIND_TPL, len, len, 0, &e);
	if (!at)
		return -1;
	ipc_image_write(at, len, format, ap);
	ipc_out_commit(&c->out, e.head + len, NULL);
	return posted(c, IPC_KIND_TPL, at, len, 0);
}

static inline size_t write_behind(const struct aioconn *c, const char *format, va_list ap)
{
	size_t room = c->out.spare;

	if (room <= IPC_FRAME_LEN)
		return 0;
	return ipc_image_write_plain(place_behind(c), room - IPC_FRAME_LEN, format, ap);
}

/* The short way. -1: it was not sent, and the long way finds out why. */
static inline int join_values(struct aioconn *c, const char *format, va_list ap)
{
	size_t len;

	if (has_others(c)) {
		len = write_behind(c, format, ap);
		return len && fits_behind(c, len) ? join_others(c, IPC_KIND_TPL, len) : -1;
	}
	if (!is_corked(c))
		return -1;
	len = write_behind(c, format, ap);
	if (len && !fits_corked(c, len))
		len = 0;
	if (len)
		join(c, IPC_KIND_TPL, len);
	ipc_conn_unclaim(c);
	return len ? 0 : -1;
}

int aioconn_send(struct aioconn *c, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = join_values(c, format, ap);
	va_end(ap);
	if (r == 0 || ipc_conn_enter(c) < 0)
		return r;
	va_start(ap, format);
	r = send_values(c, format, ap);
	va_end(ap);
	ipc_conn_leave(c);
	return r;
}

/* A large message, with an empty queue. What the kernel takes at once is not copied here. */
static int write_direct(struct aioconn *c, unsigned char *at, const struct envelope *e,
			const unsigned char *data)
{
	unsigned char *head = at - e->head;
	struct iovec iov[3] = {{head, e->head}, {(void *)(uintptr_t)data, e->len}, {at + e->len, e->tail}};
	ssize_t n = c->carrier.how->write(&c->carrier, iov, 3, NULL, 0);
	size_t size = e->head + e->len + e->tail, wrote, done;

	if (n < 0 && ipc_conn_not_written(c) < 0)
		return -1;
	wrote = n > 0 ? (size_t)n : 0;
	done = wrote < e->head ? 0 : wrote - e->head;
	if (done < e->len)
		memcpy(at + done, data + done, e->len - done);
	c->bytes_out += wrote;
	if (wrote < size) {
		ipc_out_commit(&c->out, size, NULL);
		ipc_out_wrote(&c->out, wrote);
		c->blocked = true;
		ipc_conn_interest(c);
	}
	if (wrote)
		ipc_conn_tell_wrote(c);
	return 0;
}

/* Would a message of this size leave at once? */
static bool goes_direct(struct aioconn *c, size_t len)
{
	if (len < DIRECT || c->corked || c->blocked)
		return false;
	if (c->out.count)
		ipc_conn_flush(c);
	return c->out.count == 0 && c->way_out < IPC_OUT_LOST;
}

static int send_bytes(struct aioconn *c, const unsigned char *data, size_t len)
{
	struct envelope e;
	unsigned char *at;

	if (len == 0 && c->in.framing == AIOCONN_BYTES) /* no bytes need no room */
		return check(c, IPC_KIND_BYTES, 0);
	at = begin(c, IPC_KIND_BYTES, len, len, 0, &e);
	if (!at)
		return -1;
	if (e.tail) {
		if (ipc_line_ends_early(c->in.delimiter, c->in.delimiter_len, data, len))
			return ipc_refuse(
				"the line has its delimiter in it: its reader would find two lines");
		memcpy(at + len, c->in.delimiter, e.tail);
	}
	if (goes_direct(c, len)) {
		if (write_direct(c, at, &e, data) < 0)
			return -1;
		return posted(c, IPC_KIND_BYTES, data, len, 0);
	}
	if (c->way_out >= IPC_OUT_LOST)
		return fail(ipc_conn_send_error(c));
	if (len)
		memcpy(at, data, len);
	ipc_out_commit(&c->out, e.head + len + e.tail, NULL);
	return posted(c, IPC_KIND_BYTES, data, len, 0);
}

int aioconn_send_bytes(struct aioconn *c, const void *data, size_t len)
{
	int r;

	if (has_others(c) && fits_behind(c, len)) {
		if (len) /* if not, @data may be NULL */
			memcpy(place_behind(c), data, len);
		return join_others(c, IPC_KIND_BYTES, len);
	}
	if (join_corked(c, data, len) == 0)
		return 0;
	if (ipc_conn_enter(c) < 0)
		return -1;
	r = send_bytes(c, data, len);
	ipc_conn_leave(c);
	return r;
}

static int free_and_fail(struct aiomsg *m)
{
	int error = errno;

	aiomsg_free(m);
	return fail(error);
}

static int add_fds(struct aiomsg *to, const struct aiomsg *m)
{
	for (unsigned i = 0; m->fds && i < m->fds->n; i++) {
		int fd = atomic_load(&m->fds->fd[i]);

		if (fd >= 0 && aiomsg_add_fd(to, fd) < 0)
			return -1;
	}
	return 0;
}

/*
 * A message that holds duplicates of @m's descriptors until they are sent, behind that of the memory if that is sent. The caller may
 * take those of @m out meanwhile.
 */
static struct aiomsg *duplicates_of(const struct aiomsg *m, bool memory)
{
	struct aiomsg *duplicates = ipc_msg_alloc(IPC_KIND_BYTES, 0);

	if (!duplicates)
		return NULL;
	if ((!memory || aiomsg_add_fd(duplicates, ipc_msg_memory(m)->fd) == 0) && add_fds(duplicates, m) == 0)
		return duplicates;
	free_and_fail(duplicates);
	return NULL;
}

/*
 * Queues header, label and payload. A large payload is queued by reference. A small one is copied, because a reference would keep the
 * message's own descriptors open. Takes @duplicates over.
 */
static int queue_msg(struct aioconn *c, const struct aiomsg *m, const struct label *l,
		     struct aiomsg *duplicates)
{
	unsigned nfds = duplicates ? aiomsg_fds(duplicates) : 0;
	size_t inside = m->len < BY_REFERENCE ? m->len : 0;
	struct envelope e;
	unsigned char *at = begin(c, l->kind, l->len + m->len, l->len + inside, nfds, &e);

	if (!at || ipc_out_prepare(&c->out, 2) < 0)
		return free_and_fail(duplicates);
	memcpy(at, l->at, l->len);
	memcpy(at + l->len, ipc_msg_bytes(m), inside);
	if (e.head)
		ipc_out_commit(&c->out, e.head + l->len + inside, duplicates);
	if (m->len > inside)
		ipc_out_append(&c->out, (struct aiomsg *)(uintptr_t)m);
	return posted(c, l->kind, ipc_msg_bytes(m), m->len, nfds);
}

/*
 * Queues a frame that says how long the payload is, and the memory that it lies in. 1; 0 where descriptors run short, so that the bytes
 * have to travel; -1.
 */
static int queue_memory(struct aioconn *c, const struct aiomsg *m, const struct label *label)
{
	struct aiomsg *duplicates;
	struct label l = *label;
	struct envelope e;
	unsigned char *at;
	unsigned nfds;

	if (check(c, l.kind, l.len + m->len) < 0)
		return -1;
	duplicates = duplicates_of(m, true);
	if (!duplicates)
		return 0;
	nfds = aiomsg_fds(duplicates);
	ipc_frame_write_id(l.at + l.len, m->len);
	l.len += IPC_MEMORY_LEN;
	at = begin(c, l.kind, l.len, l.len, nfds, &e);
	if (!at || ipc_out_prepare(&c->out, 1) < 0)
		return free_and_fail(duplicates);
	at[FLAGS - IPC_FRAME_LEN] = IPC_FRAME_IN_MEMORY;
	memcpy(at, l.at, l.len);
	ipc_out_commit(&c->out, e.head + l.len, duplicates);
	c->memory_sent++;
	if (posted(c, l.kind, ipc_msg_bytes(m), m->len, nfds) == 0)
		return 1;
	if (c->way_out >= IPC_OUT_GOODBYE || c->life != IPC_LIFE_OPEN)
		return -1;
	c->memory_sent--;
	return 0;
}

static int check_sealed(const struct aiomsg *m)
{
	if (ipc_msg_is_open(m))
		return ipc_refuse(
			"the message is not sealed, so its bytes may still change: aiomsg_seal() first");
	return 0;
}

static int send_with_fds(struct aioconn *c, const struct aiomsg *m, const struct label *l)
{
	struct aiomsg *duplicates;

	if (!(c->carrier.can & IPC_CARRY_FDS_OUT) || c->in.framing != AIOCONN_MESSAGES)
		return fail(EOPNOTSUPP);
	duplicates = duplicates_of(m, false);
	return duplicates ? queue_msg(c, m, l, duplicates) : -1;
}

static int send_copy(struct aioconn *c, const struct aiomsg *m, const struct label *l)
{
	size_t len = l->len + m->len;

	if (has_others(c) && fits_behind(c, len)) {
		memcpy(place_behind(c), l->at, l->len);
		memcpy(place_behind(c) + l->len, ipc_msg_bytes(m), m->len);
		return join_others(c, l->kind, len);
	}
	return queue_msg(c, m, l, NULL);
}

static int send_labelled(struct aioconn *c, const struct aiomsg *m, const struct label *l)
{
	int r = ipc_conn_may_pass(c, m) ? queue_memory(c, m, l) : 0;

	if (r)
		return r < 0 ? -1 : 0;
	if (m->fds && aiomsg_fds(m))
		return send_with_fds(c, m, l);
	return m->len < BY_REFERENCE ? send_copy(c, m, l) : queue_msg(c, m, l, NULL);
}

int ipc_conn_send_call(struct aioconn *c, const struct aiomsg *m, uint64_t id)
{
	struct label l = {.kind = m->kind == IPC_KIND_TPL ? IPC_FRAME_CALL : IPC_FRAME_CALL_BYTES,
			  .len = IPC_CALL_ID_LEN};

	ipc_frame_write_id(l.at, id);
	return check_sealed(m) < 0 ? -1 : send_labelled(c, m, &l);
}

static int send_answer(struct aioconn *c, const struct aiomsg *m)
{
	struct label l = {.kind = m->kind == IPC_KIND_TPL ? IPC_FRAME_ANSWER : IPC_FRAME_ANSWER_BYTES,
			  .len = IPC_CALL_ID_LEN};
	uint64_t id;
	int r = ipc_desk_answer(c->desk, m, &id), error;

	if (r <= 0)
		return r < 0 ? -1 : check(c, IPC_KIND_BYTES, 0);
	ipc_frame_write_id(l.at, id);
	if (m->role == IPC_REFUSAL) {
		l.kind = IPC_FRAME_REFUSAL;
		l.len = IPC_REFUSAL_LEN;
		ipc_frame_write_error(l.at + IPC_CALL_ID_LEN, ipc_msg_refusal_error(m));
	}
	r = send_labelled(c, m, &l);
	error = errno;
	if (r < 0)
		ipc_desk_not_sent(m);
	errno = error;
	return r;
}

static int send_msg(struct aioconn *c, const struct aiomsg *m)
{
	const struct label none = {.kind = m->kind};

	if (check_sealed(m) < 0)
		return -1;
	if (m->ticket && (m->role == IPC_ANSWER || m->role == IPC_REFUSAL))
		return send_answer(c, m);
	if (c->in.framing != AIOCONN_MESSAGES && m->kind == IPC_KIND_BYTES && !(m->fds && aiomsg_fds(m)))
		return send_bytes(c, ipc_msg_bytes(m), m->len);
	return send_labelled(c, m, &none);
}

int aioconn_send_msg(struct aioconn *c, const struct aiomsg *m)
{
	int r;

	if (!m->fds && !m->ticket && !m->memory && m->len < BY_REFERENCE && has_others(c) &&
	    fits_behind(c, m->len)) {
		memcpy(place_behind(c), m->data, m->len);
		return join_others(c, m->kind, m->len);
	}
	if (ipc_conn_enter(c) < 0)
		return -1;
	r = send_msg(c, m);
	ipc_conn_leave(c);
	return r;
}

int ipc_conn_send_confirming(struct aioconn *c, uint8_t kind, const unsigned char *data, size_t len)
{
	struct envelope e;
	unsigned char *at;
	int r = -1;

	if (ipc_conn_enter(c) < 0)
		return -1;
	at = begin(c, kind, len, len, 0, &e);
	if (at) {
		memcpy(at, data, len);
		ipc_out_commit(&c->out, e.head + len, NULL);
		r = posted(c, kind, data, len, 0);
	}
	ipc_conn_leave(c);
	return r;
}

static struct aiomsg *values_with_fd(int fd, const char *format, va_list ap)
{
	struct aiomsg *m = ipc_msg_from_values(format, ap);

	if (m && aiomsg_add_fd(m, fd) < 0) {
		free_and_fail(m);
		return NULL;
	}
	return m;
}

int aioconn_send_fd(struct aioconn *c, int fd, const char *format, ...)
{
	struct aiomsg *m;
	va_list ap;
	int r;

	va_start(ap, format);
	m = values_with_fd(fd, format, ap);
	va_end(ap);
	if (!m)
		return -1;
	r = aioconn_send_msg(c, m);
	aiomsg_free(m);
	return r;
}

int ipc_conn_join_in(struct aioconn *c)
{
	unsigned char *at;

	if (check(c, IPC_KIND_BYTES, 0) < 0)
		return -1;
	if (c->way_out == IPC_OUT_NEW && c->in.framing == AIOCONN_MESSAGES) {
		at = ipc_out_reserve(&c->out, IPC_PREFACE_LEN);
		if (!at)
			return -1;
		memcpy(at, ipc_preface, IPC_PREFACE_LEN);
		ipc_out_commit(&c->out, IPC_PREFACE_LEN, NULL);
		ipc_conn_flush(c);
		ipc_conn_interest(c);
		ipc_out_rest(&c->out);
	}
	c->used = true;
	if (c->way_out == IPC_OUT_NEW)
		c->way_out = IPC_OUT_OPEN;
	return check(c, IPC_KIND_BYTES, 0);
}

int ipc_conn_make_room(struct aioconn *c, size_t size, bool look)
{
	if (!ipc_conn_has_room(c, size) && (look || !c->blocked)) {
		ipc_conn_flush(c);
		ipc_conn_interest(c);
	}
	if (c->way_out >= IPC_OUT_GOODBYE || c->life == IPC_LIFE_OVER)
		return fail(EPIPE);
	if (!ipc_conn_has_room(c, size))
		return fail(EAGAIN);
	return ipc_out_prepare(&c->out, IPC_CAST_PARTS);
}

void ipc_conn_not_shared(struct aioconn *c, size_t size)
{
	c->refusals++;
	c->refused = size;
}

/* Copies a small message into this queue's own block, where a reference would keep too much memory for it. */
static bool queue_copy(struct aioconn *c, const struct ipc_cast *k)
{
	unsigned char *at;

	if (c->out.count < SPARSE_MOST || k->msg->len >= BY_REFERENCE)
		return false;
	at = ipc_out_reserve(&c->out, k->size);
	if (!at)
		return false;
	memcpy(at, k->part[0].at, k->size);
	ipc_out_commit(&c->out, k->size, NULL);
	return true;
}

static void queue_shared(struct aioconn *c, const struct ipc_cast *k)
{
	for (unsigned i = 0; i < k->parts; i++)
		ipc_out_share(&c->out, k->part[i].owner, k->part[i].at, k->part[i].n);
}

int ipc_conn_share(struct aioconn *c, const struct ipc_cast *k, bool sparse)
{
	if (check_sealed(k->msg) < 0 || check(c, k->msg->kind, k->msg->len) < 0)
		return -1;
	if (!sparse || !queue_copy(c, k))
		queue_shared(c, k);
	return posted(c, k->msg->kind, ipc_msg_bytes(k->msg), k->msg->len, 0);
}
