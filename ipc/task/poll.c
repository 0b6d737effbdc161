/* A task that waits for descriptors as poll(2) would: each gets a watch on the task's base for as long as it waits. */
#include <errno.h>

#include "ipc/end/wait.h"
#include "ipc/os/os.h"
#include "ipc/task/sched.h"

#define FDS_MOST 6 /* nobody waits for more */

static void on_ready(short what, void *arg)
{
	(void)what;
	ipc_task_wake(arg);
}

/* A descriptor of which nothing is wanted still tells of errors, to who looks. */
static short wanted(const struct pollfd *p)
{
	short out = p->events & POLLOUT ? EV_WRITE : 0;

	return (p->events & POLLIN) || !out ? (short)(out | EV_READ) : out;
}

static struct ipc_watch *watch(struct aiotask *t, const struct pollfd *p)
{
	struct ipc_watch *w = ipc_watch_new(t->sched->base, p->fd, on_ready, t);

	if (!w || ipc_watch_want(w, wanted(p)) == 0)
		return w;
	ipc_watch_free(w);
	return NULL;
}

static int look(struct pollfd *fds, nfds_t n)
{
	int ready;

	do
		ready = ipc_os_poll(fds, n, 0);
	while (ready == -1 && errno == EINTR);
	return ready;
}

int ipc_task_poll(struct pollfd *fds, nfds_t n, int64_t deadline)
{
	struct ipc_watch *w[FDS_MOST] = {NULL};
	int ready = look(fds, n), error, r = -1;
	nfds_t i;

	if (ready != 0)
		return ready < 0 ? -1 : 0;
	if (n > FDS_MOST) {
		errno = EINVAL;
		return -1;
	}
	for (i = 0; i < n; i++)
		if (fds[i].fd >= 0 && !(w[i] = watch(ipc_task_self(), &fds[i])))
			goto out;
	r = ipc_task_park(deadline);
	if (r == 0 && look(fds, n) == -1)
		r = -1;
out:
	error = errno;
	for (i = 0; i < FDS_MOST; i++)
		ipc_watch_free(w[i]);
	errno = error;
	return r;
}
