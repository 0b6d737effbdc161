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

void ipc_frame_write(unsigned char *to, const struct ipc_frame *f);
void ipc_frame_read(const unsigned char *from, struct ipc_frame *f);

#endif
