/* Sockets, opened and registered under one hold: see socket.h. */
#include "ipc/net/socket.h"

#include "ipc/os/socket.h"

static void link_fd(struct ipc_own *own, int fd)
{
	if (fd == -1)
		return;
	ipc_own_set(own, fd, fd);
	ipc_own_link(own);
}

int ipc_net_socket(struct ipc_own *own, int family, int type)
{
	int fd;

	if (ipc_own_hold() == -1)
		return -1;
	fd = ipc_os_socket(family, type);
	link_fd(own, fd);
	ipc_own_let_go();
	return fd == -1 ? -1 : 0;
}

int ipc_net_accept(struct ipc_own *own, int listening)
{
	int fd;

	if (ipc_own_hold() == -1)
		return -1;
	fd = ipc_os_accept(listening);
	link_fd(own, fd);
	ipc_own_let_go();
	return fd == -1 ? -1 : 0;
}
