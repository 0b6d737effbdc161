/* Messages as text, for those who have only the bytes of one: the trace. Everybody else has aiomsg_text(). */
#ifndef IPC_MSG_SHOW_H
#define IPC_MSG_SHOW_H

#include <stddef.h>

#include "ipc/msg/msg.h"

/*
 * What aiomsg_text() writes of a payload of this kind, a checked image or plain bytes, and "..." at the end where there is no place for
 * all of it. It stops there: it costs no more than what is written.
 */
void ipc_show_brief(enum ipc_kind kind, const unsigned char *data, size_t len, char *text, size_t size);

#endif
