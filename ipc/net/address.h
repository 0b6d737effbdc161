/*
 * Addresses as text: "tcp://host:port", "unix:///path", "unix:@name"; "ring:" in the place of "unix:", and "tls:" in that of "tcp:". A user's
 * text is read here; a socket's address is written by ipc/os/address.h. This file looks up no name and opens nothing: dial.c and listen.c do.
 */
#ifndef IPC_NET_ADDRESS_H
#define IPC_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "ipc/os/address.h"

#define IPC_HOST_MOST 255

enum ipc_address_kind { IPC_ADDRESS_TCP, IPC_ADDRESS_PATH, IPC_ADDRESS_ABSTRACT };
enum ipc_address_use { IPC_TO_CONNECT, IPC_TO_LISTEN };

struct ipc_address {
	enum ipc_address_kind kind;
	bool ring; /* a unix socket whose listener hands shared memory over */
	bool tls;  /* TCP, encrypted */
	char host[IPC_HOST_MOST +
		  1]; /* TCP: a name or number, without brackets; "*": all addresses of this machine */
	char port[6];
	struct sockaddr_un un; /* not TCP */
	socklen_t un_len;
};

/*
 * Reads @text. "*" and port 0 are only for IPC_TO_LISTEN. -1/EINVAL, and *@why, a string constant, says in words what is wrong. @why may be
 * NULL.
 */
int ipc_address_read(struct ipc_address *a, const char *text, enum ipc_address_use use, const char **why);

#endif
