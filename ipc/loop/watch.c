/* Watches of libevent that survive a fork: see watch.h. */
#include "ipc/loop/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event_struct.h>

#include <aioipc/base.h>

#include "ipc/own/own.h"
#include "ipc/loop/here.h"

struct ipc_watch {
	struct event io;
	struct event *timer; /* NULL before the first ipc_watch_after(): most watches never need one */
	struct ipc_watch *next, **at; /* what points to it: a list, or the one before */
	struct ipc_home *home;        /* NULL once aioipc_base_reinit() dropped it */
	struct ipc_fd file;
	uint32_t epoch;
	short want;
	bool soon;   /* ipc_watch_soon() was called, the callback not yet */
	bool parked; /* freed, but an inherited base still lists it */
	ipc_watch_cb *cb;
	void *arg;
};

/* An event base that has watches: live ones of this process, dead ones of its parent. One for each address; freed with its last watch. */
struct ipc_home {
	struct ipc_home *next;
	struct event_base *base;
	bool closed; /* inherited, and libevent's own descriptors for it were closed */
	bool ours;   /* a thread of the library runs it */
	struct ipc_watch *live, *dead;
	/* During aioipc_base_reinit(), dead ones that still have the parent's file. */
	struct ipc_watch *shared;
};

/* By address; under the registry's mutex. */
#define BUCKETS 256
static struct ipc_home *homes[BUCKETS];

/* The dead watches of this process's parent have no number, whatever they say: its epoch. 0: they have. */
static uint32_t bare;

static struct ipc_at_fork at_fork;

static void push(struct ipc_watch **list, struct ipc_watch *w)
{
	w->next = *list;
	if (w->next)
		w->next->at = &w->next;
	w->at = list;
	*list = w;
}

static void take(struct ipc_watch *w)
{
	*w->at = w->next;
	if (w->next)
		w->next->at = w->at;
}

/* Before those that are in @to. Writes to two of them, however many they are. */
static void move_all(struct ipc_watch **from, struct ipc_watch **to)
{
	struct ipc_watch *last = *from;

	while (last && last->next)
		last = last->next;
	if (!last)
		return;
	last->next = *to;
	if (*to)
		(*to)->at = &last->next;
	*to = *from;
	(*to)->at = to;
	*from = NULL;
}

static struct event_base *base_of(const struct ipc_watch *w)
{
	return w->io.ev_base;
}

static struct ipc_home **bucket_of(const struct event_base *base)
{
	uintptr_t n = (uintptr_t)base;

	return &homes[(n >> 4 ^ n >> 12 ^ n >> 20) % BUCKETS];
}

static struct ipc_home *find(const struct event_base *base)
{
	struct ipc_home *home = *bucket_of(base);

	while (home && home->base != base)
		home = home->next;
	return home;
}

/* When @base has none, *@spare becomes it, and is NULL then. */
static struct ipc_home *find_or_put(struct event_base *base, struct ipc_home **spare)
{
	struct ipc_home *home = find(base), **bucket = bucket_of(base);

	if (home || !*spare)
		return home;
	home = *spare;
	*spare = NULL;
	*home = (struct ipc_home){.next = *bucket, .base = base};
	*bucket = home;
	return home;
}

/* Takes it out of the table when it has no watch left. Returns it then, for the caller to free; else NULL. */
static struct ipc_home *abandon(struct ipc_home *home)
{
	struct ipc_home **at = bucket_of(home->base);

	if (home->live || home->dead || home->shared)
		return NULL;
	while (*at != home)
		at = &(*at)->next;
	*at = home->next;
	return home;
}

static void call(struct ipc_watch *w, short what)
{
	struct event_base *outer = ipc_here.calling;

	if (w->epoch != ipc_epoch())
		return;
	ipc_here.calling = base_of(w);
	w->cb(what, w->arg);
	ipc_here.calling = outer;
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

/* Files: called in each turn of the loop while something is wanted. */
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
		w->want = 0; /* no memory: the callback will ask again */
	call(w, ready);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	call(arg, what | IPC_WATCH_TIMED);
}

/* Into the list of its base. Memory is allocated without the mutex. */
static int move_in(struct ipc_watch *w)
{
	struct ipc_home *spare = NULL;

	for (;;) {
		if (ipc_own_hold() == -1)
			break;
		ipc_at_fork(&at_fork);
		w->home = find_or_put(base_of(w), &spare);
		if (w->home)
			push(&w->home->live, w);
		ipc_own_let_go();
		if (w->home || !(spare = malloc(sizeof(*spare))))
			break;
	}
	free(spare);
	return w->home ? 0 : -1;
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
	*w = (struct ipc_watch){.file = file.r, .epoch = ipc_epoch(), .cb = cb, .arg = arg};
	if (event_assign(&w->io, base, fd, EV_PERSIST, on_io, w) == -1 || move_in(w) == -1) {
		free(w);
		return NULL;
	}
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
		event_assign(&w->io, base_of(w), -1, 0, on_turn, w);
		if (event_add(&w->io, &at_once) == -1)
			return -1;
	} else if (what) {
		event_assign(&w->io, base_of(w), w->file.fd, (short)(what | EV_PERSIST), on_io, w);
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
	if (w->file.fd == -1)
		return 0;
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

void ipc_watch_blind(struct ipc_watch *w)
{
	if (!w || !alive(w))
		return;
	event_del(&w->io);
	event_assign(&w->io, base_of(w), -1, EV_PERSIST, on_io, w);
	if (w->soon)
		event_active(&w->io, EV_TIMEOUT, 0);
	w->file.fd = -1;
	w->want = 0;
}

static int need_timer(struct ipc_watch *w)
{
	struct event *timer;

	if (w->timer)
		return 0;
	timer = malloc(sizeof *timer);
	if (!timer)
		return -1;
	event_assign(timer, base_of(w), -1, 0, on_timer, w);
	w->timer = timer;
	return 0;
}

int ipc_watch_after(struct ipc_watch *w, int64_t ns)
{
	int64_t us = (ns + 999) / 1000;
	struct timeval t = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};

	return alive(w) && need_timer(w) == 0 ? event_add(w->timer, &t) : -1;
}

void ipc_watch_later(struct ipc_watch *w, int64_t ns)
{
	if (ipc_watch_after(w, ns) == -1)
		ipc_watch_soon(w);
}

/*
 * Closes the placeholder of a dead watch: its number may mean another file afterwards. False when there is none, because the fork ran no handlers:
 * then the number is the very file that the parent watches.
 */
static bool let_number_go(struct ipc_watch *w)
{
	if (w->file.fd == -1)
		return true;
	if (w->epoch != bare) {
		if (!ipc_os_is_placeholder(w->file.fd))
			return false;
		close(w->file.fd);
	}
	w->file.fd = -1;
	return true;
}

/* Out of the list of its base. Lets the mutex go. */
static void move_out(struct ipc_watch *w)
{
	struct ipc_home *empty;

	take(w);
	empty = abandon(w->home);
	w->home = NULL;
	ipc_own_let_go();
	free(empty);
}

static bool is_in(const struct event *ev)
{
	const int in_base = EVLIST_INSERTED | EVLIST_TIMEOUT | EVLIST_ACTIVE | EVLIST_ACTIVE_LATER;

	return ev->ev_evcallback.evcb_flags & in_base;
}

static bool has_timer_in(const struct ipc_watch *w)
{
	return w->timer && is_in(w->timer);
}

static void free_memory(struct ipc_watch *w)
{
	free(w->timer);
	free(w);
}

/* event_del() is not allowed here: a thread of the parent may have held the base's lock at the fork. */
static void free_dead(struct ipc_watch *w)
{
	let_number_go(w);
	if (ipc_own_hold() == -1)
		return;
	w->parked = w->home && (is_in(&w->io) || has_timer_in(w));
	if (w->parked) {
		ipc_own_let_go();
		return;
	}
	if (w->home)
		move_out(w);
	else
		ipc_own_let_go();
	free_memory(w);
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
	if (w->timer)
		event_del(w->timer);
	ipc_watch_forget(w);
}

/* event_base_free() removes all events. */
bool ipc_watch_base_freed(const struct ipc_watch *w)
{
	return !has_timer_in(w);
}

void ipc_watch_forget(struct ipc_watch *w)
{
	if (!w || ipc_own_hold() == -1)
		return;
	move_out(w);
	free_memory(w);
}

/* Puts a placeholder on @fd. *@spare is the one that is duplicated, made at the first call; when no number is left for it, @fd is closed first. */
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

/* A number that libevent does not know needs no placeholder, nor one of a base that nobody makes anew. */
static void forked_number(struct ipc_watch *w, int *spare, int *keep)
{
	if (!ipc_fd_is_ours(&w->file))
		return;
	if (w->home->ours || !(w->io.ev_evcallback.evcb_flags & EVLIST_INSERTED)) {
		close(w->file.fd);
		w->file.fd = -1;
		return;
	}
	put_placeholder(w->file.fd, spare);
	if (*spare == w->file.fd)
		*keep = *spare;
	if (*spare == -1)
		w->file.fd = -1;
}

/* As after a plain fork(): the child may call event_reinit() itself. */
static void forked_numbers(const struct ipc_home *home, int *spare, int *keep)
{
	for (struct ipc_watch *w = home->live; w; w = w->next)
		forked_number(w, spare, keep);
}

/* The child of ipc_own_fork() does not. The live ones are only read: each page that is written to would be copied. Returns their epoch, or 0. */
static uint32_t close_numbers(const struct ipc_home *home)
{
	for (struct ipc_watch *w = home->dead; w; w = w->next)
		let_number_go(w);
	for (struct ipc_watch *w = home->live; w; w = w->next)
		ipc_fd_close_ours(&w->file);
	return home->live ? home->live->epoch : 0;
}

/*
 * All watches are dead. Before the floor below closes what they watched: then the numbers would be free. Where no handler ran, a number may mean
 * another file by now.
 */
static void after_fork_in_child(bool by_handler)
{
	bool closes = by_handler && ipc_own_forked();
	uint32_t parent = 0;
	int spare = -1, keep = -1;

	for (struct ipc_home **bucket = homes; bucket < homes + BUCKETS; bucket++) {
		for (struct ipc_home *home = *bucket; home; home = home->next) {
			if (closes)
				parent |= close_numbers(home);
			else if (by_handler)
				forked_numbers(home, &spare, &keep);
			move_all(&home->live, &home->dead);
		}
	}
	if (spare != -1 && spare != keep)
		close(spare);
	if (closes)
		bare = parent;
}

static struct ipc_at_fork at_fork = {.floor = 3, .in_child = after_fork_in_child};

void ipc_watch_base_is_ours(struct event_base *base)
{
	struct ipc_home *home;

	if (ipc_own_hold() == -1)
		return;
	home = find(base);
	if (home)
		home->ours = true;
	ipc_own_let_go();
}

void ipc_watch_bases_closed(void)
{
	if (ipc_own_hold() == -1)
		return;
	for (struct ipc_home **bucket = homes; bucket < homes + BUCKETS; bucket++)
		for (struct ipc_home *home = *bucket; home; home = home->next)
			home->closed = true;
	ipc_own_let_go();
}

/* Takes the next dead watch out of the list of @base. @before event_reinit(), those with the parent's file are put aside. */
static struct ipc_watch *next_dead(struct event_base *base, bool before)
{
	struct ipc_home *home;
	struct ipc_watch *w = NULL;

	if (ipc_own_hold() == -1)
		return NULL;
	home = find(base);
	while (home && before && (w = home->dead) && !let_number_go(w)) {
		take(w);
		push(&home->shared, w);
	}
	if (home && !before)
		w = home->shared;
	if (w)
		move_out(w);
	else
		ipc_own_let_go();
	return w;
}

/*
 * The parent's epoll knows a file by its number. Where the fork handler has put a placeholder there, an event can be deleted before
 * event_reinit(), which then needs no file at that number.
 */
static void bury_dead(struct event_base *base, bool before)
{
	struct ipc_watch *w;

	while ((w = next_dead(base, before))) {
		event_del(&w->io);
		if (w->timer)
			event_del(w->timer);
		if (w->parked)
			free_memory(w);
	}
}

int aioipc_base_reinit(struct event_base *base)
{
	const struct ipc_home *home;
	bool ours, closed;
	int error = 0;

	if (ipc_own_hold() == -1)
		return -1;
	home = find(base);
	ours = home && home->live && !home->dead;
	closed = home && home->closed;
	ipc_own_let_go();
	if (ours)
		return 0;
	if (closed) {
		errno = ECHILD;
		return -1;
	}
	bury_dead(base, true);
	errno = 0;
	if (event_reinit(base) == -1)
		error = errno ? errno : EIO;
	bury_dead(base, false);
	errno = error;
	return error ? -1 : 0;
}

/*
 * A base with a dead watch is inherited. Or the inherited one was freed and this is a new one at the same address: event_reinit() does it no
 * harm.
 */
int ipc_watch_base_ok(struct event_base *base)
{
	const struct ipc_home *home;
	bool inherited;

	if (ipc_own_hold() == -1)
		return -1;
	home = find(base);
	inherited = home && home->dead;
	ipc_own_let_go();
	if (!inherited)
		return 0;
	if (ipc_os_one_thread() || ipc_in_callback(base))
		return aioipc_base_reinit(base);
	errno = ECHILD;
	return -1;
}
