/* Workers of a dispatcher that come and go, and what they say. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include <aioipc/end.h>

#include "ipc/os/log.h"
#include "ipc/os/os.h"
#include "ipc/service/dispatcher.h"

#define FUTILE_MOST 16 /* workers that died one after the other before init had returned */
#define PAUSE_MOST (1000 * IPC_MS)
#define RING_LARGEST ((size_t)512 * 1024)
#define RING_SMALLEST ((size_t)32 * 1024)
#define RINGS_MOST ((size_t)16 << 20)
#define SHORTAGE (10 * IPC_MS) /* until it is tried again when there was no memory */

static void count_running(struct ipc_dispatcher *d, int change)
{
	d->running += (unsigned)change;
	atomic_store_explicit(&d->count.workers, d->running, memory_order_relaxed);
}

void ipc_staff_dismiss(struct ipc_dispatcher *d, struct ipc_process *w)
{
	bool was_ready = w->state == IPC_PROCESS_READY;

	if (ipc_process_dismiss(w) == -1) {
		ipc_timer_set(d, ipc_os_now() + SHORTAGE);
		return;
	}
	d->ready -= was_ready;
	ipc_timer_begin(d, w);
}

void ipc_staff_kill(struct ipc_dispatcher *d, struct ipc_process *w)
{
	w->kill_again = ipc_starter_kill(&d->starter, w) == -1 && errno == ENOMEM;
	if (w->kill_again)
		ipc_timer_set(d, ipc_os_now() + SHORTAGE);
	ipc_dispatcher_soon(d);
}

/* Who dies without having done anything is replaced later and later. */
static void plan_restart(struct ipc_dispatcher *d, struct ipc_process *w)
{
	int64_t pause = w->pause ? 2 * w->pause : IPC_MS;

	w->pause = w->has_worked ? 0 : pause < PAUSE_MOST ? pause : PAUSE_MOST;
	w->restart_at = ipc_os_now() + w->pause;
	w->is_next = true;
	if (w->pause)
		ipc_timer_set(d, w->restart_at);
	ipc_dispatcher_soon(d);
}

static void look_at_futile(struct ipc_dispatcher *d, int error)
{
	if (error && !ipc_dispatcher_is_for_later(error)) {
		ipc_log("service: no worker can be started: %s", strerror(error));
		ipc_service_halt(d->s, error);
	} else if (!error && ++d->futile == FUTILE_MOST) {
		ipc_log("service: %d workers died before they were ready", FUTILE_MOST);
		ipc_service_halt(d->s, EOWNERDEAD);
	}
}

/* What becomes of its jobs. One whose handler said that the service is done has not begun with another. */
static void bury(struct ipc_dispatcher *d, struct ipc_process *w, int status)
{
	struct ipc_job *j = w->is_done ? NULL : ipc_job_pop(&w->jobs);

	ipc_job_prepend(&d->todo, &w->jobs);
	if (j)
		ipc_fate_lose(d, j, w->error ? w->error : EOWNERDEAD, status);
}

/* @status as of waitpid(2), or -1 with @error: it was not started. */
void ipc_staff_gone(struct ipc_process *w, int status, int error)
{
	struct ipc_dispatcher *d = w->arg;
	bool was_ready, started = w->state == IPC_PROCESS_STARTS;

	if (w->state == IPC_PROCESS_NONE)
		return;
	ipc_process_look(w);
	if (!ipc_dispatcher_is_here(d))
		return;
	ipc_process_cut(w);
	was_ready = w->state == IPC_PROCESS_READY;
	started = started && w->state == IPC_PROCESS_STARTS;
	w->state = IPC_PROCESS_NONE;
	d->ready -= was_ready;
	count_running(d, -1);
	bury(d, w, status);
	if (!ipc_dispatcher_is_here(d))
		return;
	if (started && !ipc_dispatcher_is_stopping(d))
		look_at_futile(d, error);
	plan_restart(d, w);
}

/* So large are the rings of each worker, each way. All together they are bounded: the memory is there from the start. */
size_t ipc_staff_ring(const struct ipc_dispatcher *d)
{
	size_t size = RING_LARGEST;

	while (size > RING_SMALLEST && 2 * size * d->s->o.workers > RINGS_MOST)
		size /= 2;
	return size;
}

/* The end for a worker. What it has said in shared memory outlives it. Where there is no such memory, sockets will do. */
static struct aioend *open_worker(struct ipc_dispatcher *d, struct ipc_process *w)
{
	struct aioend *ours, *theirs;

	for (int rings = 1; rings >= 0; rings--) {
		int r = rings ? aioring(&ours, &theirs, ipc_staff_ring(d)) : aiosockpair(&ours, &theirs);

		if (r == 0 && ipc_process_open(w, ours, d->base, !d->s->o.in) == 0)
			return theirs;
		if (r == 0)
			aioend_free(theirs);
	}
	return NULL;
}

void ipc_staff_start(struct ipc_dispatcher *d, struct ipc_process *w)
{
	struct aioend *theirs = open_worker(d, w);

	w->met = w->answering = w->has_worked = w->is_done = false;
	w->kill_again = w->is_deaf = false;
	w->given = 0;
	w->error = 0;
	if (!theirs)
		goto later;
	if (ipc_starter_start(&d->starter, w, theirs) == -1) {
		int error = errno;

		ipc_process_cut(w);
		look_at_futile(d, error);
		goto later;
	}
	w->state = IPC_PROCESS_STARTS;
	count_running(d, 1);
	ipc_dispatcher_add(&d->count.starts, 1);
	ipc_dispatcher_add(&d->count.restarts, w->is_next);
	ipc_timer_begin(d, w);
	return;
later:
	plan_restart(d, w);
	w->is_next = false;
}

/* What workers say. */

static void on_ready(struct ipc_process *w, int error)
{
	struct ipc_dispatcher *d = w->arg;

	if (error) {
		w->is_done = true;
		ipc_log("service: init failed in a worker: %s", strerror(error));
		ipc_service_halt(d->s, error);
		return;
	}
	d->futile = 0;
	if (w->state != IPC_PROCESS_STARTS)
		return;
	w->state = IPC_PROCESS_READY;
	d->ready++;
	ipc_dispatcher_soon(d);
}

static void on_answer(struct ipc_process *w, struct ipc_job *j, const struct ipc_answer *a)
{
	struct ipc_dispatcher *d = w->arg;

	d->answers++;
	ipc_fate_learn(d, j, a->took);
	if (w->jobs.n > 0 || w->state == IPC_PROCESS_LEAVES)
		ipc_timer_begin(d, w);
	if (a->result < 0) {
		ipc_dispatcher_add(&d->count.failed, 1);
		ipc_fate_fail(d, j, a->error, -1);
		return;
	}
	ipc_dispatcher_add(&d->count.jobs, 1);
	if (a->result > 0) {
		w->is_done = true;
		ipc_service_halt(d->s, 0);
	}
	j->handled = true;
	ipc_fate_end(d, j);
}

/* Its process ends by itself when both have said goodbye; else it has nothing more to say. */
static void on_ended(struct ipc_process *w, bool in_order)
{
	if (!in_order || w->state != IPC_PROCESS_LEAVES)
		ipc_staff_kill(w->arg, w);
}

const struct ipc_process_owner ipc_staff_owner = {
	.ready = on_ready, .answered = on_answer, .ended = on_ended};

/* The fork server is gone, and the kernel kills its workers. */
void ipc_staff_lost(void *arg)
{
	struct ipc_dispatcher *d = arg;

	ipc_log("service: its fork server is gone");
	ipc_service_halt(d->s, EOWNERDEAD);
	for (unsigned i = 0; i < d->s->o.workers && ipc_dispatcher_is_here(d); i++)
		ipc_staff_gone(&d->workers[i], SIGKILL, 0);
}
