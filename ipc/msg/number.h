/* Numbers in images: unaligned, and in the writer's byte order. */
#ifndef IPC_MSG_NUMBER_H
#define IPC_MSG_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool ipc_big_endian(void)
{
	const uint16_t one = 1;
	unsigned char first;

	memcpy(&first, &one, 1);
	return first == 0;
}

static inline uint32_t ipc_get32(const unsigned char *from, bool swap)
{
	uint32_t n;

	memcpy(&n, from, sizeof n);
	return swap ? __builtin_bswap32(n) : n;
}

static inline unsigned char *ipc_put32(unsigned char *to, uint32_t n)
{
	memcpy(to, &n, sizeof n);
	return to + sizeof n;
}

/* One number of 1, 2, 4 or 8 bytes. */
static inline void ipc_copy_number(void *to, const void *from, size_t size, bool swap)
{
	uint16_t n16;
	uint32_t n32;
	uint64_t n64;

	switch (size) {
	case 1:
		memcpy(to, from, 1);
		break;
	case 2:
		memcpy(&n16, from, 2);
		n16 = swap ? __builtin_bswap16(n16) : n16;
		memcpy(to, &n16, 2);
		break;
	case 4:
		memcpy(&n32, from, 4);
		n32 = swap ? __builtin_bswap32(n32) : n32;
		memcpy(to, &n32, 4);
		break;
	case 8:
		memcpy(&n64, from, 8);
		n64 = swap ? __builtin_bswap64(n64) : n64;
		memcpy(to, &n64, 8);
		break;
	}
}

/* @n of them, from or to an image. One is quicker without a call of memcpy. */
static inline void ipc_copy(void *to, const void *from, size_t size, size_t n, bool swap)
{
	char *at = to;

	if (!swap && n > 1) {
		memcpy(to, from, size * n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		ipc_copy_number(at + i * size, (const char *)from + i * size, size, swap);
}

#endif
