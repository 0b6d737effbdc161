/*
 * A format and pieces, all the input's: "format NUL piece NUL piece...". Whatever is put, an image that comes out at the end
 * is one that the checker takes.
 */
#include <stdlib.h>
#include <string.h>

#include <aioipc/msg.h>

#include "fuzz/args.h"
#include "ipc/msg/image.h"

static size_t next_count(void *source)
{
	(void)source;
	return 2;
}

/* The items of a piece are a format of their own; what is none must be refused before an argument is looked at. */
static void put(struct aiowriter *w, const char *text)
{
	struct args a = {.values = true, .next_count = next_count, .room = 2};
	char *items = strdup(text + strspn(text, ")"));
	size_t len = items ? strlen(items) : 0;
	struct ipc_format f;

	if (len >= 2 && strcmp(items + len - 2, "A(") == 0)
		items[len -= 2] = 0;
	if (!items)
		abort();
	if (ipc_format_scan(items, &f) == -1) {
		if (aiowriter_put(w, text) == 0)
			abort();
	} else {
		if (args_make(&a, items, items + len))
			aiowriter_put(w, text, ARGS_ALL(a.v));
		args_free(&a);
	}
	free(items);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 2), *format = text, *end = text + size;
	struct aiowriter *w;
	struct aiomsg *m;
	size_t len;
	const void *image;

	if (!text)
		abort();
	memcpy(text, data, size);
	w = aiowriter_new(format);
	for (char *p = format + strlen(format) + 1; w && p < end; p += strlen(p) + 1)
		put(w, p);
	m = aiowriter_finish(w);
	if (m) {
		image = aiomsg_bytes(m, &len);
		if (ipc_image_check(image, len))
			abort();
	}
	aiomsg_free(m);
	free(text);
	return 0;
}
