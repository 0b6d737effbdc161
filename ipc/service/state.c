/* The states of a service, and the lock that guards them: it is halted, it ends, its last reference frees it. */
#include "ipc/service/service.h"

#include <errno.h>
#include <stdlib.h>

#include <aioipc/queue.h>

#include "ipc/os/bell.h"

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

void ipc_service_end(struct aioservice *s, struct ipc_waitlist *woken)
{
	s->life = IPC_SERVICE_ENDED;
	aioqueue_close(s->o.in);
	ipc_sharers_leave(s->o.out, IPC_PRODUCERS, true);
	ipc_waitlist_wake_all(&s->joiners, woken);
}

void ipc_service_free_memory(struct aioservice *s)
{
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
