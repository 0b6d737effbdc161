/*
 * Who owns what: the registry of descriptors that ends and connections hold, and the fork handlers that keep
 * each in exactly one process. Everything with a descriptor embeds a struct ipc_own. One leaf mutex guards the list, held for
 * create, detach, open and free only, never over libevent, malloc or a log. In a forked child the
 * handler makes system calls and plain stores only: closes what stays with the parent, marks it dead.
 */
#ifndef IPC_END_OWN_H
#define IPC_END_OWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/os/os.h"

/* One descriptor of ours, and how to know that the number still means the same file. */
struct ipc_fd {
	int fd; /* -1: none */
	enum ipc_fdkind kind;
	dev_t dev;
	ino_t ino;
	bool adopted;  /* came from outside: flags are given back */
	bool nonblock; /* we turned O_NONBLOCK on */
};

struct ipc_own {
	struct ipc_own *next, *prev;
	uint32_t epoch;    /* of the process it belongs to: ipc_epoch() */
	uint64_t detacher; /* serial of the thread that detached it, 0 if none; serials are never reused */
	bool moved;        /* it went to a child: nothing is left here */
	int spare[2];      /* a pipe from detach until fork, for the handshake; -1 */
	struct ipc_fd r, w; /* of a socket both hold the same number */
};

/* Changes in every forked process, also where no handler ran. */
uint32_t ipc_epoch(void);

/* 0, or -1/ECHILD when it belongs to another process. */
int ipc_own_check(const struct ipc_own *own);

/* Registers descriptors under one hold of the lock; installs the fork handlers at the first call. */
int ipc_own_add(struct ipc_own *own);

/* Moves a registration from one struct to another, under one hold: an end becomes a connection. */
void ipc_own_transfer(struct ipc_own *to, struct ipc_own *from);

/* Leaves the registry; descriptors stay open. */
void ipc_own_remove(struct ipc_own *own);

/*
 * Closes one direction, if the number still means our file and it is this process's; gives back the flags of an adopted one.
 * A socket is closed when its second direction goes; until then closing `w` shuts its sending side down.
 */
void ipc_own_close_read(struct ipc_own *own);
void ipc_own_close_write(struct ipc_own *own);

/* Both, and leaves the registry. */
void ipc_own_close(struct ipc_own *own);

#endif
