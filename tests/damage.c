/* See damage.h. */
#include "tests/damage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/harness.h"

#define FORMAT 8 /* where it begins: behind magic, flags and length */

/* What is seen, and by whom. */
struct seer {
	const unsigned char *whole;
	size_t len;
	damage_see *see;
	void *arg;
};

/* @len bytes of the whole, or more, with @n of them at @at put another way; as it was, it is not shown. */
static void show(const struct seer *s, size_t len, size_t at, const void *bytes, size_t n)
{
	unsigned char *image = must(malloc(len + (len == 0)));
	size_t known = len < s->len ? len : s->len;

	memset(image, 0, len);
	memcpy(image, s->whole, known);
	if (at + n <= len)
		memcpy(image + at, bytes, n);
	if (len != s->len || memcmp(image, s->whole, len) != 0)
		s->see(image, len, s->arg);
	free(image);
}

static uint32_t word_at(const struct seer *s, size_t at)
{
	uint32_t word;

	memcpy(&word, s->whole + at, sizeof word);
	return word;
}

static void show_words(const struct seer *s, size_t at)
{
	uint32_t was = word_at(s, at);
	const uint32_t words[] = {0,          1,          7,          8,          9,
				  was - 1,    was + 1,    was + 2,    was * 2,    __builtin_bswap32(was),
				  0xffff,     0x10000,    0xffffff,   0x1000000,  0x3fffffff,
				  0x40000000, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffff8,
				  0xfffffffe, 0xffffffff};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		show(s, s->len, at, &words[i], sizeof words[i]);
}

static void show_cuts(const struct seer *s)
{
	for (size_t len = 0; len < s->len + 3; len++) {
		uint32_t word = (uint32_t)len;

		if (s->whole[3] & 1)
			word = __builtin_bswap32(word);
		show(s, len, 0, "", 0);
		if (len < s->len && len >= FORMAT)
			show(s, len, 4, &word, sizeof word);
	}
}

void damage_head(const void *image, size_t len, damage_see *see, void *arg)
{
	struct seer s = {image, len, see, arg};

	for (size_t at = 0; at < 3; at++)
		show(&s, len, at, "\0", 1);
	for (unsigned flags = 0; flags < 256; flags++)
		show(&s, len, 3, &(unsigned char){(unsigned char)flags}, 1);
	show_words(&s, 4);
	show_cuts(&s);
}

void damage_word(const void *image, size_t len, size_t at, damage_see *see, void *arg)
{
	struct seer s = {image, len, see, arg};

	show_words(&s, at);
}

void damage_values(const void *image, size_t len, damage_see *see, void *arg)
{
	static const char letters[] = "cjviuIUfsBAS()#$ \377"; /* and the NUL */
	struct seer s = {image, len, see, arg};
	const unsigned char *end = memchr(s.whole + FORMAT, 0, len - FORMAT);
	size_t at = FORMAT;

	for (; s.whole + at <= end; at++)
		for (size_t i = 0; i < sizeof letters; i++)
			show(&s, len, at, letters + i, 1);
	for (; at + 4 <= len; at++)
		show_words(&s, at);
}

static uint32_t next(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

void damage_at_random(const void *image, size_t len, unsigned times, uint32_t seed, damage_see *see,
		      void *arg)
{
	unsigned char *changed = must(malloc(len));
	struct seer s = {changed, len, see, arg};
	uint32_t x = seed | 1;

	printf("# damage at random: seed %u\n", (unsigned)seed);
	fflush(stdout);
	memcpy(changed, image, len);
	while (times-- > 0) {
		size_t at = next(&x) % len;
		unsigned char byte = (unsigned char)(next(&x) >> 9);

		if (times % 4 == 0)
			memcpy(changed, image, len);
		show(&s, len, at, &byte, 1);
		changed[at] = byte;
	}
	free(changed);
}
