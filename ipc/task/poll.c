/*
 * A task that waits for descriptors, as poll(2) does. Each descriptor gets a watch on the task's base while the task waits. When another task of
 * the thread closes one of them, its watch is freed first, and the task that waits is woken.
 */
#include <errno.h>

#include "ipc/loop/wait.h"
#include "ipc/os/os.h"
#include "ipc/task/sched.h"

#define FDS_MOST 6 /* nobody waits for more */
#define BUCKETS 16

/* One descriptor that is waited for. */
struct watched {
	struct watched *next, *prev;
	struct ipc_watch *watch; /* NULL: none, or not any more */
	struct aiotask *task;
	int fd;
	bool closed;
};

/* A call that waits; it lies on the stack of its task. */
struct wait {
	struct ipc_task_end end; /* first */
	struct watched at[FDS_MOST];
};

/* All that are watched in this thread, by number; and the epoch of the process in which they are. */
static _Thread_local struct watched *buckets[BUCKETS];
static _Thread_local uint32_t epoch;

static struct watched **bucket(int fd)
{
	return &buckets[(unsigned)fd % BUCKETS];
}

static void enlist(struct watched *at)
{
	struct watched **list = bucket(at->fd);

	at->prev = NULL;
	at->next = *list;
	if (at->next)
		at->next->prev = at;
	*list = at;
}

static void unlist(struct watched *at)
{
	if (at->prev)
		at->prev->next = at->next;
	else
		*bucket(at->fd) = at->next;
	if (at->next)
		at->next->prev = at->prev;
	at->watch = NULL;
}

/* In a forked child, the parent's tasks do not wait. */
static void begin_epoch(void)
{
	if (epoch == ipc_epoch())
		return;
	for (int i = 0; i < BUCKETS; i++)
		buckets[i] = NULL;
	epoch = ipc_epoch();
}

static struct watched *find(int fd)
{
	struct watched *at = *bucket(fd);

	while (at && at->fd != fd)
		at = at->next;
	return at;
}

/* A task whose base was freed may be there too: noticing that frees its watches. */
static void on_closes(int fd)
{
	struct watched *at;

	begin_epoch();
	while ((at = find(fd))) {
		struct ipc_watch *w = at->watch;

		if (ipc_task_is_dead(at->task)) {
			ipc_task_notice(at->task);
			continue;
		}
		at->closed = true;
		unlist(at);
		ipc_watch_free(w);
		ipc_task_wake(at->task);
	}
}

static void on_ready(short what, void *arg)
{
	(void)what;
	ipc_task_wake(arg);
}

/* With no events wanted, poll(2) still reports errors; reading shows them. */
static short wanted(const struct pollfd *p)
{
	short out = p->events & POLLOUT ? EV_WRITE : 0;

	return (p->events & POLLIN) || !out ? (short)(out | EV_READ) : out;
}

static int watch(struct watched *at, struct aiotask *t, const struct pollfd *p)
{
	struct ipc_watch *w = ipc_watch_new(t->sched->waits.base, p->fd, on_ready, t);

	if (!w || ipc_watch_want(w, wanted(p)) == -1) {
		ipc_watch_free(w);
		return -1;
	}
	*at = (struct watched){.watch = w, .task = t, .fd = p->fd};
	enlist(at);
	return 0;
}

/* Its base was freed under it. */
static void task_died(struct ipc_task_end *end, bool died)
{
	struct wait *wait = (struct wait *)end;

	(void)died;
	for (int i = 0; i < FDS_MOST; i++) {
		struct ipc_watch *w = wait->at[i].watch;

		if (w)
			unlist(&wait->at[i]);
		ipc_watch_forget(w);
	}
}

static int begin(struct wait *wait, const struct pollfd *fds, nfds_t n)
{
	struct aiotask *t = ipc_task_self();

	begin_epoch();
	ipc_own_closes = on_closes;
	wait->end.cb = task_died;
	ipc_task_on_end(t, &wait->end);
	for (nfds_t i = 0; i < n; i++)
		if (fds[i].fd >= 0 && watch(&wait->at[i], t, &fds[i]) == -1)
			return -1;
	return 0;
}

/* Also in a forked child that comes back here. */
static void end(struct wait *wait)
{
	begin_epoch();
	ipc_task_not_on_end(&wait->end);
	for (int i = 0; i < FDS_MOST; i++) {
		struct ipc_watch *w = wait->at[i].watch;

		if (w)
			unlist(&wait->at[i]);
		ipc_watch_free(w);
	}
}

static int look(struct pollfd *fds, nfds_t n)
{
	int ready;

	do
		ready = ipc_os_poll(fds, n, 0);
	while (ready == -1 && errno == EINTR);
	return ready;
}

static bool lost_one(const struct wait *wait)
{
	for (int i = 0; i < FDS_MOST; i++)
		if (wait->at[i].closed)
			return true;
	return false;
}

/* Why the park ended counts only when no descriptor is ready by now. */
static int judge(const struct wait *wait, struct pollfd *fds, nfds_t n, int error)
{
	int ready = 0;

	if (error != ECANCELED && lost_one(wait))
		return 0;
	if (error == 0 || error == ETIMEDOUT)
		ready = look(fds, n);
	if (ready != 0)
		return ready < 0 ? -1 : 0;
	errno = error;
	return error ? -1 : 0;
}

int ipc_task_poll(struct pollfd *fds, nfds_t n, int64_t deadline)
{
	struct wait wait = {0};
	int ready = look(fds, n), error = 0;

	if (ready != 0)
		return ready < 0 ? -1 : 0;
	if (n > FDS_MOST) {
		errno = EINVAL;
		return -1;
	}
	if (begin(&wait, fds, n) == -1 || ipc_task_park(deadline) == -1)
		error = errno;
	end(&wait);
	return judge(&wait, fds, n, error);
}
