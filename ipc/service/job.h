/*
 * Jobs of a service whose workers are processes: a message, how often it was tried, and its results until the queue takes them. Here are
 * the lists of jobs and their order; who is at work on which is dispatch.c's.
 */
#ifndef IPC_SERVICE_JOB_H
#define IPC_SERVICE_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aiomsg;
struct aioqueue;

struct ipc_job {
	struct ipc_job *next;  /* in the one list that it is in */
	struct ipc_job *later; /* in_order: the one that was taken next */
	struct aiomsg *m;      /* NULL: of a generator */
	unsigned tries;
	bool done;
	bool handled; /* well */
	struct aiomsg **results;
	size_t n, room, put; /* results; the first @put of them are in the queue */
	size_t bytes;        /* of the results */
};

struct ipc_job_list {
	struct ipc_job *first, *last;
	size_t n;
};

void ipc_job_append(struct ipc_job_list *l, struct ipc_job *j);
struct ipc_job *ipc_job_pop(struct ipc_job_list *l); /* NULL: it is empty */

/* All of @back come to the front of @l, in order. */
void ipc_job_prepend(struct ipc_job_list *l, struct ipc_job_list *back);

/* All jobs of a service. */
struct ipc_jobs {
	bool in_order;
	struct ipc_job *oldest, *newest; /* in_order: those that were taken and are not in `done` */
	struct ipc_job_list done;        /* their results are due, in this order */
	struct ipc_job_list spare;
	size_t alive; /* all but the spare ones */
	size_t gone;  /* messages that were freed since the owner set this to 0 */
	size_t held;  /* bytes of results */
};

/* A new job, the last in order. It takes over the reference to @m. NULL: ENOMEM. */
struct ipc_job *ipc_jobs_take(struct ipc_jobs *all, struct aiomsg *m);

/* Adds a result, and takes a reference to it. -1: ENOMEM. */
int ipc_jobs_add(struct ipc_jobs *all, struct ipc_job *j, struct aiomsg *result);
void ipc_jobs_drop_results(struct ipc_jobs *all, struct ipc_job *j);

/* The job is in no list. Its results are due as soon as those of the jobs before it are. */
void ipc_jobs_done(struct ipc_jobs *all, struct ipc_job *j);

/* Puts into @out what is due. 1: all; 0: @out is full; -1: EPIPE, ENOMEM. */
int ipc_jobs_deliver(struct ipc_jobs *all, struct aioqueue *out);

/* Drops the jobs of a list; those that are due; the memory of all, of which none is alive. */
void ipc_jobs_drop(struct ipc_jobs *all, struct ipc_job_list *l);
void ipc_jobs_drop_due(struct ipc_jobs *all);
void ipc_jobs_free(struct ipc_jobs *all);

#endif
