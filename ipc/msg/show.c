/*
 * Writes messages as text and as JSON. It walks an image of any format; the checker has accepted the image. In the text, values are
 * words, arrays have brackets, and the members of a struct follow each other. In JSON, structs and elements of several values are arrays.
 */
#include "ipc/msg/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <aioipc/text.h>

#include "ipc/msg/image.h"
#include "ipc/msg/number.h"
#include "ipc/msg/real.h"
#include "ipc/msg/sink.h"
#include "ipc/msg/walk.h"

struct show {
	struct ipc_sink *sink;
	bool json;
	bool brief; /* ends when the sink is full */
	bool first; /* no value yet in the brackets that are open */
	bool swap;  /* the writer's byte order is not ours */
	const unsigned char *counts;
	const unsigned char *at; /* the next value */
};

static int done(const struct show *s)
{
	return s->brief && s->sink->full ? -1 : 0;
}

static void next_value(struct show *s)
{
	if (!s->first)
		ipc_sink_string(s->sink, s->json ? ", " : " ");
	s->first = false;
}

static void open_bracket(struct show *s)
{
	next_value(s);
	ipc_sink_string(s->sink, s->json ? "[" : "[ ");
	s->first = true;
}

static void close_bracket(struct show *s)
{
	ipc_sink_string(s->sink, s->json || s->first ? "]" : " ]");
	s->first = false;
}

static uint32_t count_of(const struct show *s, uint32_t hash)
{
	return ipc_get32(s->counts + 4 * (size_t)hash, s->swap);
}

static uint32_t take_count(struct show *s)
{
	uint32_t n = ipc_get32(s->at, s->swap);

	s->at += 4;
	return n;
}

/* A brief text is full after as many bytes as it has room for. */
static int show_bytes(struct show *s, size_t n)
{
	size_t shown = s->brief && n > s->sink->room ? s->sink->room + 1 : n;

	next_value(s);
	if (s->json)
		ipc_sink_json(s->sink, s->at, shown);
	else
		ipc_sink_quoted(s->sink, s->at, shown);
	s->at += n;
	return done(s);
}

static int show_string(struct show *s)
{
	uint32_t len = take_count(s);

	if (len > 0)
		return show_bytes(s, len - 1);
	next_value(s);
	ipc_sink_string(s->sink, s->json ? "null" : "\\N");
	return done(s);
}

static void show_number(struct show *s, const char *text, bool odd)
{
	next_value(s);
	if (s->json && odd)
		ipc_sink_put(s->sink, "\"", 1);
	ipc_sink_string(s->sink, text);
	if (s->json && odd)
		ipc_sink_put(s->sink, "\"", 1);
}

static void show_integer(struct show *s, char letter, const void *number)
{
	int64_t n;
	uint64_t u;
	char text[24];

	memcpy(&u, number, sizeof u);
	n = letter == 'j' ? *(const int16_t *)number : letter == 'i' ? *(const int32_t *)number : (int64_t)u;
	if (letter == 'v')
		u = *(const uint16_t *)number;
	if (letter == 'u')
		u = *(const uint32_t *)number;
	if (letter == 'j' || letter == 'i' || letter == 'I')
		snprintf(text, sizeof text, "%" PRId64, n);
	else
		snprintf(text, sizeof text, "%" PRIu64, u);
	show_number(s, text, false);
}

static int show_numeric(struct show *s, char letter)
{
	union {
		uint64_t bits;
		uint32_t u;
		uint16_t v;
	} number = {0};
	size_t size = ipc_letter(letter)->wire;
	char text[IPC_REAL_MOST];

	ipc_copy_number(&number, s->at, size, s->swap);
	s->at += size;
	if (letter == 'f') {
		ipc_real_write(text, number.bits);
		show_number(s, text, ipc_real_is_odd(number.bits));
	} else {
		show_integer(s, letter, &number);
	}
	return done(s);
}

/* What follows are the walk's calls. */
static int on_value(void *context, char letter)
{
	struct show *s = context;

	if (letter == 'c')
		return show_bytes(s, 1);
	if (letter == 's')
		return show_string(s);
	if (letter == 'B')
		return show_bytes(s, take_count(s));
	return show_numeric(s, letter);
}

static int on_row(void *context, uint32_t hash)
{
	return show_bytes(context, count_of(context, hash));
}

static int on_begin(void *context, struct ipc_loop *loop)
{
	struct show *s = context;

	loop->n = loop->array ? take_count(s) : count_of(s, loop->hash);
	open_bracket(s);
	return done(s);
}

static int on_next(void *context, struct ipc_loop *loop)
{
	if (done(context) == -1)
		return -1;
	if (loop->n-- > 0)
		return 1;
	close_bracket(context);
	return 0;
}

static int on_group(void *context, bool opens)
{
	struct show *s = context;

	if (s->json && opens)
		open_bracket(s);
	else if (s->json)
		close_bracket(s);
	return done(s);
}

static const struct ipc_walk_ops ops = {on_begin, on_next, on_group, on_value, on_row};

static void show_image(struct show *s, const unsigned char *image)
{
	const char *format = (const char *)image + IPC_IMAGE_FORMAT;

	s->swap = (image[3] & IPC_IMAGE_BIG_ENDIAN) != ipc_big_endian();
	s->at = s->counts = image + IPC_IMAGE_FORMAT + strlen(format) + 1;
	for (const char *p = format; *p; p++)
		s->at += *p == '#' ? 4 : 0;
	ipc_walk(format, &ops, s);
}

static void show_text(struct ipc_sink *sink, enum ipc_kind kind, const unsigned char *data, size_t len,
		      bool brief)
{
	struct show s = {.sink = sink, .brief = brief, .at = data, .first = true};

	if (kind != IPC_KIND_TPL) {
		show_bytes(&s, len);
		return;
	}
	s.first = false;
	ipc_sink_string(sink, (const char *)data + IPC_IMAGE_FORMAT);
	show_image(&s, data);
}

static void show_fds(struct ipc_sink *sink, const char *before, unsigned n, const char *behind)
{
	char text[64];

	if (n == 0)
		return;
	snprintf(text, sizeof text, "%s%u%s", before, n, behind);
	ipc_sink_string(sink, text);
}

size_t aiomsg_text(const struct aiomsg *m, char *text, size_t size)
{
	struct ipc_sink sink;

	ipc_sink_open(&sink, text, size);
	show_text(&sink, m->kind, ipc_msg_bytes(m), m->len, false);
	show_fds(&sink, " (descriptors: ", aiomsg_fds(m), ")");
	return sink.len;
}

size_t aiomsg_json(const struct aiomsg *m, char *text, size_t size)
{
	struct ipc_sink sink;
	struct show s = {.sink = &sink, .json = true, .first = true};

	ipc_sink_open(&sink, text, size);
	if (aiomsg_format(m)) {
		ipc_sink_string(&sink, "{\"format\": \"");
		ipc_sink_string(&sink, aiomsg_format(m));
		ipc_sink_string(&sink, "\", \"values\": [");
		show_image(&s, m->data);
		ipc_sink_string(&sink, "]");
	} else {
		ipc_sink_string(&sink, "{\"bytes\": ");
		ipc_sink_json(&sink, ipc_msg_bytes(m), m->len);
	}
	show_fds(&sink, ", \"descriptors\": ", aiomsg_fds(m), "");
	ipc_sink_string(&sink, "}");
	return sink.len;
}

void ipc_show_brief(enum ipc_kind kind, const unsigned char *data, size_t len, char *text, size_t size)
{
	struct ipc_sink sink;

	ipc_sink_open(&sink, text, size - 3);
	show_text(&sink, kind, data, len, true);
	if (sink.full)
		memcpy(text + sink.put, "...", 4);
}
