/*
 * The dispatcher of a service whose workers are processes: see dispatch.h. Whatever happens, an answer, a death, room in `out`, a message
 * in `in`, asks for a turn, and the turn does what can be done: it puts results, starts workers, and gives jobs. Small jobs
 * are given some at a time, so that a worker has the next one at hand. A worker that dies loses the first only: the others go to
 * the front again.
 */
#include "ipc/service/dispatch.h"

#include <errno.h>
#include <stdlib.h>

#include "ipc/flow/queue.h"
#include "ipc/loop/fresh.h"
#include "ipc/own/bell.h"
#include "ipc/os/bell.h"
#include "ipc/os/os.h"
#include "ipc/service/dispatcher.h"

/* The turn. */

static void deliver(struct ipc_dispatcher *d)
{
	int r = ipc_jobs_deliver(&d->all, d->s->o.out);

	d->stuck = r == 0;
	if (r == -1) {
		ipc_service_halt(d->s, errno);
		ipc_jobs_drop_due(&d->all);
	}
	if (d->s->o.in && d->all.gone > 0)
		ipc_queue_gone(d->s->o.in, (size_t)d->all.gone);
	d->all.gone = 0;
}

/* The service stops. Messages that nobody has begun with go back to `in`, the last first; if it was aborted, all is dropped. */
static void clear(struct ipc_dispatcher *d)
{
	struct ipc_job_list one = {.n = 0}, back = {.n = 0};
	struct ipc_job *j;

	while ((j = ipc_job_pop(&d->todo))) {
		ipc_job_append(&one, j);
		ipc_job_prepend(&back, &one);
	}
	for (j = back.first; j && !d->aborted; j = j->next) {
		ipc_fate_give_back(d, &j->m, j->m ? 1 : 0);
		j->m = NULL;
	}
	ipc_jobs_drop(&d->all, &back);
	if (d->aborted)
		ipc_jobs_drop_due(&d->all);
}

static bool is_due(const struct ipc_process *w, int64_t now)
{
	return w->state == IPC_PROCESS_NONE && w->restart_at && w->restart_at <= now;
}

/* When nothing more comes, only for jobs whose worker died. */
static bool needs_workers(const struct ipc_dispatcher *d)
{
	return !ipc_service_is_halted(d->s) && (!d->ended || d->todo.first);
}

static void start_workers(struct ipc_dispatcher *d)
{
	int64_t now = ipc_os_now();

	for (unsigned i = 0; i < d->s->o.workers && needs_workers(d); i++) {
		if (is_due(&d->workers[i], now))
			ipc_staff_start(d, &d->workers[i]);
		else if (d->workers[i].state == IPC_PROCESS_NONE)
			ipc_timer_set(d, d->workers[i].restart_at);
	}
}

/* Those go that are not needed any more: at the end all, and one that has had its number of jobs. */
static void dismiss_idle(struct ipc_dispatcher *d)
{
	bool halted = ipc_service_is_halted(d->s), last = d->ended && !d->todo.first;

	for (unsigned i = 0; i < d->s->o.workers; i++) {
		struct ipc_process *w = &d->workers[i];
		bool spent = d->s->o.jobs_each && w->given >= d->s->o.jobs_each;

		if (w->state == IPC_PROCESS_STARTS && (halted || last))
			ipc_staff_dismiss(d, w);
		if (w->state == IPC_PROCESS_READY && (halted || ((last || spent) && w->jobs.n == 0)))
			ipc_staff_dismiss(d, w);
	}
}

static void check_workers(struct ipc_dispatcher *d)
{
	ipc_starter_check(&d->starter);
	for (unsigned i = 0; i < d->s->o.workers && ipc_dispatcher_is_here(d); i++)
		ipc_process_check(&d->workers[i]);
}

static unsigned count_busy(const struct ipc_dispatcher *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->s->o.workers; i++)
		n += d->workers[i].jobs.n > 0;
	return n;
}

static uint64_t get(const atomic_uint_least64_t *from)
{
	return atomic_load_explicit(from, memory_order_relaxed);
}

void ipc_dispatcher_stats(const struct ipc_dispatcher *d, struct aioservice_stats *stats)
{
	stats->jobs = get(&d->count.jobs);
	stats->failed = get(&d->count.failed);
	stats->lost = get(&d->count.lost);
	stats->retried = get(&d->count.retried);
	stats->starts = get(&d->count.starts);
	stats->restarts = get(&d->count.restarts);
	stats->late = get(&d->count.late);
	stats->busy_ns = get(&d->count.busy_ns);
	stats->workers = atomic_load_explicit(&d->count.workers, memory_order_relaxed);
	stats->busy = atomic_load_explicit(&d->count.busy, memory_order_relaxed);
}

static void tell_row(struct ipc_dispatcher *d)
{
	struct aioservice_stats stats = {.size = sizeof stats};

	if (!d->s->row)
		return;
	ipc_dispatcher_stats(d, &stats);
	ipc_service_tell_row(d->s, &stats);
}

static void on_turn(short what, void *arg)
{
	struct ipc_dispatcher *d = arg;

	(void)what;
	if (!ipc_dispatcher_is_here(d))
		return;
	if (ipc_service_is_halted(d->s))
		clear(d);
	deliver(d);
	start_workers(d);
	ipc_give_jobs(d);
	if (!ipc_dispatcher_is_here(d))
		return;
	dismiss_idle(d);
	check_workers(d);
	if (!ipc_dispatcher_is_here(d))
		return;
	atomic_store_explicit(&d->count.busy, count_busy(d), memory_order_relaxed);
	tell_row(d);
	d->over = ipc_dispatcher_is_stopping(d) && d->running == 0 && d->all.alive == 0;
}

/* What wakes it. */

static bool is_late(const struct ipc_dispatcher *d, const struct ipc_process *w, int64_t now)
{
	return w->since + ipc_dispatcher_limit(d) <= now;
}

static bool is_timed(const struct ipc_process *w)
{
	return w->state != IPC_PROCESS_NONE && !w->error &&
	       (w->jobs.n > 0 || w->state == IPC_PROCESS_STARTS || w->state == IPC_PROCESS_LEAVES);
}

/* An answer that has come by now counts. */
static void look_at_limit(struct ipc_dispatcher *d, struct ipc_process *w, int64_t now)
{
	if (is_timed(w) && is_late(d, w, now))
		ipc_process_look(w);
	if (!ipc_dispatcher_is_here(d) || !is_timed(w))
		return;
	if (!is_late(d, w, now)) {
		ipc_timer_set(d, w->since + ipc_dispatcher_limit(d));
		return;
	}
	w->error = ETIMEDOUT;
	ipc_dispatcher_add(&d->count.late, 1);
	ipc_staff_kill(d, w);
}

static void on_timer(short what, void *arg)
{
	struct ipc_dispatcher *d = arg;
	int64_t now = ipc_os_now();

	(void)what;
	d->timer_at = 0;
	for (unsigned i = 0; i < d->s->o.workers && ipc_dispatcher_is_here(d); i++) {
		if (d->workers[i].kill_again)
			ipc_staff_kill(d, &d->workers[i]);
		if (d->s->o.limit)
			look_at_limit(d, &d->workers[i], now);
	}
	if (ipc_dispatcher_is_here(d))
		ipc_dispatcher_soon(d);
}

static void kill_all(struct ipc_dispatcher *d)
{
	d->aborted = true;
	for (unsigned i = 0; i < d->s->o.workers; i++)
		if (d->workers[i].state != IPC_PROCESS_NONE) {
			ipc_process_cut(&d->workers[i]);
			ipc_staff_kill(d, &d->workers[i]);
		}
}

static void on_bell(short what, void *arg)
{
	struct ipc_dispatcher *d = arg;

	(void)what;
	ipc_os_bell_quiet(d->s->bell.r.fd);
	if (atomic_load(&d->s->aborted) && !d->aborted)
		kill_all(d);
	ipc_dispatcher_soon(d);
}

static void on_queue(struct aioqueue *q, void *arg)
{
	(void)q;
	ipc_dispatcher_soon(arg);
}

/* Its life. */

static void unequip(struct ipc_dispatcher *d)
{
	struct aioservice *s = d->s;

	ipc_flow_watch_free(d->in_watch);
	ipc_flow_watch_free(d->out_watch);
	ipc_watch_free(d->turn);
	ipc_watch_free(d->timer);
	ipc_watch_free(d->bell_watch);
	ipc_own_close(&s->bell);
	d->in_watch = d->out_watch = NULL;
	d->turn = d->timer = d->bell_watch = NULL;
}

static void free_base(struct ipc_dispatcher *d)
{
	if (d->base)
		event_base_free(d->base);
	d->base = NULL;
}

static int equip_queues(struct ipc_dispatcher *d)
{
	const struct aioservice_options *o = &d->s->o;

	if (o->in && !(d->in_watch = ipc_flow_watch_new(o->in, d->base, on_queue, NULL, d)))
		return -1;
	if (o->out && !(d->out_watch = ipc_flow_watch_new(o->out, d->base, NULL, on_queue, d)))
		return -1;
	if (d->out_watch)
		ipc_flow_watch_be_patient(d->out_watch);
	return 0;
}

static int equip_watches(struct ipc_dispatcher *d)
{
	struct aioservice *s = d->s;

	if (ipc_own_bell(&s->bell) == -1)
		return -1;
	d->turn = ipc_watch_new(d->base, -1, on_turn, d);
	d->timer = ipc_watch_new(d->base, -1, on_timer, d);
	d->bell_watch = ipc_watch_new(d->base, s->bell.r.fd, on_bell, d);
	if (!d->turn || !d->timer || !d->bell_watch)
		return -1;
	ipc_watch_base_is_ours(d->base);
	return ipc_watch_want(d->bell_watch, EV_READ);
}

int ipc_dispatcher_equip(struct ipc_dispatcher *d)
{
	int error;

	d->base = d->starter.base = ipc_base_new();
	if (!d->base)
		return -1;
	if (equip_watches(d) == 0 && equip_queues(d) == 0) {
		ipc_dispatcher_soon(d);
		return 0;
	}
	error = errno;
	ipc_dispatcher_unequip(d);
	errno = error;
	return -1;
}

void ipc_dispatcher_unequip(struct ipc_dispatcher *d)
{
	unequip(d);
	free_base(d);
}

bool ipc_dispatcher_run(struct ipc_dispatcher *d)
{
	if (ipc_starter_equip(&d->starter) == -1)
		ipc_service_halt(d->s, errno);
	while (ipc_dispatcher_is_here(d) && !d->over)
		event_base_loop(d->base, EVLOOP_ONCE | (ipc_doze(d) ? EVLOOP_NONBLOCK : 0));
	if (!ipc_dispatcher_is_here(d))
		return false;
	pthread_mutex_lock(&d->s->lock);
	unequip(d);
	pthread_mutex_unlock(&d->s->lock);
	ipc_starter_free(&d->starter);
	free_base(d);
	return true;
}

struct ipc_dispatcher *ipc_dispatcher_new(struct aioservice *s)
{
	struct ipc_dispatcher *d = calloc(1, sizeof *d + s->o.workers * sizeof d->workers[0]);

	if (!d)
		return NULL;
	d->s = s;
	d->all.in_order = s->o.in_order;
	d->starter = (struct ipc_starter){
		.o = &s->o, .workers = d->workers, .gone = ipc_staff_gone, .lost = ipc_staff_lost, .arg = d};
	for (uint32_t i = 0; i < s->o.workers; i++)
		d->workers[i] = (struct ipc_process){
			.owner = &ipc_staff_owner, .arg = d, .all = &d->all, .index = i, .restart_at = 1};
	if (ipc_starter_new(&d->starter) == 0)
		return d;
	free(d);
	return NULL;
}

void ipc_dispatcher_free(struct ipc_dispatcher *d)
{
	ipc_starter_free(&d->starter);
	ipc_jobs_free(&d->all);
	free(d);
}

void ipc_dispatcher_forget(struct ipc_dispatcher *d)
{
	static struct ipc_dispatcher *parked;

	d->parked = parked;
	parked = d;
}
