/*
 * A user's or a peer's bytes, taken three times: as an image, which must come back the same from its text and its JSON; and as text and as
 * JSON, of which whatever is taken must be a message that comes back the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/text.h>

#include "ipc/msg/image.h"
#include "ipc/msg/msg.h"
#include "ipc/msg/show.h"

typedef size_t writer(const struct aiomsg *m, char *text, size_t size);
typedef struct aiomsg *reader(const char *text, size_t len);

static void must(bool condition)
{
	if (!condition)
		abort();
}

static char *write_all(writer *write, const struct aiomsg *m, size_t *len)
{
	char *text;

	*len = write(m, NULL, 0);
	text = malloc(*len + 1);
	must(text);
	must(write(m, text, *len + 1) == *len && strlen(text) == *len);
	return text;
}

/* A part is the front of all. */
static void cut(writer *write, const struct aiomsg *m, const char *all, size_t len)
{
	size_t size = len / 2 + 1;
	char *text = malloc(size);

	must(text);
	must(write(m, text, size) == len && strlen(text) < size && strncmp(text, all, strlen(text)) == 0);
	free(text);
}

static void same_text(writer *write, const struct aiomsg *m, const char *text)
{
	size_t len;
	char *again = write_all(write, m, &len);

	must(strcmp(text, again) == 0);
	free(again);
}

static struct aiomsg *turn_around(const struct aiomsg *m, writer *write, reader *read)
{
	struct aiomsg *back;
	size_t len;
	char *text = write_all(write, m, &len), *exact = malloc(len + (len == 0));

	must(exact);
	memcpy(exact, text, len); /* so that ASan sees a byte too many */
	cut(write, m, text, len);
	back = read(exact, len);
	must(back);
	must(back->kind != IPC_KIND_TPL || !ipc_image_check(back->data, back->len));
	same_text(write, back, text);
	free(exact);
	free(text);
	return back;
}

/* An image of another byte order comes back in ours, and nobody knows how many of a '#' there are in what there is none of. */
static void turn_both(const struct aiomsg *m)
{
	struct aiomsg *one = turn_around(m, aiomsg_text, aiomsg_from_text);
	struct aiomsg *other = turn_around(m, aiomsg_json, aiomsg_from_json);
	struct aiomsg *again = turn_around(one, aiomsg_json, aiomsg_from_json);
	char brief[40];

	must(one->kind == m->kind && one->len == m->len);
	must(one->len == other->len && memcmp(one->data, other->data, one->len) == 0);
	must(one->len == again->len && memcmp(one->data, again->data, one->len) == 0);
	aiomsg_free(one);
	aiomsg_free(other);
	aiomsg_free(again);
	ipc_show_brief(m->kind, m->data, m->len, brief, sizeof brief);
	must(strlen(brief) < sizeof brief);
}

static void read_as(reader *read, const uint8_t *data, size_t size)
{
	struct aiomsg *m = read((const char *)data, size);

	if (!m) {
		must(errno == EINVAL);
		return;
	}
	must(m->kind != IPC_KIND_TPL || !ipc_image_check(m->data, m->len));
	turn_both(m);
	aiomsg_free(m);
}

static void read_image(const uint8_t *data, size_t size)
{
	struct aiomsg *m = ipc_msg_alloc(IPC_KIND_TPL, size);
	char why[64];

	must(m);
	if (size > 0)
		memcpy(m->data, data, size);
	if (ipc_msg_seal(m, why, sizeof why) == 0)
		turn_both(m);
	m->kind = IPC_KIND_BYTES;
	turn_both(m);
	aiomsg_free(m);
}

/* Words, each with a NUL behind it, of a command line; the first is the format. */
static void read_words(const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 1), *words[65];
	size_t n = 0, used;
	struct aiomsg *m;

	must(text);
	memcpy(text, data, size);
	for (char *p = text; p < text + size && n < 64; p += strlen(p) + 1)
		words[n++] = p;
	words[n] = NULL;
	m = n > 0 ? aiomsg_from_words(words[0], words + 1, &used) : NULL;
	must(!m || (used < n && !ipc_image_check(m->data, m->len)));
	aiomsg_free(m);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		data = (const uint8_t *)"";
	read_image(data, size);
	read_as(aiomsg_from_text, data, size);
	read_as(aiomsg_from_json, data, size);
	read_words(data, size);
	return 0;
}
