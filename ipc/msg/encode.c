/*
 * From values to an image, in two passes over the same arguments: how long it is, then the bytes. Allocates nothing. Formats
 * are valid here but for what arguments can't express. Used by aiomsg_new(), the connection and the writer.
 */
#include "ipc/msg/image.h"

#include <errno.h>
#include <string.h>

#include "ipc/msg/number.h"
#include "ipc/os/log.h"

static int fail(int error)
{
	errno = error;
	return -1;
}

static int add(uint64_t *total, uint64_t n)
{
	if (n > UINT32_MAX || *total + n > UINT32_MAX)
		return fail(EMSGSIZE);
	*total += n;
	return 0;
}

static int add_string(uint64_t *total, const char *s)
{
	return add(total, 4 + (s ? strlen(s) : 0));
}

/* @n values of the letter @c: an ipc_member_op. */
static int size_values(void *total, char c, char *at, size_t n)
{
	if (c != 's')
		return add(total, (uint64_t)ipc_letter(c)->wire * n);
	for (size_t i = 0; i < n; i++) {
		const char *s;

		memcpy(&s, at + i * sizeof s, sizeof s);
		if (add_string(total, s) == -1)
			return -1;
	}
	return 0;
}

static int size_group(struct ipc_group *g, uint64_t *total)
{
	if (g->strings)
		return ipc_group_each(g, g->count, size_values, total);
	if (g->count > 0 && g->wire > UINT32_MAX / g->count)
		return fail(EMSGSIZE);
	return add(total, g->wire * g->count);
}

/* x# */
static int size_vector(char c, struct ipc_args *a, const char **p, uint64_t *total)
{
	char *at = va_arg(a->ap, char *);
	size_t n;

	if (ipc_args_counts(a, p, &n) == -1)
		return -1;
	return at ? size_values(total, c, at, n) : ipc_refuse("the address of the values of %c# is NULL", c);
}

static int size_bytes(struct ipc_args *a, uint64_t *total)
{
	const void *data = va_arg(a->ap, const void *);
	size_t len = va_arg(a->ap, size_t);

	if (!data && len > 0)
		return ipc_refuse("the address of B is NULL, but its length %zu", len);
	return add(total, 4) == -1 ? -1 : add(total, len);
}

static int size_brackets(char c, struct ipc_args *a, const char **p, uint64_t *total)
{
	struct ipc_group g;
	int error = c == 'A' ? ipc_group_array(&g, a, p, false) : ipc_group_struct(&g, a, p);

	if (!error && c == 'A')
		error = add(total, 4);
	if (!error)
		error = size_group(&g, total);
	ipc_group_end(&g);
	return error;
}

static int size_item(char c, struct ipc_args *a, const char **p, uint64_t *total)
{
	if (**p == '#')
		return size_vector(c, a, p, total);
	switch (c) {
	case 'c':
	case 'j':
	case 'v':
		(void)va_arg(a->ap, int);
		break;
	case 'i':
	case 'u':
		(void)va_arg(a->ap, uint32_t);
		break;
	case 'I':
	case 'U':
		(void)va_arg(a->ap, uint64_t);
		break;
	case 'f':
		(void)va_arg(a->ap, double);
		break;
	case 's':
		return add_string(total, va_arg(a->ap, const char *));
	case 'B':
		return size_bytes(a, total);
	default:
		return size_brackets(c, a, p, total);
	}
	return add(total, ipc_letter(c)->wire);
}

int ipc_image_size_part(const char *p, const char *end, struct ipc_args *a, uint64_t *total)
{
	while (p < end) {
		char c = *p++;

		if (size_item(c, a, &p, total) == -1)
			return -1;
	}
	return 0;
}

static unsigned char *put_bytes(unsigned char *to, const void *data, size_t len)
{
	to = ipc_put32(to, (uint32_t)len);
	if (len > 0)
		memcpy(to, data, len);
	return to + len;
}

static unsigned char *put_string(unsigned char *to, const char *s)
{
	size_t len;

	if (!s)
		return ipc_put32(to, 0);
	len = strlen(s);
	to = ipc_put32(to, (uint32_t)len + 1);
	memcpy(to, s, len);
	return to + len;
}

/* @n values of the letter @c, to *@context: an ipc_member_op. */
static int put_values(void *context, char c, char *at, size_t n)
{
	unsigned char **to = context;
	size_t wire = ipc_letter(c)->wire;

	if (c != 's') {
		ipc_copy(*to, at, wire, n, false);
		*to += wire * n;
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		const char *s;

		memcpy(&s, at + i * sizeof s, sizeof s);
		*to = put_string(*to, s);
	}
	return 0;
}

static unsigned char *put_vector(unsigned char *to, char c, struct ipc_args *a, const char **p)
{
	char *at = va_arg(a->ap, char *);
	size_t n;

	ipc_args_counts(a, p, &n);
	put_values(&to, c, at, n);
	return to;
}

static unsigned char *put_brackets(unsigned char *to, char c, struct ipc_args *a, const char **p)
{
	struct ipc_group g;

	if (c == 'A')
		ipc_group_array(&g, a, p, false);
	else
		ipc_group_struct(&g, a, p);
	if (c == 'A')
		to = ipc_put32(to, (uint32_t)g.count);
	if (!ipc_group_dense(&g)) {
		ipc_group_each(&g, g.count, put_values, &to);
	} else if (g.count > 0) {
		memcpy(to, g.base, g.wire * g.count);
		to += g.wire * g.count;
	}
	ipc_group_end(&g);
	return to;
}

static unsigned char *put_number(unsigned char *to, const void *number, size_t size)
{
	memcpy(to, number, size);
	return to + size;
}

static unsigned char *put_item(unsigned char *to, char c, struct ipc_args *a, const char **p)
{
	const void *data;
	uint64_t n64;
	double f;

	if (**p == '#')
		return put_vector(to, c, a, p);
	switch (c) {
	case 'c':
		return put_number(to, &(char){(char)va_arg(a->ap, int)}, 1);
	case 'j':
	case 'v':
		return put_number(to, &(uint16_t){(uint16_t)va_arg(a->ap, int)}, 2);
	case 'i':
	case 'u':
		return ipc_put32(to, va_arg(a->ap, uint32_t));
	case 'I':
	case 'U':
		n64 = va_arg(a->ap, uint64_t);
		return put_number(to, &n64, sizeof n64);
	case 'f':
		f = va_arg(a->ap, double);
		return put_number(to, &f, sizeof f);
	case 's':
		return put_string(to, va_arg(a->ap, const char *));
	case 'B':
		data = va_arg(a->ap, const void *);
		return put_bytes(to, data, va_arg(a->ap, size_t));
	default:
		return put_brackets(to, c, a, p);
	}
}

void ipc_image_write_part(unsigned char *to, const char *p, const char *end, struct ipc_args *a)
{
	while (p < end) {
		char c = *p++;

		to = put_item(to, c, a, &p);
	}
}

size_t ipc_image_head(const struct ipc_format *f)
{
	return IPC_IMAGE_FORMAT + f->len + 1 + 4 * (size_t)f->hashes;
}

int ipc_image_size(const char *format, va_list ap, size_t *len)
{
	struct ipc_format f;
	struct ipc_args a = {.counts = NULL};
	uint64_t total;
	int error;

	if (ipc_format_take(format, &f) == -1)
		return -1;
	total = ipc_image_head(&f);
	va_copy(a.ap, ap);
	error = ipc_image_size_part(format, format + f.len, &a, &total);
	va_end(a.ap);
	if (!error)
		*len = (size_t)total;
	return error;
}

unsigned char *ipc_image_write_head(unsigned char *to, size_t len, const char *format, size_t *hashes)
{
	uint8_t flags = ipc_big_endian() ? IPC_IMAGE_BIG_ENDIAN : 0;
	unsigned char *p = to + IPC_IMAGE_FORMAT;

	*hashes = 0;
	for (; *format; format++) {
		if (*format == 's')
			flags |= IPC_IMAGE_STRINGS;
		*hashes += *format == '#';
		*p++ = (unsigned char)*format;
	}
	*p++ = 0;
	memcpy(to, "tpl", 3);
	to[3] = flags;
	ipc_put32(to + 4, (uint32_t)len);
	for (size_t i = 0; i < *hashes; i++)
		ipc_put32(p + 4 * i, 0);
	return p;
}

void ipc_image_write(unsigned char *to, size_t len, const char *format, va_list ap)
{
	struct ipc_args a = {.swap = false};
	size_t hashes;
	const char *end;

	a.counts = ipc_image_write_head(to, len, format, &hashes);
	end = format + (a.counts - to) - IPC_IMAGE_FORMAT - 1;
	va_copy(a.ap, ap);
	ipc_image_write_part(a.counts + 4 * hashes, format, end, &a);
	va_end(a.ap);
}

/* How many letters and B it begins with. */
static inline size_t plain_letters(const char *format)
{
	size_t n = 0;

	while (ipc_letter(format[n])->wire || format[n] == 'B')
		n++;
	return n;
}

/* In how many bytes the image of @letters letters fits, beside what strings and bytes hold. */
static inline size_t plain_most(size_t letters)
{
	return IPC_IMAGE_FORMAT + letters + 1 + 8 * letters;
}

/* The values; strings and bytes may take @left bytes. Where they end; NULL as below. */
static unsigned char *put_plain(unsigned char *to, size_t left, const char *format, va_list ap,
				uint8_t *flags)
{
	const char *data;
	uint64_t n64;
	size_t len;
	double f;

	for (; *format; format++) {
		switch (*format) {
		case 'c':
			*to++ = (unsigned char)va_arg(ap, int);
			continue;
		case 'j':
		case 'v':
			to = put_number(to, &(uint16_t){(uint16_t)va_arg(ap, int)}, 2);
			continue;
		case 'i':
		case 'u':
			to = ipc_put32(to, va_arg(ap, uint32_t));
			continue;
		case 'I':
		case 'U':
			n64 = va_arg(ap, uint64_t);
			to = put_number(to, &n64, sizeof n64);
			continue;
		case 'f':
			f = va_arg(ap, double);
			to = put_number(to, &f, sizeof f);
			continue;
		case 's':
			*flags |= IPC_IMAGE_STRINGS;
			data = va_arg(ap, const char *);
			len = data ? strlen(data) : 0;
			to = ipc_put32(to, (uint32_t)len + !!data);
			break;
		default:
			data = va_arg(ap, const char *);
			len = va_arg(ap, size_t);
			to = ipc_put32(to, (uint32_t)len);
		}
		if (len > left || (!data && len > 0))
			return NULL;
		if (len > 0)
			memcpy(to, data, len);
		left -= len;
		to += len;
	}
	return to;
}

size_t ipc_image_write_plain(unsigned char *to, size_t room, const char *format, va_list ap)
{
	size_t letters = plain_letters(format), most = plain_most(letters);
	uint8_t flags = ipc_big_endian() ? IPC_IMAGE_BIG_ENDIAN : 0;
	unsigned char *values = to + IPC_IMAGE_FORMAT + letters + 1, *end;

	if (format[letters] || room < most || room > UINT32_MAX)
		return 0;
	end = put_plain(values, room - most, format, ap, &flags);
	if (!end)
		return 0;
	memcpy(to, "tpl", 3);
	to[3] = flags;
	ipc_put32(to + 4, (uint32_t)(end - to));
	memcpy(to + IPC_IMAGE_FORMAT, format, letters + 1);
	return (size_t)(end - to);
}
