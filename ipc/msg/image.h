/*
 * The tpl image: the strict checker, and the codec between images and C values. Pure functions of bytes, each can be fuzzed
 * as it is. No function but ipc_image_check() may be given bytes that it has not said yes to.
 */
#ifndef IPC_MSG_IMAGE_H
#define IPC_MSG_IMAGE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/msg/format.h"
#include "ipc/msg/number.h"

/*
 * An image: "tpl", a byte of flags, u32 overall length, the format and its NUL, one u32 for each '#', the data, unaligned and
 * unpadded. Numbers are in the writer's byte order.
 */
#define IPC_IMAGE_FORMAT 8        /* where the format starts */
#define IPC_IMAGE_BIG_ENDIAN 0x01 /* flag: the writer was */
#define IPC_IMAGE_STRINGS 0x02    /* flag: it has an 's'; strings count from 1, 0 is NULL */

/* What the check finds out of an image, for who reads it. */
struct ipc_plain {
	uint8_t letters; /* of a format that has only letters; 0: it has others, or many */
	bool copies;     /* and strings need copies that end in NUL: all but a lone one at the very end */
};

/* NULL when @data is a complete, well-formed tpl image that any tpl may unpack; otherwise what is wrong with it, in words. */
const char *ipc_image_check(const unsigned char *data, size_t len);
const char *ipc_image_look(const unsigned char *data, size_t len, struct ipc_plain *plain);

/* Is its byte order not ours? */
static inline bool ipc_image_swapped(const unsigned char *data)
{
	return (data[3] & IPC_IMAGE_BIG_ENDIAN) != ipc_big_endian();
}

/* Copies the strings in order, each with a NUL, NULLs left out. @to may be NULL. How many bytes they take. */
size_t ipc_image_strings(const unsigned char *data, size_t len, char *to);

/* How long the image of these values is. -1: EINVAL (format or values), EMSGSIZE (over 4 GiB). Consumes @ap. */
int ipc_image_size(const char *format, va_list ap, size_t *len);

/* Writes it, exactly as long as ipc_image_size() said of the same values. Consumes @ap. */
void ipc_image_write(unsigned char *to, size_t len, const char *format, va_list ap);

/*
 * Both in one, of a format of letters and B alone, where the image fits into @room bytes: how long it is. 0: not such a format, no room, or
 * a wrong value; then the two above must do it. Consumes @ap.
 */
size_t ipc_image_write_plain(unsigned char *to, size_t room, const char *format, va_list ap);

/*
 * The same in parts, for the writer: the head of an image, with 0 for each '#', and stretches of a format.
 * write_head returns the place of the first '#', and tells how many there are.
 */
size_t ipc_image_head(const struct ipc_format *f);
unsigned char *ipc_image_write_head(unsigned char *to, size_t len, const char *format, size_t *hashes);
int ipc_image_size_part(const char *part, const char *end, struct ipc_args *a, uint64_t *total);
void ipc_image_write_part(unsigned char *to, const char *part, const char *end, struct ipc_args *a);

/* A place in an image whose values are read. */
struct ipc_place {
	const unsigned char *at;
	bool swap;
	const char *text; /* the next of ipc_image_strings(); NULL if the only one is the last value */
};

/* An image to be read from its front. */
struct ipc_view {
	const char *format, *end; /* and the end of that */
	unsigned char *counts;    /* of the '#'; not to be changed */
	struct ipc_place place;   /* its first value, text NULL */
	bool plain;               /* no brackets and no '#' */
	bool copies;              /* as above */
};

/* False when @format is not the image's. */
bool ipc_image_view(const unsigned char *data, const char *format, struct ipc_view *v);

/*
 * Reads the values of a stretch to where the pointers say. -1: EINVAL (not to be read at once: B or A() in an
 * A(), a wrong size), a->differs (another count of #), EMSGSIZE (more elements than room: each A() is told its count, nothing else is written).
 */
int ipc_image_read_part(const char *part, const char *end, struct ipc_args *a, struct ipc_place *place);

/* The same of a plain one: no argument can be wrong. */
void ipc_image_read_plain(const char *part, const char *end, struct ipc_args *a, struct ipc_place *place);

#endif
