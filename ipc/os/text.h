/*
 * Text that a stranger chose and that a person will read: it must not control the terminal or mislead the reader. So this knows UTF-8, and
 * which characters are safe to show.
 */
#ifndef IPC_OS_TEXT_H
#define IPC_OS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes the first character of the @n bytes at @p, n > 0. Returns how many bytes it has, 0 if they are not UTF-8. */
size_t ipc_text_decode(const unsigned char *p, size_t n, uint32_t *code);

/*
 * Is it safe to show? These are not: control characters (C0, DEL, C1), and characters that change the direction of writing, end a line or are
 * invisible.
 */
bool ipc_text_is_plain(uint32_t code);

/* Replaces by '?' each byte that is not UTF-8 and each byte of a character that is not plain. */
void ipc_text_tame(char *text);

#endif
