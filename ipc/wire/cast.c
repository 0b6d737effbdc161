/* A message as bytes of a stream, made once for many streams: see cast.h. */
#include "ipc/wire/cast.h"

#include <string.h>

#include "ipc/os/log.h"
#include "ipc/wire/frame.h"

#define BLOCK ((size_t)32 * 1024)
/* From this size on, the payload is referred to where it is, and not copied into the block. */
#define BY_REFERENCE ((size_t)4 * 1024)

bool ipc_line_ends_early(const char *delimiter, size_t delimiter_len, const unsigned char *data, size_t len)
{
	size_t part = len < delimiter_len ? len : delimiter_len;
	char seam[2 * IPC_DELIMITER_MOST];

	if (len == 0)
		return false;
	memcpy(seam, data + len - part, part);
	memcpy(seam + part, delimiter, delimiter_len);
	return memmem(data, len, delimiter, delimiter_len) ||
	       memmem(seam, part + delimiter_len - 1, delimiter, delimiter_len);
}

void ipc_cast_init(struct ipc_cast *k, const struct ipc_in *in)
{
	*k = (struct ipc_cast){.framing = in->framing, .delimiter_len = in->delimiter_len};
	memcpy(k->delimiter, in->delimiter, in->delimiter_len);
}

void ipc_cast_free(struct ipc_cast *k)
{
	aiomsg_free(k->block);
	k->block = NULL;
	k->spare = 0;
}

bool ipc_cast_fits(const struct ipc_cast *k, const struct ipc_in *in)
{
	if (k->framing != in->framing)
		return false;
	return k->framing != AIOCONN_LINES || (k->delimiter_len == in->delimiter_len &&
					       memcmp(k->delimiter, in->delimiter, k->delimiter_len) == 0);
}

int ipc_cast_check(const struct ipc_cast *k, const struct aiomsg *m)
{
	if (k->framing == AIOCONN_MESSAGES)
		return 0;
	if (m->kind != IPC_KIND_BYTES)
		return ipc_refuse("typed values need the framing AIOCONN_MESSAGES, and a member has %s: "
				  "send bytes to this hub",
				  k->framing == AIOCONN_LINES ? "AIOCONN_LINES" : "AIOCONN_BYTES");
	if (k->framing == AIOCONN_LINES &&
	    ipc_line_ends_early(k->delimiter, k->delimiter_len, ipc_msg_bytes(m), m->len))
		return ipc_refuse("there is a delimiter inside the line: send each line by itself");
	return 0;
}

static size_t head_len(const struct ipc_cast *k)
{
	return k->framing == AIOCONN_MESSAGES ? IPC_FRAME_LEN : 0;
}

static size_t tail_len(const struct ipc_cast *k)
{
	return k->framing == AIOCONN_LINES ? k->delimiter_len : 0;
}

size_t ipc_cast_size(const struct ipc_cast *k, size_t len)
{
	return head_len(k) + len + tail_len(k);
}

/* Room for @n bytes in a row. A block that no queue refers to is used again from its beginning. */
static int reserve(struct ipc_cast *k, size_t n)
{
	struct aiomsg *block;

	if (k->block && ipc_msg_unshared(k->block)) {
		k->next = k->block->data;
		k->spare = ipc_msg_room(k->block);
	}
	if (k->spare >= n)
		return 0;
	block = ipc_msg_alloc(IPC_KIND_BYTES, BLOCK);
	if (!block)
		return -1;
	aiomsg_free(k->block);
	k->block = block;
	k->next = block->data;
	k->spare = ipc_msg_room(block);
	return 0;
}

static void put(struct ipc_cast *k, const void *data, size_t n)
{
	if (n)
		memcpy(k->next, data, n);
	k->next += n;
	k->spare -= n;
}

/* The bytes of the block from @from on are the next part. */
static void add_built(struct ipc_cast *k, const unsigned char *from)
{
	if (k->next > from)
		k->part[k->parts++] = (struct ipc_cast_part){k->block, from, (size_t)(k->next - from)};
}

int ipc_cast_make(struct ipc_cast *k, const struct aiomsg *m)
{
	const struct ipc_frame f = {.length = (uint32_t)m->len, .kind = m->kind};
	bool apart = m->len >= BY_REFERENCE;
	unsigned char head[IPC_FRAME_LEN], *from;

	k->size = ipc_cast_size(k, m->len);
	if (reserve(k, apart ? k->size - m->len : k->size) < 0)
		return -1;
	from = k->next;
	k->msg = m;
	k->parts = 0;
	ipc_frame_write(head, &f);
	put(k, head, head_len(k));
	if (!apart)
		put(k, ipc_msg_bytes(m), m->len);
	if (apart) {
		add_built(k, from);
		k->part[k->parts++] =
			(struct ipc_cast_part){(struct aiomsg *)(uintptr_t)m, ipc_msg_bytes(m), m->len};
		from = k->next;
	}
	put(k, k->delimiter, tail_len(k));
	add_built(k, from);
	return 0;
}

void ipc_cast_rest(struct ipc_cast *k)
{
	if (k->block && ipc_msg_unshared(k->block))
		ipc_cast_free(k);
}
