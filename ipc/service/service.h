/*
 * The inside of a service. Calls go down:
 *
 *   service.c      the public calls
 *   worker.c       the body of each thread
 *   dispatch.c     that of the one thread of a service whose workers are processes
 *   doze.c         when that sleeps without waiting for events
 *   starter.c      starts and kills these; process.c talks with one; job.c has the jobs
 *   forkserver.c   the child that forks them
 *   serve.c        what a worker process does
 *   state.c        its states, and the lock that guards them
 *
 * Its life:
 *
 *            start                  the last worker stops
 *     NEW ----------> RUNS ------------------------------> ENDED
 *      |                                                     ^
 *      +---- closed or aborted before it was started --------+
 *
 * `halted` is an order, not a state: workers take no more messages, and those that sleep wake up.
 */
#ifndef IPC_SERVICE_SERVICE_H
#define IPC_SERVICE_SERVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <aioipc/service.h>

#include "ipc/flow/sharers.h"
#include "ipc/flow/waitlist.h"
#include "ipc/own/own.h"

struct ipc_dispatcher;

enum ipc_service_life {
	IPC_SERVICE_NEW,
	IPC_SERVICE_RUNS,  /* all workers were started, and at least one has not stopped */
	IPC_SERVICE_ENDED, /* no worker runs, and none will */
};

struct aioservice {
	uint32_t epoch;
	struct aioservice_options o;
	struct ipc_crew crew;              /* its workers, as producers of `out` */
	struct ipc_dispatcher *dispatcher; /* of processes; NULL */
	void (*free_dispatcher)(struct ipc_dispatcher *d);
	int worker_status; /* for on_error: aioservice_worker_status() */
	struct {
		atomic_uint_least64_t jobs, failed, retried;
		atomic_uint busy;
	} count; /* of threads */

	struct ipc_row *row; /* where the program keeps statistics; NULL */

	pthread_mutex_t lock; /* guards all below; halted and error may be read without it */
	enum ipc_service_life life;
	unsigned refs;      /* the handle, each worker, each call that waits */
	unsigned threads_n; /* one for each worker, or the dispatcher's */
	unsigned started;   /* threads; 0, or all of them */
	unsigned running;   /* threads that have not stopped */
	atomic_bool halted; /* workers take no more messages */
	atomic_bool aborted;
	struct ipc_own bell; /* rouses the dispatcher; empty when there is none */
	atomic_int error;
	struct ipc_waitlist joiners, sleepers;
	pthread_t threads[]; /* threads_n */
};

/* state.c */

/* Workers take no more messages, and those that sleep wake up. The first @error is kept. */
void ipc_service_halt(struct aioservice *s, int error);
bool ipc_service_is_halted(const struct aioservice *s);

/* A handler failed on @m, or its worker is gone: on_error is asked, and the service halted unless it says otherwise. True: try again. */
bool ipc_service_ask(struct aioservice *s, struct aiomsg *m, int error);

/* No worker runs, and none will. The caller holds the lock, and wakes @woken once it has unlocked. */
void ipc_service_end(struct aioservice *s, struct ipc_waitlist *woken);

/* What its threads did so far. */
void ipc_service_thread_stats(const struct aioservice *s, struct aioservice_stats *stats);

/* For the statistics that the program may keep, where there is a row. The caller holds the lock, or is the dispatcher. */
void ipc_service_tell_row(struct aioservice *s, const struct aioservice_stats *stats);

/* Gives a reference back. The last one frees the service. */
void ipc_service_unref_and_unlock(struct aioservice *s);

/* Only its memory and its queues. */
void ipc_service_free_memory(struct aioservice *s);

/* worker.c */

/* The body of a worker's thread. It waits for the lock first. */
void *ipc_service_work(void *s);

/* Is this thread one of its workers? */
bool ipc_service_is_own_thread(const struct aioservice *s);

/* In a forked child: this thread is no worker of it any more. */
void ipc_service_forget(const struct aioservice *s);

#endif
