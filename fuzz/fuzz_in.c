/*
 * The splitter, given a stream in any pieces: it must find in it what it finds when the stream comes as a whole, in the
 * same order, and the same error at the end.
 */
#include <errno.h>
#include <stdbool.h>

#include "fuzz/stretch.h"
#include "ipc/wire/in.h"

struct found {
	bool inside; /* a line of which more is to come */
	uint64_t hash;
	unsigned msgs;
	int error;
};

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void mix(struct found *f, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		f->hash = (f->hash ^ p[i]) * 0x100000001b3;
}

/* How a long line is cut hangs on what had come: its content counts, and where it ends. */
static void note_piece(struct found *f, const struct ipc_in *in, const struct aiomsg *m)
{
	unsigned part = aiomsg_part(m), unended = part & AIOMSG_UNENDED;

	must(m->len <= in->line_limit);
	must(!(part & AIOMSG_CONTINUES) == !f->inside);
	must(!(part & AIOMSG_MORE) || !unended);
	mix(f, m->data, m->len);
	f->inside = part & AIOMSG_MORE;
	if (f->inside)
		return;
	mix(f, &unended, sizeof unended);
	f->msgs++;
}

/* Chunks of a byte stream come as they are cut: only their content counts. */
static void note(struct found *f, const struct ipc_in *in, const struct aiomsg *m, unsigned nfds)
{
	size_t len;
	const void *data = aiomsg_bytes(m, &len);

	if (in->framing == AIOCONN_LINES && in->long_lines) {
		note_piece(f, in, m);
		return;
	}
	if (in->framing != AIOCONN_BYTES) {
		must(len <= (in->framing == AIOCONN_LINES ? in->line_limit : in->message_limit));
		must(nfds <= in->fds_limit + m->memory);
		mix(f, &len, sizeof len);
		mix(f, &nfds, sizeof nfds);
		mix(f, &(uint8_t){m->kind}, 1);
		mix(f, &(uint8_t){m->role}, 1);
		if (m->role)
			mix(f, &in->id, sizeof in->id);
		f->msgs++;
	}
	if (!m->memory) /* or it was not mapped: the peer's descriptors are none of the splitter's */
		mix(f, data, len);
}

static void take_out(struct ipc_in *in, struct found *f)
{
	struct aiomsg *m;
	unsigned nfds;
	int r = 0;

	while (!f->error && (r = ipc_in_next(in, &m, &nfds)) == 1) {
		note(f, in, m, nfds);
		aiomsg_free(m);
	}
	if (r < 0) {
		f->error = errno;
		must(in->error == errno && in->why && errno != ENOMEM);
	}
}

/* As much as there is room for, at most @most: how much it took. */
static size_t put_in(struct ipc_in *in, struct found *f, const unsigned char *data, size_t most)
{
	struct iovec iov[2];
	int n = ipc_in_room(in, iov);
	size_t put = 0;

	if (n == 0) {
		take_out(in, f);
		n = ipc_in_room(in, iov);
	}
	must(n >= 0 && n <= 2);
	for (int i = 0; i < n; i++) {
		size_t part = most - put < iov[i].iov_len ? most - put : iov[i].iov_len;

		memcpy(iov[i].iov_base, data + put, part);
		put += part;
	}
	must(put > 0 || f->error);
	ipc_in_filled(in, put);
	return put;
}

/* @x 0: in pieces as large as there is room for, each looked at once. */
static struct found split(const unsigned char *data, size_t len, unsigned options, bool confirms, uint32_t x)
{
	struct found f = {.hash = 0xcbf29ce484222325};
	struct ipc_in in;

	ipc_in_init(&in);
	in.framing = (enum aioconn_framing)(options % 3);
	in.delimiter_len = (uint8_t)(1 + (options >> 2) % 3);
	memcpy(in.delimiter, "\n\r\n", in.delimiter_len);
	in.fds_limit = options & 32 ? 4 : 0;
	in.long_lines = options & 16;
	in.line_limit = options & 64 ? 100 : 70000;
	in.message_limit = options & 128 ? 5000 : 400000;
	in.memories = 3;
	in.confirms = confirms;
	for (size_t at = 0; at < len && !f.error;) {
		uint32_t r = x ? stretch_random(&x) : 0;
		size_t most = !x ? len - at : r & 1 ? 1 + (r >> 10) % 16 : 1 + (r >> 10) % 70000;

		at += put_in(&in, &f, data + at, most < len - at ? most : len - at);
		if ((r & 6) != 6)
			take_out(&in, &f);
		if ((r & 0x70) == 0x70)
			must(ipc_in_reserve(&in, (r >> 16) + 1) == 0);
		if ((r & 0x380) == 0x380)
			ipc_in_rest(&in);
	}
	in.eof = true;
	take_out(&in, &f);
	must(f.error || in.framing == AIOCONN_MESSAGES || ipc_in_raw(&in) == 0);
	must(!f.inside);
	ipc_in_free(&in);
	return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct found whole, pieces;
	unsigned char *stream;
	size_t len;

	if (size < 2)
		return 0;
	stream = stretch(data + 2, size - 2, &len);
	whole = split(stream, len, data[0], data[1] & 128, 0);
	pieces = split(stream, len, data[0], data[1] & 128, 1u + data[1]);
	must(whole.error == pieces.error);
	must(whole.msgs == pieces.msgs);
	must(whole.hash == pieces.hash);
	free(stream);
	return 0;
}
