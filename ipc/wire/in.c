/* The splitter: see in.h. */
#include "ipc/wire/in.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/wire/frame.h"
#include "ipc/msg/pool.h"
#include "ipc/msg/ticket.h"

#define BUFFER IPC_IN_BUFFER
#define FEW ((size_t)512)
#define WHY_LEN 112
#define LARGE ((size_t)4 * 1024) /* from here on a message that is not whole yet gets its own memory */
#define ROW ((size_t)32 * 1024)  /* from here on a system call for each is cheaper than to copy them */

void ipc_in_init(struct ipc_in *in)
{
	memset(in, 0, sizeof *in);
	in->framing = AIOCONN_MESSAGES;
	in->delimiter[0] = '\n';
	in->delimiter_len = 1;
	in->message_limit = 16U << 20;
	in->line_limit = 64U << 10;
	in->window = BUFFER;
	in->reuses = ipc_pool_keeps();
}

static void drop_spare(struct ipc_in *in)
{
	aiomsg_free(in->spare);
	in->spare = NULL;
}

void ipc_in_free(struct ipc_in *in)
{
	ipc_pool_put(in->buf, in->block);
	in->buf = NULL;
	in->start = in->end = in->block = 0;
	aiomsg_free(in->large);
	in->large = NULL;
	drop_spare(in);
	free((char *)(uintptr_t)in->why);
	in->why = NULL;
}

void ipc_in_drop(struct ipc_in *in)
{
	in->start = in->end;
	aiomsg_free(in->large);
	in->large = NULL;
}

/* Where a peer has stopped in the middle, a few bytes are to keep no large buffer. */
static void shrink(struct ipc_in *in)
{
	size_t held = ipc_in_raw(in), block;
	unsigned char *buf;

	if (in->framing != AIOCONN_MESSAGES || held > FEW || in->block < BUFFER)
		return;
	buf = ipc_pool_get(held, &block);
	if (!buf)
		return;
	memcpy(buf, in->buf + in->start, held);
	ipc_pool_put(in->buf, in->block);
	in->buf = buf;
	in->block = block;
	in->start = 0;
	in->end = held;
}

void ipc_in_rest(struct ipc_in *in)
{
	drop_spare(in);
	if (!in->buf)
		return;
	if (in->start != in->end) {
		shrink(in);
		return;
	}
	ipc_pool_put(in->buf, in->block);
	in->buf = NULL;
	in->start = in->end = in->block = in->searched = 0;
}

size_t ipc_in_held(const struct ipc_in *in)
{
	return ipc_in_raw(in) + (in->large ? in->large_have : 0);
}

size_t ipc_in_memory(const struct ipc_in *in)
{
	return (ipc_in_raw(in) ? in->block : 0) + (in->large ? in->large->block : 0);
}

__attribute__((format(printf, 3, 4))) static int broken(struct ipc_in *in, int error, const char *format, ...)
{
	char *why = in->why ? NULL : malloc(WHY_LEN);
	va_list ap;

	va_start(ap, format);
	if (why)
		vsnprintf(why, WHY_LEN, format, ap);
	va_end(ap);
	if (why)
		in->why = why;
	in->error = error;
	errno = error;
	return -1;
}

int ipc_in_reserve(struct ipc_in *in, size_t n)
{
	size_t held = ipc_in_raw(in), block;
	unsigned char *buf;

	if (in->buf && in->block >= n)
		return 0;
	buf = ipc_pool_get(n, &block);
	if (!buf)
		return -1;
	if (held)
		memcpy(buf, in->buf + in->start, held);
	ipc_pool_put(in->buf, in->block);
	in->buf = buf;
	in->block = block;
	in->start = 0;
	in->end = held;
	return 0;
}

/* Moves what is left to the front, where that makes room for little work. */
static void compact(struct ipc_in *in)
{
	size_t held = ipc_in_raw(in), room = in->block - in->end;

	if (held && room && (room >= BUFFER / 2 || held >= BUFFER / 2))
		return;
	if (in->start && held)
		memmove(in->buf, in->buf + in->start, held);
	in->start = 0;
	in->end = held;
}

/* A stream's buffer may grow until it holds one line of the longest kind. */
static int widen(struct ipc_in *in)
{
	size_t most = in->line_limit + 1;

	if (in->framing == AIOCONN_MESSAGES || in->block >= most)
		return 0;
	return ipc_in_reserve(in, in->block * 2 < most ? in->block * 2 : most);
}

static int large_room(struct ipc_in *in, struct iovec *iov)
{
	size_t room = ipc_msg_room(in->large);

	if (in->large_have == in->large->len)
		return 0;
	if (in->large_have == room) {
		size_t want = room * 2 < in->large->len ? room * 2 : in->large->len;

		if (ipc_msg_grow(&in->large, want, in->large_have) < 0)
			return -1;
		room = ipc_msg_room(in->large);
	}
	if (room > in->large->len)
		room = in->large->len;
	iov->iov_base = in->large->data + in->large_have;
	iov->iov_len = room - in->large_have;
	return 1;
}

int ipc_in_room(struct ipc_in *in, struct iovec iov[2])
{
	int n = 0;

	if (ipc_in_reserve(in, BUFFER) < 0)
		return -1;
	if (in->large) {
		n = large_room(in, &iov[0]);
		if (n < 0)
			return -1;
		if (n == 1 && in->large_have + iov[0].iov_len < in->large->len)
			return 1; /* more of it follows: its room must grow first */
	}
	compact(in);
	if (in->end == in->block && widen(in) < 0)
		return -1;
	if (in->end < in->block) {
		iov[n].iov_base = in->buf + in->end;
		iov[n].iov_len = in->block - in->end < in->window ? in->block - in->end : in->window;
		n++;
	}
	return n;
}

void ipc_in_filled(struct ipc_in *in, size_t n)
{
	if (in->large) {
		size_t left = in->large->len - in->large_have;

		left = n < left ? n : left;
		in->large_have += left;
		n -= left;
	}
	in->end += n;
}

void ipc_in_take(struct ipc_in *in, size_t n)
{
	in->said = true;
	in->start += n;
	in->searched = 0;
	in->continues = false;
}

static int check_preface(struct ipc_in *in)
{
	size_t n = ipc_in_raw(in);
	const unsigned char *p = in->buf + in->start;

	if (n > IPC_PREFACE_LEN)
		n = IPC_PREFACE_LEN;
	if (memcmp(p, ipc_preface, n < 4 ? n : 4) != 0)
		return broken(in, EPROTO, "the peer does not speak aioipc: no preface");
	if (n > 4 && p[4] != IPC_WIRE_VERSION)
		return broken(in, EPROTO, "the peer speaks version %u, this library %u", p[4],
			      IPC_WIRE_VERSION);
	if (memcmp(p, ipc_preface, n) != 0)
		return broken(in, EPROTO, "the peer's preface has unknown flags");
	if (n < IPC_PREFACE_LEN)
		return 0;
	in->start += IPC_PREFACE_LEN;
	in->prefaced = true;
	return 1;
}

/* A header of links that confirm. They alone understand it. */
static int check_confirming(struct ipc_in *in, const struct ipc_frame *f)
{
	static const uint32_t lengths[] = {IPC_HELLO_LEN, IPC_HAD_LEN, IPC_TAKEN_LEN};

	if (!in->confirms)
		return broken(in, EPROTO, "the peer wants messages confirmed, and only links do that");
	if (f->length != lengths[f->kind - IPC_FRAME_HELLO] || f->nfds)
		return broken(in, EPROTO, "frame of kind %u and %u bytes", f->kind, f->length);
	return 0;
}

/* A header that says that the content is in memory: of plain bytes, and only where that was granted. */
static int check_in_memory(struct ipc_in *in, const struct ipc_frame *f)
{
	if (f->flags != IPC_FRAME_IN_MEMORY || !in->memories)
		return broken(in, EPROTO, "frame header with unknown flags");
	if (f->kind != IPC_KIND_BYTES && f->kind != IPC_FRAME_CALL_BYTES && f->kind != IPC_FRAME_ANSWER_BYTES)
		return broken(in, EPROTO, "frame of kind %u in memory", f->kind);
	if (f->length != ipc_frame_label(f->kind) + IPC_MEMORY_LEN)
		return broken(in, EPROTO, "frame in memory and %u bytes", f->length);
	if (f->nfds == 0)
		return broken(in, EPROTO, "frame in memory without a descriptor");
	if (f->nfds - 1U > in->fds_limit)
		return broken(in, EPROTO, "frame with %u descriptors, %u are allowed", f->nfds - 1U,
			      in->fds_limit);
	return 0;
}

/* What a header may say. */
static int check_frame(struct ipc_in *in, const struct ipc_frame *f)
{
	size_t label = ipc_frame_label(f->kind);

	if (f->flags)
		return check_in_memory(in, f);
	if (ipc_frame_confirms(f->kind))
		return check_confirming(in, f);
	if (f->kind == 0 || (f->kind > IPC_FRAME_CANCEL && f->kind < IPC_FRAME_SKIPPED))
		return broken(in, EPROTO, "frame of unknown kind %u", f->kind);
	if (f->length < label)
		return broken(in, EPROTO, "frame of kind %u and only %u bytes", f->kind, f->length);
	if (f->length - label > in->message_limit)
		return broken(in, EMSGSIZE, "frame of %u bytes, limit %u", f->length, in->message_limit);
	if (f->nfds > in->fds_limit)
		return broken(in, EPROTO, "frame with %u descriptors, %u are allowed", f->nfds,
			      in->fds_limit);
	if (f->kind >= IPC_FRAME_SKIPPED && f->nfds)
		return broken(in, EPROTO, "frame to be skipped has descriptors");
	if (f->kind == IPC_FRAME_GRANT && f->length != IPC_GRANT_LEN)
		return broken(in, EPROTO, "grant of %u bytes", f->length);
	if (f->kind == IPC_FRAME_CANCEL && f->length > label)
		return broken(in, EPROTO, "cancel with a payload");
	if ((f->kind == IPC_FRAME_REFUSAL || f->kind == IPC_FRAME_CANCEL) && f->nfds)
		return broken(in, EPROTO, "refusal or cancel with descriptors");
	if (f->kind == IPC_KIND_GOODBYE && (f->length || f->nfds))
		return broken(in, EPROTO, "goodbye with a payload");
	return 0;
}

int ipc_in_refuse(struct ipc_in *in, struct aiomsg *msg, const char *wrong)
{
	aiomsg_free(msg);
	in->between = false;
	return broken(in, EBADMSG, "%s", wrong);
}

/* What a frame of a call's kinds carries, and what its message is. */
static enum ipc_kind content_of(uint8_t kind)
{
	if (!ipc_frame_is_call(kind))
		return kind;
	return kind == IPC_FRAME_CALL || kind == IPC_FRAME_ANSWER ? IPC_KIND_TPL : IPC_KIND_BYTES;
}

static enum ipc_role role_of(uint8_t kind)
{
	static const enum ipc_role roles[] = {IPC_CALL,   IPC_CALL,    IPC_ANSWER,
					      IPC_ANSWER, IPC_REFUSAL, IPC_CANCEL};

	return ipc_frame_is_call(kind) ? roles[kind - IPC_FRAME_CALL] : IPC_PLAIN;
}

/* A refusal came whole, its errno in front of the words. */
static int take_refusal(struct ipc_in *in, struct aiomsg *msg, struct aiomsg **m)
{
	if (ipc_msg_split_refusal(msg) < 0) {
		aiomsg_free(msg);
		return broken(in, EPROTO, "refusal without an error");
	}
	*m = msg;
	return 1;
}

static int take_large(struct ipc_in *in, struct aiomsg **m, unsigned *nfds)
{
	struct aiomsg *msg = in->large;

	if (in->large_have < msg->len)
		return 0;
	in->large = NULL;
	in->said = true;
	*nfds = in->large_fds;
	msg->data[msg->len] = 0;
	return msg->role == IPC_REFUSAL ? take_refusal(in, msg, m) : ipc_in_sealed(in, msg, m);
}

/* Where the content of the frame at the front begins. The error of a refusal is taken for the first of its words at first. */
static size_t head_of(const struct ipc_frame *f)
{
	return IPC_FRAME_LEN + (ipc_frame_is_call(f->kind) ? IPC_CALL_ID_LEN : 0);
}

/* The frame at the front is not whole: from some size on, its rest is received in place. */
static int begin_large(struct ipc_in *in, const struct ipc_frame *f)
{
	size_t head = head_of(f), len = f->length - (head - IPC_FRAME_LEN);
	size_t have = ipc_in_raw(in) - head, first = len < BUFFER ? len : BUFFER;
	struct aiomsg *m;

	if (len < LARGE || ipc_in_raw(in) < head)
		return 0;
	m = ipc_msg_alloc(content_of(f->kind),
			  have < first ? first : have); /* the pool gives buffers a little more */
	if (!m)
		return -1;
	memcpy(m->data, in->buf + in->start + head, have);
	m->len = len;
	m->role = role_of(f->kind) & 7U;
	in->large = m;
	in->large_have = have;
	in->large_fds = f->nfds;
	in->id = ipc_frame_is_call(f->kind) ? ipc_frame_read_id(in->buf + in->start + IPC_FRAME_LEN) : 0;
	in->start = in->end = 0;
	if (len >= ROW) /* large ones come in rows: read little past them, so that little is copied */
		in->window = LARGE;
	return 0;
}

/* The frame at the front is whole: a call, or of what answers or cancels one. */
static int take_call(struct ipc_in *in, const struct ipc_frame *f, struct aiomsg **m)
{
	size_t len = f->length - IPC_CALL_ID_LEN;
	struct aiomsg *msg = ipc_msg_alloc(content_of(f->kind), len);
	const unsigned char *at = in->buf + in->start + IPC_FRAME_LEN;

	if (!msg)
		return -1;
	in->id = ipc_frame_read_id(at);
	memcpy(msg->data, at + IPC_CALL_ID_LEN, len);
	msg->role = role_of(f->kind) & 7U;
	in->start += IPC_FRAME_LEN + f->length;
	in->window = BUFFER;
	in->said = true;
	return msg->role == IPC_REFUSAL ? take_refusal(in, msg, m) : ipc_in_sealed(in, msg, m);
}

/* The frame at the front is whole: says where its content is. */
static int take_in_memory(struct ipc_in *in, const struct ipc_frame *f, struct aiomsg **m)
{
	const unsigned char *at = in->buf + in->start + IPC_FRAME_LEN;
	uint64_t len = ipc_frame_read_id(at + ipc_frame_label(f->kind));
	struct aiomsg *msg;

	if (len > in->message_limit)
		return broken(in, EMSGSIZE, "message of %llu bytes in memory, limit %u",
			      (unsigned long long)len, in->message_limit);
	msg = ipc_msg_elsewhere(len);
	if (!msg)
		return -1;
	msg->role = role_of(f->kind) & 7U;
	in->id = ipc_frame_read_id(at);
	in->start += IPC_FRAME_LEN + f->length;
	in->memories--;
	in->said = true;
	*m = msg;
	return 1;
}

static int take_grant(struct ipc_in *in)
{
	uint64_t granted;

	if (ipc_in_raw(in) < IPC_FRAME_LEN + IPC_GRANT_LEN)
		return 0;
	granted = ipc_frame_read_id(in->buf + in->start + IPC_FRAME_LEN);
	if (granted < in->granted)
		return broken(in, EPROTO, "grant of less than before");
	in->granted = granted;
	in->start += IPC_FRAME_LEN + IPC_GRANT_LEN;
	return 0;
}

static int next_frame(struct ipc_in *in, struct aiomsg **m, unsigned *nfds)
{
	struct ipc_frame f;

	ipc_frame_read(in->buf + in->start, &f);
	if (check_frame(in, &f) < 0)
		return -1;
	if (f.kind == IPC_FRAME_GRANT)
		return take_grant(in);
	if (f.kind == IPC_KIND_GOODBYE || f.kind >= IPC_FRAME_SKIPPED) {
		in->goodbye = f.kind == IPC_KIND_GOODBYE;
		in->skip = f.length;
		in->start += IPC_FRAME_LEN;
		return 0;
	}
	if (ipc_in_raw(in) - IPC_FRAME_LEN < f.length)
		return begin_large(in, &f);
	*nfds = f.nfds;
	if (f.flags)
		return take_in_memory(in, &f, m);
	return ipc_frame_is_call(f.kind) ? take_call(in, &f, m) : ipc_in_take_frame(in, f.kind, f.length, m);
}

unsigned ipc_in_fds_due(const struct ipc_in *in)
{
	struct ipc_frame f;

	if (in->large)
		return in->large_fds;
	if (in->skip || ipc_in_raw(in) == 0)
		return 0;
	if (!in->prefaced || ipc_in_raw(in) < IPC_FRAME_LEN)
		return UINT_MAX;
	ipc_frame_read(in->buf + in->start, &f);
	return f.nfds;
}

/* Behind the preface. */
static bool owes_frame(const struct ipc_in *in)
{
	size_t preface = in->prefaced ? 0 : IPC_PREFACE_LEN, held = ipc_in_raw(in);
	struct ipc_frame f;

	if (in->large)
		return in->large_have < in->large->len;
	if (in->goodbye)
		return false;
	if (in->skip || held <= preface)
		return in->skip || held > 0 || !in->said;
	held -= preface;
	if (held < IPC_FRAME_LEN)
		return true;
	ipc_frame_read(in->buf + in->start + preface, &f);
	return held - IPC_FRAME_LEN < f.length;
}

bool ipc_in_owes(struct ipc_in *in)
{
	if (in->eof || in->error)
		return false;
	switch (in->framing) {
	case AIOCONN_LINES:
		return ipc_in_raw(in) ? ipc_in_line(in) == 0 : !in->said;
	case AIOCONN_BYTES:
		return !in->said && ipc_in_raw(in) == 0;
	default:
		return owes_frame(in);
	}
}

static void skip(struct ipc_in *in)
{
	size_t n = ipc_in_raw(in) < in->skip ? ipc_in_raw(in) : in->skip;

	in->start += n;
	in->skip -= (uint32_t)n;
}

static int next_message(struct ipc_in *in, struct aiomsg **m, unsigned *nfds)
{
	if (in->large)
		return take_large(in, m, nfds);
	for (;;) {
		size_t before = in->start;
		int r;

		skip(in);
		if (in->goodbye && ipc_in_raw(in))
			return broken(in, EPROTO, "bytes after the goodbye");
		if (!in->prefaced && ipc_in_raw(in) && (r = check_preface(in)) <= 0)
			return r;
		if (in->skip || in->goodbye || ipc_in_raw(in) < IPC_FRAME_LEN)
			return 0;
		r = next_frame(in, m, nfds);
		if (r != 0 || in->start == before || in->large)
			return r;
	}
}

/* Where the delimiter begins in the bytes not split yet; -1 nowhere. */
static ssize_t find_delimiter(struct ipc_in *in)
{
	size_t held = ipc_in_raw(in), part = in->delimiter_len - 1;
	const unsigned char *from = in->buf + in->start, *at;

	if (held < in->delimiter_len + in->searched)
		return -1;
	at = memmem(from + in->searched, held - in->searched, in->delimiter, in->delimiter_len);
	if (at)
		return at - from;
	in->searched = held - part;
	return -1;
}

/*
 * How much of a line over the limit is handed over now, of which @at says where its delimiter begins. A delimiter that may have begun
 * stays, so at least one byte is left for the line's last piece.
 */
static ssize_t piece(const struct ipc_in *in, ssize_t at)
{
	size_t held = ipc_in_raw(in), part = in->delimiter_len - 1, most;

	if (at == 0)
		return (ssize_t)in->delimiter_len;
	most = at > 0 ? (size_t)at : held;
	if (at < 0 && !in->eof)
		most = held > part ? held - part : 0;
	return (ssize_t)(most < in->line_limit ? most : in->line_limit);
}

ssize_t ipc_in_line(struct ipc_in *in)
{
	ssize_t at = ipc_in_raw(in) ? find_delimiter(in) : -1;
	size_t line = at >= 0 ? (size_t)at + in->delimiter_len : ipc_in_raw(in);

	if (line > in->line_limit && in->long_lines)
		return piece(in, at);
	if (line > in->line_limit) {
		errno = EMSGSIZE;
		return -1;
	}
	return at >= 0 || (in->eof && !in->cut) ? (ssize_t)line : 0;
}

static bool ends_in_delimiter(const struct ipc_in *in, size_t line)
{
	const unsigned char *end = in->buf + in->start + line;

	return line >= in->delimiter_len &&
	       memcmp(end - in->delimiter_len, in->delimiter, in->delimiter_len) == 0;
}

bool ipc_in_is_inside(const struct ipc_in *in)
{
	size_t held = ipc_in_raw(in);

	return in->framing == AIOCONN_LINES && (held ? !ends_in_delimiter(in, held) : in->continues);
}

static int next_line(struct ipc_in *in, struct aiomsg **m)
{
	ssize_t r = ipc_in_line(in);
	size_t line = (size_t)r, len;
	struct aiomsg *msg;
	bool whole;

	if (r < 0)
		return broken(in, EMSGSIZE, "line over the limit of %u bytes", in->line_limit);
	if (r == 0)
		return 0;
	whole = ends_in_delimiter(in, line);
	len = whole ? line - in->delimiter_len : line;
	msg = ipc_in_message(in, IPC_KIND_BYTES, len);
	if (!msg)
		return -1;
	memcpy(msg->data, in->buf + in->start, len);
	msg->part = in->continues ? AIOMSG_CONTINUES : 0;
	ipc_in_take(in, line);
	if (!whole)
		msg->part |= ipc_in_raw(in) ? AIOMSG_MORE : AIOMSG_UNENDED;
	in->continues = msg->part & AIOMSG_MORE;
	*m = msg;
	return 1;
}

static int next_chunk(struct ipc_in *in, struct aiomsg **m)
{
	size_t len = ipc_in_raw(in);
	struct aiomsg *msg;

	if (len == 0)
		return 0;
	msg = ipc_in_message(in, IPC_KIND_BYTES, len);
	if (!msg)
		return -1;
	memcpy(msg->data, in->buf + in->start, len);
	ipc_in_take(in, len);
	*m = msg;
	return 1;
}

int ipc_in_next(struct ipc_in *in, struct aiomsg **m, unsigned *nfds)
{
	int r;

	*nfds = 0;
	if (in->error) {
		errno = in->error;
		return -1;
	}
	switch (in->framing) {
	case AIOCONN_LINES:
		return next_line(in, m);
	case AIOCONN_BYTES:
		return next_chunk(in, m);
	default:
		r = next_message(in, m, nfds);
		in->between = in->prefaced && !in->large && !in->skip && !in->goodbye && !in->error;
		return r;
	}
}
