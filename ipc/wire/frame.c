/* The bytes of prefaces and frame headers: see frame.h. */
#include "ipc/wire/frame.h"

const unsigned char ipc_preface[IPC_PREFACE_LEN] = {'A', 'I', 'P', 'C', IPC_WIRE_VERSION, 0, 0, 0};

void ipc_frame_write(unsigned char *to, const struct ipc_frame *f)
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

void ipc_frame_read(const unsigned char *from, struct ipc_frame *f)
{
	f->length = (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
		    (uint32_t)from[3] << 24;
	f->kind = from[4];
	f->nfds = from[5];
	f->zero = (uint16_t)(from[6] | from[7] << 8);
}
