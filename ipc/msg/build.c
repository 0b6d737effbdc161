/*
 * Makes a message from written values: see build.h. Each value goes directly into the image; no struct is laid out in memory. At the end
 * the checker looks at the image.
 */
#include "ipc/msg/build.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/msg/image.h"
#include "ipc/msg/msg.h"
#include "ipc/msg/number.h"
#include "ipc/msg/pool.h"
#include "ipc/msg/real.h"
#include "ipc/os/log.h"

struct build {
	struct ipc_source *source;
	struct aiomsg *m; /* its len is what is written so far */
	size_t counts;    /* place in the image of the first '#' */
};

/* Between which numbers a letter is, and what is said of it. */
static const struct kind {
	char letter;
	int64_t least;
	uint64_t most;
	const char *name;
} kinds[] = {
	{'c', 0, 0, "one byte"},
	{'j', INT16_MIN, INT16_MAX, "a 16-bit integer"},
	{'v', 0, UINT16_MAX, "an unsigned 16-bit integer"},
	{'i', INT32_MIN, INT32_MAX, "a 32-bit integer"},
	{'u', 0, UINT32_MAX, "an unsigned 32-bit integer"},
	{'I', INT64_MIN, INT64_MAX, "a 64-bit integer"},
	{'U', 0, UINT64_MAX, "an unsigned 64-bit integer"},
	{'f', 0, 0, "a number"},
	{'s', 0, 0, "a string without NUL, \\ written as \\\\"},
	{'B', 0, 0, "bytes, \\ written as \\\\"},
};

int ipc_source_fail(struct ipc_source *s, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(s->why, sizeof s->why, format, ap);
	va_end(ap);
	errno = EINVAL;
	return -1;
}

struct aiomsg *ipc_source_tell(struct ipc_source *s)
{
	if (errno == EINVAL)
		ipc_log("%s: %s %zu: %s", s->call, s->unit, s->place, s->why);
	return NULL;
}

static const struct kind *kind_of(char letter)
{
	const struct kind *k = kinds;

	while (k->letter != letter)
		k++;
	return k;
}

static int wrong(struct build *b, const struct kind *k, const struct ipc_written *v)
{
	b->source->place = v->place;
	return ipc_source_fail(b->source, "\"%.*s\" is not what %c takes: %s", ipc_written_shown(v->len),
			       v->text, k->letter, k->name);
}

/* Room for @n more bytes; more than that, so that growing costs little in the long run. */
static unsigned char *need(struct build *b, size_t n)
{
	size_t room = ipc_msg_room(b->m), len = b->m->len + n;

	if (n > UINT32_MAX || len > UINT32_MAX) {
		errno = EMSGSIZE;
		return NULL;
	}
	if (len > room && ipc_msg_grow(&b->m, len < 2 * room ? 2 * room : len, b->m->len) == -1)
		return NULL;
	return b->m->data + b->m->len;
}

static int put_count(struct build *b, uint32_t n)
{
	unsigned char *to = need(b, 4);

	if (!to)
		return -1;
	ipc_put32(to, n);
	b->m->len += 4;
	return 0;
}

/* How many elements a '#' has: as many as before, wherever it is repeated. */
static int settle(struct build *b, uint32_t hash, size_t n)
{
	unsigned char *at = b->m->data + b->counts + 4 * (size_t)hash;
	uint32_t before = ipc_get32(at, false);

	if (n == 0)
		return ipc_source_fail(b->source,
				       "a row of # is empty: its counts are 0, they must be 1 or more");
	if (before != 0 && before != n)
		return ipc_source_fail(b->source,
				       "the counts of a # differ: rows of one # have %u and %zu values",
				       before, n);
	if (n > INT32_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	ipc_put32(at, (uint32_t)n);
	return 0;
}

/* In decimal, or in hexadecimal behind 0x. */
static bool read_integer(const struct kind *k, const char *text, size_t len, uint64_t *n)
{
	bool minus = len > 0 && *text == '-';
	bool hex = len - minus > 2 && text[minus] == '0' && (text[minus + 1] | 0x20) == 'x';
	uint64_t most = minus ? (uint64_t)0 - (uint64_t)k->least : k->most;
	size_t i = (size_t)minus + (hex ? 2 : 0);

	*n = 0;
	if (i == len)
		return false;
	for (; i < len; i++) {
		char c = text[i], lower = (char)(c | 0x20);
		unsigned digit = c >= '0' && c <= '9'                  ? (unsigned)(c - '0')
				 : hex && lower >= 'a' && lower <= 'f' ? (unsigned)(lower - 'a') + 10
								       : 99;
		unsigned base = hex ? 16 : 10;

		if (digit == 99 || digit > most || *n > (most - digit) / base)
			return false;
		*n = *n * base + digit;
	}
	*n = minus ? 0 - *n : *n;
	return true;
}

static int put_number(struct build *b, const struct kind *k, const struct ipc_written *v)
{
	size_t size = ipc_letter(k->letter)->wire;
	unsigned char *to = need(b, size);
	uint64_t n;
	bool good;

	if (!to)
		return -1;
	if (k->letter == 'f')
		good = ipc_real_read(v->text, v->len, &n) &&
		       (v->kind == IPC_WRITTEN_ANY || (v->kind == IPC_WRITTEN_NUMBER) == !ipc_real_is_odd(n));
	else
		good = v->kind <= IPC_WRITTEN_NUMBER && read_integer(k, v->text, v->len, &n);
	if (!good)
		return wrong(b, k, v);
	if (ipc_big_endian())
		n <<= 64 - 8 * size;
	memcpy(to, &n, size);
	b->m->len += size;
	return 0;
}

/* As bytes of the image, how many in *@n. */
static int put_decoded(struct build *b, const struct kind *k, const struct ipc_written *v, size_t *n)
{
	unsigned char *to = need(b, v->len);
	ssize_t len;

	if (!to)
		return -1;
	len = v->kind == IPC_WRITTEN_NUMBER ? -1 : v->decode(to, v->text, v->len);
	if (len == -1 && k->letter != 's' && v->kind == IPC_WRITTEN_ANY) {
		b->source->place = v->place;
		return ipc_source_fail(b->source, "\"%.*s\" has an escape that is none",
				       ipc_written_shown(v->len), v->text);
	}
	if (len == -1 || (k->letter == 'c' && len != 1) || (k->letter == 's' && memchr(to, 0, (size_t)len)))
		return wrong(b, k, v);
	b->m->len += (size_t)len;
	*n = (size_t)len;
	return 0;
}

/* s or B: behind its length. */
static int put_counted(struct build *b, const struct kind *k, const struct ipc_written *v)
{
	size_t at = b->m->len, n;

	if (v->kind == IPC_WRITTEN_NULL)
		return k->letter == 's' ? put_count(b, 0) : wrong(b, k, v);
	if (put_count(b, 0) == -1 || put_decoded(b, k, v, &n) == -1)
		return -1;
	ipc_put32(b->m->data + at, (uint32_t)n + (k->letter == 's'));
	return 0;
}

/* What follows are the walk's calls. */
static int on_value(void *context, char letter)
{
	struct build *b = context;
	const struct kind *k = kind_of(letter);
	struct ipc_written v;
	size_t n;

	if (b->source->ops->value(b->source, k->name, &v) == -1)
		return -1;
	if (letter == 's' || letter == 'B')
		return put_counted(b, k, &v);
	if (v.kind == IPC_WRITTEN_NULL)
		return wrong(b, k, &v);
	return letter == 'c' ? put_decoded(b, k, &v, &n) : put_number(b, k, &v);
}

static int on_row(void *context, uint32_t hash)
{
	struct build *b = context;
	const struct kind *bytes = kind_of('B');
	struct ipc_written v;
	size_t n;

	if (b->source->ops->value(b->source, bytes->name, &v) == -1)
		return -1;
	if (v.kind == IPC_WRITTEN_NULL)
		return wrong(b, bytes, &v);
	return put_decoded(b, bytes, &v, &n) == -1 ? -1 : settle(b, hash, n);
}

static int on_begin(void *context, struct ipc_loop *loop)
{
	struct build *b = context;

	if (b->source->ops->begin(b->source, loop) == -1)
		return -1;
	loop->n = 0;
	loop->place = b->m->len;
	return loop->array ? put_count(b, 0) : 0;
}

static int on_next(void *context, struct ipc_loop *loop)
{
	struct build *b = context;
	int more = b->source->ops->next(b->source, loop);

	if (more == 1)
		loop->n++;
	if (more != 0)
		return more;
	if (!loop->array)
		return settle(b, loop->hash, loop->n);
	ipc_put32(b->m->data + loop->place, loop->n);
	return 0;
}

static int on_group(void *context, bool opens)
{
	struct build *b = context;

	return b->source->ops->group(b->source, opens);
}

static const struct ipc_walk_ops ops = {on_begin, on_next, on_group, on_value, on_row};

/* After the walk. The count of a '#' in an array without elements is not known yet: it becomes 1. */
static int finish(struct build *b, size_t hashes)
{
	unsigned char *counts = b->m->data + b->counts;
	const char *why;

	for (size_t i = 0; i < hashes; i++)
		if (ipc_get32(counts + 4 * i, false) == 0)
			ipc_put32(counts + 4 * i, 1);
	ipc_put32(b->m->data + 4, (uint32_t)b->m->len);
	b->m->data[b->m->len] = 0;
	why = ipc_image_check(b->m->data, b->m->len);
	return why ? ipc_source_fail(b->source, "%s", why) : 0;
}

/* @text is @format with a NUL. */
static struct aiomsg *build(const char *text, size_t place, struct ipc_source *s)
{
	struct build b = {.source = s};
	struct ipc_format f;
	size_t hashes, wrong_at;
	const char *why;

	if (ipc_format_scan(text, &f) == -1) {
		why = ipc_format_why(text, &wrong_at);
		s->place = place;
		ipc_source_fail(s, "\"%.*s\" is not a format, see aiomsg(3): at character %zu, %s",
				ipc_written_shown(strlen(text)), text, wrong_at, why);
		return NULL;
	}
	if (ipc_image_head(&f) > UINT32_MAX) {
		errno = EMSGSIZE;
		return NULL;
	}
	b.m = ipc_msg_alloc(IPC_KIND_TPL, ipc_image_head(&f));
	if (!b.m)
		return NULL;
	b.counts = (size_t)(ipc_image_write_head(b.m->data, 0, text, &hashes) - b.m->data);
	if (ipc_walk(text, &ops, &b) == 0 && finish(&b, hashes) == 0)
		return b.m;
	aiomsg_free(b.m);
	return NULL;
}

struct aiomsg *ipc_build(const char *format, size_t len, size_t place, struct ipc_source *s)
{
	struct aiomsg *m = NULL;
	size_t block;
	char *text;

	if (memchr(format, 0, len)) {
		ipc_source_fail(s, "a NUL is in the format");
		return NULL;
	}
	text = ipc_pool_get(len + 1, &block);
	if (!text)
		return NULL;
	memcpy(text, format, len);
	text[len] = '\0';
	m = build(text, place, s);
	ipc_pool_put(text, block);
	return m;
}

struct aiomsg *ipc_build_bytes(struct ipc_source *s, const struct ipc_written *v)
{
	struct build b = {.source = s, .m = ipc_msg_alloc(IPC_KIND_BYTES, 0)};
	size_t n;

	if (!b.m)
		return NULL;
	if (put_decoded(&b, kind_of('B'), v, &n) == 0) {
		b.m->data[n] = 0;
		return b.m;
	}
	aiomsg_free(b.m);
	return NULL;
}
