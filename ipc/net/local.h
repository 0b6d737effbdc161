/*
 * The local address of connections, if the kernel is not to choose it: a number, and perhaps a port. The text is read once; each
 * socket is bound to the address before it connects.
 */
#ifndef IPC_NET_LOCAL_H
#define IPC_NET_LOCAL_H

#include <sys/socket.h>

struct ipc_local {
	struct sockaddr_storage of[2]; /* one for each family, or only one */
	socklen_t len[2];
	unsigned n;
};

/* "tcp://number:port"; port 0: any port; "*": any address. -1/EINVAL, and *@why says in words what is wrong. */
int ipc_local_read(struct ipc_local *l, const char *text, const char **why);

/* Binds @fd, a socket of @family. -1: as bind(2); EADDRNOTAVAIL also if there is no local address of that family. */
int ipc_local_bind(const struct ipc_local *l, int fd, int family);

#endif
