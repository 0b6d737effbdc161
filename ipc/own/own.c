/* The registry of descriptors: see own.h. What fork does to it is in fork.c. */
#include "ipc/own/own.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/own/fork.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local bool locked_by_fork;
static _Thread_local uint64_t serial;

_Thread_local void (*ipc_own_closes)(int fd);

struct ipc_own ipc_own_list = {.next = &ipc_own_list, .prev = &ipc_own_list};

/* Whose number is it? One that was closed stays in its place until its owner leaves. */
#define NUMBERS 4096
static struct ipc_fd *numbers[NUMBERS];

uint64_t ipc_thread_serial(void)
{
	static _Atomic(uint64_t) last;

	if (!serial)
		serial = atomic_fetch_add(&last, 1) + 1;
	return serial;
}

/* The fork handlers hold the mutex from before fork until after it. */
void ipc_own_lock(void)
{
	pthread_mutex_lock(&lock);
	locked_by_fork = true;
}

void ipc_own_unlock(void)
{
	locked_by_fork = false;
	pthread_mutex_unlock(&lock);
}

void ipc_own_lock_anew(void)
{
	locked_by_fork = false;
	pthread_mutex_init(&lock, NULL);
}

bool ipc_own_locked_by_fork(void)
{
	return locked_by_fork;
}

int ipc_own_hold(void)
{
	ipc_epoch();
	if (locked_by_fork) {
		errno = EBUSY;
		return -1;
	}
	pthread_mutex_lock(&lock);
	if (ipc_fork_handlers() == 0)
		return 0;
	pthread_mutex_unlock(&lock);
	return -1;
}

void ipc_own_let_go(void)
{
	pthread_mutex_unlock(&lock);
}

/*
 * For what can't fail: another atfork handler may close too, its thread has the mutex then. True when it was taken
 * here, and is to be let go.
 */
static bool hold_anyway(void)
{
	ipc_epoch();
	return !locked_by_fork && pthread_mutex_lock(&lock) == 0;
}

void ipc_own_init(struct ipc_own *own)
{
	*own = (struct ipc_own){.next = own,
				.prev = own,
				.epoch = ipc_epoch(),
				.spare = {-1, -1},
				.r = {.fd = -1},
				.w = {.fd = -1}};
}

static int set_fd(struct ipc_fd *f, int fd)
{
	struct stat st;

	if (fd == -1)
		return 0;
	if (fstat(fd, &st) == -1)
		return -1;
	*f = (struct ipc_fd){.fd = fd, .kind = ipc_os_fdkind(fd), .dev = st.st_dev, .ino = st.st_ino};
	return 0;
}

int ipc_own_set(struct ipc_own *own, int rfd, int wfd)
{
	struct ipc_fd r = {.fd = -1}, w = {.fd = -1};

	if (set_fd(&r, rfd) == -1 || set_fd(&w, wfd) == -1)
		return -1;
	own->r = r;
	own->w = w;
	return 0;
}

static void put_number(struct ipc_fd *f)
{
	struct ipc_fd **at = &numbers[(unsigned)f->fd % NUMBERS];

	f->next = *at;
	f->at = at;
	if (f->next)
		f->next->at = &f->next;
	*at = f;
}

static void take_number(struct ipc_fd *f)
{
	if (!f->at)
		return;
	*f->at = f->next;
	if (f->next)
		f->next->at = f->at;
	f->at = NULL;
}

void ipc_own_link(struct ipc_own *own)
{
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
	take_number(&own->r);
	take_number(&own->w);
	own->prev->next = own->next;
	own->next->prev = own->prev;
	own->next = own->prev = own;
}

bool ipc_fd_is_ours(const struct ipc_fd *f)
{
	struct stat st;

	return f->fd != -1 && fstat(f->fd, &st) == 0 && st.st_dev == f->dev && st.st_ino == f->ino;
}

bool ipc_own_taken(int fd)
{
	const struct ipc_fd *f;

	for (f = numbers[(unsigned)fd % NUMBERS]; f; f = f->next)
		if (f->fd == fd && ipc_fd_is_ours(f))
			return true;
	return false;
}

void ipc_own_forget_all(void)
{
	struct ipc_own *own, *next;

	for (own = ipc_own_list.next; own != &ipc_own_list; own = next) {
		next = own->next;
		own->next = own->prev = own;
		own->r.at = own->w.at = NULL;
	}
	ipc_own_list.next = ipc_own_list.prev = &ipc_own_list;
	for (int i = 0; i < NUMBERS; i++)
		numbers[i] = NULL;
}

int ipc_own_transfer(struct ipc_own *to, struct ipc_own *from)
{
	if (ipc_own_check(from) == -1 || ipc_own_hold() == -1)
		return -1;
	if (from->moved || from->detacher) {
		errno = from->moved ? EBADF : EBUSY;
		ipc_own_let_go();
		return -1;
	}
	ipc_own_unlink(from);
	*to = *from;
	ipc_own_link(to);
	from->r.fd = from->w.fd = -1;
	ipc_own_let_go();
	return 0;
}

void ipc_own_close_pipe(int fd[2])
{
	for (int i = 0; i < 2; i++)
		if (fd[i] != -1)
			close(fd[i]);
	fd[0] = fd[1] = -1;
}

static void undetach(struct ipc_own *own)
{
	if (own->epoch == ipc_epoch())
		ipc_own_close_pipe(own->spare);
	own->detacher = 0;
}

void ipc_own_remove(struct ipc_own *own)
{
	bool held = hold_anyway();

	undetach(own);
	ipc_own_unlink(own);
	if (held)
		ipc_own_let_go();
}

static int turn_nonblock_on(struct ipc_fd *f)
{
	bool was;

	if (f->fd == -1 || f->kind != IPC_FD_PIPE)
		return 0;
	if (ipc_os_set_nonblock(f->fd, true, &was) == -1)
		return -1;
	f->nonblock = f->nonblock || !was;
	return 0;
}

static void give_flags_back(const struct ipc_fd *f)
{
	if (f->nonblock)
		ipc_os_set_nonblock(f->fd, false, NULL);
}

int ipc_own_set_nonblock(struct ipc_own *own)
{
	int error;

	if (turn_nonblock_on(&own->r) == -1)
		return -1;
	if (turn_nonblock_on(&own->w) == 0)
		return 0;
	error = errno;
	give_flags_back(&own->r);
	own->r.nonblock = false;
	errno = error;
	return -1;
}

/* One socket under two numbers, as who serves from inetd has it: closing one of them tells the peer nothing. */
static bool is_same_socket(const struct ipc_fd *a, const struct ipc_fd *b)
{
	return ipc_os_is_socket(a->kind) && b->fd != -1 && a->dev == b->dev && a->ino == b->ino;
}

/*
 * The process ends while it has adopted some: a shell's terminal and its pipes are to be as they were. What a forked child's
 * parent adopted is none of the child's.
 */
static void give_all_flags_back(const struct ipc_own *own)
{
	if (!own->adopted)
		return;
	if (ipc_fd_is_ours(&own->r))
		give_flags_back(&own->r);
	if (ipc_fd_is_ours(&own->w))
		give_flags_back(&own->w);
}

/* Under the mutex, so that no fork copies a descriptor that has left the registry and is not closed yet. */
static void close_fd(struct ipc_own *own, struct ipc_fd *f)
{
	struct ipc_fd *other = f == &own->r ? &own->w : &own->r;
	int error = errno;

	if (own->epoch == ipc_epoch() && ipc_fd_is_ours(f)) {
		if (f == &own->w && is_same_socket(f, other))
			ipc_os_shutdown_write(f->fd);
		if (f->fd == other->fd) {
			other->nonblock |= f->nonblock;
		} else {
			if (own->adopted)
				give_flags_back(f);
			close(f->fd);
		}
	}
	f->fd = -1;
	errno = error;
}

void ipc_own_close_held(struct ipc_own *own)
{
	close_fd(own, &own->r);
	close_fd(own, &own->w);
	undetach(own);
	ipc_own_unlink(own);
}

static void tell_closing(const struct ipc_own *own, int fd)
{
	if (ipc_own_closes && fd != -1 && own->epoch == ipc_epoch())
		ipc_own_closes(fd);
}

static void close_one(struct ipc_own *own, struct ipc_fd *f)
{
	bool held;

	if (f->fd == -1)
		return;
	if (own->r.fd != own->w.fd)
		tell_closing(own, f->fd);
	held = hold_anyway();
	close_fd(own, f);
	if (held)
		ipc_own_let_go();
}

void ipc_own_close_read(struct ipc_own *own)
{
	close_one(own, &own->r);
}

void ipc_own_close_write(struct ipc_own *own)
{
	close_one(own, &own->w);
}

void ipc_own_close(struct ipc_own *own)
{
	bool held;

	tell_closing(own, own->r.fd);
	tell_closing(own, own->w.fd);
	held = hold_anyway();
	ipc_own_close_held(own);
	if (held)
		ipc_own_let_go();
}

__attribute__((destructor)) void ipc_own_end_in_order(void)
{
	bool held = hold_anyway();

	for (struct ipc_own *own = ipc_own_list.next; own != &ipc_own_list; own = own->next) {
		if (ipc_own_check(own) == -1)
			continue;
		if (own->in_order)
			own->in_order(own);
		give_all_flags_back(own);
	}
	if (held)
		ipc_own_let_go();
}

int ipc_own_detach(struct ipc_own *own)
{
	uint64_t self = ipc_thread_serial();
	int rc = -1;

	if (ipc_own_check(own) == -1 || ipc_own_hold() == -1)
		return -1;
	if (own->moved)
		errno = EBADF;
	else if (own->detacher && own->detacher != self)
		errno = EBUSY;
	else if (own->detacher || ipc_os_pipe(own->spare) == 0) {
		own->detacher = self;
		rc = 0;
	}
	ipc_own_let_go();
	return rc;
}

int ipc_own_reclaim(struct ipc_own *own)
{
	int rc = -1;

	if (ipc_own_check(own) == -1 || ipc_own_hold() == -1)
		return -1;
	if (own->moved || !own->detacher)
		errno = own->moved ? EBADF : EINVAL;
	else {
		undetach(own);
		rc = 0;
	}
	ipc_own_let_go();
	return rc;
}

size_t ipc_own_detached(struct ipc_own **list, size_t room)
{
	uint64_t self = ipc_thread_serial();
	struct ipc_own *own;
	size_t n = 0;

	if (ipc_own_hold() == -1)
		return 0;
	for (own = ipc_own_list.next; own != &ipc_own_list; own = own->next) {
		if (own->detacher != self)
			continue;
		if (n < room)
			list[n] = own;
		n++;
	}
	ipc_own_let_go();
	return n;
}
