/*
 * Sockets in the file system: made with a mode, in the place of a dead one if need be, and removed. A dead one is known by
 * ECONNREFUSED. Whoever binds or removes through here holds a lock on "PATH.aioipc-lock" meanwhile, a file that is gone
 * afterwards: so that of two who find the same dead socket only one replaces it, and a socket that is bound but does
 * not listen yet is not taken for dead.
 */
#ifndef IPC_NET_SOCKFILE_H
#define IPC_NET_SOCKFILE_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

/* What was made, to know it again. */
struct ipc_sockfile {
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "": none */
	dev_t dev;
	ino_t ino;
};

/*
 * Binds @fd to @un and listens; nobody can connect before the mode is right. -1: EADDRINUSE (somebody listens there, or what
 * is there is no socket), as bind(2) and open(2); then it has left nothing behind.
 */
int ipc_sockfile_listen(struct ipc_sockfile *f, int fd, const struct sockaddr_un *un, socklen_t len,
			mode_t mode, int backlog);

/* Removes it, unless another file has its place by now. */
void ipc_sockfile_remove(struct ipc_sockfile *f);

#endif
