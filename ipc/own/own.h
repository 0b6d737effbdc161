/*
 * Who owns what: the registry of descriptors that ends and connections hold. Everything with a descriptor embeds a
 * struct ipc_own; fork.c keeps each in exactly one process. One leaf mutex guards the list, held to create, detach,
 * open, free and fork, never over libevent, malloc or a log.
 */
#ifndef IPC_OWN_OWN_H
#define IPC_OWN_OWN_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/os/os.h"

/* One descriptor of ours, and how to know that the number still means the same file. */
struct ipc_fd {
	int fd; /* -1: none */
	enum ipc_fdkind kind;
	dev_t dev;
	ino_t ino;
	bool nonblock;             /* we turned O_NONBLOCK on; turned off again at close if adopted */
	struct ipc_fd *next, **at; /* in the registry's table of numbers; NULL when it is not there */
};

struct ipc_own {
	struct ipc_own *next, *prev; /* both itself when it is not in the registry */
	uint32_t epoch;              /* of the process it belongs to: ipc_epoch() */
	uint64_t detacher; /* serial of the thread that detached it, 0 if none; serials are never reused */
	bool adopted;      /* came from outside */
	uint64_t mover;    /* serial of the thread whose ipc_own_fork() takes it along, 0 if none */
	bool moved;        /* it went to a child: nothing is left here */
	void (*in_order)(
		struct ipc_own
			*own); /* called when the process ends in order with it open, under the mutex; NULL */
	int spare[2];          /* a pipe from detach until fork, for the handshake; -1 */
	struct ipc_fd r, w;    /* of a socket both hold the same number */
};

/* Changes in every forked process, also where no handler ran; never 0. */
extern _Atomic(uint32_t) *_Atomic ipc_epoch_word;
uint32_t ipc_epoch_new(void);

static inline uint32_t ipc_epoch(void)
{
	uint32_t epoch = atomic_load_explicit(atomic_load_explicit(&ipc_epoch_word, memory_order_acquire),
					      memory_order_acquire);

	return epoch > 1 ? epoch : ipc_epoch_new();
}

/* 0, or -1/ECHILD when it belongs to another process. */
static inline int ipc_own_check(const struct ipc_own *own)
{
	if (own->epoch == ipc_epoch())
		return 0;
	errno = ECHILD;
	return -1;
}

/* This thread's serial. */
uint64_t ipc_thread_serial(void);

/*
 * The mutex, for those who make descriptors and register them before any fork can see them between: hold,
 * open, set, link, let_go. -1/EBUSY inside another atfork handler, -1/ENOMEM.
 */
int ipc_own_hold(void);
void ipc_own_let_go(void);

/* Fills in an empty one; no lock needed. -1/EBADF leaves it empty. */
void ipc_own_init(struct ipc_own *own);
int ipc_own_set(struct ipc_own *own, int rfd, int wfd);

/* Under the mutex: into the registry and out of it; who has the number; closing both directions and leaving. */
void ipc_own_link(struct ipc_own *own);
void ipc_own_unlink(struct ipc_own *own);
bool ipc_own_taken(int fd);
void ipc_own_close_held(struct ipc_own *own);

/*
 * Moves a registration from one struct to another, under one hold: an end becomes a connection. -1: ECHILD,
 * EBADF (it moved to a child), EBUSY (it is detached); nothing has changed then.
 */
int ipc_own_transfer(struct ipc_own *to, struct ipc_own *from);

/* Leaves the registry; descriptors stay open. */
void ipc_own_remove(struct ipc_own *own);

/* Turns O_NONBLOCK on for what is no socket. */
int ipc_own_set_nonblock(struct ipc_own *own);

/*
 * Closes one direction, if the number still means our file and it is this process's; gives back the flags of an adopted one.
 * A socket, under one number or two, is closed when its second direction goes; until then closing `w` shuts its sending side down.
 */
void ipc_own_close_read(struct ipc_own *own);
void ipc_own_close_write(struct ipc_own *own);

/* Both, and leaves the registry. */
void ipc_own_close(struct ipc_own *own);

/*
 * Called by these three, without the mutex, with each number that is closed next; NULL. For tasks of this thread that wait for it
 * (ipc/task/poll.c): a watch that outlives its descriptor makes the next one of that number deaf.
 */
extern _Thread_local void (*ipc_own_closes)(int fd);

/* This process ends, and not because it was killed: by exit(), or for a child that does not call it. */
void ipc_own_end_in_order(void);

/* See aioend_detach() and aioend_reclaim(). */
int ipc_own_detach(struct ipc_own *own);
int ipc_own_reclaim(struct ipc_own *own);

/* What this thread detached: fills in at most @room, returns how many there are. */
size_t ipc_own_detached(struct ipc_own **own, size_t room);

#endif
