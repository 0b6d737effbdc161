/* What the owner of descriptors calls: to register them, to close them, to detach them for a child. The registry itself is in registry.h. */
#ifndef IPC_OWN_OWN_H
#define IPC_OWN_OWN_H

#include <stdbool.h>
#include <stddef.h>

#include "ipc/own/epoch.h"
#include "ipc/own/registry.h"

/*
 * An empty one, and its descriptors; -1: none. No mutex is needed. But who makes descriptors holds it from before they are open until they are
 * linked, because a fork in between would leave a copy in the child: ipc_own_hold(), open, ipc_own_set(), ipc_own_link(), ipc_own_let_go().
 * -1/EBADF leaves it empty.
 */
void ipc_own_init(struct ipc_own *own);
int ipc_own_set(struct ipc_own *own, int rfd, int wfd);

/*
 * Moves a registration from one struct to another under one hold, as when an end becomes a connection. -1: ECHILD, EBADF (it has moved to a
 * child), EBUSY (it is detached); nothing has changed then.
 */
int ipc_own_transfer(struct ipc_own *to, struct ipc_own *from);

/* Leaves the registry; the descriptors stay open. */
void ipc_own_remove(struct ipc_own *own);

/* Turns O_NONBLOCK on where it is no socket: calls on sockets say MSG_DONTWAIT. */
int ipc_own_set_nonblock(struct ipc_own *own);

/*
 * Closes one direction, if the number still means our file and the file is this process's. An adopted one gets its flags back. A socket, under one
 * number or two, is closed with its second direction; until then closing `w` shuts its sending side down.
 */
void ipc_own_close_read(struct ipc_own *own);
void ipc_own_close_write(struct ipc_own *own);

/* Both, and leaves the registry. */
void ipc_own_close(struct ipc_own *own);

/*
 * Called by these three with each number, before it is closed and without the mutex; NULL. Set by what has other watches on that number in this
 * thread: a watch that is still there when its descriptor is closed makes the next file of that number deaf.
 */
extern _Thread_local void (*ipc_own_closes)(int fd);

/* This process ends in order: by exit(), or by a child's return from its body. Not called when it is killed. */
void ipc_own_end_in_order(void);

/* See aioend_detach() and aioend_reclaim(). */
int ipc_own_detach(struct ipc_own *own);
int ipc_own_reclaim(struct ipc_own *own);

/* What this thread has detached: fills in at most @room, returns how many there are. */
size_t ipc_own_detached(struct ipc_own **own, size_t room);

#endif
