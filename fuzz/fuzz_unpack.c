/*
 * A receiver's format, right or wrong, against a peer's image: "format NUL flavours NUL-or-not image". The flavours are bytes that
 * say which count of a '#' is to be wrong, and how much room arrays get.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/msg.h>

#include "fuzz/args.h"
#include "ipc/msg/image.h"
#include "ipc/msg/msg.h"
#include "ipc/msg/number.h"

struct counts {
	const unsigned char *at, *end;
	bool swap;
	uint8_t wrong; /* which */
};

static size_t next_count(void *source)
{
	struct counts *c = source;
	size_t n = 2;

	if (c->end - c->at >= 4) {
		n = ipc_get32(c->at, c->swap);
		c->at += 4;
	}
	return n + (--c->wrong == 0);
}

static void unpack(const struct aiomsg *m, const char *format, uint8_t wrong, uint8_t room)
{
	const unsigned char *nul = memchr(m->data + IPC_IMAGE_FORMAT, 0, m->len - IPC_IMAGE_FORMAT);
	struct counts counts = {nul + 1, m->data + m->len,
				(m->data[3] & IPC_IMAGE_BIG_ENDIAN) != ipc_big_endian(), wrong};
	struct args a = {.next_count = next_count, .source = &counts, .room = room};
	struct aioreader r;
	struct ipc_format f;
	int error;

	if (ipc_format_scan(format, &f) == 0 && args_make(&a, format, format + f.len)) {
		error = aiomsg_unpack(m, format, ARGS_ALL(a.v));
		if (error && errno != EBADMSG && errno != EINVAL && errno != EMSGSIZE)
			abort();
		for (unsigned i = 0; i < a.arrays; i++)
			if ((*a.told[i] != (size_t)-1) != (!error || errno == EMSGSIZE))
				abort();
		if (aioreader_init(&r, m, format) == 0 && f.len > 0)
			if ((aioreader_get(&r, format, ARGS_ALL(a.v)) == -1) != (error == -1))
				abort();
	}
	args_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
	size_t head = nul ? (size_t)(nul - data) + 3 : 0;
	struct aiomsg *m;
	char why[64];

	if (!nul || head > size)
		return 0;
	m = ipc_msg_alloc(IPC_KIND_TPL, size - head);
	if (!m)
		abort();
	memcpy(m->data, data + head, size - head);
	if (ipc_msg_seal(m, why, sizeof why) == 0) {
		unpack(m, (const char *)data, nul[1], nul[2]);
		unpack(m, aiomsg_format(m), nul[1], nul[2]);
	}
	aiomsg_free(m);
	return 0;
}
