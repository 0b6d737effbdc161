/*
 * Children: joined, watched, killed, freed. A child is waited for by its own pid only. A pidfd shows that it has ended; it is opened when first
 * needed, because a pid is not used again before it is waited for. How children start is in start.c and exec.c.
 */
#include "ipc/end/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/end/end.h"
#include "ipc/end/reap.h"
#include "ipc/loop/wait.h"
#include "ipc/os/missing.h"
#include "ipc/own/board.h"
#include "ipc/task/task.h"

bool ipc_proc_no_pidfd;

/* Children that were freed while they ran, when no thread could be started to wait for them. Under the mutex of own/epoch.h. */
static struct aioproc *orphans;

struct aioproc *ipc_proc_new(void)
{
	struct aioproc *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	ipc_own_init(&p->own);
	p->holds = 1;
	return p;
}

void ipc_proc_began(struct aioproc *p, pid_t pid, const char *what)
{
	p->pid = pid;
	p->row = ipc_board_take(IPC_ROW_CHILD, "%s", what);
	if (p->row)
		ipc_row_set(p->row, IPC_CHILD_ROW_PID, (uint64_t)pid);
}

static void tell_row(const struct aioproc *p)
{
	if (!p->row || !ipc_board_has(p->row))
		return;
	ipc_row_set(p->row, IPC_CHILD_ROW_STATUS, (uint64_t)(unsigned)p->status);
	ipc_row_set(p->row, IPC_CHILD_ROW_END, p->ended ? 1 : 2);
}

/* Looks whether it has ended. -1/ECHILD: other code has waited for it. */
static int reap(struct aioproc *p)
{
	pid_t got = 0;

	while (!p->ended && !p->lost && (got = waitpid(p->pid, &p->status, WNOHANG)) == -1 && errno == EINTR)
		;
	if (got == p->pid)
		p->ended = true;
	if (got == -1)
		p->lost = true;
	if (got != 0)
		tell_row(p);
	if (!p->lost)
		return 0;
	errno = ECHILD;
	return -1;
}

void ipc_proc_sweep(void)
{
	struct aioproc **at, *p, *done = NULL;

	if (ipc_own_hold() == -1)
		return;
	for (at = &orphans; (p = *at);) {
		if (ipc_own_check(&p->own) == 0 && reap(p) == 0 && !p->ended) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		p->next = done;
		done = p;
	}
	ipc_own_let_go();
	while ((p = done)) {
		done = p->next;
		free(p);
	}
}

pid_t aioproc_pid(const struct aioproc *p)
{
	return p->pid;
}

int aioproc_kill(struct aioproc *p, int sig)
{
	if (ipc_own_check(&p->own) == -1)
		return -1;
	if (reap(p) == 0 && !p->ended)
		return kill(p->pid, sig);
	errno = ESRCH;
	return -1;
}

static int open_pidfd(struct aioproc *p)
{
	int fd;

	if (ipc_own_hold() == -1)
		return -1;
	fd = ipc_os_pidfd(p->pid);
	if (fd != -1) {
		ipc_own_set(&p->own, fd, -1);
		ipc_own_link(&p->own);
	}
	ipc_own_let_go();
	return fd == -1 ? -1 : 0;
}

static int open_notice(struct aioproc *p)
{
	struct aioend *rx;

	if (p->own.r.fd != -1)
		return 0;
	if (!ipc_proc_no_pidfd) {
		if (open_pidfd(p) == 0)
			return 0;
		if (errno == ESRCH)
			errno = ECHILD; /* it has ended, and SIGCHLD is ignored: nobody needs to wait for it */
		if (!ipc_os_is_missing(errno))
			return -1;
	}
	rx = ipc_reap_notice(p->pid);
	if (!rx)
		return -1;
	ipc_own_transfer(&p->own, &rx->own);
	ipc_end_dispose(rx);
	return 0;
}

/*
 * A debugger may hold a dead child. Then waitpid() does not return it, but the pidfd is readable all the time. Nothing tells when the debugger lets
 * it go, so look now and then.
 */
static int next_pause(struct aioproc *p)
{
	const int most = 100;

	p->pause = p->pause ? 2 * p->pause : 1;
	if (p->pause > most)
		p->pause = most;
	return p->pause;
}

static int wait_for_look(struct aioproc *p, int64_t deadline)
{
	int64_t look = aioipc_after(next_pause(p));
	bool last = deadline != AIOIPC_FOREVER && deadline < look;

	if (ipc_wait(NULL, 0, last ? deadline : look) == -1 && (last || errno != ETIMEDOUT))
		return -1;
	return 0;
}

static int wait_for_notice(struct aioproc *p, int64_t deadline)
{
	struct pollfd fd = {.events = POLLIN};

	if (p->pause)
		return wait_for_look(p, deadline);
	if (open_notice(p) == -1)
		return -1;
	fd.fd = p->own.r.fd;
	if (ipc_wait(&fd, 1, deadline) == -1)
		return -1;
	if (fd.revents && reap(p) == 0 && !p->ended)
		next_pause(p);
	return 0;
}

/* A child that has ended is joined, whatever ended the wait. */
static int await_end(struct aioproc *p, int64_t deadline)
{
	int error = deadline == AIOIPC_NOW ? ETIMEDOUT : 0;

	if (reap(p) == -1)
		return -1;
	while (!p->ended && !error) {
		if (wait_for_notice(p, deadline) == -1)
			error = errno;
		if (p->freed)
			error = EPIPE;
		else if (reap(p) == -1)
			return -1;
	}
	if (p->ended)
		return 0;
	errno = error;
	return -1;
}

static void release(struct aioproc *p);

/* A task that joins holds a reference, because another task may free the handle meanwhile. */
struct join {
	struct ipc_task_end end; /* first */
	struct aioproc *proc;
};

static void joiner_died(struct ipc_task_end *end, bool died)
{
	(void)died;
	release(((struct join *)end)->proc);
}

static int await_end_held(struct aioproc *p, int64_t deadline)
{
	struct join j = {.end.cb = joiner_died, .proc = p};
	struct aiotask *t = aiotask_self();
	int r;

	p->holds++;
	if (t)
		ipc_task_on_end(t, &j.end);
	r = await_end(p, deadline);
	if (t)
		ipc_task_not_on_end(&j.end);
	return r;
}

int aioproc_join(struct aioproc *p, int *status, int64_t deadline)
{
	int r, error;

	if (ipc_own_check(&p->own) == -1 || ipc_wait_allowed(p->base, deadline) == -1)
		return -1;
	r = await_end_held(p, deadline);
	error = errno;
	if (r == 0 && !p->watch)
		ipc_own_close(&p->own);
	if (r == 0 && status)
		*status = p->status;
	release(p);
	errno = error;
	return r;
}

static void unwatch(struct aioproc *p)
{
	ipc_watch_free(p->watch);
	p->watch = NULL;
	p->base = NULL;
	p->cb = NULL;
}

static void on_notice(short what, void *arg)
{
	struct aioproc *p = arg;
	aioproc_exit_cb *cb = p->cb;

	(void)what;
	if (reap(p) == 0 && !p->ended) {
		ipc_watch_want(p->watch, 0);
		ipc_watch_later(p->watch, next_pause(p) * INT64_C(1000000));
		return;
	}
	unwatch(p);
	ipc_own_close(&p->own);
	cb(p, p->lost ? -1 : p->status, p->arg);
}

/* Also for a child that has ended already: the loop calls back. */
static int watch(struct aioproc *p, struct event_base *base)
{
	bool over = reap(p) == -1 || p->ended;

	if (!over && open_notice(p) == -1)
		return -1;
	p->watch = ipc_watch_new(base, over ? -1 : p->own.r.fd, on_notice, p);
	if (!p->watch)
		return -1;
	p->base = base;
	if (over)
		ipc_watch_soon(p->watch);
	else if (ipc_watch_want(p->watch, EV_READ) == -1) {
		unwatch(p);
		return -1;
	}
	return 0;
}

int aioproc_on_exit(struct aioproc *p, struct event_base *base, aioproc_exit_cb *cb, void *arg)
{
	if (ipc_own_check(&p->own) == -1)
		return -1;
	if (!cb) {
		unwatch(p);
		return 0;
	}
	if (p->watch && p->base != base) {
		errno = EBUSY;
		return -1;
	}
	if (!p->watch && watch(p, base) == -1)
		return -1;
	p->cb = cb;
	p->arg = arg;
	return 0;
}

/* The child runs on. A thread waits for it; when none can be started, later calls of ipc_proc_sweep() do. */
static void let_run(struct aioproc *p)
{
	if (ipc_reap_later(p->pid) == 0 || ipc_own_hold() == -1) {
		free(p);
		return;
	}
	p->next = orphans;
	orphans = p;
	ipc_own_let_go();
}

/* In a forked child, the others that hold it do not exist. */
static void release(struct aioproc *p)
{
	bool ours = ipc_own_check(&p->own) == 0;

	if (--p->holds > 0 && ours)
		return;
	if (ours && reap(p) == 0 && !p->ended)
		let_run(p);
	else
		free(p);
}

void aioproc_free(struct aioproc *p)
{
	if (!p)
		return;
	p->freed = true;
	ipc_board_give_back(p->row);
	p->row = NULL;
	unwatch(p);
	ipc_own_close(&p->own);
	ipc_proc_sweep();
	release(p);
}
