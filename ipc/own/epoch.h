/*
 * What a fork must find whole: the epoch, which tells processes apart; the one mutex of the library that fork itself takes; and what each
 * floor does around a fork. The floors above register here; this file calls nothing above it.
 */
#ifndef IPC_OWN_EPOCH_H
#define IPC_OWN_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Changes in every forked process, also where no fork handler ran; never 0. */
extern _Atomic(uint32_t) *_Atomic ipc_epoch_word;
uint32_t ipc_epoch_new(void);

static inline uint32_t ipc_epoch(void)
{
	uint32_t epoch = atomic_load_explicit(atomic_load_explicit(&ipc_epoch_word, memory_order_acquire),
					      memory_order_acquire);

	return epoch > 1 ? epoch : ipc_epoch_new();
}

/* Tells threads apart. Is not used again when a thread has ended. */
uint64_t ipc_thread_serial(void);

/*
 * The mutex. A fork waits for it, so its child never sees half of what was done under it. It is a leaf: do not call libevent, malloc or the
 * log while you hold it. -1: EBUSY (inside an atfork handler of somebody else's), ENOMEM.
 */
int ipc_own_hold(void);
void ipc_own_let_go(void);

/* For calls that can't fail. False: an atfork handler calls, and its thread has the mutex already; do not let it go then. */
bool ipc_own_hold_anyway(void);

/* What a floor does around a fork. Static; all members but next stay as they are. */
struct ipc_at_fork {
	int floor; /* its rank in the house: a higher floor is called first */

	/*
	 * Before fork, with the mutex held; may be NULL. True: in_parent() is to be called. @pipe is where the child says that it was
	 * made; a floor that has a pipe to give stores it there when there is none (-1).
	 */
	bool (*before)(int pipe[2]);

	/* After it in the parent, with the mutex held. @made: there is a child. NULL when before() never returns true. */
	void (*in_parent)(bool made);

	/*
	 * In the child, in which other threads' locks may be taken for ever: system calls and plain stores only. @by_handler: by the fork
	 * handler, and ipc_epoch() is the child's already. Else no handler ran and the child notices the fork only now: its descriptors may
	 * mean anything by now, and ipc_epoch() must not be called here.
	 */
	void (*in_child)(bool by_handler);

	struct ipc_at_fork *_Atomic next;
};

/* With the mutex held, before there is anything to be done. Once is enough; calling it again is cheap. */
void ipc_at_fork(struct ipc_at_fork *f);

#endif
