/*
 * The stream of one direction: a preface of 8 bytes, then frames of an 8-byte header and a payload. Layout only: what
 * a frame means is the splitter's business (ipc/wire/in.h).
 */
#ifndef IPC_WIRE_FRAME_H
#define IPC_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IPC_PREFACE_LEN 8
#define IPC_FRAME_LEN 8
#define IPC_WIRE_VERSION 1

/* A call, and what answers it, begin with the number that the caller gave the call; a refusal has an errno behind that. */
#define IPC_CALL_ID_LEN 8
#define IPC_REFUSAL_LEN 12

/* Kinds of frames behind those of enum ipc_kind. Here a tpl image has an even number, and plain bytes the odd one behind it. */
enum ipc_frame_kind {
	IPC_FRAME_CALL = 4,
	IPC_FRAME_CALL_BYTES = 5,
	IPC_FRAME_ANSWER = 6,
	IPC_FRAME_ANSWER_BYTES = 7,
	IPC_FRAME_REFUSAL = 8,
	IPC_FRAME_CANCEL = 9,
	IPC_FRAME_HELLO = 16, /* these three are of links that confirm: see ipc/link/confirm.h */
	IPC_FRAME_HAD = 17,
	IPC_FRAME_TAKEN = 18,
	IPC_FRAME_SKIPPED = 128, /* from here on they are skipped by who does not know them */
	IPC_FRAME_GRANT = 128,   /* its sender takes so many messages in memory in all */
};

/* The flag of a header: the content is in memory, which is the first descriptor. The payload has its length instead. */
#define IPC_FRAME_IN_MEMORY 1
#define IPC_MEMORY_LEN 8
#define IPC_GRANT_LEN 8

struct ipc_frame {
	uint32_t length; /* of the payload */
	uint8_t kind;    /* enum ipc_kind */
	uint8_t nfds;    /* descriptors that travel with it */
	uint16_t flags;
};

/* How long the payloads of those three are. */
#define IPC_HELLO_LEN 32
#define IPC_HAD_LEN 16
#define IPC_TAKEN_LEN 8

extern const unsigned char ipc_preface[IPC_PREFACE_LEN];

static inline bool ipc_frame_is_call(uint8_t kind)
{
	return kind >= IPC_FRAME_CALL && kind <= IPC_FRAME_CANCEL;
}

static inline bool ipc_frame_confirms(uint8_t kind)
{
	return kind >= IPC_FRAME_HELLO && kind <= IPC_FRAME_TAKEN;
}

/* Of a call and its like: how much of the payload stands in front of the content. 0 of a message. */
static inline size_t ipc_frame_label(uint8_t kind)
{
	if (!ipc_frame_is_call(kind))
		return 0;
	return kind == IPC_FRAME_REFUSAL ? IPC_REFUSAL_LEN : IPC_CALL_ID_LEN;
}

static inline void ipc_frame_write_id(unsigned char *to, uint64_t id)
{
	for (int i = 0; i < IPC_CALL_ID_LEN; i++)
		to[i] = (unsigned char)(id >> 8 * i);
}

static inline uint64_t ipc_frame_read_id(const unsigned char *from)
{
	uint64_t id = 0;

	for (int i = 0; i < IPC_CALL_ID_LEN; i++)
		id |= (uint64_t)from[i] << 8 * i;
	return id;
}

static inline void ipc_frame_write_error(unsigned char *to, uint32_t error)
{
	for (int i = 0; i < IPC_REFUSAL_LEN - IPC_CALL_ID_LEN; i++)
		to[i] = (unsigned char)(error >> 8 * i);
}

static inline void ipc_frame_write(unsigned char *to, const struct ipc_frame *f)
{
	to[0] = (unsigned char)f->length;
	to[1] = (unsigned char)(f->length >> 8);
	to[2] = (unsigned char)(f->length >> 16);
	to[3] = (unsigned char)(f->length >> 24);
	to[4] = f->kind;
	to[5] = f->nfds;
	to[6] = (unsigned char)f->flags;
	to[7] = (unsigned char)(f->flags >> 8);
}

/* The length, and the rest of the header as one number, which is the kind where there are no descriptors and no flags. */
static inline void ipc_frame_halves(const unsigned char *from, uint32_t *length, uint32_t *rest)
{
	*length = (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
		  (uint32_t)from[3] << 24;
	*rest = (uint32_t)from[4] | (uint32_t)from[5] << 8 | (uint32_t)from[6] << 16 |
		(uint32_t)from[7] << 24;
}

static inline void ipc_frame_read(const unsigned char *from, struct ipc_frame *f)
{
	f->length = (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
		    (uint32_t)from[3] << 24;
	f->kind = from[4];
	f->nfds = from[5];
	f->flags = (uint16_t)(from[6] | from[7] << 8);
}

#endif
