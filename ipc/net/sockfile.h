/*
 * Socket files: made with a mode, in place of a dead one if there is one, and removed. A socket is dead if connecting to it fails
 * with ECONNREFUSED. While this binds or removes a socket, it holds a lock on the file "PATH.aioipc-lock", which it removes
 * afterwards. So, if two processes find the same dead socket, only one replaces it; and a socket that is bound but does not listen yet is
 * not taken for dead.
 */
#ifndef IPC_NET_SOCKFILE_H
#define IPC_NET_SOCKFILE_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

/* The file that was made, so that it can be recognised. */
struct ipc_sockfile {
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "": none */
	dev_t dev;
	ino_t ino;
};

/*
 * Binds @fd to @un and listens. Nobody can connect before the mode is right. -1: EADDRINUSE (another socket listens there, or the file is no
 * socket), or as bind(2) and open(2); then it leaves no file behind.
 */
int ipc_sockfile_listen(struct ipc_sockfile *f, int fd, const struct sockaddr_un *un, socklen_t len,
			mode_t mode, int backlog);

/* Removes the file, unless it is another file by now. */
void ipc_sockfile_remove(struct ipc_sockfile *f);

#endif
