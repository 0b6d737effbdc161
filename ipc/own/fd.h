/* One descriptor that the library owns: how to know that its number still means the same file, and its flags. Knows no registry. */
#ifndef IPC_OWN_FD_H
#define IPC_OWN_FD_H

#include <stdbool.h>
#include <sys/types.h>

#include "ipc/os/os.h"

struct ipc_fd {
	int fd; /* -1: none */
	enum ipc_fdkind kind : 8;
	bool nonblock; /* we turned O_NONBLOCK on; it is turned off again at close if adopted */
	dev_t dev;
	ino_t ino;
	struct ipc_fd *next; /* in the registry's table of numbers */
};

/* Fills in @f; with @fd -1 it is none. -1/EBADF: @f is as before. */
int ipc_fd_set(struct ipc_fd *f, int fd);

/* Does the number still mean our file? */
bool ipc_fd_is_ours(const struct ipc_fd *f);

/* Closes it then, and writes nothing. */
void ipc_fd_close_ours(const struct ipc_fd *f);

/* Are these one socket? It may have two numbers, as under inetd: then closing one of them tells the peer nothing. */
bool ipc_fd_is_same_socket(const struct ipc_fd *a, const struct ipc_fd *b);

/* O_NONBLOCK of what is no socket: turns it on; and off again, if it was off before. */
int ipc_fd_nonblock(struct ipc_fd *f);
void ipc_fd_give_flags_back(const struct ipc_fd *f);

/* Closes both of a pipe that are open, and sets them to -1. */
void ipc_fd_close_pipe(int fd[2]);

#endif
