/* A bell is opened and registered under one hold: see bell.h. */
#include "ipc/own/bell.h"

#include "ipc/os/bell.h"

int ipc_own_bell(struct ipc_own *own)
{
	int fd[2], r;

	if (ipc_own_hold() == -1)
		return -1;
	r = ipc_os_bell(fd);
	if (r == 0) {
		ipc_own_set(own, fd[0], fd[1]);
		ipc_own_link(own);
	}
	ipc_own_let_go();
	return r;
}
