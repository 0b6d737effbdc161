/*
 * Starting a program with the ends that this thread has detached. The fork runs no handlers, so a program with threads can do it: memory is
 * allocated before the fork, and the child keeps the rule of ipc/os/child.h. The child reports a failure through a pipe, which a successful
 * execve closes.
 */
#include "ipc/end/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/end/become.h"
#include "ipc/end/end.h"
#include "ipc/os/log.h"
#include "ipc/own/registry.h"
#include "ipc/os/child.h"

extern char **environ;

/* An end that moves, and its present numbers in the child; -1: none. */
struct seat {
	const struct aioend *end;
	int r, w;
};

/* All that the child needs. */
struct job {
	const char *path;
	char *const *argv;
	char **envp;
	char *entry; /* room for ours in envp; NULL when no end has a name */
	struct aioproc_options o;
	pid_t parent;
	struct ipc_own **own; /* the ends that move, as the registry knows them */
	struct seat *seats;
	size_t n;
	int *keep;              /* room for all numbers that stay open */
	struct aioend *rx, *tx; /* the pipe that reports a failure */
	int tell;
};

/* In the child. */

static char *put_text(char *at, const char *text)
{
	while (*text)
		*at++ = *text++;
	return at;
}

static char *put_number(char *at, uint64_t n)
{
	char digits[20];
	size_t len = 0;

	do
		digits[len++] = (char)('0' + n % 10);
	while (n /= 10);
	while (len)
		*at++ = digits[--len];
	return at;
}

static char *put_fd(char *at, int fd)
{
	*at++ = ',';
	return fd == -1 ? put_text(at, "-1") : put_number(at, (uint64_t)fd);
}

static char *put_file(char *at, const struct ipc_fd *f)
{
	*at++ = ',';
	at = put_number(at, f->fd == -1 ? 0 : f->dev);
	*at++ = ',';
	return put_number(at, f->fd == -1 ? 0 : f->ino);
}

static void write_entry(const struct job *j)
{
	char *at = put_number(put_text(j->entry, IPC_ENDS_ENTRY "="), (uint64_t)getpid());
	char separator = ':';

	for (const struct seat *s = j->seats; s < j->seats + j->n; s++) {
		if (!s->end->name)
			continue;
		*at++ = separator;
		separator = ';';
		at = put_fd(put_fd(put_text(at, s->end->name), s->r), s->w);
		at = put_file(put_file(at, &s->end->own.r), &s->end->own.w);
		at = put_text(at, s->end->ring ? IPC_ENDS_RING : "");
	}
	*at = '\0';
}

static void close_the_rest(struct job *j)
{
	size_t n = 0;

	j->keep[n++] = j->tell;
	for (size_t i = 0; i < j->n; i++) {
		j->keep[n++] = j->seats[i].r;
		j->keep[n++] = j->seats[i].w;
	}
	ipc_close_all_but(j->keep, n);
}

/* Away from 0, 1 and 2. */
static int lift(int *fd)
{
	int up = *fd;

	if (*fd >= 0 && *fd <= STDERR_FILENO)
		up = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (up == -1 && *fd != -1)
		return -1;
	*fd = up;
	return 0;
}

static int lift_seat(struct seat *s)
{
	bool socket = s->r == s->w;

	if (lift(&s->r) == -1)
		return -1;
	if (socket)
		s->w = s->r;
	return lift(&s->w);
}

/* The program must not open a file at 0, 1 or 2 and then use it as its stdout. So those that are closed, or that execve closes, are filled. */
static int fill_standard(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		int flags = fcntl(fd, F_GETFD), null;

		if (flags != -1 && !(flags & FD_CLOEXEC))
			continue;
		null = ipc_os_raw_null();
		if (null == -1 || (null != fd && dup2(null, fd) == -1))
			return -1;
		if (null != fd)
			ipc_os_raw_close(null);
	}
	return 0;
}

static int place(int *fd, int at, bool named)
{
	if (*fd == -1)
		return 0;
	if (at != -1) {
		*fd = dup2(*fd, at);
		return *fd == -1 ? -1 : 0;
	}
	return named ? fcntl(*fd, F_SETFD, 0) : 0;
}

static int take_seats(struct job *j)
{
	struct seat *s;

	close_the_rest(j);
	if (lift(&j->tell) == -1)
		return -1;
	for (s = j->seats; s < j->seats + j->n; s++)
		if (lift_seat(s) == -1)
			return -1;
	if (fill_standard() == -1)
		return -1;
	for (s = j->seats; s < j->seats + j->n; s++)
		if (place(&s->r, s->end->stdio_r, s->end->name) == -1 ||
		    place(&s->w, s->end->stdio_w, s->end->name) == -1)
			return -1;
	return 0;
}

static _Noreturn void be_child(struct job *j)
{
	int error;

	ipc_os_raw_close(j->rx->own.r.fd);
	if (ipc_become(&j->o, j->parent, j->tell, ipc_os_set_ids) == 0 && take_seats(j) == 0) {
		if (j->entry)
			write_entry(j);
		ipc_os_raw_unblock();
		execve(j->path, j->argv, j->envp);
	}
	error = errno;
	ipc_os_raw_write(j->tell, &error, sizeof(error));
	_exit(127);
}

/* In the parent. */

static bool clash(const struct aioend *a, const struct aioend *b)
{
	return (a->name && b->name && strcmp(a->name, b->name) == 0) ||
	       (a->stdio_r != -1 && a->stdio_r == b->stdio_r) ||
	       (a->stdio_w != -1 && a->stdio_w == b->stdio_w);
}

static int check_seats(const struct job *j)
{
	size_t named = 0;

	for (size_t i = 0; i < j->n; i++) {
		const struct aioend *end = j->seats[i].end;

		if (!end->name && end->stdio_r == -1 && end->stdio_w == -1)
			return ipc_refuse(
				"aioproc_exec: an end that is detached has no place in the program: call "
				"aioend_set_name() or aioend_set_stdio() first");
		for (size_t k = 0; k < i; k++)
			if (clash(end, j->seats[k].end))
				return ipc_refuse("aioproc_exec: two ends are detached with the same name "
						  "(\"%s\"), or for the "
						  "same standard stream",
						  end->name ? end->name : "");
		named += end->name != NULL;
	}
	if (named <= IPC_ENDS_MOST)
		return 0;
	return ipc_refuse("aioproc_exec: %zu ends are detached with names, %d is the most", named,
			  IPC_ENDS_MOST);
}

static int find_seats(struct job *j)
{
	size_t n = ipc_own_detached(NULL, 0);

	j->own = calloc(n + 1, sizeof(*j->own));
	j->seats = calloc(n + 1, sizeof(*j->seats));
	j->keep = calloc(2 * n + 1, sizeof(*j->keep));
	if (!j->own || !j->seats || !j->keep)
		return -1;
	j->n = ipc_own_detached(j->own, n);
	for (size_t i = 0; i < j->n; i++) {
		const struct aioend *end = (const struct aioend *)j->own[i];

		j->seats[i] = (struct seat){.end = end, .r = end->own.r.fd, .w = end->own.w.fd};
	}
	return check_seats(j);
}

static bool is_our_entry(const char *entry)
{
	return strncmp(entry, IPC_ENDS_ENTRY "=", sizeof(IPC_ENDS_ENTRY)) == 0;
}

/* A copy of @envp without the entry of our parent, and with room for ours. */
static int make_environment(struct job *j, char *const *envp)
{
	size_t n = 0, out = 0, len = 0;

	while (envp && envp[n]) /* clearenv() leaves no list at all */
		n++;
	for (size_t i = 0; i < j->n; i++)
		if (j->seats[i].end->name)
			len += IPC_NAME_MOST + 6 * 21 + sizeof IPC_ENDS_RING;
	j->envp = calloc(n + 2, sizeof(*j->envp));
	j->entry = len ? malloc(len + sizeof(IPC_ENDS_ENTRY) + 32) : NULL;
	if (!j->envp || (len && !j->entry))
		return -1;
	for (size_t i = 0; i < n; i++)
		if (!is_our_entry(envp[i]))
			j->envp[out++] = envp[i];
	j->envp[out] = j->entry;
	return 0;
}

static pid_t launch(struct job *j)
{
	sigset_t all, before;
	pid_t pid;
	int error;

	j->tell = j->tx->own.w.fd;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = ipc_os_raw_fork();
	if (pid == 0)
		be_child(j);
	error = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return pid;
}

static void clean_up(struct job *j)
{
	int error = errno;

	aioend_free(j->rx);
	aioend_free(j->tx);
	free(j->own);
	free(j->seats);
	free(j->keep);
	free(j->envp);
	free(j->entry);
	errno = error;
}

struct aioproc *aioproc_exec(const char *path, char *const argv[], char *const envp[],
			     const struct aioproc_options *o)
{
	struct job j = {.path = path, .argv = argv, .parent = getpid()};
	struct aioproc *p = ipc_proc_new();

	if (!p || ipc_options_take(&j.o, o) == -1 || find_seats(&j) == -1 ||
	    make_environment(&j, envp ? envp : environ) == -1 || aiopipe(&j.rx, &j.tx) == -1)
		goto fail;
	p->pid = launch(&j);
	if (p->pid == -1 || ipc_outcome(j.rx, j.tx, p->pid) == -1)
		goto fail;
	ipc_own_gone(j.own, j.n);
	ipc_proc_began(p, p->pid, path);
	clean_up(&j);
	return p;
fail:
	clean_up(&j);
	free(p);
	return NULL;
}
