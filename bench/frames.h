/* A stream of frames, a 4-byte length in front of each, taken apart by hand: what one writes without a library. */
#ifndef BENCH_FRAMES_H
#define BENCH_FRAMES_H

#include <stdint.h>
#include <string.h>

struct frames {
	void (*on_message)(const unsigned char *data, uint32_t len, void *arg);
	void *arg;
	size_t used;
	unsigned char data[2 * 65536];
};

static inline unsigned char *frame_put(unsigned char *to, const void *message, uint32_t len)
{
	memcpy(to, &len, sizeof len);
	memcpy(to + sizeof len, message, len);
	return to + sizeof len + len;
}

/* @n more bytes are in data[used]; calls back for each whole message and keeps the rest. */
static inline void frames_take(struct frames *f, size_t n)
{
	size_t at = 0;
	uint32_t len;

	f->used += n;
	while (f->used - at >= sizeof len) {
		memcpy(&len, f->data + at, sizeof len);
		if (f->used - at - sizeof len < len)
			break;
		f->on_message(f->data + at + sizeof len, len, f->arg);
		at += sizeof len + len;
	}
	f->used -= at;
	memmove(f->data, f->data + at, f->used);
}

#endif
