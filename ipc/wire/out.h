/*
 * The queue of bytes that wait to be written, in order: stretches of shared blocks that small frames are
 * built in, and references to large messages. Bytes only: the connection writes what ipc_out_iov()
 * shows and says how much with ipc_out_wrote().
 */
#ifndef IPC_WIRE_OUT_H
#define IPC_WIRE_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "ipc/msg/msg.h"

struct ipc_piece {
	struct aiomsg *owner; /* of the memory: a reference */
	const unsigned char *at;
	size_t left;
	struct aiomsg *fds; /* its descriptors go with the first byte; NULL */
};

struct ipc_out {
	struct ipc_piece *ring; /* from the pool */
	size_t block;
	uint32_t room, head, count;
	unsigned fds;           /* queued */
	struct aiomsg *tail;    /* the block that small frames are built in */
	unsigned char *next;    /* its unused part */
	size_t spare;           /* and how much that is */
	struct ipc_piece *open; /* the last piece, while it ends at next and so may grow; NULL */
	size_t bytes;           /* queued */
};

void ipc_out_free(struct ipc_out *out);

/* What the two below do where the last piece can't grow. */
unsigned char *ipc_out_reserve_piece(struct ipc_out *out, size_t n);
void ipc_out_commit_piece(struct ipc_out *out, size_t n, struct aiomsg *fds);

/* A place for @n bytes in a row behind everything queued; not queued until ipc_out_commit(). NULL with ENOMEM. */
static inline unsigned char *ipc_out_reserve(struct ipc_out *out, size_t n)
{
	return out->open && out->spare >= n ? out->next : ipc_out_reserve_piece(out, n);
}

/* The last piece grows by the @n bytes behind it. */
static inline void ipc_out_extend(struct ipc_out *out, size_t n)
{
	out->open->left += n;
	out->bytes += n;
	out->next += n;
	out->spare -= n;
}

/*
 * Queues the first @n of the bytes reserved last; @fds (its reference is taken over; NULL) travel with the first, and
 * need a piece of their own: ipc_out_prepare().
 */
static inline void ipc_out_commit(struct ipc_out *out, size_t n, struct aiomsg *fds)
{
	if (!out->open || fds) {
		ipc_out_commit_piece(out, n, fds);
		return;
	}
	ipc_out_extend(out, n);
}

/* Queues @m's payload by reference, behind a header reserved and committed before. -1/ENOMEM. */
int ipc_out_append(struct ipc_out *out, struct aiomsg *m);

/*
 * Queues @n bytes at @at by reference, as often as there are queues: @owner holds their memory. Bytes that lie behind those that were
 * queued last need no piece of their own. Others do: ipc_out_prepare().
 */
void ipc_out_share_piece(struct ipc_out *out, struct aiomsg *owner, const unsigned char *at, size_t n);

static inline bool ipc_out_follows(const struct ipc_out *out, const struct aiomsg *owner,
				   const unsigned char *at)
{
	const struct ipc_piece *last;

	if (!out->count)
		return false;
	last = &out->ring[(out->head + out->count - 1) & (out->room - 1)];
	return last->owner == owner && last->at + last->left == at;
}

static inline void ipc_out_share(struct ipc_out *out, struct aiomsg *owner, const unsigned char *at, size_t n)
{
	if (!ipc_out_follows(out, owner, at)) {
		ipc_out_share_piece(out, owner, at, n);
		return;
	}
	out->ring[(out->head + out->count - 1) & (out->room - 1)].left += n;
	out->bytes += n;
}

/* Room for @n more pieces, so that the next @n commits and appends cannot fail. -1/ENOMEM. */
int ipc_out_prepare(struct ipc_out *out, size_t n);

/* What to write next, up to the next piece with descriptors of its own: how many stretches. *@fds go along. */
int ipc_out_iov(const struct ipc_out *out, struct iovec *iov, int most, const struct aiomsg **fds);
void ipc_out_wrote(struct ipc_out *out, size_t n);

/*
 * Drops the message whose descriptors are the first to go, whole: nothing of it has left. Its size; a preface in front of it, *@lead bytes,
 * stays the first. Is there one?
 */
size_t ipc_out_refuse(struct ipc_out *out, size_t *lead);
bool ipc_out_fds_first(const struct ipc_out *out);

/* Gives unused memory back, so that an idle connection costs none. */
void ipc_out_rest(struct ipc_out *out);

#endif
