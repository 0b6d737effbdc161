/*
 * What fork does to the registry: see fork.h. In the child the handler makes system calls and plain stores
 * only, because another thread of the parent may have held any lock when it forked.
 */
#include "ipc/own/fork.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "ipc/loop/watch.h"

/* The epoch's word: 0 in a process that has not looked yet, 1 while it looks. It lives in a page that fork wipes. */
static _Atomic(uint32_t) plain_word;
_Atomic(uint32_t) *_Atomic ipc_epoch_word = &plain_word;
static uint32_t last_epoch = 1;

/* Who knows which ends move, and whether fork failed? */
static _Thread_local enum { BY_HANDLER, BY_CALLER, BY_LIST } plan;

/* From the prepare handler to the next one, under the mutex: does anything move, and the pipe by which the child says so. */
static bool moving;
static int shake[2] = {-1, -1};
static int errno_before;

/* Without such a page nobody but the handlers tells of a fork. */
static void map_word(void)
{
	_Atomic(uint32_t) *page = ipc_os_page_of_this_process();

	if (page)
		atomic_store(&ipc_epoch_word, page);
	else
		ipc_fork_handlers();
}

/* A fork without handlers: all that the parent had is dead, and stays open until this process execs or ends. */
static void forget(void)
{
	ipc_own_forget_all();
	ipc_watch_forked(false);
	ipc_own_lock_anew();
}

uint32_t ipc_epoch_new(void)
{
	_Atomic(uint32_t) *word = atomic_load(&ipc_epoch_word);
	uint32_t epoch = 0;

	if (ipc_own_locked_by_fork()) /* another child handler asks, and ours has not run yet */
		return last_epoch;
	if (atomic_compare_exchange_strong(word, &epoch, 1)) {
		if (last_epoch == 1)
			map_word();
		else
			forget();
		atomic_store(atomic_load(&ipc_epoch_word), ++last_epoch);
	}
	while ((epoch = atomic_load(atomic_load(&ipc_epoch_word))) <= 1)
		sched_yield();
	return epoch;
}

/* Early, so that no thread is in the middle of it when another one forks without handlers. */
__attribute__((constructor)) static void first_epoch(void)
{
	ipc_epoch();
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

static void before_fork(void)
{
	struct ipc_own *own;

	ipc_epoch();
	ipc_own_lock();
	moving = false;
	if (plan != BY_HANDLER)
		return;
	for (own = ipc_own_list.next; own != &ipc_own_list; own = own->next) {
		if (!moves(own))
			continue;
		moving = true;
		if (shake[0] == -1)
			swap_pipes(shake, own->spare);
	}
	errno_before = errno;
	if (moving)
		errno = 0;
}

/*
 * This handler runs when fork failed too, and can't see its result. The child writes a byte first of all; when there is
 * none, the pipe ends. While someone unknown holds the pipe (a fork without handlers in another
 * thread), errno decides: another handler may have set it, so not before a child had time.
 */
static bool child_was_made(int error)
{
	struct pollfd fd = {.fd = shake[0], .events = POLLIN};
	char c;
	int ready;

	if (shake[0] == -1)
		return error == 0;
	close(shake[1]);
	shake[1] = -1;
	do
		ready = ipc_os_poll(&fd, 1, error ? 1000000000 : -1);
	while (ready == -1 && errno == EINTR);
	return ready == 1 && read(fd.fd, &c, 1) == 1;
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

/* For the next fork, in the place of the pipe that this one used up. */
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

static void after_fork_in_parent(void)
{
	int error = errno;
	bool made = moving && child_was_made(error);

	ipc_own_close_pipe(shake);
	if (made) {
		close_moved();
		error = errno_before;
	} else if (moving) {
		renew_spare();
	}
	ipc_own_unlock();
	errno = error;
}

/* What came along becomes this process's; the rest is closed, and its numbers are other people's from now on. */
static void take_over(struct ipc_own *own)
{
	bool ours = moves(own);

	ipc_own_close_pipe(own->spare);
	own->detacher = own->mover = 0;
	if (ours) {
		own->epoch = last_epoch;
		return;
	}
	if (ipc_fd_is_ours(&own->r))
		close(own->r.fd);
	if (own->w.fd != own->r.fd && ipc_fd_is_ours(&own->w))
		close(own->w.fd);
	ipc_own_unlink(own);
}

static void after_fork_in_child(void)
{
	struct ipc_own *own, *next;

	while (shake[1] != -1 && write(shake[1], "", 1) == -1 && errno == EINTR)
		;
	ipc_own_close_pipe(shake);
	last_epoch++;
	ipc_watch_forked(true);
	for (own = ipc_own_list.next; own != &ipc_own_list; own = next) {
		next = own->next;
		take_over(own);
	}
	plan = BY_HANDLER;
	atomic_store(atomic_load(&ipc_epoch_word), last_epoch);
	ipc_own_lock_anew();
}

int ipc_fork_handlers(void)
{
	static bool registered;
	int error;

	if (registered)
		return 0;
	error = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
	if (error) {
		errno = error;
		return -1;
	}
	registered = true;
	return 0;
}

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
