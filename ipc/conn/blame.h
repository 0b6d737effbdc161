/* Who is at fault when a connection breaks: see blame.c. */
#ifndef IPC_CONN_BLAME_H
#define IPC_CONN_BLAME_H

#include <aioipc/conn.h>

struct ipc_blame {
	enum aioconn_cause cause;
	int error;       /* what recv says from then on; 0: nobody is at fault */
	const char *why; /* static */
};

/* After a read, and after a write, which failed with @error: one that is not merely to be tried again later. */
struct ipc_blame ipc_blame_read(int error);
struct ipc_blame ipc_blame_write(int error);

/* What a send says of it: EPIPE where the peer is gone, else the same. */
int ipc_blame_send_error(const struct ipc_blame *b);

#endif
