/*
 * Waking a task from other threads: they leave it at the scheduler's door and ring, and the loop of its base wakes it. A
 * scheduler has a door once a task of it has called ipc_task_share().
 */
#include <errno.h>
#include <stdlib.h>

#include "ipc/os/os.h"
#include "ipc/task/sched.h"

struct ipc_door {
	pthread_mutex_t lock; /* a leaf: nothing is called under it that takes another */
	struct aiotask *first, **last;
	struct ipc_own pipe;
	struct ipc_watch *bell;
};

static void wake_them(struct ipc_door *door)
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
	struct ipc_door *door = arg;
	char rings[64];
	struct iovec iov = {rings, sizeof rings};

	(void)what;
	ipc_os_readv(door->pipe.r.fd, door->pipe.r.kind, &iov, 1, NULL);
	wake_them(door);
}

/* Between pipe and register no fork may come, or its child keeps the pipe. */
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

static struct ipc_door *new_door(struct event_base *base)
{
	struct ipc_door *door = calloc(1, sizeof *door);
	int error;

	if (!door)
		return NULL;
	door->last = &door->first;
	ipc_own_init(&door->pipe);
	if (open_pipe(&door->pipe) == -1)
		goto fail;
	door->bell = ipc_watch_new(base, door->pipe.r.fd, on_bell, door);
	if (!door->bell || ipc_watch_want(door->bell, EV_READ) == -1)
		goto fail;
	pthread_mutex_init(&door->lock, NULL);
	return door;

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
		s->door = new_door(s->base);
	return s->door ? 0 : -1;
}

/* True when the bell must be rung. */
static bool leave_at(struct ipc_door *door, struct aiotask *t)
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
	struct iovec ring = {(char[]){0}, 1};

	if (atomic_load_explicit(&s->thread, memory_order_relaxed) == ipc_thread_serial())
		ipc_task_wake(t);
	else if (leave_at(s->door, t))
		ipc_os_writev(s->door->pipe.w.fd, s->door->pipe.w.kind, &ring, 1, NULL, 0);
}

void ipc_share_withdraw(struct aiotask *t)
{
	struct ipc_door *door = t->sched->door;
	struct aiotask **at;

	if (!door)
		return;
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

void ipc_share_close(struct ipc_sched *s, bool base_freed)
{
	struct ipc_door *door = s->door;

	if (!door)
		return;
	if (base_freed)
		ipc_watch_forget(door->bell);
	else
		ipc_watch_free(door->bell);
	ipc_own_close(&door->pipe);
	pthread_mutex_destroy(&door->lock);
	free(door);
}
