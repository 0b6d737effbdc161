/* Text into a buffer, and escapes both ways: see sink.h. It knows nothing of messages. */
#include "ipc/msg/sink.h"

#include <stdio.h>
#include <string.h>

#include "ipc/os/text.h"

void ipc_sink_open(struct ipc_sink *s, char *to, size_t size)
{
	*s = (struct ipc_sink){.to = to, .room = size > 0 ? size - 1 : 0, .full = size == 0};
	if (size > 0)
		to[0] = '\0';
}

static void append(struct ipc_sink *s, const char *p, size_t n)
{
	memcpy(s->to + s->put, p, n);
	s->put += n;
	s->to[s->put] = '\0';
}

void ipc_sink_put(struct ipc_sink *s, const void *p, size_t n)
{
	s->len += n;
	s->full = s->full || n > s->room - s->put;
	if (!s->full)
		append(s, p, n);
}

void ipc_sink_string(struct ipc_sink *s, const char *text)
{
	ipc_sink_put(s, text, strlen(text));
}

/* Valid UTF-8, of which there may be a part: whole characters. */
static void put_characters(struct ipc_sink *s, const unsigned char *p, size_t n)
{
	size_t fits = s->room - s->put;

	s->len += n;
	if (s->full || n == 0)
		return;
	if (n > fits) {
		s->full = true;
		n = fits;
		while (n > 0 && (p[n] & 0xc0) == 0x80)
			n--;
	}
	append(s, (const char *)p, n);
}

/* Letters behind a backslash and the bytes that they stand for; brackets are only read. */
static const char escapes[][2] = {{'n', '\n'}, {'r', '\r'}, {'t', '\t'}, {'\\', '\\'},
				  {'"', '"'},  {'[', '['},  {']', ']'}};
#define WRITTEN 5
#define READ (sizeof escapes / sizeof escapes[0])

static bool put_letter(struct ipc_sink *s, uint32_t code)
{
	for (size_t i = 0; i < WRITTEN; i++)
		if ((uint32_t)escapes[i][1] == code) {
			ipc_sink_put(s, (const char[]){'\\', escapes[i][0]}, 2);
			return true;
		}
	return false;
}

static void put_escaped(struct ipc_sink *s, const unsigned char *p, size_t n)
{
	char text[8];

	for (size_t i = 0; i < n; i++)
		if (!put_letter(s, p[i]))
			ipc_sink_put(s, text, (size_t)snprintf(text, sizeof text, "\\x%02x", p[i]));
}

/* As it is, in quotes? */
static bool stays(uint32_t code)
{
	return code != '"' && code != '\\' && ipc_text_is_plain(code);
}

void ipc_sink_quoted(struct ipc_sink *s, const unsigned char *p, size_t n)
{
	const unsigned char *end = p + n, *from = p;
	uint32_t code;

	ipc_sink_put(s, "\"", 1);
	if (n == 1 && (*p == '[' || *p == ']'))
		ipc_sink_put(s, "\\", 1);
	while (p < end) {
		size_t len = ipc_text_decode(p, (size_t)(end - p), &code);

		if (len > 0 && stays(code)) {
			p += len;
			continue;
		}
		put_characters(s, from, (size_t)(p - from));
		put_escaped(s, p, len > 0 ? len : 1);
		from = p += len > 0 ? len : 1;
	}
	put_characters(s, from, (size_t)(p - from));
	ipc_sink_put(s, "\"", 1);
}

static bool is_utf8(const unsigned char *p, size_t n)
{
	uint32_t code;

	for (size_t len; n > 0; p += len, n -= len) {
		len = ipc_text_decode(p, n, &code);
		if (len == 0)
			return false;
	}
	return true;
}

static void put_hex(struct ipc_sink *s, const unsigned char *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	ipc_sink_string(s, "{\"hex\": \"");
	for (size_t i = 0; i < n; i++)
		ipc_sink_put(s, (const char[]){digits[p[i] >> 4], digits[p[i] & 15]}, 2);
	ipc_sink_string(s, "\"}");
}

static void put_json_escape(struct ipc_sink *s, uint32_t code)
{
	char text[16];

	if (put_letter(s, code))
		return;
	if (code < 0x10000)
		snprintf(text, sizeof text, "\\u%04x", code);
	else
		snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xd800 + ((code - 0x10000) >> 10),
			 0xdc00 + (code & 0x3ff));
	ipc_sink_string(s, text);
}

void ipc_sink_json(struct ipc_sink *s, const unsigned char *p, size_t n)
{
	const unsigned char *end = p + n, *from = p;
	uint32_t code;

	if (!is_utf8(p, n)) {
		put_hex(s, p, n);
		return;
	}
	ipc_sink_put(s, "\"", 1);
	while (p < end) {
		size_t len = ipc_text_decode(p, (size_t)(end - p), &code);

		if (stays(code)) {
			p += len;
			continue;
		}
		put_characters(s, from, (size_t)(p - from));
		put_json_escape(s, code);
		from = p += len;
	}
	put_characters(s, from, (size_t)(p - from));
	ipc_sink_put(s, "\"", 1);
}

/* The number that @n hexadecimal digits are; -1. */
static int32_t hex(const char *p, size_t n)
{
	int32_t code = 0;

	for (size_t i = 0; i < n; i++) {
		int digit = p[i] >= '0' && p[i] <= '9'   ? p[i] - '0'
			    : p[i] >= 'a' && p[i] <= 'f' ? p[i] - 'a' + 10
			    : p[i] >= 'A' && p[i] <= 'F' ? p[i] - 'A' + 10
							 : -1;

		if (digit == -1)
			return -1;
		code = code << 4 | digit;
	}
	return code;
}

/* What follows a backslash at @p: the byte, or -1; *@len is how long it is. */
static int unescape_one(const char *p, size_t n, size_t *len)
{
	*len = 3;
	if (n >= 3 && *p == 'x')
		return (int)hex(p + 1, 2);
	*len = 1;
	for (size_t i = 0; n > 0 && i < READ; i++)
		if (escapes[i][0] == *p)
			return (unsigned char)escapes[i][1];
	return -1;
}

ssize_t ipc_unescape(unsigned char *to, const char *text, size_t n)
{
	const unsigned char *start = to;

	for (const char *end = text + n; text < end; to++) {
		size_t len;
		int byte;

		if (*text != '\\') {
			*to = (unsigned char)*text++;
			continue;
		}
		byte = unescape_one(text + 1, (size_t)(end - text) - 1, &len);
		if (byte == -1)
			return -1;
		*to = (unsigned char)byte;
		text += 1 + len;
	}
	return to - start;
}

/* How many bytes. */
static size_t encode(unsigned char *to, uint32_t code)
{
	static const unsigned char mark[] = {0, 0, 0xc0, 0xe0, 0xf0};
	size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	for (size_t i = len; i-- > 1; code >>= 6)
		to[i] = (unsigned char)(0x80 | (code & 0x3f));
	to[0] = (unsigned char)(mark[len] | code);
	return len;
}

/* "\u" and four digits, maybe of both halves of a pair. */
static size_t escape_u(const char *p, size_t n, uint32_t *code)
{
	int32_t one = n >= 6 ? hex(p + 2, 4) : -1, low;

	*code = (uint32_t)one;
	if (one < 0xd800 || one > 0xdfff)
		return one == -1 ? 0 : 6;
	low = n >= 12 && p[6] == '\\' && p[7] == 'u' ? hex(p + 8, 4) : -1;
	*code = 0x10000 + ((*code - 0xd800) << 10 | ((uint32_t)low - 0xdc00));
	return one > 0xdbff || low < 0xdc00 || low > 0xdfff ? 0 : 12;
}

size_t ipc_escape_json(const char *p, size_t n, uint32_t *code)
{
	static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
	const char *letter = n > 1 && p[1] ? strchr(letters, p[1]) : NULL;

	if (n > 1 && p[1] == 'u')
		return escape_u(p, n, code);
	if (!letter)
		return 0;
	*code = (uint32_t)bytes[letter - letters];
	return 2;
}

ssize_t ipc_unescape_json(unsigned char *to, const char *text, size_t n)
{
	const unsigned char *start = to;

	for (const char *end = text + n; text < end;) {
		size_t left = (size_t)(end - text), len;
		uint32_t code;

		if (*text == '\\')
			len = ipc_escape_json(text, left, &code);
		else
			len = ipc_text_decode((const unsigned char *)text, left, &code);
		if (len == 0 || (*text != '\\' && code < 0x20))
			return -1;
		to += encode(to, code);
		text += len;
	}
	return to - start;
}

ssize_t ipc_unescape_hex(unsigned char *to, const char *text, size_t n)
{
	if (n % 2)
		return -1;
	for (size_t i = 0; i < n / 2; i++) {
		int32_t byte = hex(text + 2 * i, 2);

		if (byte == -1)
			return -1;
		to[i] = (unsigned char)byte;
	}
	return (ssize_t)(n / 2);
}
