/*
 * The inside of a service, for the files of this folder: service.c is its life as others see it, worker.c what its
 * threads do.
 */
#ifndef IPC_SERVICE_SERVICE_H
#define IPC_SERVICE_SERVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <aioipc/service.h>

#include "ipc/flow/company.h"
#include "ipc/flow/line.h"

struct aioservice {
	uint32_t epoch;
	struct aioservice_options o;
	struct ipc_crew crew; /* its workers, where they put into `out` */

	pthread_mutex_t lock; /* of all below, held while it starts; not to look at halted and error */
	unsigned refs;        /* the handle, each worker, each call that waits */
	unsigned running;     /* workers */
	bool started;         /* all of them are there */
	bool ended;           /* none runs, nor ever will */
	atomic_bool halted;   /* nothing more is taken */
	atomic_int error;
	struct ipc_line joiners, sleepers;
	pthread_t threads[]; /* o.workers */
};

/* The body of a worker's thread, which waits for the lock first. */
void *ipc_service_work(void *s);

/* Is this thread one of its workers? */
bool ipc_service_is_own_thread(const struct aioservice *s);

/* In a forked child: it is gone. */
void ipc_service_forget(const struct aioservice *s);

/* Nothing more is taken; who sleeps wakes. The first @error stays. */
void ipc_service_halt(struct aioservice *s, int error);

/* Under the lock: no worker runs, nor will. Who was called is to be woken without it. */
void ipc_service_end(struct aioservice *s, struct ipc_line *woken);

/* Gives a reference back; the last one frees it. */
void ipc_service_unref_and_unlock(struct aioservice *s);

#endif
