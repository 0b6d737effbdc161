/*
 * Waking a task from other threads. They put it into a list, the door of its scheduler, and write to a pipe; the loop of its base reads that and
 * wakes the task. A scheduler has a door after one of its tasks has called ipc_task_share().
 */
#include <errno.h>
#include <stdlib.h>

#include "ipc/os/os.h"
#include "ipc/task/sched.h"

struct door {
	struct ipc_door as_known; /* first: what the scheduler knows of it */
	pthread_mutex_t lock;     /* a leaf: nothing is called under it that takes another */
	struct aiotask *first, **last;
	struct ipc_own pipe;
	struct ipc_watch *bell;
};

static void wake_them(struct door *door)
{
	struct aiotask *t;

	pthread_mutex_lock(&door->lock);
	for (t = door->first; t; t = t->next_shared) {
		t->shared = false;
		ipc_task_wake(t);
	}
	door->first = NULL;
	door->last = &door->first;
	pthread_mutex_unlock(&door->lock);
}

static void on_bell(short what, void *arg)
{
	struct door *door = arg;
	char rings[64];
	struct iovec iov = {rings, sizeof rings};

	(void)what;
	ipc_os_readv(door->pipe.r.fd, door->pipe.r.kind, &iov, 1, NULL);
	wake_them(door);
}

/* Opened and registered under one hold: a fork between the two would leave its child the pipe. */
static int open_pipe(struct ipc_own *own)
{
	int fd[2];

	if (ipc_own_hold() == -1)
		return -1;
	if (ipc_os_pipe(fd) == -1 || ipc_own_set(own, fd[0], fd[1]) == -1) {
		ipc_own_let_go();
		return -1;
	}
	ipc_own_link(own);
	ipc_own_let_go();
	return ipc_own_set_nonblock(own);
}

static void withdraw(struct ipc_door *known, struct aiotask *t)
{
	struct door *door = (struct door *)known;
	struct aiotask **at;

	pthread_mutex_lock(&door->lock);
	if (t->shared) {
		for (at = &door->first; *at != t; at = &(*at)->next_shared)
			;
		*at = t->next_shared;
		if (!*at)
			door->last = at;
	}
	pthread_mutex_unlock(&door->lock);
}

static void close_door(struct ipc_door *known, bool base_freed)
{
	struct door *door = (struct door *)known;

	if (base_freed)
		ipc_watch_forget(door->bell);
	else
		ipc_watch_free(door->bell);
	ipc_own_close(&door->pipe);
	pthread_mutex_destroy(&door->lock);
	free(door);
}

static struct ipc_door *new_door(struct event_base *base)
{
	struct door *door = calloc(1, sizeof *door);
	int error;

	if (!door)
		return NULL;
	door->as_known = (struct ipc_door){withdraw, close_door};
	door->last = &door->first;
	ipc_own_init(&door->pipe);
	if (open_pipe(&door->pipe) == -1)
		goto fail;
	door->bell = ipc_watch_new(base, door->pipe.r.fd, on_bell, door);
	if (!door->bell || ipc_watch_want(door->bell, EV_READ) == -1)
		goto fail;
	pthread_mutex_init(&door->lock, NULL);
	return &door->as_known;

fail:
	error = errno;
	ipc_watch_free(door->bell);
	ipc_own_close(&door->pipe);
	free(door);
	errno = error;
	return NULL;
}

int ipc_task_share(void)
{
	struct ipc_sched *s = ipc_task_self()->sched;

	if (!s->door)
		s->door = new_door(s->waits.base);
	return s->door ? 0 : -1;
}

/* True when the list was empty: then the loop must be woken. */
static bool leave_at(struct door *door, struct aiotask *t)
{
	bool ring;

	pthread_mutex_lock(&door->lock);
	ring = !door->first;
	if (!t->shared) {
		t->shared = true;
		t->next_shared = NULL;
		*door->last = t;
		door->last = &t->next_shared;
	}
	pthread_mutex_unlock(&door->lock);
	return ring;
}

void ipc_task_wake_shared(struct aiotask *t)
{
	struct ipc_sched *s = t->sched;
	struct door *door = (struct door *)s->door;
	struct iovec ring = {(char[]){0}, 1};

	if (atomic_load_explicit(&s->thread, memory_order_relaxed) == ipc_thread_serial())
		ipc_task_wake(t);
	else if (leave_at(door, t))
		ipc_os_writev(door->pipe.w.fd, door->pipe.w.kind, &ring, 1, NULL, 0);
}
