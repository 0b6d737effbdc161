/*
 * Numbers of the letter f as text: see real.h. The C library writes and reads them with the decimal point of the locale, which may be
 * more than one byte, and which another thread may change: so it is looked at in what is written, and asked for by writing one.
 */
#include "ipc/msg/real.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LONGEST 1000 /* to be read: the longest that has a meaning in full has 767 digits */
#define EXPONENT (UINT64_C(0x7ff) << 52)
#define FRACTION ((UINT64_C(1) << 52) - 1)
#define USUAL (UINT64_C(1) << 51) /* the fraction of the usual one that is no number */

static double from_bits(uint64_t bits)
{
	double d;

	memcpy(&d, &bits, sizeof d);
	return d;
}

static uint64_t to_bits(double d)
{
	uint64_t bits;

	memcpy(&bits, &d, sizeof bits);
	return bits;
}

static void write_nan(char text[IPC_REAL_MOST], uint64_t bits)
{
	const char *sign = bits >> 63 ? "-" : "";

	if ((bits & FRACTION) == USUAL)
		snprintf(text, IPC_REAL_MOST, "%snan", sign);
	else
		snprintf(text, IPC_REAL_MOST, "%snan(0x%" PRIx64 ")", sign, bits & FRACTION);
}

/* What is between the digits becomes a plain point. */
static void set_point(char *text)
{
	size_t before = strspn(text, "-0123456789"), point = strcspn(text + before, "0123456789e");

	if (point == 0)
		return;
	memmove(text + before + 1, text + before + point, strlen(text + before + point) + 1);
	text[before] = '.';
}

/* 15 digits are enough for all that has no more, but where numbers are so small that they have fewer. */
void ipc_real_write(char text[IPC_REAL_MOST], uint64_t bits)
{
	double d = from_bits(bits);
	int digits = (bits & EXPONENT) == 0 ? 1 : DBL_DIG, error = errno;

	if ((bits & EXPONENT) == EXPONENT && (bits & FRACTION) != 0) {
		write_nan(text, bits);
		return;
	}
	do
		snprintf(text, IPC_REAL_MOST, "%.*g", digits, d);
	while (digits++ < 17 && to_bits(strtod(text, NULL)) != bits);
	if ((bits & EXPONENT) != EXPONENT)
		set_point(text);
	errno = error;
}

/* The decimal point of the locale; @text has "0.5" as that writes it. */
static const char *find_point(char *text, size_t size, size_t *len)
{
	snprintf(text, size, "%.1f", 0.5);
	*len = strcspn(text + 1, "5");
	return text + 1;
}

/* Without white space or other locales' points; "nan" is read elsewhere. */
static bool is_plausible(const char *text, size_t len)
{
	static const char chars[] = "0123456789abcdefABCDEFinfinityINFINITYxXpP.+-";

	for (size_t i = 0; i < len; i++)
		if (text[i] == '\0' || !strchr(chars, text[i]))
			return false;
	return len > 0 && len <= LONGEST;
}

static bool read_number(const char *text, size_t len, uint64_t *bits)
{
	char copy[LONGEST + 32], half[32], *end;
	const char *dot = memchr(text, '.', len), *point;
	size_t before = dot ? (size_t)(dot - text) : len, plen = 0;
	int error = errno;
	double d;

	memcpy(copy, text, before);
	if (dot) {
		point = find_point(half, sizeof half, &plen);
		memcpy(copy + before, point, plen);
		memcpy(copy + before + plen, dot + 1, len - before - 1);
		plen--;
	}
	copy[len + plen] = '\0';
	errno = 0;
	d = strtod(copy, &end);
	*bits = to_bits(d);
	if (errno == ERANGE && isinf(d))
		end = copy;
	errno = error;
	return *end == '\0' && end != copy;
}

/* "nan", or one that is told by its bits. */
static bool read_nan(const char *text, size_t len, uint64_t *bits)
{
	char copy[IPC_REAL_MOST], *p = copy, *end;
	bool minus;
	uint64_t fraction = USUAL;

	if (len >= sizeof copy)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	minus = *p == '-';
	p += 3 + minus;
	if (strncasecmp(p, "(0x", 3) == 0 && strspn(p + 3, "0123456789abcdefABCDEF") > 0) {
		fraction = strtoull(p + 3, &end, 16);
		p = *end == ')' ? end + 1 : copy;
	}
	*bits = (uint64_t)minus << 63 | EXPONENT | fraction;
	return p == copy + len && fraction > 0 && fraction <= FRACTION;
}

bool ipc_real_read(const char *text, size_t len, uint64_t *bits)
{
	size_t minus = len > 0 && *text == '-';

	if (len - minus >= 3 && strncasecmp(text + minus, "nan", 3) == 0)
		return read_nan(text, len, bits);
	return is_plausible(text, len) && read_number(text, len, bits);
}
