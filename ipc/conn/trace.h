/* AIOIPC_TRACE: see trace.c. */
#ifndef IPC_CONN_TRACE_H
#define IPC_CONN_TRACE_H

#include <stdbool.h>
#include <stddef.h>

#include "ipc/msg/msg.h"

bool ipc_trace_wanted(void);

/* One line: the connection's descriptor, "<" or ">", a frame of this kind or other piece of the stream, and how many descriptors go with it. */
void ipc_trace(int fd, const char *direction, uint8_t kind, const unsigned char *data, size_t len,
	       unsigned nfds);

#endif
