/*
 * The registry: see registry.h. What fork does to it is here too, because a program that has anything in the registry needs that: before and
 * after fork in the parent, and in the child, where only system calls and plain stores are allowed.
 */
#include "ipc/own/registry.h"

#include <errno.h>
#include <unistd.h>

struct ipc_own ipc_own_list = {.next = &ipc_own_list, .prev = &ipc_own_list};

/* By number: those that are not closed. */
#define NUMBERS 4096
static struct ipc_fd *numbers[NUMBERS];

/*
 * What this thread's next fork moves: BY_HANDLER, the program calls fork() itself, and the handlers move what the thread has detached. BY_CALLER, the
 * same, but ipc_own_fork() is told whether fork failed. BY_LIST: it moves what has a mover.
 */
static _Thread_local enum { BY_HANDLER, BY_CALLER, BY_LIST } plan;

static struct ipc_at_fork at_fork;

static void put_number(struct ipc_fd *f)
{
	struct ipc_fd **at = &numbers[(unsigned)f->fd % NUMBERS];

	f->next = *at;
	*at = f;
}

/* It need not be there. */
static void take_number(const struct ipc_fd *f)
{
	struct ipc_fd **at = &numbers[(unsigned)f->fd % NUMBERS];

	while (*at && *at != f)
		at = &(*at)->next;
	if (*at)
		*at = f->next;
}

void ipc_own_link(struct ipc_own *own)
{
	ipc_at_fork(&at_fork);
	if (own->r.fd != -1)
		put_number(&own->r);
	if (own->w.fd != -1 && own->w.fd != own->r.fd)
		put_number(&own->w);
	own->next = &ipc_own_list;
	own->prev = ipc_own_list.prev;
	own->prev->next = own;
	own->next->prev = own;
}

void ipc_own_unlink(struct ipc_own *own)
{
	if (own->epoch != ipc_epoch())
		return;
	take_number(&own->r);
	take_number(&own->w);
	own->prev->next = own->next;
	own->next->prev = own->prev;
	own->next = own->prev = own;
}

bool ipc_own_taken(int fd)
{
	const struct ipc_fd *f;

	for (f = numbers[(unsigned)fd % NUMBERS]; f; f = f->next)
		if (f->fd == fd && ipc_fd_is_ours(f))
			return true;
	return false;
}

void ipc_own_undetach_held(struct ipc_own *own)
{
	if (own->epoch == ipc_epoch())
		ipc_fd_close_pipe(own->spare);
	own->detacher = 0;
}

void ipc_own_close_fd_held(struct ipc_own *own, struct ipc_fd *f)
{
	struct ipc_fd *other = f == &own->r ? &own->w : &own->r;
	int error = errno;

	if (own->epoch == ipc_epoch() && ipc_fd_is_ours(f)) {
		if (f == &own->w && ipc_fd_is_same_socket(f, other))
			ipc_os_shutdown_write(f->fd);
		if (f->fd == other->fd) {
			other->nonblock |= f->nonblock;
		} else {
			if (own->adopted)
				ipc_fd_give_flags_back(f);
			close(f->fd);
		}
	}
	take_number(f);
	f->fd = -1;
	errno = error;
}

void ipc_own_close_held(struct ipc_own *own)
{
	ipc_own_close_fd_held(own, &own->r);
	ipc_own_close_fd_held(own, &own->w);
	ipc_own_undetach_held(own);
	ipc_own_unlink(own);
}

static bool moves(const struct ipc_own *own)
{
	return (plan == BY_LIST ? own->mover : own->detacher) == ipc_thread_serial();
}

static void swap_pipes(int a[2], int b[2])
{
	const int was[2] = {a[0], a[1]};

	a[0] = b[0];
	a[1] = b[1];
	b[0] = was[0];
	b[1] = was[1];
}

static bool before_fork(int pipe[2])
{
	bool moving = false;

	for (struct ipc_own *own = ipc_own_list.next; plan == BY_HANDLER && own != &ipc_own_list;
	     own = own->next) {
		if (!moves(own))
			continue;
		moving = true;
		if (pipe[0] == -1)
			swap_pipes(pipe, own->spare);
	}
	return moving;
}

static void gone(struct ipc_own *own)
{
	ipc_own_close_held(own);
	own->moved = true;
}

static void close_moved(void)
{
	struct ipc_own *own, *next;

	for (own = ipc_own_list.next; own != &ipc_own_list; own = next) {
		next = own->next;
		if (moves(own))
			gone(own);
	}
}

/* Fork has failed, and it has used up the pipe of one end. The next fork needs another. */
static void renew_spare(void)
{
	struct ipc_own *own;

	for (own = ipc_own_list.next; own != &ipc_own_list; own = own->next) {
		if (!moves(own) || own->spare[0] != -1)
			continue;
		if (ipc_os_pipe(own->spare) == -1)
			own->spare[0] = own->spare[1] = -1;
		return;
	}
}

static void after_fork_in_parent(bool made)
{
	if (made)
		close_moved();
	else
		renew_spare();
}

bool ipc_own_forked(void)
{
	return plan != BY_HANDLER;
}

static void empty_numbers(void)
{
	for (int i = 0; i < NUMBERS; i++)
		if (numbers[i])
			numbers[i] = NULL;
}

static void take_over(struct ipc_own *own)
{
	own->detacher = own->mover = 0;
	own->epoch = ipc_epoch();
	ipc_own_link(own);
}

static void close_numbers(const struct ipc_own *own)
{
	ipc_fd_close_ours(&own->r);
	if (own->w.fd != own->r.fd)
		ipc_fd_close_ours(&own->w);
}

/*
 * What moved is this process's now; the rest is closed, and others may get its numbers. After a fork without handlers nothing moved, and what the
 * parent had stays open until this process execs or ends. What has not moved is only read: each page that is written to would be copied.
 */
static void after_fork_in_child(bool by_handler)
{
	struct ipc_own *own = ipc_own_list.next, *next;

	ipc_own_list.next = ipc_own_list.prev = &ipc_own_list;
	empty_numbers();
	for (; by_handler && own != &ipc_own_list; own = next) {
		next = own->next;
		if (own->detacher)
			ipc_fd_close_pipe(own->spare);
		if (moves(own))
			take_over(own);
		else
			close_numbers(own);
	}
	plan = BY_HANDLER;
}

static struct ipc_at_fork at_fork = {
	.floor = 2,
	.before = before_fork,
	.in_parent = after_fork_in_parent,
	.in_child = after_fork_in_child,
};

static int may_move(const struct ipc_own *own)
{
	uint64_t self = ipc_thread_serial();

	if (ipc_own_check(own) == -1)
		return -1;
	if (own->moved) {
		errno = EBADF;
		return -1;
	}
	if ((own->detacher && own->detacher != self) || (own->mover && own->mover != self)) {
		errno = EBUSY;
		return -1;
	}
	return 0;
}

/* Says that these move, or takes it back. */
static int mark(struct ipc_own *const *own, size_t n, uint64_t mover)
{
	int rc = 0;

	if (ipc_own_hold() == -1)
		return -1;
	ipc_at_fork(&at_fork);
	for (size_t i = 0; mover && i < n && rc == 0; i++)
		rc = may_move(own[i]);
	for (size_t i = 0; i < n && rc == 0; i++)
		own[i]->mover = mover;
	ipc_own_let_go();
	return rc;
}

pid_t ipc_own_fork(struct ipc_own *const *own, size_t n, int (*made)(pid_t pid, void *arg), void *arg)
{
	pid_t pid;
	int error;

	if (mark(own, n, ipc_thread_serial()) == -1)
		return -1;
	plan = own ? BY_LIST : BY_CALLER;
	pid = fork();
	if (pid == 0)
		return 0;
	if (pid != -1 && made(pid, arg) == -1)
		pid = -1;
	error = errno;
	if (ipc_own_hold() == 0) {
		if (pid != -1)
			close_moved();
		ipc_own_let_go();
	}
	plan = BY_HANDLER;
	mark(own, n, 0);
	errno = error;
	return pid;
}

void ipc_own_gone(struct ipc_own *const *own, size_t n)
{
	if (ipc_own_hold() == -1)
		return;
	for (size_t i = 0; i < n; i++)
		gone(own[i]);
	ipc_own_let_go();
}
