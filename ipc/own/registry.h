/*
 * The registry: which descriptors the library owns in this process, and what fork does to them. Everything with a descriptor embeds a
 * struct ipc_own. fork() leaves each in exactly one process: the child gets those that move, and closes the others. The mutex of epoch.h
 * guards the registry; what one owner calls is in own.h.
 */
#ifndef IPC_OWN_REGISTRY_H
#define IPC_OWN_REGISTRY_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/own/epoch.h"
#include "ipc/own/fd.h"

struct ipc_own {
	struct ipc_own *next, *prev; /* both itself when it is not in the registry; a parent's: stale */
	uint32_t epoch;              /* of the process it belongs to: ipc_epoch() */
	bool adopted;                /* the user gave us the descriptors */
	bool moved;                  /* it went to a child: nothing is left here */
	uint64_t detacher;           /* ipc_thread_serial() of the thread that detached it; 0 */
	uint64_t mover;              /* the same of the thread whose ipc_own_fork() moves it; 0 */
	int spare[2];       /* while detached, a pipe through which a child will say that it was made; -1 */
	struct ipc_fd r, w; /* of a socket both have the same number */

	/* Called with the mutex held when the process ends in order and has not closed it; NULL. */
	void (*in_order)(struct ipc_own *own);
};

/* 0, or -1/ECHILD when it belongs to another process. */
static inline int ipc_own_check(const struct ipc_own *own)
{
	if (own->epoch == ipc_epoch())
		return 0;
	errno = ECHILD;
	return -1;
}

/* All with the mutex held. */

extern struct ipc_own ipc_own_list; /* a ring through next; this one is no owner */

void ipc_own_link(struct ipc_own *own);
void ipc_own_unlink(struct ipc_own *own);

/* Does the registry have the file that @fd is? */
bool ipc_own_taken(int fd);

/*
 * Closes one of the two, @own->r or @own->w, if it is still our file and this process's. A fork can't copy a descriptor that is no longer in
 * the registry and not closed yet, because it waits for the mutex.
 */
void ipc_own_close_fd_held(struct ipc_own *own, struct ipc_fd *f);

/* For in_child() of a higher floor: has ipc_own_fork() made this child? */
bool ipc_own_forked(void);

/* Closes both and unlinks. */
void ipc_own_close_held(struct ipc_own *own);

void ipc_own_undetach_held(struct ipc_own *own);

/* All without it. */

/*
 * fork(), which moves these @n to the child, detached or not. With @own NULL it moves what this thread has detached. Then made() is called in the
 * parent; when it returns -1 nothing has moved, as if fork had failed. The child must not call event_reinit() on a base that it inherits.
 * -1: as fork or made(), ECHILD, EBADF (one has moved already), EBUSY (another thread has detached one); nothing has changed then.
 */
pid_t ipc_own_fork(struct ipc_own *const *own, size_t n, int (*made)(pid_t pid, void *arg), void *arg);

/* A child has these now, by other means than fork: closes them here. */
void ipc_own_gone(struct ipc_own *const *own, size_t n);

#endif
