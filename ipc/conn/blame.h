/* Who is at fault when a connection breaks: see blame.c. */
#ifndef IPC_CONN_BLAME_H
#define IPC_CONN_BLAME_H

#include <aioipc/conn.h>

struct ipc_blame {
	enum aioconn_cause cause;
	int error;       /* what recv fails with from then on; 0: nobody is at fault */
	const char *why; /* static */
};

/* A read, or a write, failed for good with @error. @why: what the carrier knows of it, or NULL. */
struct ipc_blame ipc_blame_read(int error, const char *why);
struct ipc_blame ipc_blame_write(int error, const char *why);

/* What a send fails with then: EPIPE where the peer is gone, else the same errno. */
int ipc_blame_send_error(const struct ipc_blame *b);

#endif
