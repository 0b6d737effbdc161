/*
 * What fork does to all that is owned. The handlers of plain fork() move what the forking thread detached and
 * close the rest in the child; ipc_own_fork() says itself what moves.
 */
#ifndef IPC_OWN_FORK_H
#define IPC_OWN_FORK_H

#include <stddef.h>
#include <sys/types.h>

#include "ipc/own/own.h"

/*
 * fork(), and these @n move whether detached or not; of an @n that is 0 with @own NULL: what this thread detached.
 * Then asks, in the parent, made(): -1 undoes it, as if fork had failed. -1: as fork or made(), ECHILD, EBADF (one moved already), EBUSY
 * (another thread detached one); then nothing has changed.
 */
pid_t ipc_own_fork(struct ipc_own *const *own, size_t n, int (*made)(pid_t pid, void *arg), void *arg);

/* These live in a child from now on: closed here. */
void ipc_own_gone(struct ipc_own *const *own, size_t n);

/* For own.c, under its mutex, and before anything else runs: registers the handlers, once. */
int ipc_fork_handlers(void);

/* For fork.c alone: the registry, and its mutex as plain stores leave it. */
extern struct ipc_own ipc_own_list;
void ipc_own_lock(void);
void ipc_own_unlock(void);
void ipc_own_lock_anew(void);
bool ipc_own_locked_by_fork(void); /* in this thread */
void ipc_own_forget_all(void);     /* plain stores: nobody is in the registry any more */
void ipc_own_close_pipe(int fd[2]);
bool ipc_fd_is_ours(const struct ipc_fd *f);

#endif
