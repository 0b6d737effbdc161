/*
 * Bytes as text: escaped, so that what a peer chose can't control a terminal, quoted, or as JSON; and escapes back to bytes. It
 * knows nothing of messages.
 */
#include "tool/tool.h"

#include <ctype.h>
#include <string.h>

/* The character at @p, of @n bytes: how many it takes, 0 if it is no UTF-8. */
static size_t decode(const unsigned char *p, size_t n, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;

	*code = *p;
	if (len == 1)
		return 1;
	if (*p < 0xc2 || *p > 0xf4 || n < len)
		return 0;
	*code &= 0x7fU >> len;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (p[i] & 0x3f);
	}
	return *code < least[len] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff) ? 0 : len;
}

/* Is it to be seen, and does nothing else? Not those that turn the direction of writing, or take no room. */
static bool is_plain(uint32_t code)
{
	return code >= 0x20 && !(code >= 0x7f && code <= 0x9f) && code != 0xad && code != 0x61c &&
	       !(code >= 0x200b && code <= 0x200f) && !(code >= 0x2028 && code <= 0x202e) &&
	       !(code >= 0x2060 && code <= 0x206f) && code != 0xfeff && !(code >= 0xfff9 && code <= 0xfffb) &&
	       !(code >= 0xe0000 && code <= 0xe0fff);
}

bool text_is_utf8(const unsigned char *p, size_t n)
{
	uint32_t code;

	for (size_t len; n > 0; p += len, n -= len) {
		len = decode(p, n, &code);
		if (len == 0)
			return false;
	}
	return true;
}

/* Letters behind a backslash and the bytes that they stand for; brackets are only read. */
static const char escapes[][2] = {{'n', '\n'}, {'r', '\r'}, {'t', '\t'}, {'\\', '\\'},
				  {'"', '"'},  {'[', '['},  {']', ']'}};
#define WRITTEN 5
#define READ (sizeof escapes / sizeof escapes[0])

/* 0 if there is none. */
static char letter_of(unsigned char byte)
{
	for (size_t i = 0; i < WRITTEN; i++)
		if (escapes[i][1] == (char)byte)
			return escapes[i][0];
	return '\0';
}

static void escape(FILE *f, unsigned char byte)
{
	char letter = letter_of(byte);

	if (letter)
		fprintf(f, "\\%c", letter);
	else
		fprintf(f, "\\x%02x", byte);
}

/* Is the character to be written as it is? Those of @as_is are whatever they are, those of @never are not. */
static bool stays(uint32_t code, const char *as_is, const char *never)
{
	if (code > 0 && code < 0x80 && strchr(as_is, (int)code))
		return true;
	if (code > 0 && code < 0x80 && strchr(never, (int)code))
		return false;
	return is_plain(code);
}

static void write_text(FILE *f, const unsigned char *p, size_t n, const char *as_is, const char *never)
{
	const unsigned char *end = p + n, *from = p;
	uint32_t code;

	while (p < end) {
		size_t len = decode(p, (size_t)(end - p), &code);

		if (len > 0 && stays(code, as_is, never)) {
			p += len;
			continue;
		}
		fwrite(from, 1, (size_t)(p - from), f);
		for (from = p + (len > 0 ? len : 1); p < from; p++)
			escape(f, *p);
	}
	fwrite(from, 1, (size_t)(p - from), f);
}

void text_escaped(FILE *f, const unsigned char *p, size_t n)
{
	write_text(f, p, n, "\t", "\\");
}

void text_safe(FILE *f, const unsigned char *p, size_t n)
{
	write_text(f, p, n, "\t\\", "");
}

void text_quoted(FILE *f, const unsigned char *p, size_t n)
{
	fputc('"', f);
	write_text(f, p, n, "", "\\\"");
	fputc('"', f);
}

static void json_character(FILE *f, const unsigned char *p, size_t len, uint32_t code)
{
	char letter = code < 0x80 ? letter_of((unsigned char)code) : '\0';

	if (letter)
		fprintf(f, "\\%c", letter);
	else if (is_plain(code))
		fwrite(p, 1, len, f);
	else if (code < 0x10000)
		fprintf(f, "\\u%04x", code);
	else
		fprintf(f, "\\u%04x\\u%04x", 0xd800 + ((code - 0x10000) >> 10), 0xdc00 + (code & 0x3ff));
}

void text_json(FILE *f, const unsigned char *p, size_t n)
{
	uint32_t code;

	if (!text_is_utf8(p, n)) {
		fprintf(f, "{\"hex\": \"");
		for (size_t i = 0; i < n; i++)
			fprintf(f, "%02x", p[i]);
		fprintf(f, "\"}");
		return;
	}
	fputc('"', f);
	for (size_t len; n > 0; p += len, n -= len) {
		len = decode(p, n, &code);
		json_character(f, p, len, code);
	}
	fputc('"', f);
}

static int hex_digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? tolower(c) - 'a' + 10 : -1;
}

/* What follows a backslash at @p: the byte, or -1; *@len is how long it is. */
static int unescape_one(const char *p, size_t *len)
{
	*len = 3;
	if (*p == 'x' && hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0)
		return hex_digit(p[1]) << 4 | hex_digit(p[2]);
	*len = 1;
	for (size_t i = 0; i < READ; i++)
		if (escapes[i][0] == *p)
			return (unsigned char)escapes[i][1];
	return -1;
}

ssize_t text_unescape(char *text)
{
	char *to = text;

	for (const char *p = text; *p; to++) {
		size_t len;
		int byte;

		if (*p != '\\') {
			*to = *p++;
			continue;
		}
		byte = unescape_one(p + 1, &len);
		if (byte == -1)
			return -1;
		*to = (char)byte;
		p += 1 + len;
	}
	*to = '\0';
	return to - text;
}
