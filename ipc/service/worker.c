/*
 * A worker of a service: it takes a message, calls the handler, and acts on the result. It stops at the end of the queue, or when
 * the service was halted. The last worker that stops ends the service.
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

static void look_at_error(struct aioservice *s, struct aiomsg *m, int error)
{
	if (error == ECANCELED && ipc_service_is_halted(s))
		return;
	if (!s->o.on_error || s->o.on_error(s, m, error, s->o.arg) != 0)
		ipc_service_halt(s, error);
}

/* False in a forked child: a handler may call fork() and return in both processes. */
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

/* Takes one message; none where the service has no queue to take from. False: there will be no more. */
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
	struct ipc_waitlist woken = {NULL, NULL};

	ipc_crew_enlist(NULL);
	pthread_mutex_lock(&s->lock);
	if (--s->running == 0)
		ipc_service_end(s, &woken);
	ipc_service_unref_and_unlock(s);
	ipc_waitlist_wake_threads(&woken);
}

/* False in a child that a handler forked. */
static bool work(struct aioservice *s)
{
	struct aiomsg *m;
	bool here = true;

	while (here && !ipc_service_is_halted(s) && take(s, &m)) {
		here = handle(s, m);
		aiomsg_free(m);
	}
	return here;
}

void *ipc_service_work(void *arg)
{
	struct aioservice *s = arg;
	bool runs;

	current = s;
	ipc_crew_enlist(&s->crew);
	pthread_mutex_lock(&s->lock);
	runs = s->life == IPC_SERVICE_RUNS;
	pthread_mutex_unlock(&s->lock);
	if (runs && work(s))
		leave(s);
	return NULL;
}

static int wait_for_halt(struct aioservice *s, int64_t deadline)
{
	struct ipc_wait_entry entry = {.died = NULL};

	while (!ipc_service_is_halted(s))
		if (ipc_waitlist_wait(&s->sleepers, &entry, &s->lock, deadline) == -1 && errno != EINTR)
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
