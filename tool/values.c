/*
 * A message from words, as --send has them. Each letter takes a word; an array, and a row of #, its values between the words
 * "[" and "]", which may be left out around the last of a format. What is read is what show.c writes.
 *
 * aiowriter takes values one at a time, but structs and rows as they lie in memory: those are laid out here.
 */
#include "tool/tool.h"

#include <ctype.h>
#include <errno.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COUNTS 16 /* the most # that belong together: of a struct, those of its members and its own */

/* What a letter takes in memory, between which numbers, and what it is. */
static const struct letter {
	char letter;
	size_t size, align;
	int64_t least;
	uint64_t most;
	const char *name;
} letters[] = {
	{'c', 1, 1, 0, 0, "one byte"},
	{'j', sizeof(int16_t), alignof(int16_t), INT16_MIN, INT16_MAX, "a 16-bit integer"},
	{'v', sizeof(uint16_t), alignof(uint16_t), 0, UINT16_MAX, "an unsigned 16-bit integer"},
	{'i', sizeof(int32_t), alignof(int32_t), INT32_MIN, INT32_MAX, "a 32-bit integer"},
	{'u', sizeof(uint32_t), alignof(uint32_t), 0, UINT32_MAX, "an unsigned 32-bit integer"},
	{'I', sizeof(int64_t), alignof(int64_t), INT64_MIN, INT64_MAX, "a 64-bit integer"},
	{'U', sizeof(uint64_t), alignof(uint64_t), 0, UINT64_MAX, "an unsigned 64-bit integer"},
	{'f', sizeof(double), alignof(double), 0, 0, "a number"},
	{'s', sizeof(char *), alignof(char *), 0, 0, "a string without NUL, \\ written as \\\\"},
	{'B', 0, 1, 0, 0, "bytes, \\ written as \\\\"},
};

union value {
	char c;
	int16_t j;
	uint16_t v;
	int32_t i;
	uint32_t u;
	int64_t I;
	uint64_t U;
	double f;
	const char *s;
};

/* Values as they lie in memory. */
struct cells {
	char *at;
	size_t len, room;
	size_t one; /* the size of a struct */
};

/* What # repeats: a letter, or an S(..) with a place for each # in it. A count is 0 as long as it is not known. */
struct cell {
	const char *p;
	size_t *counts;
};

struct build {
	struct aiowriter *writer;
	char **words;
	unsigned depth; /* of arrays */
};

static char why[256];

static int put_items(struct build *b, const char *p);

static __attribute__((format(printf, 1, 2))) int fail(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, sizeof why, format, ap);
	va_end(ap);
	return -1;
}

static const struct letter *letter_of(char c)
{
	const struct letter *l = letters;

	while (l->letter != c)
		l++;
	return l;
}

/* In decimal, or in hexadecimal behind 0x. */
static bool read_integer(const struct letter *l, const char *word, uint64_t *n)
{
	bool minus = *word == '-';
	const char *digits = word + minus;
	bool hex = digits[0] == '0' && tolower(digits[1]) == 'x';
	uint64_t most = minus ? (uint64_t)0 - (uint64_t)l->least : l->most;
	char *end;

	if (!isdigit((unsigned char)*digits))
		return false;
	errno = 0;
	*n = strtoull(digits, &end, hex ? 16 : 10);
	if (errno || *end || *n > most)
		return false;
	*n = minus ? 0 - *n : *n;
	return true;
}

/* "nan", or one that is told by its bits: "nan(0x1)", whatever strtod() makes of that. */
static bool read_nan(const char *word, double *d)
{
	bool minus = *word == '-';
	uint64_t bits = UINT64_C(1) << 51;
	char *end = (char *)(uintptr_t)(word + minus + 3);

	if (strncasecmp(word + minus, "nan", 3) != 0)
		return false;
	if (strncasecmp(end, "(0x", 3) == 0 && isxdigit((unsigned char)end[3])) {
		bits = strtoull(end + 1, &end, 16);
		if (*end++ != ')')
			return false;
	}
	if (*end || bits == 0 || bits >> 52)
		return false;
	bits |= UINT64_C(0x7ff) << 52 | (uint64_t)minus << 63;
	memcpy(d, &bits, sizeof bits);
	return true;
}

static bool read_real(const char *word, double *d)
{
	char *end;

	if (read_nan(word, d))
		return true;
	*d = strtod(word, &end);
	return *word && !isspace((unsigned char)*word) && !*end;
}

static bool read_string(char *word, const char **s)
{
	ssize_t len;

	*s = NULL;
	if (strcmp(word, "\\N") == 0)
		return true;
	len = text_unescape(word);
	*s = word;
	return len >= 0 && strlen(word) == (size_t)len;
}

static bool read_word(const struct letter *l, char *word, union value *v)
{
	uint64_t n;

	if (l->letter == 'c') {
		n = (uint64_t)text_unescape(word);
		v->c = *word;
		return n == 1;
	}
	if (l->letter == 'f')
		return read_real(word, &v->f);
	if (l->letter == 's')
		return read_string(word, &v->s);
	if (!read_integer(l, word, &n))
		return false;
	if (l->size == 2)
		v->v = (uint16_t)n;
	else if (l->size == 4)
		v->u = (uint32_t)n;
	else
		v->U = n;
	return true;
}

static char *next_word(struct build *b, const char *name)
{
	if (*b->words)
		return *b->words++;
	fail("the values end too early: %s is missing", name);
	return NULL;
}

static int read_value(struct build *b, char c, union value *v)
{
	const struct letter *l = letter_of(c);
	char *word = next_word(b, l->name);

	if (!word)
		return -1;
	return read_word(l, word, v) ? 0 : fail("\"%s\" is not what %c takes: %s", word, c, l->name);
}

/* Bytes, which may be any. */
static char *read_bytes(struct build *b, size_t *len)
{
	char *word = next_word(b, letter_of('B')->name);
	ssize_t n = word ? text_unescape(word) : 0;

	if (n == -1) {
		fail("\"%s\" has an escape that is none", word);
		return NULL;
	}
	*len = (size_t)n;
	return word;
}

/* Is this array in brackets? @last: it may do without, and goes on to the last word. */
static int open_bracket(struct build *b, bool last)
{
	if (*b->words && strcmp(*b->words, "[") == 0) {
		b->words++;
		return 1;
	}
	return last ? 0 : fail("the values of an array stand between the words [ and ]");
}

/* Has it ended? */
static int close_bracket(struct build *b, int bracket)
{
	if (!*b->words)
		return bracket ? fail("a ] is missing") : 1;
	if (!bracket || strcmp(*b->words, "]") != 0)
		return 0;
	b->words++;
	return 1;
}

static void *add(struct cells *cells, size_t size, size_t align)
{
	size_t start = (cells->len + align - 1) / align * align;

	if (!cells->at || start + size > cells->room) {
		size_t room = 2 * (start + size) + 64;
		char *at = realloc(cells->at, room);

		if (!at) {
			fail("%s", strerror(errno));
			return NULL;
		}
		memset(at + cells->room, 0, room - cells->room);
		cells->at = at;
		cells->room = room;
	}
	cells->len = start + size;
	return cells->at + start;
}

static int fill(struct build *b, struct cells *cells, const struct cell *cell, const char *hashes,
		size_t *counts, bool last);

static int fill_struct(struct build *b, struct cells *cells, const struct cell *cell)
{
	size_t start = cells->len, align = 1, *counts = cell->counts;
	struct cell member = {cell->p + 2, NULL};

	while (*member.p != ')') {
		const char *hashes = member.p + 1;
		size_t n = strspn(hashes, "#");

		if (letter_of(*member.p)->align > align)
			align = letter_of(*member.p)->align;
		if (fill(b, cells, &member, hashes, counts, false) == -1)
			return -1;
		counts += n;
		member.p = hashes + n;
	}
	if (!add(cells, 0, align))
		return -1;
	cells->one = cells->len - start;
	return 0;
}

static int fill_one(struct build *b, struct cells *cells, const struct cell *cell)
{
	const struct letter *l;
	union value v;
	void *to;

	if (*cell->p == 'S')
		return fill_struct(b, cells, cell);
	l = letter_of(*cell->p);
	if (read_value(b, l->letter, &v) == -1 || !(to = add(cells, l->size, l->align)))
		return -1;
	memcpy(to, &v, l->size);
	return 0;
}

static int settle_count(size_t *count, size_t n)
{
	if (*count && *count != n)
		return fail("rows of one # have %zu and %zu values", *count, n);
	*count = n;
	return 0;
}

/* A row of c is one word. */
static int fill_bytes(struct build *b, struct cells *cells, size_t *count)
{
	size_t len;
	const char *from = read_bytes(b, &len);
	char *to;

	if (!from || settle_count(count, len) == -1 || !(to = add(cells, len, 1)))
		return -1;
	memcpy(to, from, len);
	return 0;
}

/* The cell once for each combination of the '#' at @hashes, whose counts are @counts. */
static int fill(struct build *b, struct cells *cells, const struct cell *cell, const char *hashes,
		size_t *counts, bool last)
{
	size_t n = 0;
	int bracket, closed;

	if (*hashes != '#')
		return fill_one(b, cells, cell);
	if (*cell->p == 'c' && hashes[1] != '#')
		return fill_bytes(b, cells, counts);
	bracket = open_bracket(b, last);
	if (bracket == -1)
		return -1;
	while ((closed = close_bracket(b, bracket)) == 0) {
		if (fill(b, cells, cell, hashes + 1, counts + 1, false) == -1)
			return -1;
		n++;
	}
	return closed == 1 ? settle_count(counts, n) : -1;
}

static int put_result(int r)
{
	if (r == 0)
		return 0;
	return fail("%s", errno == EINVAL ? "the counts of a # differ, or are 0" : strerror(errno));
}

/* A struct or a row; extra arguments are not looked at. */
static int put_cells(struct build *b, const char *p, const char *end)
{
	struct cells cells = {NULL, 0, 0, 0};
	size_t n[COUNTS] = {0}, inside = 0, all = 0;
	const struct cell cell = {p, n};
	const char *hashes = *p == 'S' ? format_end(p + 2, &inside) + 1 : p + 1;
	char *piece = strndup(p, (size_t)(end - p));
	int r = piece ? 0 : fail("%s", strerror(errno));

	for (const char *q = p; q < end; q++)
		all += *q == '#';
	if (!r && all > COUNTS)
		r = fail("more than %d # in one S() are too many for this tool", COUNTS);
	if (!r)
		r = fill(b, &cells, &cell, hashes, n + inside, b->depth == 0 && *end == '\0');
	if (!r && *p == 'S')
		r = put_result(aiowriter_put(b->writer, piece, cells.at, cells.one, n[0], n[1], n[2], n[3],
					     n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12], n[13],
					     n[14], n[15]));
	else if (!r)
		r = put_result(aiowriter_put(b->writer, piece, cells.at, n[0], n[1], n[2], n[3], n[4], n[5],
					     n[6], n[7], n[8], n[9]));
	free(cells.at);
	free(piece);
	return r;
}

static int put_bytes(struct build *b)
{
	size_t len;
	const char *data = read_bytes(b, &len);

	return data ? put_result(aiowriter_put(b->writer, "B", data, len)) : -1;
}

static int put_letter(struct build *b, char c)
{
	const char piece[2] = {c, '\0'};
	union value v;

	if (c == 'B')
		return put_bytes(b);
	if (read_value(b, c, &v) == -1)
		return -1;
	switch (c) {
	case 'c':
		return put_result(aiowriter_put(b->writer, piece, (int)v.c));
	case 'j':
		return put_result(aiowriter_put(b->writer, piece, (int)v.j));
	case 'v':
		return put_result(aiowriter_put(b->writer, piece, (int)v.v));
	case 'i':
	case 'u':
		return put_result(aiowriter_put(b->writer, piece, v.u));
	case 'f':
		return put_result(aiowriter_put(b->writer, piece, v.f));
	case 's':
		return put_result(aiowriter_put(b->writer, piece, v.s));
	}
	return put_result(aiowriter_put(b->writer, piece, v.U));
}

/* @body is behind "A(", @end behind its ')'. */
static int put_array(struct build *b, const char *body, const char *end)
{
	int closed, bracket = open_bracket(b, b->depth == 0 && *end == '\0');

	if (bracket == -1 || put_result(aiowriter_put(b->writer, "A(")) == -1)
		return -1;
	b->depth++;
	while ((closed = close_bracket(b, bracket)) == 0)
		if (put_items(b, body) == -1)
			return -1;
	b->depth--;
	return closed == 1 ? put_result(aiowriter_put(b->writer, ")")) : -1;
}

/* To the ')' of the brackets that it is in, or to the end. */
static int put_items(struct build *b, const char *p)
{
	int r = 0;

	while (*p && *p != ')' && !r) {
		const char *end = *p == 'A' || *p == 'S' ? format_end(p + 2, &(size_t){0}) + 1 : p + 1;
		size_t hashes = strspn(end, "#");

		end += hashes;
		if (*p == 'A')
			r = put_array(b, p + 2, end);
		else if (*p == 'S' || hashes > 0)
			r = put_cells(b, p, end);
		else
			r = put_letter(b, *p);
		p = end;
	}
	return r;
}

struct aiomsg *values_message(const char *format, char ***words, const char **wrong)
{
	struct build b = {.writer = aiowriter_new(format), .words = *words};
	struct aiomsg *m = NULL;

	*wrong = why;
	if (!b.writer) {
		fail("\"%s\" %s", format,
		     errno == EINVAL ? "is not a format, see aiomsg(3)" : strerror(errno));
		return NULL;
	}
	if (put_items(&b, format) == -1) {
		aiowriter_free(b.writer);
		return NULL;
	}
	*words = b.words;
	m = aiowriter_finish(b.writer);
	if (!m)
		put_result(-1);
	return m;
}
