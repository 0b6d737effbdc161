/* Doubles as text, and back to the same bits, in any locale. */
#ifndef IPC_MSG_REAL_H
#define IPC_MSG_REAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IPC_REAL_MOST 40 /* bytes that the text of one takes at most, with its NUL */

/*
 * As short as brings the same number back: at most 17 digits; "inf", "-inf", "nan". Other numbers that are none are told by their
 * bits: "nan(0x1f)". @bits are those of an IEEE double.
 */
void ipc_real_write(char text[IPC_REAL_MOST], uint64_t bits);

/* All of the text: what was written, and what strtod() takes in the locale "C". False if it is none, is too large, or longer than 1000. */
bool ipc_real_read(const char *text, size_t len, uint64_t *bits);

/* Is it none of those that JSON has numbers for? */
static inline bool ipc_real_is_odd(uint64_t bits)
{
	return (bits >> 52 & 0x7ff) == 0x7ff;
}

#endif
