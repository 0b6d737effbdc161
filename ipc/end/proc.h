/* The inside of an aioproc, for start.c and exec.c; and a hook for tests. */
#ifndef IPC_END_PROC_H
#define IPC_END_PROC_H

#include <aioipc/proc.h>

#include "ipc/own/own.h"
#include "ipc/loop/watch.h"

struct aioproc {
	/* A descriptor that is readable when the child has ended; opened when first needed. */
	struct ipc_own own;
	pid_t pid;
	bool ended;
	bool lost;      /* other code has waited for it: there is no status */
	bool freed;     /* by its user */
	unsigned holds; /* references: the handle, and the calls that join it */
	int status;
	int pause; /* ms until the next look when it has ended and waitpid() does not return it yet; 0: none */
	struct event_base *base; /* of on_exit */
	struct ipc_watch *watch;
	aioproc_exit_cb *cb;
	void *arg;
	struct aioproc *next; /* among orphans */
	struct ipc_row *row;  /* where the program keeps statistics; NULL */
};

struct aioproc *ipc_proc_new(void);

/* It runs now; @what it is, for the statistics that the program may keep. */
void ipc_proc_began(struct aioproc *p, pid_t pid, const char *what);

/* Waits for children that were freed while they ran and for which no thread waits. Does not block. */
void ipc_proc_sweep(void);

/* For tests: behave as on a kernel without pidfds. */
extern bool ipc_proc_no_pidfd;

#endif
