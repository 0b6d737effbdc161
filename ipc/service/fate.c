/* What becomes of the jobs of a dispatcher, and the time that a worker has for one. */
#include <errno.h>

#include <aioipc/msg.h>

#include "ipc/flow/queue.h"
#include "ipc/os/os.h"
#include "ipc/service/dispatcher.h"

void ipc_timer_set(struct ipc_dispatcher *d, int64_t at)
{
	int64_t left = at - ipc_os_now();

	if (d->timer_at && d->timer_at <= at)
		return;
	d->timer_at = at;
	ipc_watch_later(d->timer, left > 0 ? left : 0);
}

/* Its time for the next thing begins. */
void ipc_timer_begin(struct ipc_dispatcher *d, struct ipc_process *w)
{
	if (!d->s->o.limit)
		return;
	w->since = ipc_os_now();
	ipc_timer_set(d, w->since + ipc_dispatcher_limit(d));
}

void ipc_fate_end(struct ipc_dispatcher *d, struct ipc_job *j)
{
	ipc_jobs_done(&d->all, j);
	ipc_dispatcher_soon(d);
}

static void try_again(struct ipc_dispatcher *d, struct ipc_job *j)
{
	struct ipc_job_list one = {.n = 0};

	j->tries++;
	ipc_dispatcher_add(&d->count.retried, 1);
	ipc_job_append(&one, j);
	ipc_job_prepend(&d->todo, &one);
	ipc_dispatcher_soon(d);
}

/* It went wrong, and is in no list. */
void ipc_fate_fail(struct ipc_dispatcher *d, struct ipc_job *j, int error, int status)
{
	struct aioservice *s = d->s;
	bool again;

	ipc_jobs_drop_results(&d->all, j);
	if (d->aborted) {
		ipc_fate_end(d, j);
		return;
	}
	s->worker_status = status;
	again = ipc_service_ask(s, j->m, error);
	s->worker_status = -1;
	if (!ipc_dispatcher_is_here(d))
		return;
	if (again && !ipc_service_is_halted(s))
		try_again(d, j);
	else
		ipc_fate_end(d, j);
}

void ipc_fate_lose(struct ipc_dispatcher *d, struct ipc_job *j, int error, int status)
{
	ipc_dispatcher_add(&d->count.lost, 1);
	if (j->tries < d->s->o.retries && !ipc_service_is_halted(d->s)) {
		ipc_jobs_drop_results(&d->all, j);
		try_again(d, j);
	} else {
		ipc_fate_fail(d, j, error, status);
	}
}

/* What jobs take, about: the last ones count most. */
void ipc_fate_learn(struct ipc_dispatcher *d, const struct ipc_job *j, uint32_t took)
{
	int64_t ns = took ? took : 1;

	ipc_dispatcher_add(&d->count.busy_ns, took);
	d->took = d->took ? d->took + (ns - d->took) / 8 : ns;
	if (d->took < 1)
		d->took = 1;
	d->longest -= d->longest / 16;
	if (d->longest < ns)
		d->longest = ns;
	d->size_out = d->size_out - d->size_out / 8 + j->bytes / 8;
}

/* Messages that nobody has begun with. */
void ipc_fate_give_back(struct ipc_dispatcher *d, struct aiomsg **m, size_t n)
{
	if (n > 0)
		ipc_queue_unget(d->s->o.in, m, n);
	while (n > 0)
		aiomsg_free(m[--n]);
}
