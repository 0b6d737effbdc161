/* The epoch, the mutex, and the fork handlers: see epoch.h. */
#include "ipc/own/epoch.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "ipc/os/os.h"

/* The epoch's word lies in a page that fork wipes. 0: this process has not looked yet; 1: it is looking. */
static _Atomic(uint32_t) plain_word;
_Atomic(uint32_t) *_Atomic ipc_epoch_word = &plain_word;
static uint32_t last_epoch = 1;

/* The fork handlers hold it from before fork until after it; @forks says so in their thread. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local bool forks;

/* Under the mutex. Whole at any moment, because a fork without handlers does not wait for the mutex. */
static struct ipc_at_fork *_Atomic floors;

/* From the handler before fork to the one after it, under the mutex. */
static bool parent_asks;
static int shake[2] = {-1, -1};
static int errno_before;

uint64_t ipc_thread_serial(void)
{
	static _Atomic(uint64_t) last;
	static _Thread_local uint64_t serial;

	if (!serial)
		serial = atomic_fetch_add(&last, 1) + 1;
	return serial;
}

static void close_shake(void)
{
	for (int i = 0; i < 2; i++)
		if (shake[i] != -1)
			close(shake[i]);
	shake[0] = shake[1] = -1;
}

static void before_fork(void)
{
	ipc_epoch();
	pthread_mutex_lock(&lock);
	forks = true;
	parent_asks = false;
	for (struct ipc_at_fork *f = floors; f; f = f->next)
		if (f->before && f->before(shake))
			parent_asks = true;
	errno_before = errno;
	if (parent_asks)
		errno = 0;
}

/*
 * The parent's handler runs when fork failed too, and is not told its result. The child writes a byte first of all; when there is no
 * child, the pipe ends. Somebody unknown may hold the pipe (a child that another thread forked without handlers). Then errno decides, after
 * the child had time: another handler may have set it.
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

static void after_fork_in_parent(void)
{
	int error = errno;
	bool made = parent_asks && child_was_made(error);

	if (made)
		error = errno_before;
	close_shake();
	for (struct ipc_at_fork *f = floors; f && parent_asks; f = f->next)
		if (f->in_parent)
			f->in_parent(made);
	forks = false;
	pthread_mutex_unlock(&lock);
	errno = error;
}

static void tell_floors(bool by_handler)
{
	for (struct ipc_at_fork *f = floors; f; f = f->next)
		f->in_child(by_handler);
}

static void after_fork_in_child(void)
{
	while (shake[1] != -1 && write(shake[1], "", 1) == -1 && errno == EINTR)
		;
	close_shake();
	atomic_store(atomic_load(&ipc_epoch_word), ++last_epoch);
	tell_floors(true);
	forks = false;
	pthread_mutex_unlock(&lock);
}

/* Under the mutex, or before anything else runs. */
static int register_handlers(void)
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

/* Without such a page only the handlers notice a fork. */
static void map_word(void)
{
	_Atomic(uint32_t) *page = ipc_os_page_of_this_process();

	if (page)
		atomic_store(&ipc_epoch_word, page);
	else
		register_handlers();
}

uint32_t ipc_epoch_new(void)
{
	_Atomic(uint32_t) *word = atomic_load(&ipc_epoch_word);
	uint32_t epoch = 0;

	if (forks) /* somebody else's handler asks in the child, and ours has not run yet */
		return last_epoch;
	if (atomic_compare_exchange_strong(word, &epoch, 1)) {
		if (last_epoch == 1) {
			map_word();
		} else {
			tell_floors(false);
			pthread_mutex_init(&lock, NULL); /* who held it in the parent is not here */
		}
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

int ipc_own_hold(void)
{
	ipc_epoch();
	if (forks) {
		errno = EBUSY;
		return -1;
	}
	pthread_mutex_lock(&lock);
	if (register_handlers() == 0)
		return 0;
	pthread_mutex_unlock(&lock);
	return -1;
}

bool ipc_own_hold_anyway(void)
{
	ipc_epoch();
	return !forks && pthread_mutex_lock(&lock) == 0;
}

void ipc_own_let_go(void)
{
	pthread_mutex_unlock(&lock);
}

/* The last store puts it into the list: a fork without handlers, which may come at any moment, finds it there or not. */
void ipc_at_fork(struct ipc_at_fork *f)
{
	struct ipc_at_fork *_Atomic *at = &floors;

	for (const struct ipc_at_fork *one = floors; one; one = one->next)
		if (one == f)
			return;
	while (*at && (*at)->floor > f->floor)
		at = &(*at)->next;
	f->next = *at;
	*at = f;
}
