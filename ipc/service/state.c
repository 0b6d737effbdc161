/* The states of a service, and the lock that guards them: it is halted, it ends, its last reference frees it. */
#include "ipc/service/service.h"

#include <errno.h>
#include <stdlib.h>

#include <aioipc/queue.h>

#include "ipc/os/bell.h"
#include "ipc/own/board.h"

bool ipc_service_is_halted(const struct aioservice *s)
{
	return atomic_load_explicit(&s->halted, memory_order_relaxed);
}

void ipc_service_halt(struct aioservice *s, int error)
{
	struct ipc_waitlist woken = {NULL, NULL};

	pthread_mutex_lock(&s->lock);
	if (!s->error)
		s->error = error;
	s->halted = true;
	ipc_waitlist_wake_all(&s->sleepers, &woken);
	if (s->bell.w.fd != -1)
		ipc_os_bell_ring(s->bell.w.fd);
	pthread_mutex_unlock(&s->lock);
	ipc_waitlist_wake_threads(&woken);
	aioqueue_close(s->o.in);
}

bool ipc_service_ask(struct aioservice *s, struct aiomsg *m, int error)
{
	int verdict;

	if (error == ECANCELED && ipc_service_is_halted(s))
		return false;
	verdict = s->o.on_error ? s->o.on_error(s, m, error, s->o.arg) : -1;
	if (verdict != 0 && verdict != AIOSERVICE_RETRY)
		ipc_service_halt(s, error);
	return verdict == AIOSERVICE_RETRY;
}

void ipc_service_thread_stats(const struct aioservice *s, struct aioservice_stats *stats)
{
	stats->jobs = atomic_load(&s->count.jobs);
	stats->failed = atomic_load(&s->count.failed);
	stats->retried = atomic_load(&s->count.retried);
	stats->starts = s->started;
	stats->workers = s->running;
	stats->busy = atomic_load(&s->count.busy);
}

void ipc_service_tell_row(struct aioservice *s, const struct aioservice_stats *stats)
{
	struct ipc_row *row = s->row;

	if (!ipc_board_has(row))
		return;
	ipc_row_set(row, IPC_SERVICE_ROW_LIFE, s->life);
	ipc_row_set(row, IPC_SERVICE_ROW_KIND, s->o.kind);
	ipc_row_set(row, IPC_SERVICE_ROW_WORKERS, stats->workers);
	ipc_row_set(row, IPC_SERVICE_ROW_BUSY, stats->busy);
	ipc_row_set(row, IPC_SERVICE_ROW_JOBS, stats->jobs);
	ipc_row_set(row, IPC_SERVICE_ROW_FAILED, stats->failed);
	ipc_row_set(row, IPC_SERVICE_ROW_LOST, stats->lost);
	ipc_row_set(row, IPC_SERVICE_ROW_RETRIED, stats->retried);
	ipc_row_set(row, IPC_SERVICE_ROW_RESTARTS, stats->restarts);
	ipc_row_set(row, IPC_SERVICE_ROW_LATE, stats->late);
}

static void tell_end(struct aioservice *s)
{
	if (!s->row || !ipc_board_has(s->row))
		return;
	ipc_row_set(s->row, IPC_SERVICE_ROW_LIFE, s->life);
	ipc_row_set(s->row, IPC_SERVICE_ROW_WORKERS, 0);
	ipc_row_set(s->row, IPC_SERVICE_ROW_BUSY, 0);
}

void ipc_service_end(struct aioservice *s, struct ipc_waitlist *woken)
{
	s->life = IPC_SERVICE_ENDED;
	tell_end(s);
	aioqueue_close(s->o.in);
	ipc_sharers_leave(s->o.out, IPC_PRODUCERS, true);
	ipc_waitlist_wake_all(&s->joiners, woken);
}

void ipc_service_free_memory(struct aioservice *s)
{
	ipc_board_give_back(s->row);
	if (s->dispatcher)
		s->free_dispatcher(s->dispatcher);
	aioqueue_free(s->o.in);
	aioqueue_free(s->o.out);
	free(s);
}

void ipc_service_unref_and_unlock(struct aioservice *s)
{
	bool last = --s->refs == 0;

	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&s->lock);
	ipc_service_free_memory(s);
}
