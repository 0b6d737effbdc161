/* The inside of an aioproc, for start.c and exec.c; and a hook for tests. */
#ifndef IPC_END_PROC_H
#define IPC_END_PROC_H

#include <aioipc/proc.h>

#include "ipc/own/own.h"
#include "ipc/loop/watch.h"

struct aioproc {
	struct ipc_own own; /* what polls readable when the child has ended; opened when first needed */
	pid_t pid;
	bool ended;
	bool lost;      /* someone else has waited for it: no status */
	bool freed;     /* by its user */
	unsigned holds; /* the handle, and those who join it */
	int status;
	int pause; /* ms until the next look at one that has ended and can't be waited for yet; 0: none */
	struct event_base *base; /* of on_exit */
	struct ipc_watch *watch;
	aioproc_exit_cb *cb;
	void *arg;
	struct aioproc *next; /* among orphans */
};

struct aioproc *ipc_proc_new(void);

/* Waits for those that were freed while they ran, and whom no thread waits for. */
void ipc_proc_sweep(void);

/* Tests: as on a kernel without pidfds. */
extern bool ipc_proc_no_pidfd;

#endif
