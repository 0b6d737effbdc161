/*
 * The stream of one direction: a preface of 8 bytes, then frames of an 8-byte header and a payload. Layout only: what
 * a frame means is the splitter's business (ipc/wire/in.h).
 */
#ifndef IPC_WIRE_FRAME_H
#define IPC_WIRE_FRAME_H

#include <stdint.h>

#define IPC_PREFACE_LEN 8
#define IPC_FRAME_LEN 8
#define IPC_WIRE_VERSION 1

struct ipc_frame {
	uint32_t length; /* of the payload */
	uint8_t kind;    /* enum ipc_kind */
	uint8_t nfds;    /* descriptors that travel with it */
	uint16_t zero;
};

extern const unsigned char ipc_preface[IPC_PREFACE_LEN];

static inline void ipc_frame_write(unsigned char *to, const struct ipc_frame *f)
{
	to[0] = (unsigned char)f->length;
	to[1] = (unsigned char)(f->length >> 8);
	to[2] = (unsigned char)(f->length >> 16);
	to[3] = (unsigned char)(f->length >> 24);
	to[4] = f->kind;
	to[5] = f->nfds;
	to[6] = (unsigned char)f->zero;
	to[7] = (unsigned char)(f->zero >> 8);
}

static inline void ipc_frame_read(const unsigned char *from, struct ipc_frame *f)
{
	f->length = (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
		    (uint32_t)from[3] << 24;
	f->kind = from[4];
	f->nfds = from[5];
	f->zero = (uint16_t)(from[6] | from[7] << 8);
}

#endif
