/*
 * The tpl image: the strict checker, and the codec between images and C values. Pure functions of bytes, each can be fuzzed
 * as it is. No function but ipc_image_check() may be given bytes that it has not said yes to.
 */
#ifndef IPC_WIRE_IMAGE_H
#define IPC_WIRE_IMAGE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* NULL when @data is a complete, well-formed tpl image that any tpl may unpack; otherwise what is wrong with it, in words. */
const char *ipc_image_check(const unsigned char *data, size_t len);

/* How long the image of these values is. -1: EINVAL (format or values), EMSGSIZE (over 4 GiB). Consumes @ap. */
int ipc_image_size(const char *format, va_list ap, size_t *len);

/* Writes it, exactly as long as ipc_image_size() said of the same values. Consumes @ap. */
void ipc_image_write(unsigned char *to, size_t len, const char *format, va_list ap);

#endif
