/* The queue of bytes that wait to be written: see out.h. */
#include "ipc/wire/out.h"

#include <string.h>

#include "ipc/wire/pool.h"

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
	out->room = want;
	out->head = 0;
	return 0;
}

unsigned char *ipc_out_reserve(struct ipc_out *out, size_t n)
{
	struct aiomsg *m = out->tail;

	if (ipc_out_prepare(out, 1) < 0)
		return NULL;
	if (m && out->count == 0 && ipc_msg_unshared(m))
		m->len = 0;
	if (m && ipc_msg_room(m) - m->len >= n)
		return m->data + m->len;
	m = ipc_msg_alloc(IPC_KIND_BYTES, n > BLOCK ? n : BLOCK);
	if (!m)
		return NULL;
	m->len = 0;
	aiomsg_free(out->tail);
	out->tail = m;
	return m->data;
}

static void push(struct ipc_out *out, struct aiomsg *owner, const unsigned char *at, size_t n,
		 struct aiomsg *fds)
{
	out->count++;
	*piece(out, out->count - 1) = (struct ipc_piece){aiomsg_ref(owner), at, n, fds};
	out->bytes += n;
	out->fds += fds ? aiomsg_fds(fds) : 0;
}

void ipc_out_commit(struct ipc_out *out, size_t n, struct aiomsg *fds)
{
	struct ipc_piece *last = out->count ? piece(out, out->count - 1) : NULL;
	const unsigned char *at = out->tail->data + out->tail->len;

	out->tail->len += n;
	if (last && !fds && last->owner == out->tail && last->at + last->left == at) {
		last->left += n;
		out->bytes += n;
		return;
	}
	push(out, out->tail, at, n, fds);
}

int ipc_out_append(struct ipc_out *out, struct aiomsg *m)
{
	if (ipc_out_prepare(out, 1) < 0)
		return -1;
	push(out, m, m->data, m->len, NULL);
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
