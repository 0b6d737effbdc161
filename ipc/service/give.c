/* How a dispatcher gives jobs: few large ones, many small ones, and to each worker its share. */
#include <errno.h>
#include <stdlib.h>

#include <aioipc/queue.h>

#include "ipc/flow/queue.h"
#include "ipc/msg/msg.h"
#include "ipc/os/os.h"
#include "ipc/service/dispatcher.h"

#define AHEAD_MOST 63                    /* jobs that a worker has at hand, besides the one that it is at */
#define AHEAD_NS 1000000                 /* so long it may be busy with them */
#define LONG_NS 100000000                /* where no job takes so long, there is always one at hand */
#define AHEAD_BYTES ((size_t)512 * 1024) /* so large they may be */
#define HELD_MOST ((size_t)16 << 20)     /* bytes of results that wait for others, or for room */

static unsigned ahead(const struct ipc_dispatcher *d)
{
	int64_t n = d->took ? AHEAD_NS / d->took : 0;
	size_t by_size = d->size ? AHEAD_BYTES / d->size : AHEAD_MOST;

	if (n > AHEAD_MOST)
		n = AHEAD_MOST;
	if (n == 0 && d->took && d->longest < LONG_NS)
		n = 1;
	return (size_t)n < by_size ? (unsigned)n : (unsigned)by_size;
}

static bool has_room(const struct ipc_dispatcher *d)
{
	return !d->stuck && (d->all.held < HELD_MOST || d->all.alive == 0) &&
	       (!d->all.in_order || d->all.alive < 256 + (size_t)d->s->o.workers * (AHEAD_MOST + 1));
}

/* True: it has it, or the job has failed. False: @w takes no more now, and the job is in `todo`. */
static bool give(struct ipc_dispatcher *d, struct ipc_process *w, struct ipc_job *j)
{
	struct ipc_job_list one = {.n = 0};
	bool idle = w->jobs.n == 0;

	if (j->m && j->m->fds && !idle)
		goto later;
	if (ipc_process_give(w, j) == 0) {
		if (idle)
			ipc_timer_begin(d, w);
		return true;
	}
	if (errno != EAGAIN && errno != EPIPE && errno != ECONNRESET && !ipc_dispatcher_is_for_later(errno)) {
		ipc_fate_fail(d, j, errno, -1);
		return true;
	}
	if (idle && errno != EPIPE && errno != ECONNRESET)
		ipc_timer_set(d, ipc_os_now() + 10 * IPC_MS);
later:
	ipc_job_append(&one, j);
	ipc_job_prepend(&d->todo, &one);
	return false;
}

static struct ipc_job *take(struct ipc_dispatcher *d, struct aiomsg *m)
{
	struct ipc_job *j = ipc_jobs_take(&d->all, m);

	if (!j) {
		ipc_fate_give_back(d, &m, m ? 1 : 0);
		ipc_service_halt(d->s, ENOMEM);
	} else if (m) {
		d->size = d->size ? d->size - d->size / 8 + m->len / 8 : m->len;
	}
	return j;
}

/* Up to @n jobs, from `in`. False: there are no more now. */
static bool feed(struct ipc_dispatcher *d, struct ipc_process *w, unsigned n)
{
	struct aiomsg *m[AHEAD_MOST + 1] = {NULL};
	ssize_t got = n;
	bool takes = true;
	struct ipc_job *j;

	if (d->s->o.in)
		got = ipc_queue_lend(d->s->o.in, m, n);
	if (got == 0)
		d->ended = true;
	if (got == -1 && errno != ETIMEDOUT && errno != EINTR)
		ipc_service_halt(d->s, errno);
	for (ssize_t i = 0; i < got; i++) {
		j = take(d, m[i]);
		if (j && takes)
			takes = give(d, w, j);
		else if (j)
			ipc_job_append(&d->todo, j);
	}
	return got == n;
}

/* A worker that has few jobs left gets some again, but no more than its share of what is there. */
static unsigned room_of(const struct ipc_dispatcher *d, const struct ipc_process *w, size_t share)
{
	size_t depth = 1 + (size_t)ahead(d);

	if (w->state != IPC_PROCESS_READY || !w->conn || 2 * w->jobs.n > depth)
		return 0;
	if (d->s->o.jobs_each && w->given + depth > d->s->o.jobs_each + w->jobs.n)
		depth = (size_t)(d->s->o.jobs_each - w->given) + w->jobs.n;
	if (depth > share)
		depth = share;
	return depth > w->jobs.n ? (unsigned)(depth - w->jobs.n) : 0;
}

/* Not less than one: whether nothing is there is told by the queue. */
static size_t share_of_each(const struct ipc_dispatcher *d)
{
	size_t there = d->s->o.in ? aioqueue_count(d->s->o.in) : SIZE_MAX / 2;
	size_t share = d->ready ? (d->all.alive + there + d->ready - 1) / d->ready : 1;

	return share > 0 ? share : 1;
}

static void give_todo(struct ipc_dispatcher *d, struct ipc_process *w, unsigned n)
{
	while (n-- > 0 && d->todo.first && give(d, w, ipc_job_pop(&d->todo)))
		continue;
}

void ipc_give_jobs(struct ipc_dispatcher *d)
{
	size_t share = share_of_each(d);
	bool more = true;
	unsigned n;

	for (unsigned i = 0; i < d->s->o.workers && more && ipc_dispatcher_is_here(d); i++) {
		struct ipc_process *w = &d->workers[(d->next + i) % d->s->o.workers];

		n = room_of(d, w, share);
		if (n == 0 || ipc_service_is_halted(d->s))
			continue;
		ipc_process_cork(w, true);
		if (d->todo.first)
			give_todo(d, w, n);
		else if (has_room(d))
			more = !d->ended && feed(d, w, n);
		ipc_process_cork(w, false);
	}
	d->next++;
	if (d->in_watch)
		ipc_flow_watch_want(d->in_watch, !more && !ipc_dispatcher_is_stopping(d), false);
}
