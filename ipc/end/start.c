/*
 * Starting children by fork: a function, the ends that move, and options. A child with options reports whether they worked; until then nothing has
 * moved. exec.c starts programs; proc.c is about the child's later life.
 */
#include "ipc/end/proc.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "ipc/end/become.h"
#include "ipc/end/end.h"
#include "ipc/own/registry.h"
#include "ipc/os/child.h"
#include "ipc/os/eager.h"
#include "ipc/os/stdio.h"
#include "ipc/task/task.h"

struct start {
	int (*body)(void *arg);
	void *arg;
	struct aioproc_options o;
	pid_t parent;
	struct ipc_own **own; /* what moves: NULL for what this thread detached */
	size_t n;
	int *keep;              /* room for the numbers of all that moves */
	struct aioend *rx, *tx; /* with options: a pipe for the child's report; tx moves too */
	struct aioproc *p;
};

static void clean_up(struct start *s)
{
	int error = errno;

	aioend_free(s->rx);
	aioend_free(s->tx);
	free(s->own);
	free(s->keep);
	free(s->p);
	errno = error;
}

/* In the child. */

IPC_EAGER(_exit);

static void close_the_rest(const struct start *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		s->keep[n++] = s->own[i]->r.fd;
		s->keep[n++] = s->own[i]->w.fd;
	}
	ipc_close_all_but(s->keep, n);
}

/* When the parent has died, writing must not raise SIGPIPE. */
static void tell(const struct start *s, int error)
{
	const struct iovec iov = {.iov_base = &error, .iov_len = sizeof(error)};

	(void)!ipc_os_writev(s->tx->own.w.fd, IPC_FD_PIPE, &iov, 1, NULL, 0);
}

static void obey(const struct start *s)
{
	if (ipc_become(&s->o, s->parent, s->tx->own.w.fd, ipc_os_set_ids_of_all) == -1) {
		tell(s, errno);
		_exit(127);
	}
	if (s->o.only_ends) {
		close_the_rest(s);
		ipc_watch_bases_closed();
	}
	tell(s, 0);
}

static void work(void *arg)
{
	struct start s = *(struct start *)arg;
	int value;

	clean_up(&s);
	value = s.body(s.arg);
	ipc_os_stdio_finish();
	ipc_own_end_in_order();
	_exit(value);
}

/* Also when a task has forked it, the child continues on the thread's own stack. */
static _Noreturn void be_child(struct start *s)
{
	ipc_os_stdio_forget();
	if (s->tx)
		obey(s);
	ipc_os_reset_signals();
	ipc_task_leave(work, s);
}

/* In the parent. */

static int made(pid_t pid, void *arg)
{
	struct start *s = arg;

	return s->tx ? ipc_outcome(s->rx, s->tx, pid) : 0;
}

/* All signals are blocked, so that no handler of the parent's runs in the child. */
static pid_t fork_quietly(struct start *s)
{
	sigset_t all, before;
	pid_t pid;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = ipc_own_fork(s->own, s->n, made, s);
	if (pid == 0)
		be_child(s);
	error = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return pid;
}

/* Frees all that @s has, but not the handle that it returns. */
static struct aioproc *start(struct start *s)
{
	struct aioproc *p = s->p = ipc_proc_new();
	pid_t pid = -1;

	if (p) {
		ipc_proc_sweep();
		ipc_os_stdio_flush();
		pid = fork_quietly(s);
	}
	if (pid != -1) {
		ipc_proc_began(p, pid, "forked");
		s->p = NULL;
	}
	clean_up(s);
	return pid == -1 ? NULL : p;
}

static bool has_options(const struct aioproc_options *o)
{
	return o->cwd || o->set_ids || o->new_session || o->new_group || o->die_with_parent || o->only_ends;
}

static int list_ends(struct start *s, struct aioend *const *ends, size_t n)
{
	s->own = calloc(n + 1, sizeof(*s->own));
	s->keep = calloc(2 * n + 2, sizeof(*s->keep));
	if (!s->own || !s->keep)
		return -1;
	for (s->n = 0; s->n < n; s->n++)
		s->own[s->n] = &ends[s->n]->own;
	if (!has_options(&s->o))
		return 0;
	if (aiopipe(&s->rx, &s->tx) == -1)
		return -1;
	s->own[s->n++] = &s->tx->own;
	return 0;
}

struct aioproc *aioproc_start(int (*body)(void *arg), void *arg)
{
	struct start s = {.body = body, .arg = arg};

	return start(&s);
}

struct aioproc *aioproc_start_with(int (*body)(void *arg), void *arg, struct aioend *const *ends, size_t n)
{
	return aioproc_start_opts(body, arg, ends, n, NULL);
}

struct aioproc *aioproc_start_opts(int (*body)(void *arg), void *arg, struct aioend *const *ends, size_t n,
				   const struct aioproc_options *o)
{
	struct start s = {.body = body, .arg = arg, .parent = getpid()};

	if (ipc_options_take(&s.o, o) == 0 && list_ends(&s, ends, n) == 0)
		return start(&s);
	clean_up(&s);
	return NULL;
}
