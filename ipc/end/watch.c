/* Watches of libevent that survive a fork: see watch.h. */
#include "ipc/end/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event_struct.h>

#include <aioipc/base.h>

#include "ipc/end/fork.h"
#include "ipc/end/own.h"
#include "ipc/end/wait.h"

struct ipc_watch {
	struct event io, timer;
	struct ipc_watch *next, *prev;
	struct event_base *base; /* NULL once aioipc_base_reinit() dropped it */
	struct ipc_fd file;
	uint32_t epoch;
	short want;
	bool soon;   /* asked for, not yet called */
	bool parked; /* freed, but still in an inherited base */
	ipc_watch_cb *cb;
	void *arg;
};

/* Of this process, and inherited; under the registry's mutex. */
static struct list {
	struct ipc_watch *first;
} live, dead;

static _Thread_local struct event_base *running;

static void push(struct list *l, struct ipc_watch *w)
{
	w->prev = NULL;
	w->next = l->first;
	if (w->next)
		w->next->prev = w;
	l->first = w;
}

static void take(struct list *l, struct ipc_watch *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		l->first = w->next;
	if (w->next)
		w->next->prev = w->prev;
}

struct event_base *ipc_watch_running(void)
{
	return running;
}

static void call(struct ipc_watch *w, short what)
{
	struct event_base *outer = running;

	if (w->epoch != ipc_epoch())
		return;
	running = w->base;
	w->cb(what, w->arg);
	running = outer;
}

static bool alive(const struct ipc_watch *w);
static int arm(struct ipc_watch *w, short what);

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	struct ipc_watch *w = arg;

	(void)fd;
	if (what & EV_TIMEOUT)
		w->soon = false;
	call(w, what);
}

/* A file's turn, once in each of the loop's, as long as somebody wants it. */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct ipc_watch *w = arg;
	short ready = w->soon ? EV_TIMEOUT : 0;

	(void)fd;
	(void)what;
	if (!alive(w))
		return;
	ready |= w->want;
	w->soon = false;
	if (w->want && arm(w, w->want) == -1)
		w->want = 0; /* for want of memory: who is called asks again */
	call(w, ready);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	call(arg, what);
}

struct ipc_watch *ipc_watch_new(struct event_base *base, int fd, ipc_watch_cb *cb, void *arg)
{
	struct ipc_own file;
	struct ipc_watch *w;

	ipc_own_init(&file);
	if (ipc_watch_base_ok(base) == -1 || ipc_own_set(&file, fd, -1) == -1)
		return NULL;
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	*w = (struct ipc_watch){.base = base, .file = file.r, .epoch = ipc_epoch(), .cb = cb, .arg = arg};
	if (event_assign(&w->io, base, fd, EV_PERSIST, on_io, w) == -1 ||
	    event_assign(&w->timer, base, -1, 0, on_timer, w) == -1 || ipc_own_hold() == -1) {
		free(w);
		return NULL;
	}
	push(&live, w);
	ipc_own_let_go();
	return w;
}

static bool alive(const struct ipc_watch *w)
{
	if (w->epoch == ipc_epoch())
		return true;
	errno = ECHILD;
	return false;
}

static int arm(struct ipc_watch *w, short what)
{
	const struct timeval at_once = {0};

	event_del(&w->io);
	if (what && w->file.kind == IPC_FD_FILE) {
		event_assign(&w->io, w->base, -1, 0, on_turn, w);
		if (event_add(&w->io, &at_once) == -1)
			return -1;
	} else if (what) {
		event_assign(&w->io, w->base, w->file.fd, (short)(what | EV_PERSIST), on_io, w);
		if (event_add(&w->io, NULL) == -1)
			return -1;
	}
	if (w->soon)
		event_active(&w->io, EV_TIMEOUT, 0);
	return 0;
}

int ipc_watch_want(struct ipc_watch *w, short what)
{
	int error;

	if (w->want == what)
		return 0;
	if (!alive(w))
		return -1;
	if (arm(w, what) == 0) {
		w->want = what;
		return 0;
	}
	error = errno;
	if (arm(w, w->want) == -1)
		w->want = 0;
	errno = error;
	return -1;
}

void ipc_watch_soon(struct ipc_watch *w)
{
	if (w->soon || !alive(w))
		return;
	w->soon = true;
	event_active(&w->io, EV_TIMEOUT, 0);
}

int ipc_watch_after(struct ipc_watch *w, int64_t ns)
{
	int64_t us = (ns + 999) / 1000;
	struct timeval t = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};

	return alive(w) ? event_add(&w->timer, &t) : -1;
}

void ipc_watch_later(struct ipc_watch *w, int64_t ns)
{
	if (ipc_watch_after(w, ns) == -1)
		ipc_watch_soon(w);
}

/* Nothing of libevent's refers to it any more. */
static void drop(struct ipc_watch *w)
{
	if (w->file.fd != -1 && w->epoch != ipc_epoch() && ipc_os_is_placeholder(w->file.fd))
		close(w->file.fd);
	free(w);
}

static void free_dead(struct ipc_watch *w)
{
	bool inherited = w->base;

	if (ipc_own_hold() == -1)
		return;
	if (inherited)
		w->parked = true;
	else
		take(&dead, w);
	ipc_own_let_go();
	if (!inherited)
		drop(w);
}

void ipc_watch_free(struct ipc_watch *w)
{
	if (!w)
		return;
	if (!alive(w)) {
		free_dead(w);
		return;
	}
	event_del(&w->io);
	event_del(&w->timer);
	if (ipc_own_hold() == 0) {
		take(&live, w);
		ipc_own_let_go();
		drop(w);
	}
}

/* event_base_free() takes all events out of the base. */
bool ipc_watch_base_freed(const struct ipc_watch *w)
{
	return !(w->timer.ev_evcallback.evcb_flags & (EVLIST_TIMEOUT | EVLIST_ACTIVE | EVLIST_ACTIVE_LATER));
}

void ipc_watch_forget(struct ipc_watch *w)
{
	if (!w || ipc_own_hold() == -1)
		return;
	take(&live, w);
	ipc_own_let_go();
	drop(w);
}

/* Puts *@spare, made at the first call, on @fd. With no number left for it, @fd itself is closed to have one. */
static void put_placeholder(int fd, int *spare)
{
	if (*spare == -1)
		*spare = ipc_os_placeholder();
	if (*spare == -1) {
		close(fd);
		*spare = ipc_os_placeholder();
	}
	if (*spare != -1 && *spare != fd)
		dup3(*spare, fd, O_CLOEXEC);
}

void ipc_watch_forked(bool own_numbers)
{
	struct ipc_watch *w, *next;
	int spare = -1, keep = -1;

	for (w = live.first; w; w = next) {
		next = w->next;
		if (own_numbers && ipc_fd_is_ours(&w->file)) {
			put_placeholder(w->file.fd, &spare);
			if (spare == w->file.fd)
				keep = spare;
		}
		push(&dead, w);
	}
	live.first = NULL;
	if (spare != keep)
		close(spare);
}

static bool has(const struct list *l, const struct event_base *base)
{
	const struct ipc_watch *w = l->first;

	while (w && w->base != base)
		w = w->next;
	return w;
}

/* Takes the next dead watch that is still in @base. */
static struct ipc_watch *next_dead(struct event_base *base)
{
	struct ipc_watch *w;

	if (ipc_own_hold() == -1)
		return NULL;
	for (w = dead.first; w && w->base != base; w = w->next)
		;
	if (w) {
		w->base = NULL;
		if (w->parked)
			take(&dead, w);
	}
	ipc_own_let_go();
	return w;
}

int aioipc_base_reinit(struct event_base *base)
{
	struct ipc_watch *w;
	bool ours;
	int error = 0;

	if (ipc_own_hold() == -1)
		return -1;
	ours = has(&live, base) && !has(&dead, base);
	ipc_own_let_go();
	if (ours)
		return 0;
	errno = 0;
	if (event_reinit(base) == -1)
		error = errno ? errno : EIO;
	while ((w = next_dead(base))) {
		event_del(&w->io);
		event_del(&w->timer);
		if (w->parked)
			drop(w);
	}
	errno = error;
	return error ? -1 : 0;
}

/*
 * A dead watch on a base of this address means an inherited base; or, when that was freed unasked, a new one in its place,
 * which event_reinit() does no harm.
 */
int ipc_watch_base_ok(struct event_base *base)
{
	bool inherited;

	if (ipc_own_hold() == -1)
		return -1;
	inherited = has(&dead, base);
	ipc_own_let_go();
	if (!inherited)
		return 0;
	if (ipc_os_one_thread() || ipc_in_callback(base))
		return aioipc_base_reinit(base);
	errno = ECHILD;
	return -1;
}
