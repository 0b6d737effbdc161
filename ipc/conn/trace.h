/* AIOIPC_TRACE: see trace.c. */
#ifndef IPC_CONN_TRACE_H
#define IPC_CONN_TRACE_H

#include <stdbool.h>
#include <stddef.h>

bool ipc_trace_wanted(void);

/* One line: the connection's descriptor, "<" or ">", the format or the kind of frame (NULL: bytes), and how much it is. */
void ipc_trace(int fd, const char *direction, const char *what, size_t len, unsigned nfds);

#endif
