/* Text that somebody else chose, and that is shown: it is not to play with a terminal, nor with who reads it. */
#ifndef IPC_OS_TEXT_H
#define IPC_OS_TEXT_H

/*
 * Each byte of what is no UTF-8, of a control character (C0, DEL, C1), and of one that turns the direction of writing, ends a
 * line or takes no room, becomes '?'.
 */
void ipc_text_tame(char *text);

#endif
