/*
 * The inside of the dispatcher: see dispatch.h. Calls go down:
 *
 *   dispatch.c   its turn, its timer, its life
 *   doze.c       when it sleeps without waiting for events
 *   give.c       gives jobs to workers
 *   staff.c      workers that come and go, and what they say
 *   fate.c       what becomes of a job; the time that a worker has for one
 */
#ifndef IPC_SERVICE_DISPATCHER_H
#define IPC_SERVICE_DISPATCHER_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/flow/watch.h"
#include "ipc/loop/watch.h"
#include "ipc/own/own.h"
#include "ipc/service/job.h"
#include "ipc/service/process.h"
#include "ipc/service/service.h"
#include "ipc/service/starter.h"

#define IPC_MS INT64_C(1000000)

struct ipc_dispatcher {
	struct aioservice *s;
	struct event_base *base;
	struct ipc_watch *turn, *timer, *bell_watch;
	struct ipc_flow_watch *in_watch, *out_watch;
	struct ipc_starter starter;
	struct ipc_jobs all;
	struct ipc_job_list todo; /* jobs that nobody is at work on; they come before those of `in` */
	bool ended;               /* there is nothing more in `in`, and won't be */
	bool over;
	bool stuck; /* `out` is full */
	bool aborted;
	int64_t timer_at;        /* 0: it is not set */
	int64_t took;            /* ns: what a job takes, about; 0 not known yet */
	int64_t longest;         /* ns: what the longest job took, of late */
	size_t size, size_out;   /* bytes of a job, and of its results, about */
	unsigned running, ready; /* workers; running ones are not in the state NONE */
	unsigned next;           /* who is served first in the next turn */
	unsigned futile;
	uint64_t answers;  /* that came */
	uint64_t dozed_at; /* so many had come when it dozed last */
	bool dozes;
	struct {
		atomic_uint_least64_t jobs, failed, lost, retried, starts, restarts, late, busy_ns;
		atomic_uint workers, busy;
	} count;
	struct ipc_dispatcher *parked; /* in a forked child */
	struct ipc_process workers[];
};

static inline void ipc_dispatcher_add(atomic_uint_least64_t *to, uint64_t n)
{
	atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline bool ipc_dispatcher_is_here(const struct ipc_dispatcher *d)
{
	return d->s->epoch == ipc_epoch();
}

static inline void ipc_dispatcher_soon(struct ipc_dispatcher *d)
{
	ipc_watch_soon(d->turn);
}

/* No more messages are taken. */
static inline bool ipc_dispatcher_is_stopping(const struct ipc_dispatcher *d)
{
	return d->ended || ipc_service_is_halted(d->s);
}

static inline int64_t ipc_dispatcher_limit(const struct ipc_dispatcher *d)
{
	return d->s->o.limit * IPC_MS;
}

/* Another try may go better: the system lacks something. */
static inline bool ipc_dispatcher_is_for_later(int error)
{
	return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE ||
	       error == ECANCELED || error == ETXTBSY || error == ETOOMANYREFS || error == ESRCH;
}

/* fate.c */

/* The timer: it fires too soon rather than being set for each job. */
void ipc_timer_set(struct ipc_dispatcher *d, int64_t at);

/* The time of @w for its next job begins. */
void ipc_timer_begin(struct ipc_dispatcher *d, struct ipc_process *w);

/* The job is in no list. end: its results are due. fail: on_error is asked. lose: its worker died; it may be tried again without asking. */
void ipc_fate_end(struct ipc_dispatcher *d, struct ipc_job *j);
void ipc_fate_fail(struct ipc_dispatcher *d, struct ipc_job *j, int error, int status);
void ipc_fate_lose(struct ipc_dispatcher *d, struct ipc_job *j, int error, int status);

/* A handler took so many nanoseconds for it. */
void ipc_fate_learn(struct ipc_dispatcher *d, const struct ipc_job *j, uint32_t took);

/* Messages that nobody has begun with go back to `in`. Takes over the references. */
void ipc_fate_give_back(struct ipc_dispatcher *d, struct aiomsg **m, size_t n);

/* staff.c */

/* Bytes that fit into a worker's memory for what it says; and for what it is told. */
size_t ipc_staff_ring(const struct ipc_dispatcher *d);

extern const struct ipc_process_owner ipc_staff_owner;

void ipc_staff_start(struct ipc_dispatcher *d, struct ipc_process *w);
void ipc_staff_dismiss(struct ipc_dispatcher *d, struct ipc_process *w);
void ipc_staff_kill(struct ipc_dispatcher *d, struct ipc_process *w);

/* @status as of waitpid(2), or -1 with @error: it was not started. */
void ipc_staff_gone(struct ipc_process *w, int status, int error);

/* The fork server is gone, and the kernel kills its workers. @arg is the dispatcher. */
void ipc_staff_lost(void *arg);

/* doze.c */

/* Before each pass of the loop. True: this pass does not wait for events. */
bool ipc_doze(struct ipc_dispatcher *d);

/* give.c */

void ipc_give_jobs(struct ipc_dispatcher *d);

#endif
