/*
 * The splitter: bytes of a stream in, messages out. Bytes only: no descriptor, no clock. The connection reads into
 * ipc_in_room(), says how much with ipc_in_filled(), and takes messages with ipc_in_next(). Small messages
 * are copied out of one buffer; a large one is received into its own memory, which grows with what
 * has arrived, never with what was announced.
 */
#ifndef IPC_WIRE_IN_H
#define IPC_WIRE_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <aioipc/conn.h>

#include "ipc/msg/msg.h"
#include "ipc/wire/frame.h"

#define IPC_DELIMITER_MOST 8
#define IPC_IN_BUFFER ((size_t)64 * 1024)

struct ipc_in {
	enum aioconn_framing framing : 8;
	uint8_t delimiter_len;
	uint8_t memories; /* so many messages in memory may still come: set by the owner */
	bool reuses;      /* messages may be given back */
	bool prefaced, goodbye;
	bool between;    /* of the frames of a stream that is in order, and ipc_in_next() was called there */
	bool confirms;   /* frames of links that confirm are messages for the owner */
	bool said;       /* something whole came */
	bool long_lines; /* a line over the limit comes in pieces */
	bool continues;  /* the last piece taken was not its line's last */
	bool eof;        /* no more bytes will come: set by the owner, */
	bool cut;        /* and this where the stream broke off: half a line is none */
	int error;       /* the peer broke the protocol: this errno */
	uint32_t skip;   /* bytes of a frame that is to be ignored */
	unsigned large_fds;
	unsigned fds_limit; /* descriptors that one frame may announce */
	const char *why;    /* and this in words; its own, until ipc_in_free() */
	char delimiter[IPC_DELIMITER_MOST];
	uint32_t message_limit, line_limit;
	unsigned char *buf;       /* from the pool, NULL while there is nothing to hold */
	size_t block, start, end; /* what is not split yet: buf[start..end) */
	size_t window;            /* how much of the buffer a read may fill */
	size_t searched;          /* no delimiter begins before start + searched */
	struct aiomsg *spare;     /* given back: the next small message is built in it */
	struct aiomsg *large;     /* being received into its own memory */
	size_t large_have;
	/* Of the call that was taken last, or of what answers or cancels it: see the role of the message. Or of the large one. */
	uint64_t id;
	uint64_t granted; /* so many messages in memory the peer takes in all */
};

/* Large messages come in a row, or bytes as they are. */
static inline bool ipc_in_is_bulk(const struct ipc_in *in)
{
	return in->window < IPC_IN_BUFFER || in->framing == AIOCONN_BYTES;
}

void ipc_in_init(struct ipc_in *in);
void ipc_in_free(struct ipc_in *in);

/* Where the next bytes go, at most two stretches: how many; 0 when it is full, so take some out first; -1/ENOMEM. */
int ipc_in_room(struct ipc_in *in, struct iovec iov[2]);
void ipc_in_filled(struct ipc_in *in, size_t n);

/* Between messages: how many descriptors the frame that is here in part may have. */
unsigned ipc_in_fds_due(const struct ipc_in *in);

/*
 * The next message and how many descriptors came with it. The first is of one that lies in memory, which is to be mapped. 1; 0 when more bytes are needed, or the goodbye was read; -1: EPROTO, EMSGSIZE or
 * EBADMSG, for good, with in->why; or ENOMEM, nothing lost.
 */
int ipc_in_next(struct ipc_in *in, struct aiomsg **m, unsigned *nfds);

/* Takes over a reference to a message that came from here and was read. While nobody else holds it, the next one may be built in it. */
static inline void ipc_in_give_back(struct ipc_in *in, struct aiomsg *m)
{
	if (in->reuses && !in->spare && ipc_msg_is_bare(m))
		in->spare = m;
	else
		aiomsg_free(m);
}

/* The bytes not taken yet: how many. */
static inline size_t ipc_in_raw(const struct ipc_in *in)
{
	return in->end - in->start;
}

/* A message of @len bytes, in the one that was given back unless much of its memory would be of no use. NULL with ENOMEM. */
static inline struct aiomsg *ipc_in_message(struct ipc_in *in, uint8_t kind, size_t len)
{
	struct aiomsg *m = in->spare;
	size_t need = sizeof *m + len + 1;

	if (!m || need > m->block || m->block > 2 * need + 64)
		return ipc_msg_alloc(kind, len);
	in->spare = NULL;
	m->kind = kind & 31U;
	m->part = 0;
	m->role = IPC_PLAIN;
	m->letters = 0;
	m->len = len;
	m->data[len] = 0;
	return m;
}

/* Frees @msg, which the checker has refused, and breaks the stream. -1. */
int ipc_in_refuse(struct ipc_in *in, struct aiomsg *msg, const char *wrong);

/* The bytes of a message are there, and its NUL. Nobody has checked them: the last gate before anyone sees it. As ipc_in_next(). */
static inline int ipc_in_sealed(struct ipc_in *in, struct aiomsg *msg, struct aiomsg **m)
{
	const char *wrong = msg->kind == IPC_KIND_TPL ? ipc_msg_check(msg) : NULL;

	if (wrong)
		return ipc_in_refuse(in, msg, wrong);
	*m = msg;
	return 1;
}

/* The frame at the front is whole. As ipc_in_next(). */
static inline int ipc_in_take_frame(struct ipc_in *in, uint8_t kind, size_t len, struct aiomsg **m)
{
	struct aiomsg *msg = ipc_in_message(in, kind, len);

	if (!msg)
		return -1;
	memcpy(msg->data, in->buf + in->start + IPC_FRAME_LEN, len);
	in->start += IPC_FRAME_LEN + len;
	in->window = IPC_IN_BUFFER;
	in->said = true;
	return ipc_in_sealed(in, msg, m);
}

/* The short way for most of what comes: a whole message without descriptors. 0: ipc_in_next() must look. */
static inline int ipc_in_common(struct ipc_in *in, struct aiomsg **m)
{
	size_t held = ipc_in_raw(in);
	uint32_t length, kind;

	if (!in->between || held < IPC_FRAME_LEN)
		return 0;
	ipc_frame_halves(in->buf + in->start, &length, &kind);
	if (kind - IPC_KIND_TPL > IPC_KIND_BYTES - IPC_KIND_TPL || length > held - IPC_FRAME_LEN ||
	    length > in->message_limit)
		return 0;
	return ipc_in_take_frame(in, (uint8_t)kind, length, m);
}

/*
 * For stream framings: length of the first line with its delimiter, of the last one maybe without, or of the first piece of a
 * long line; 0 none yet; -1/EMSGSIZE over the limit.
 */
ssize_t ipc_in_line(struct ipc_in *in);

/* Does what came end in the middle of a line? */
bool ipc_in_is_inside(const struct ipc_in *in);

/* Takes the first @n of the bytes not taken yet. */
void ipc_in_take(struct ipc_in *in, size_t n);

/*
 * Is the peer to say more before it has said something? It has said nothing whole yet, or what is at the front, and
 * was not taken yet, is not whole.
 */
bool ipc_in_owes(struct ipc_in *in);

/* Everything that is held, for the count of what waits. */
size_t ipc_in_held(const struct ipc_in *in);

/* True when a stream's buffer holds all it may: take something out before more is read. */
static inline bool ipc_in_full(const struct ipc_in *in)
{
	return in->framing != AIOCONN_MESSAGES && in->buf && ipc_in_raw(in) == in->block &&
	       in->block > in->line_limit;
}

/* The memory that this takes; a buffer that is about to be given back is none. */
size_t ipc_in_memory(const struct ipc_in *in);

/* Forgets what is held, of a stream whose content is of no interest any more. */
void ipc_in_drop(struct ipc_in *in);

/* Makes the buffer at least @n bytes, so that so many can be held at once. -1/ENOMEM. */
int ipc_in_reserve(struct ipc_in *in, size_t n);

/* Gives an empty buffer back, so that an idle connection costs none; one that holds little becomes a small one. */
void ipc_in_rest(struct ipc_in *in);

#endif
