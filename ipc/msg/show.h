/* Messages as text, for the trace, which has only the bytes of a message. Everybody else uses aiomsg_text(). */
#ifndef IPC_MSG_SHOW_H
#define IPC_MSG_SHOW_H

#include <stddef.h>

#include "ipc/msg/msg.h"

/*
 * Writes what aiomsg_text() would write of this payload, a checked image or plain bytes. It stops when @text is full, and puts "..."
 * at the end. So a large message costs no more than a small one.
 */
void ipc_show_brief(enum ipc_kind kind, const unsigned char *data, size_t len, char *text, size_t size);

#endif
