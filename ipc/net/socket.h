/* Sockets, registered from the moment they exist: a fork closes them in the child. */
#ifndef IPC_NET_SOCKET_H
#define IPC_NET_SOCKET_H

#include "ipc/own/own.h"

/* A new socket, not blocking. @own is initialised and empty, and stays empty on failure. -1: as socket(2). */
int ipc_net_socket(struct ipc_own *own, int family, int type);

/* Accepts the next peer of @listening. -1: as ipc_os_accept(). */
int ipc_net_accept(struct ipc_own *own, int listening);

#endif
