/*
 * Text that somebody else chose, and that is shown: it is not to play with a terminal, nor with who reads it. What UTF-8 is, and which
 * of its characters may be shown as they are.
 */
#ifndef IPC_OS_TEXT_H
#define IPC_OS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character at @p, of @n bytes, n > 0: how many it takes, 0 if it is no UTF-8. */
size_t ipc_text_decode(const unsigned char *p, size_t n, uint32_t *code);

/*
 * Can it be seen, and does nothing else? Not so control characters (C0, DEL, C1), and those that turn the direction of writing, end a
 * line or take no room.
 */
bool ipc_text_is_plain(uint32_t code);

/* Each byte of what is no UTF-8, or not plain, becomes '?'. */
void ipc_text_tame(char *text);

#endif
