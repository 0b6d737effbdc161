/*
 * Inputs of a few bytes that mean long streams: 0xfe N V stands for 64 * N times V, so that messages larger than
 * every buffer fit into a corpus of small files.
 */
#ifndef FUZZ_STRETCH_H
#define FUZZ_STRETCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define STRETCH_MOST ((size_t)160 << 10)

/* A block of exactly *@len bytes, so that ASan sees one byte too many; the caller frees it. */
static inline unsigned char *stretch(const uint8_t *data, size_t size, size_t *len)
{
	static unsigned char to[STRETCH_MOST];
	unsigned char *exact;
	size_t n = 0;

	for (size_t i = 0; i < size; i++) {
		size_t times = i + 2 < size && data[i] == 0xfe ? 64 * (size_t)data[i + 1] : 0;

		if (n + times + 1 > sizeof to)
			break;
		if (times) {
			memset(to + n, data[i + 2], times);
			n += times;
			i += 2;
		} else {
			to[n++] = data[i];
		}
	}
	*len = n;
	exact = malloc(n + (n == 0));
	if (!exact)
		abort();
	return memcpy(exact, to, n);
}

/* The next of a row of numbers that looks random and depends on the input alone. */
static inline uint32_t stretch_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

#endif
