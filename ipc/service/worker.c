/*
 * A worker of a service: takes a message, has it handled, looks at what came of it, until there are no more or it was told
 * to halt. It knows neither start nor end of the service, but that the last one ends it.
 */
#include <errno.h>

#include <aioipc/msg.h>
#include <aioipc/queue.h>

#include "ipc/own/own.h"
#include "ipc/loop/wait.h"
#include "ipc/service/service.h"

static _Thread_local struct aioservice *current;

bool ipc_service_is_own_thread(const struct aioservice *s)
{
	return current == s;
}

void ipc_service_forget(const struct aioservice *s)
{
	if (current != s)
		return;
	current = NULL;
	ipc_crew_enlist(NULL);
}

static bool is_halted(const struct aioservice *s)
{
	return atomic_load_explicit(&s->halted, memory_order_relaxed);
}

void ipc_service_halt(struct aioservice *s, int error)
{
	struct ipc_line woken = {NULL, NULL};

	pthread_mutex_lock(&s->lock);
	if (!s->error)
		s->error = error;
	s->halted = true;
	ipc_line_call_all(&s->sleepers, &woken);
	pthread_mutex_unlock(&s->lock);
	ipc_line_wake(&woken);
	aioqueue_close(s->o.in);
}

static void look_at_error(struct aioservice *s, struct aiomsg *m, int error)
{
	if (error == ECANCELED && is_halted(s))
		return;
	if (!s->o.on_error || s->o.on_error(s, m, error, s->o.arg) != 0)
		ipc_service_halt(s, error);
}

/* Is it still the process whose thread this is? A handler may have forked, and its child have come back. */
static bool handle(struct aioservice *s, struct aiomsg *m)
{
	uint32_t epoch = ipc_epoch();
	int result, error;

	errno = 0;
	result = s->o.handle(m, s->o.out, s->o.arg);
	error = errno ? errno : EIO;
	if (ipc_epoch() != epoch)
		return false;
	if (result < 0)
		look_at_error(s, m, error);
	else if (result > 0)
		ipc_service_halt(s, 0);
	return true;
}

/* Takes one message, or none for a generator. False: there will be no more. */
static bool take(struct aioservice *s, struct aiomsg **m)
{
	int got;

	*m = NULL;
	if (!s->o.in)
		return true;
	while ((got = aioqueue_get(s->o.in, m, AIOIPC_FOREVER)) == -1 && errno == EINTR)
		continue;
	if (got == -1)
		ipc_service_halt(s, errno);
	return got == 1;
}

static void leave(struct aioservice *s)
{
	struct ipc_line woken = {NULL, NULL};

	ipc_crew_enlist(NULL);
	pthread_mutex_lock(&s->lock);
	if (--s->running == 0)
		ipc_service_end(s, &woken);
	ipc_service_unref_and_unlock(s);
	ipc_line_wake(&woken);
}

/* False in a child that a handler has forked. */
static bool work(struct aioservice *s)
{
	struct aiomsg *m;
	bool here = true;

	while (here && !is_halted(s) && take(s, &m)) {
		here = handle(s, m);
		aiomsg_free(m);
	}
	return here;
}

void *ipc_service_work(void *arg)
{
	struct aioservice *s = arg;
	bool started;

	current = s;
	ipc_crew_enlist(&s->crew);
	pthread_mutex_lock(&s->lock);
	started = s->started;
	pthread_mutex_unlock(&s->lock);
	if (started && work(s))
		leave(s);
	return NULL;
}

static int wait_for_halt(struct aioservice *s, int64_t deadline)
{
	struct ipc_place place = {.died = NULL};

	while (!is_halted(s))
		if (ipc_line_wait(&s->sleepers, &place, &s->lock, deadline) == -1 && errno != EINTR)
			return errno == ETIMEDOUT ? 0 : -1;
	errno = ECANCELED;
	return -1;
}

int aioservice_sleep(int64_t deadline)
{
	struct aioservice *s = current;
	int r;

	if (ipc_deadline_check(deadline) == -1)
		return -1;
	if (!s || s->epoch != ipc_epoch()) {
		errno = s ? ECHILD : EPERM;
		return -1;
	}
	pthread_mutex_lock(&s->lock);
	r = wait_for_halt(s, deadline);
	pthread_mutex_unlock(&s->lock);
	return r;
}
