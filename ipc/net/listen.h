/*
 * A socket that listens at an address, and the socket file that it may have made. It does not accept peers: listener.c does.
 */
#ifndef IPC_NET_LISTEN_H
#define IPC_NET_LISTEN_H

#include <stdbool.h>

#include "ipc/own/own.h"
#include "ipc/net/address.h"
#include "ipc/net/sockfile.h"
#include "ipc/os/socket.h"

struct event_base;

struct ipc_listen {
	struct ipc_own own;
	struct ipc_sockfile file;
	char address[IPC_ADDRESS_SIZE]; /* a peer connects to this */
	int port;                       /* 0: a unix socket */
	bool ring;                      /* peers wait for a hello: see ipc/carry/shared.h */
};

/* How it listens. */
struct ipc_listen_options {
	mode_t mode; /* of the socket file */
	int backlog;
	struct ipc_os_keepalive keepalive;
};

/* Waits only if a name has to be looked up: then not in a callback of @base. -1: as aiolistener_new(); nothing is open then. */
int ipc_listen_open(struct ipc_listen *s, const struct ipc_address *a, struct event_base *base,
		    const struct ipc_listen_options *o);

/* Removes the file and closes the socket. In a forked child it does neither. */
void ipc_listen_close(struct ipc_listen *s);

#endif
