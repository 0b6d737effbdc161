/*
 * The dispatcher of a service whose workers are processes: one thread with a loop. It takes jobs from `in`, gives them to the workers, puts
 * what they answer into `out`, and replaces workers that are gone.
 */
#ifndef IPC_SERVICE_DISPATCH_H
#define IPC_SERVICE_DISPATCH_H

#include "ipc/service/service.h"

/* With a fork server where there is one. NULL: as aioproc_start_opts(), ENOMEM. */
struct ipc_dispatcher *ipc_dispatcher_new(struct aioservice *s);

/* All that it needs on its base. -1: EMFILE, ENFILE, ENOMEM; then it can be tried again. */
int ipc_dispatcher_equip(struct ipc_dispatcher *d);

/* The opposite, when the thread could not be started. */
void ipc_dispatcher_unequip(struct ipc_dispatcher *d);

/* The body of the thread. It is over when all workers are gone. False in a child that a callback forked. */
bool ipc_dispatcher_run(struct ipc_dispatcher *d);

/* No thread runs it. */
void ipc_dispatcher_free(struct ipc_dispatcher *d);

/*
 * In a forked child. Its thread may have been at work at any place when the fork came: its memory stays as it is. What it owned
 * was closed.
 */
void ipc_dispatcher_forget(struct ipc_dispatcher *d);

void ipc_dispatcher_stats(const struct ipc_dispatcher *d, struct aioservice_stats *stats);

#endif
