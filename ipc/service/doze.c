/*
 * The dispatcher dozes. While all workers are at short jobs and have more of them at hand, it sleeps for a moment, then takes what they
 * answered, and gives them new jobs. So no answer has to wake it. Else it waits for events as ever: the answer of a worker that has
 * nothing more to do is heard at once.
 */
#include "ipc/os/os.h"
#include "ipc/service/dispatcher.h"

#define SHORTEST (50 * INT64_C(1000))
#define LONGEST (500 * INT64_C(1000))
#define COPIED 8 /* bytes of a job in a nanosecond, about: it comes, and its results go */

/* How many answers a worker may give before there is little room left for them. */
static size_t unheard_most(const struct ipc_dispatcher *d)
{
	return d->size_out ? ipc_staff_ring(d) / d->size_out : SIZE_MAX;
}

/* How long a worker is at it before it begins with the last of its jobs, about. */
static int64_t busy_for(const struct ipc_dispatcher *d, const struct ipc_process *w)
{
	size_t most = unheard_most(d), n = w->jobs.n - 1 < most ? w->jobs.n - 1 : most;

	return (int64_t)n * (d->took + (int64_t)(d->size + d->size_out) / COPIED);
}

/* A moment that is over before a worker has nothing to do. 0: it does not pay. */
static int64_t moment(const struct ipc_dispatcher *d)
{
	int64_t least = 2 * LONGEST, ns;

	for (unsigned i = 0; i < d->s->o.workers; i++) {
		const struct ipc_process *w = &d->workers[i];

		if (w->state != IPC_PROCESS_READY)
			continue;
		ns = w->jobs.n > 1 ? busy_for(d, w) : 0;
		least = ns < least ? ns : least;
	}
	ns = least / 5 * 3;
	return ns < SHORTEST ? 0 : ns < LONGEST ? ns : LONGEST;
}

/* A job may take longer than those before: when a moment brought nothing, the next answer is waited for. */
static bool may_doze(const struct ipc_dispatcher *d)
{
	return d->ready > 0 && !d->stuck && d->answers != d->dozed_at && !ipc_dispatcher_is_stopping(d);
}

static void set(struct ipc_dispatcher *d, bool on)
{
	if (d->dozes == on)
		return;
	d->dozes = on;
	for (unsigned i = 0; i < d->s->o.workers; i++)
		ipc_process_doze(&d->workers[i], on);
}

bool ipc_doze(struct ipc_dispatcher *d)
{
	struct pollfd bell = {.fd = d->s->bell.r.fd, .events = POLLIN};
	int64_t ns = may_doze(d) ? moment(d) : 0;

	set(d, ns > 0);
	if (ns == 0)
		return false;
	d->dozed_at = d->answers;
	ipc_os_poll(&bell, 1, ns);
	for (unsigned i = 0; i < d->s->o.workers && ipc_dispatcher_is_here(d); i++)
		ipc_process_hear(&d->workers[i]);
	return true;
}
