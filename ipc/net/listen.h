/*
 * A socket that listens at an address, and the file it may have made. What to do with those who come is not its business:
 * listener.c.
 */
#ifndef IPC_NET_LISTEN_H
#define IPC_NET_LISTEN_H

#include "ipc/own/own.h"
#include "ipc/net/address.h"
#include "ipc/net/sockfile.h"
#include "ipc/os/socket.h"

struct event_base;

struct ipc_listen {
	struct ipc_own own;
	struct ipc_sockfile file;
	char address[IPC_ADDRESS_SIZE]; /* for connecting */
	int port;                       /* 0 of a unix socket */
};

/* How, beside where. */
struct ipc_listen_options {
	mode_t mode; /* of a socket in the file system */
	int backlog;
	struct ipc_os_keepalive keepalive;
};

/*
 * Waits only to look up a name: not in a callback of @base. -1: as aiolistener_new(), with nothing opened.
 */
int ipc_listen_open(struct ipc_listen *s, const struct ipc_address *a, struct event_base *base,
		    const struct ipc_listen_options *o);

/* Removes the file, closes. In another process than its own it does neither. */
void ipc_listen_close(struct ipc_listen *s);

#endif
