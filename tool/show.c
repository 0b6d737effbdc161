/*
 * Messages as text or JSON. Walks the tpl image that aiomsg_bytes() gives, as aioipc-wire(7) describes it: of any format,
 * without knowing it before. A message that was received has been checked whole, so nothing is checked here.
 *
 * As text the values are words that --send takes: arrays in brackets, the members of a struct one after the other. As JSON,
 * structs and elements of several values are arrays too.
 */
#include "tool/tool.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A place in an image. */
struct walk {
	FILE *f;
	bool json;
	bool swap;                   /* the writer's byte order is not ours */
	bool first;                  /* no value yet in the brackets that are open */
	const unsigned char *counts; /* of the next '#' */
	const unsigned char *at;     /* the next value */
};

/* What is repeated by '#': a letter, or the S() whose counts begin there. */
struct cell {
	const char *p;
	const unsigned char *counts;
};

static const char *walk_items(struct walk *w, const char *p);

static void next_value(struct walk *w)
{
	if (!w->first)
		fputs(w->json ? ", " : " ", w->f);
	w->first = false;
}

static void open_bracket(struct walk *w)
{
	next_value(w);
	fputs(w->json ? "[" : "[ ", w->f);
	w->first = true;
}

static void close_bracket(struct walk *w)
{
	fputs(w->json || w->first ? "]" : " ]", w->f);
	w->first = false;
}

static void open_group(struct walk *w)
{
	if (w->json)
		open_bracket(w);
}

static void close_group(struct walk *w)
{
	if (w->json)
		close_bracket(w);
}

static void take(struct walk *w, void *to, size_t n)
{
	unsigned char *byte = to;

	for (size_t i = 0; i < n; i++)
		byte[w->swap ? n - 1 - i : i] = w->at[i];
	w->at += n;
}

static uint32_t count_at(const struct walk *w, const unsigned char *at)
{
	struct walk there = {.swap = w->swap, .at = at};
	uint32_t n;

	take(&there, &n, sizeof n);
	return n;
}

static uint32_t take_count(struct walk *w)
{
	uint32_t n = count_at(w, w->at);

	w->at += sizeof n;
	return n;
}

static void show_bytes(struct walk *w, size_t n)
{
	bool bracket = n == 1 && (*w->at == '[' || *w->at == ']');

	next_value(w);
	if (w->json)
		text_json(w->f, w->at, n);
	else if (bracket) /* it is a value, and would be taken for the word */
		fprintf(w->f, "\"\\%c\"", *w->at);
	else
		text_quoted(w->f, w->at, n);
	w->at += n;
}

static void show_string(struct walk *w)
{
	uint32_t len = take_count(w);

	if (len > 0) {
		show_bytes(w, len - 1);
		return;
	}
	next_value(w);
	fputs(w->json ? "null" : "\\N", w->f);
}

/* Many numbers are none. All but the usual one are told by their bits. */
static void write_nan(char *text, size_t size, double d)
{
	const uint64_t usual = UINT64_C(1) << 51;
	uint64_t bits;

	memcpy(&bits, &d, sizeof bits);
	bits &= (UINT64_C(1) << 52) - 1;
	snprintf(text, size, "%snan", signbit(d) ? "-" : "");
	if (bits != usual)
		snprintf(text + strlen(text), size - strlen(text), "(0x%" PRIx64 ")", bits);
}

/* As short as brings the same number back. */
static void show_real(struct walk *w)
{
	char text[40];
	double d;

	take(w, &d, sizeof d);
	snprintf(text, sizeof text, "%.15g", d);
	if (strtod(text, NULL) != d)
		snprintf(text, sizeof text, "%.17g", d);
	if (isnan(d))
		write_nan(text, sizeof text, d);
	next_value(w);
	fprintf(w->f, w->json && !isfinite(d) ? "\"%s\"" : "%s", text);
}

static void show_signed(struct walk *w, int64_t n)
{
	next_value(w);
	fprintf(w->f, "%" PRId64, n);
}

static void show_unsigned(struct walk *w, uint64_t n)
{
	next_value(w);
	fprintf(w->f, "%" PRIu64, n);
}

static void show_integer(struct walk *w, char letter)
{
	union {
		int16_t j;
		uint16_t v;
		int32_t i;
		uint32_t u;
		int64_t I;
		uint64_t U;
	} n;

	take(w, &n, letter == 'j' || letter == 'v' ? 2 : letter == 'i' || letter == 'u' ? 4 : 8);
	if (letter == 'j')
		show_signed(w, n.j);
	else if (letter == 'i')
		show_signed(w, n.i);
	else if (letter == 'I')
		show_signed(w, n.I);
	else
		show_unsigned(w, letter == 'v' ? n.v : letter == 'u' ? n.u : n.U);
}

static void show_letter(struct walk *w, char letter)
{
	if (letter == 'c')
		show_bytes(w, 1);
	else if (letter == 's')
		show_string(w);
	else if (letter == 'B')
		show_bytes(w, take_count(w));
	else if (letter == 'f')
		show_real(w);
	else
		show_integer(w, letter);
}

static void show_cell(struct walk *w, const struct cell *cell)
{
	if (*cell->p != 'S') {
		show_letter(w, *cell->p);
		return;
	}
	w->counts = cell->counts;
	open_group(w);
	walk_items(w, cell->p + 2);
	close_group(w);
}

/* The cell once for each combination of the '#' at @hashes, whose counts are at @counts. A row of c is a string. */
static void show_cells(struct walk *w, const struct cell *cell, const char *hashes,
		       const unsigned char *counts)
{
	uint32_t n;

	if (*hashes != '#') {
		show_cell(w, cell);
		return;
	}
	n = count_at(w, counts);
	if (*cell->p == 'c' && hashes[1] != '#') {
		show_bytes(w, n);
		return;
	}
	open_bracket(w);
	while (n-- > 0)
		show_cells(w, cell, hashes + 1, counts + 4);
	close_bracket(w);
}

/* Behind "A(". */
static const char *walk_array(struct walk *w, const char *body)
{
	const unsigned char *counts = w->counts;
	uint32_t n = take_count(w);
	size_t hashes;
	const char *end = format_end(body, &hashes), *p = body;
	bool several;

	if (*p == 'A' || *p == 'S')
		p = format_end(p + 2, &(size_t){0});
	p += 1 + strspn(p + 1, "#");
	several = *p != ')';
	open_bracket(w);
	while (n-- > 0) {
		w->counts = counts;
		if (several)
			open_group(w);
		walk_items(w, body);
		if (several)
			close_group(w);
	}
	close_bracket(w);
	w->counts = counts + 4 * hashes;
	return end + 1;
}

/* A letter or an S(), and its '#'. */
static const char *walk_cells(struct walk *w, const char *p)
{
	struct cell cell = {p, w->counts};
	const unsigned char *counts = w->counts;
	size_t inside = 0;

	if (*p == 'S')
		p = format_end(p + 2, &inside);
	p++;
	show_cells(w, &cell, p, counts + 4 * inside);
	w->counts = counts + 4 * (inside + strspn(p, "#"));
	return p + strspn(p, "#");
}

/* To the ')' of the brackets that it is in, or to the end. */
static const char *walk_items(struct walk *w, const char *p)
{
	while (*p && *p != ')')
		p = *p == 'A' ? walk_array(w, p + 2) : walk_cells(w, p);
	return p;
}

static bool is_big_endian(void)
{
	const uint16_t one = 1;

	return *(const unsigned char *)&one == 0;
}

static void walk_image(FILE *f, const unsigned char *image, bool json)
{
	const char *format = (const char *)image + 8;
	struct walk w = {.f = f, .json = json, .first = json};
	const char *p;

	w.swap = (image[3] & 1) != is_big_endian();
	w.at = w.counts = image + 8 + strlen(format) + 1;
	for (p = format; *p; p++)
		w.at += *p == '#' ? 4 : 0;
	walk_items(&w, format);
}

static void show_json_values(FILE *f, const struct aiomsg *m)
{
	size_t len;
	const unsigned char *data = aiomsg_bytes(m, &len);

	if (!aiomsg_format(m)) {
		fprintf(f, "\"bytes\": ");
		text_json(f, data, len);
		return;
	}
	fprintf(f, "\"format\": \"%s\", \"values\": [", aiomsg_format(m));
	walk_image(f, data, true);
	fputc(']', f);
}

void show_values(FILE *f, const struct aiomsg *m, bool json)
{
	size_t len;
	const unsigned char *data = aiomsg_bytes(m, &len);

	if (json) {
		show_json_values(f, m);
		return;
	}
	if (!aiomsg_format(m)) {
		text_quoted(f, data, len);
		return;
	}
	fputs(aiomsg_format(m), f);
	walk_image(f, data, false);
}

static void show_json(FILE *f, const struct aiomsg *m, const struct tool_options *o)
{
	size_t len;
	const unsigned char *data = aiomsg_bytes(m, &len);

	fputc('{', f);
	if (o->framing == AIOCONN_LINES) {
		fprintf(f, "\"line\": ");
		text_json(f, data, len);
	} else {
		show_json_values(f, m);
	}
	if (aiomsg_fds(m) > 0)
		fprintf(f, ", \"descriptors\": %u", aiomsg_fds(m));
	fprintf(f, "}\n");
}

/* A stream's own newlines are newlines. */
static void show_stream(FILE *f, const unsigned char *p, size_t n)
{
	while (n > 0) {
		const unsigned char *newline = memchr(p, '\n', n);
		size_t len = newline ? (size_t)(newline - p) : n;

		text_escaped(f, p, len);
		if (!newline)
			return;
		fputc('\n', f);
		p += len + 1;
		n -= len + 1;
	}
}

void show_message(FILE *f, const struct aiomsg *m, const struct tool_options *o)
{
	size_t len;
	const unsigned char *data = aiomsg_bytes(m, &len);

	if (o->json) {
		show_json(f, m, o);
		return;
	}
	if (o->raw && !aiomsg_format(m))
		fwrite(data, 1, len, f);
	else if (o->framing == AIOCONN_MESSAGES)
		show_values(f, m, false);
	else if (o->framing == AIOCONN_LINES)
		text_escaped(f, data, len);
	else
		show_stream(f, data, len);
	if (aiomsg_fds(m) > 0)
		fprintf(f, " (descriptors: %u)", aiomsg_fds(m));
	if (o->framing != AIOCONN_BYTES)
		fputc('\n', f);
}
