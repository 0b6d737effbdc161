/*
 * One direction of bytes through memory that two processes share. It knows no descriptor and does not wait: whoever finds no
 * room or no input says in the memory that it sleeps, and the other side is told to wake it.
 *
 * The peer may write anything into the memory at any time. So each side keeps its own index in private memory and only
 * publishes it. What the peer publishes is checked each time it is read, and bytes are copied out before anyone looks at them.
 */
#ifndef IPC_CARRY_RING_H
#define IPC_CARRY_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define IPC_RING_LINE 64 /* of the cache: what one side writes often shares none with what the other does */

/* Descriptors travel beside the ring. A mark says which byte they go along with. So many may be on their way. */
#define IPC_RING_MARKS 64

/* What both sides see. Zeroed memory is a ring that is empty and open. */
struct ipc_ring_words {
	/* the writer's */
	_Alignas(IPC_RING_LINE) _Atomic(uint64_t) tail; /* bytes written so far */
	_Atomic(uint64_t) marked;                       /* marks made so far */
	_Atomic(uint32_t) shut;                         /* nothing comes behind the tail */
	_Atomic(uint32_t) abrupt;                       /* an end without that is a loss */
	_Alignas(IPC_RING_LINE) _Atomic(uint32_t) writer_sleeps;
	_Alignas(IPC_RING_LINE) _Atomic(uint64_t) mark[IPC_RING_MARKS];

	/* the reader's */
	_Alignas(IPC_RING_LINE) _Atomic(uint64_t) head; /* bytes taken so far */
	_Atomic(uint64_t) unmarked;                     /* marks passed so far */
	_Alignas(IPC_RING_LINE) _Atomic(uint32_t) reader_sleeps;
	_Atomic(uint32_t) gone; /* nobody reads any more */
};

/* One side of it. */
struct ipc_ring {
	struct ipc_ring_words *words;
	unsigned char *bytes;
	size_t size;        /* a power of two */
	uint64_t mine;      /* this side's index */
	uint64_t published; /* what the peer knows of it */
	uint64_t theirs;    /* the peer's, as last seen and checked */
	bool broken;        /* the peer published what can't be */
};

/* Bytes that fit, or that came: looks at the peer's index only when less than @enough are known of. */
size_t ipc_ring_room(struct ipc_ring *w, size_t enough);
size_t ipc_ring_input(struct ipc_ring *r, size_t enough);

/* Copies as much as fits, a quarter of the ring at most, and publishes it. How many bytes of @iov that is, from @skip on. */
size_t ipc_ring_write(struct ipc_ring *w, const struct iovec *iov, int n, size_t skip);

/* Copies what came, as much as fits into @iov. How many bytes. Room is given back when it is worth telling. */
size_t ipc_ring_read(struct ipc_ring *r, const struct iovec *iov, int n);

/* After the above: must the peer be woken, that sleeps at the other end of this direction? Only one caller is told so. */
bool ipc_ring_reader_waits(struct ipc_ring *w);
bool ipc_ring_writer_waits(struct ipc_ring *r);

/* Says that this side sleeps now. Then it must look once more: what came before may not wake it. */
void ipc_ring_reader_sleep(struct ipc_ring *r);
void ipc_ring_writer_sleep(struct ipc_ring *w);

/* It does not sleep any more. False: the peer was told to wake it. */
bool ipc_ring_reader_awake(struct ipc_ring *r);
bool ipc_ring_writer_awake(struct ipc_ring *w);

#endif
