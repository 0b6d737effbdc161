/* The queue of bytes that wait to be written: see out.h. */
#include "ipc/wire/out.h"

#include <string.h>

#include "ipc/wire/frame.h"
#include "ipc/msg/pool.h"

#define BLOCK ((size_t)32 * 1024)
#define PIECES ((size_t)16) /* a power of two, so that places wrap by a mask */

static struct ipc_piece *piece(const struct ipc_out *out, size_t i)
{
	return &out->ring[(out->head + i) & (out->room - 1)];
}

static void drop_first(struct ipc_out *out)
{
	struct ipc_piece *p = piece(out, 0);

	out->fds -= p->fds ? aiomsg_fds(p->fds) : 0;
	aiomsg_free(p->fds);
	aiomsg_free(p->owner);
	out->head = (out->head + 1) & (out->room - 1);
	out->count--;
	if (out->count == 0)
		out->open = NULL;
}

void ipc_out_free(struct ipc_out *out)
{
	while (out->count)
		drop_first(out);
	out->bytes = 0;
	ipc_out_rest(out);
}

void ipc_out_rest(struct ipc_out *out)
{
	if (out->count)
		return;
	aiomsg_free(out->tail);
	out->tail = NULL;
	out->spare = 0;
	ipc_pool_put(out->ring, out->block);
	out->ring = NULL;
	out->block = out->room = out->head = 0;
}

int ipc_out_prepare(struct ipc_out *out, size_t n)
{
	size_t want = out->room ? out->room : PIECES, block, i;
	struct ipc_piece *ring;

	if (out->count + n <= out->room)
		return 0;
	while (want < out->count + n)
		want *= 2;
	ring = ipc_pool_get(want * sizeof *ring, &block);
	if (!ring)
		return -1;
	for (i = 0; i < out->count; i++)
		ring[i] = *piece(out, i);
	ipc_pool_put(out->ring, out->block);
	out->ring = ring;
	out->block = block;
	out->room = (uint32_t)want;
	out->head = 0;
	if (out->open)
		out->open = piece(out, out->count - 1);
	return 0;
}

/* All of @m is there for new frames. */
static void build_in(struct ipc_out *out, struct aiomsg *m)
{
	out->tail = m;
	out->next = m->data;
	out->spare = ipc_msg_room(m);
	out->open = NULL;
}

unsigned char *ipc_out_reserve_piece(struct ipc_out *out, size_t n)
{
	struct aiomsg *m;

	if (ipc_out_prepare(out, 1) < 0)
		return NULL;
	if (out->tail && out->count == 0 && ipc_msg_unshared(out->tail))
		build_in(out, out->tail);
	if (out->tail && out->spare >= n)
		return out->next;
	m = ipc_msg_alloc(IPC_KIND_BYTES, n > BLOCK ? n : BLOCK);
	if (!m)
		return NULL;
	aiomsg_free(out->tail);
	build_in(out, m);
	return out->next;
}

static void push(struct ipc_out *out, struct aiomsg *owner, const unsigned char *at, size_t n,
		 struct aiomsg *fds)
{
	out->count++;
	*piece(out, out->count - 1) = (struct ipc_piece){aiomsg_ref(owner), at, n, fds};
	out->bytes += n;
	out->fds += fds ? aiomsg_fds(fds) : 0;
	out->open = NULL;
}

void ipc_out_commit_piece(struct ipc_out *out, size_t n, struct aiomsg *fds)
{
	push(out, out->tail, out->next, n, fds);
	out->next += n;
	out->spare -= n;
	out->open = piece(out, out->count - 1);
}

void ipc_out_share_piece(struct ipc_out *out, struct aiomsg *owner, const unsigned char *at, size_t n)
{
	push(out, owner, at, n, NULL);
}

int ipc_out_append(struct ipc_out *out, struct aiomsg *m)
{
	if (ipc_out_prepare(out, 1) < 0)
		return -1;
	push(out, m, ipc_msg_bytes(m), m->len, NULL);
	return 0;
}

int ipc_out_iov(const struct ipc_out *out, struct iovec *iov, int most, const struct aiomsg **fds)
{
	int n;

	*fds = out->count ? piece(out, 0)->fds : NULL;
	for (n = 0; n < most && (size_t)n < out->count; n++) {
		struct ipc_piece *p = piece(out, (size_t)n);

		if (n && p->fds)
			break;
		iov[n].iov_base = (void *)(uintptr_t)p->at;
		iov[n].iov_len = p->left;
	}
	return n;
}

/* The first byte of a piece has left, and its descriptors with it. */
static void fds_left(struct ipc_out *out, struct ipc_piece *p)
{
	if (!p->fds)
		return;
	out->fds -= aiomsg_fds(p->fds);
	aiomsg_free(p->fds);
	p->fds = NULL;
}

void ipc_out_wrote(struct ipc_out *out, size_t n)
{
	out->bytes -= n;
	while (n) {
		struct ipc_piece *p = piece(out, 0);

		fds_left(out, p);
		if (n < p->left) {
			p->at += n;
			p->left -= n;
			return;
		}
		n -= p->left;
		drop_first(out);
	}
}

bool ipc_out_fds_first(const struct ipc_out *out)
{
	return out->count && piece(out, 0)->fds;
}

/* The second piece is dropped, and the first takes its place. */
static void drop_second(struct ipc_out *out)
{
	struct ipc_piece *second = piece(out, 1);

	aiomsg_free(second->owner);
	*second = *piece(out, 0);
	out->head = (out->head + 1) & (out->room - 1);
	out->count--;
}

/* The frame is looked at again: no length is as large as the letters of a preface. */
size_t ipc_out_refuse(struct ipc_out *out, size_t *lead)
{
	struct ipc_piece *p = piece(out, 0);
	unsigned char *at = (unsigned char *)(uintptr_t)p->at;
	struct ipc_frame f;
	size_t size, here;

	*lead = memcmp(at, ipc_preface, IPC_PREFACE_LEN) == 0 ? IPC_PREFACE_LEN : 0;
	ipc_frame_read(at + *lead, &f);
	size = IPC_FRAME_LEN + f.length;
	here = size < p->left - *lead ? size : p->left - *lead;
	memmove(at + here, at, *lead);
	fds_left(out, p);
	p->at += here;
	p->left -= here;
	out->bytes -= size;
	if (here < size)
		drop_second(out);
	if (piece(out, 0)->left == 0)
		drop_first(out);
	return size;
}
