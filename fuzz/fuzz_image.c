/*
 * Bytes of a peer: the checker, and when it says yes, everything that a user can do with the message: the reader over
 * every value, and aiomsg_unpack() of the whole. Neither may fail then, but for what the API says.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/msg.h>

#include "fuzz/args.h"
#include "ipc/msg/image.h"
#include "ipc/msg/msg.h"
#include "ipc/msg/number.h"

/* The counts of an image, in order. */
struct counts {
	const unsigned char *at;
	bool swap;
};

static size_t next_count(void *source)
{
	struct counts *c = source;

	c->at += 4;
	return ipc_get32(c->at - 4, c->swap);
}

static void must(bool condition)
{
	if (!condition)
		abort();
}

static char *piece(const char *p, size_t len)
{
	char *text = calloc(1, len + 1);

	must(text);
	memcpy(text, p, len);
	return text;
}

static bool holds(const char *p, const char *end, char c)
{
	return memchr(p, c, (size_t)(end - p)) != NULL;
}

/* A() that a closed one can't be: arrays or B inside. */
static bool nests(const char *p, const char *end)
{
	return *p == 'A' && (holds(p + 1, end, 'A') || holds(p, end, 'B'));
}

/* One item in one piece; arrays first with too little room, which tells how much they need. */
static void read_item(struct aioreader *r, const char *p, const char *end, struct counts *counts)
{
	struct counts again = *counts;
	struct args a = {.next_count = next_count, .source = counts};
	char *text = piece(p, (size_t)(end - p));
	int got;

	must(args_make(&a, p, end));
	got = aioreader_get(r, text, ARGS_ALL(a.v));
	if (got == -1) {
		must(errno == EMSGSIZE && a.arrays == 1);
		a.room = *a.told[0];
		args_free(&a);
		*counts = again;
		must(args_make(&a, p, end));
		got = aioreader_get(r, text, ARGS_ALL(a.v));
	}
	must(got == 1);
	args_free(&a);
	free(text);
}

static void read_items(struct aioreader *r, const char *p, const char *end, struct counts *counts)
{
	for (const char *next; p < end; p = next) {
		struct counts inside;
		uint32_t n;

		next = args_item_end(p);
		if (!nests(p, next)) {
			read_item(r, p, next, counts);
			continue;
		}
		must(aioreader_get(r, "A(", &n) == 1);
		for (inside = *counts; n > 0; n--, inside = *counts)
			read_items(r, p + 2, next - 1, &inside);
		must(aioreader_get(r, "A", NULL) == 0);
		for (; p < next; p++)
			counts->at += *p == '#' ? 4 : 0;
	}
}

/* Does all of it fit into ARGS arguments and ARGS_MOST_BYTES? Every item on its own, that is; the reader takes them one by one. */
static bool readable(const char *p, const char *end, struct counts *counts)
{
	bool fits = true;

	for (const char *next; p < end && fits; p = next) {
		next = args_item_end(p);
		if (nests(p, next)) {
			fits = readable(p + 2, next - 1, counts);
		} else {
			struct args a = {
				.next_count = next_count, .source = counts, .room = *p == 'A' ? 64 : 0};

			fits = args_make(&a, p, next);
			args_free(&a);
		}
	}
	return fits;
}

static void unpack(const struct aiomsg *m, const struct ipc_view *v)
{
	struct counts counts = {v->counts, v->place.swap};
	struct args a = {.next_count = next_count, .source = &counts, .room = 3};
	bool nested = false;

	for (const char *p = v->format; p < v->end; p = args_item_end(p))
		nested |= nests(p, args_item_end(p));
	if (!nested && args_make(&a, v->format, v->end)) {
		if (aiomsg_unpack(m, v->format, ARGS_ALL(a.v)) == -1)
			must(errno == EMSGSIZE);
	}
	args_free(&a);
}

static void use(const struct aiomsg *m)
{
	struct aioreader r;
	struct ipc_view v;
	struct counts counts;

	must(ipc_msg_read(m, aiomsg_format(m), &v) == 0);
	unpack(m, &v);
	counts = (struct counts){v.counts, v.place.swap};
	if (!readable(v.format, v.end, &counts))
		return;
	if (aioreader_init(&r, m, v.format) == -1) {
		must(errno == EMSGSIZE);
		return;
	}
	counts.at = v.counts;
	read_items(&r, v.format, v.end, &counts);
	must(aioreader_get(&r, "A", NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct aiomsg *m = ipc_msg_alloc(IPC_KIND_TPL, size);
	char why[64];

	must(m);
	if (size > 0)
		memcpy(m->data, data, size);
	if (ipc_msg_seal(m, why, sizeof why) == 0)
		use(m);
	aiomsg_free(m);
	return 0;
}
