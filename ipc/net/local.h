/*
 * Where connections come from, when that is not left to the kernel: an address of this machine, as a number, and maybe a port.
 * Read from text once, bound to each socket before it connects.
 */
#ifndef IPC_NET_LOCAL_H
#define IPC_NET_LOCAL_H

#include <sys/socket.h>

struct ipc_local {
	struct sockaddr_storage of[2]; /* one of each family, or only one */
	socklen_t len[2];
	unsigned n;
};

/* "tcp://number:port", port 0 for any, "*" for any address. -1/EINVAL, and *@why says in words what is wrong. */
int ipc_local_read(struct ipc_local *l, const char *text, const char **why);

/* Binds @fd, of @family. -1: as bind(2); EADDRNOTAVAIL also says that it is no address of that family. */
int ipc_local_bind(const struct ipc_local *l, int fd, int family);

#endif
