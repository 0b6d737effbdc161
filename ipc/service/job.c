/* Jobs of a service whose workers are processes: see job.h. */
#include "ipc/service/job.h"

#include <errno.h>
#include <stdlib.h>

#include <aioipc/msg.h>

#include "ipc/flow/queue.h"
#include "ipc/msg/msg.h"

#define SPARE_MOST 256  /* jobs */
#define BATCH 64        /* results */
#define SPARE_RESULTS 4 /* places that a spare job keeps */

void ipc_job_append(struct ipc_job_list *l, struct ipc_job *j)
{
	j->next = NULL;
	if (l->last)
		l->last->next = j;
	else
		l->first = j;
	l->last = j;
	l->n++;
}

struct ipc_job *ipc_job_pop(struct ipc_job_list *l)
{
	struct ipc_job *j = l->first;

	if (!j)
		return NULL;
	l->first = j->next;
	if (!l->first)
		l->last = NULL;
	l->n--;
	return j;
}

void ipc_job_prepend(struct ipc_job_list *l, struct ipc_job_list *back)
{
	if (!back->first)
		return;
	back->last->next = l->first;
	l->first = back->first;
	if (!l->last)
		l->last = back->last;
	l->n += back->n;
	*back = (struct ipc_job_list){.n = 0};
}

static struct ipc_job *new_job(struct ipc_jobs *all)
{
	struct ipc_job *j = ipc_job_pop(&all->spare);
	struct aiomsg **results;
	size_t room;

	if (!j)
		return calloc(1, sizeof *j);
	results = j->results;
	room = j->room;
	*j = (struct ipc_job){.results = results, .room = room};
	return j;
}

struct ipc_job *ipc_jobs_take(struct ipc_jobs *all, struct aiomsg *m)
{
	struct ipc_job *j = new_job(all);

	if (!j)
		return NULL;
	j->m = m;
	all->alive++;
	if (!all->in_order)
		return j;
	if (all->newest)
		all->newest->later = j;
	else
		all->oldest = j;
	all->newest = j;
	return j;
}

int ipc_jobs_add(struct ipc_jobs *all, struct ipc_job *j, struct aiomsg *result)
{
	size_t room = j->room ? 2 * j->room : SPARE_RESULTS;
	struct aiomsg **larger;

	if (j->n == j->room) {
		larger = reallocarray(j->results, room, sizeof *larger);
		if (!larger)
			return -1;
		j->results = larger;
		j->room = room;
	}
	j->results[j->n++] = aiomsg_ref(result);
	j->bytes += result->len;
	all->held += result->len;
	return 0;
}

void ipc_jobs_drop_results(struct ipc_jobs *all, struct ipc_job *j)
{
	while (j->put < j->n)
		aiomsg_free(j->results[j->put++]);
	all->held -= j->bytes;
	j->n = j->put = j->bytes = 0;
}

static void free_job(struct ipc_job *j)
{
	free(j->results);
	free(j);
}

static void retire(struct ipc_jobs *all, struct ipc_job *j)
{
	ipc_jobs_drop_results(all, j);
	all->gone += j->m != NULL;
	ipc_msg_settle(j->m, j->handled);
	aiomsg_free(j->m);
	j->m = NULL;
	all->alive--;
	if (all->spare.n < SPARE_MOST && j->room <= SPARE_RESULTS)
		ipc_job_append(&all->spare, j);
	else
		free_job(j);
}

static struct ipc_job *oldest_if_done(const struct ipc_jobs *all)
{
	return all->oldest && all->oldest->done ? all->oldest : NULL;
}

void ipc_jobs_done(struct ipc_jobs *all, struct ipc_job *j)
{
	j->done = true;
	if (!all->in_order) {
		ipc_job_append(&all->done, j);
		return;
	}
	while ((j = oldest_if_done(all))) {
		all->oldest = j->later;
		if (!all->oldest)
			all->newest = NULL;
		ipc_job_append(&all->done, j);
	}
}

/* Results of the jobs that are due, in order: how many. */
static size_t gather(const struct ipc_jobs *all, struct aiomsg **m)
{
	size_t n = 0;

	for (const struct ipc_job *j = all->done.first; j && n < BATCH; j = j->next)
		for (size_t i = j->put; i < j->n && n < BATCH; i++)
			m[n++] = j->results[i];
	return n;
}

/* The queue has taken @n of them. Jobs of which it has all are over. */
static void taken(struct ipc_jobs *all, size_t n)
{
	struct ipc_job *j;
	size_t part;

	while ((j = all->done.first)) {
		part = j->n - j->put < n ? j->n - j->put : n;
		j->put += part;
		n -= part;
		if (j->put < j->n)
			return;
		retire(all, ipc_job_pop(&all->done));
	}
}

/* Many at a time: who waits for results is woken once. Without a queue there is nobody. */
int ipc_jobs_deliver(struct ipc_jobs *all, struct aioqueue *out)
{
	struct aiomsg *m[BATCH];
	size_t n;
	ssize_t took;

	while (all->done.first) {
		n = gather(all, m);
		took = n > 0 && out ? ipc_queue_hand_over(out, m, n) : (ssize_t)n;
		if (took == -1)
			return errno == ETIMEDOUT ? 0 : -1;
		taken(all, (size_t)took);
	}
	return 1;
}

void ipc_jobs_drop(struct ipc_jobs *all, struct ipc_job_list *l)
{
	struct ipc_job *j;

	while ((j = ipc_job_pop(l))) {
		ipc_jobs_drop_results(all, j);
		ipc_jobs_done(all, j);
	}
}

void ipc_jobs_drop_due(struct ipc_jobs *all)
{
	struct ipc_job *j;

	while ((j = ipc_job_pop(&all->done))) {
		j->handled = false; /* its results are lost */
		retire(all, j);
	}
}

void ipc_jobs_free(struct ipc_jobs *all)
{
	struct ipc_job *j;

	while ((j = ipc_job_pop(&all->spare)))
		free_job(j);
}
