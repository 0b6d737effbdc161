/*
 * Watches of queues: see watch.h. Whether there is something for a watch to do is decided under the queue's lock when its
 * base's loop comes to it, not when it is rung. It is called once a turn while there is something to get: a callback that
 * takes one message and returns misses nothing, and the loop stays fair.
 */
#include "ipc/flow/watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <event2/event.h>

#include "ipc/own/own.h"
#include "ipc/loop/turn.h"
#include "ipc/loop/watch.h"
#include "ipc/flow/queue.h"
#include "ipc/os/bell.h"

struct ipc_flow_watch {
	struct ipc_flow_watch *next;
	struct aioqueue *queue;
	struct event_base *base;
	struct ipc_watch *watch;
	struct ipc_turn *first_turn; /* NULL: it has come */
	int bell[2];
	pthread_t thread; /* that runs the base: known once it has been here */
	bool thread_known;
	bool of_the_user;       /* made by aioqueue_watch() */
	bool patient;           /* for room, until the queue is half empty */
	bool rung;              /* and not yet answered */
	bool calling;           /* its callbacks run */
	bool over;              /* taken back while they ran */
	bool no_items, no_room; /* not to be called for them now */
	bool items_wanted;      /* it found nothing: to be rung for the next message */
	bool room_wanted;       /* it was refused: to be rung when @charge bytes fit */
	bool end_told;
	size_t charge;
	aioqueue_cb *on_items, *on_room;
	void *arg;
};

static bool is_here(const struct ipc_flow_watch *w)
{
	return w->thread_known && pthread_equal(w->thread, pthread_self());
}

static void ring(struct ipc_flow_watch *w)
{
	if (w->rung)
		return;
	w->rung = true;
	if (is_here(w))
		ipc_watch_soon(w->watch);
	else
		ipc_os_bell_ring(w->bell[1]);
}

static bool has_items(const struct ipc_flow_watch *w)
{
	return w->on_items && !w->no_items &&
	       (ipc_queue_has_items(w->queue) || (ipc_queue_is_closed(w->queue) && !w->end_told));
}

static bool has_room(const struct ipc_flow_watch *w)
{
	const struct aioqueue *q = w->queue;

	if (!w->on_room || w->no_room || !w->room_wanted)
		return false;
	return ipc_queue_is_closed(q) ||
	       (ipc_queue_has_room(q, w->charge) && (!w->patient || ipc_queue_is_half_empty(q)));
}

static void leave(struct ipc_flow_watch *w)
{
	struct ipc_flow_watch **at = &w->queue->watches;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
}

/* Who is served goes behind all others: those who wait for the same take turns. */
static void go_last(struct ipc_flow_watch *w)
{
	struct ipc_flow_watch **at;

	if (!w->next)
		return;
	leave(w);
	for (at = &w->queue->watches; *at; at = &(*at)->next)
		;
	*at = w;
	w->next = NULL;
}

void ipc_flow_watches_tell(struct aioqueue *q)
{
	struct ipc_flow_watch *items = NULL, *room = NULL;

	for (struct ipc_flow_watch *w = q->watches; w; w = w->next) {
		if (!items && w->items_wanted && has_items(w))
			items = w;
		if (!room && !w->rung && has_room(w))
			room = w;
	}
	if (items) {
		items->items_wanted = false;
		ring(items);
	}
	if (room)
		ring(room);
}

void ipc_flow_watches_end(struct aioqueue *q)
{
	for (struct ipc_flow_watch *w = q->watches; w; w = w->next) {
		w->room_wanted = true;
		ring(w);
	}
}

/* Whose message it was is not known. Who waits for less than @charge is still told as soon as that fits. */
void ipc_flow_watches_refused(struct aioqueue *q, size_t charge)
{
	for (struct ipc_flow_watch *w = q->watches; w; w = w->next) {
		if (!w->on_room || !is_here(w))
			continue;
		if (!w->room_wanted || charge < w->charge)
			w->charge = charge;
		w->room_wanted = true;
	}
}

void ipc_flow_watches_not_ended(struct aioqueue *q)
{
	for (struct ipc_flow_watch *w = q->watches; w; w = w->next)
		w->end_told = false;
}

static void free_watch(struct ipc_flow_watch *w)
{
	bool ours = w->queue->epoch == ipc_epoch();

	ipc_turn_cancel(w->first_turn);
	ipc_watch_free(w->watch);
	/* in a forked child its number holds a placeholder, which the watch looks after */
	if (ours)
		ipc_os_bell_close(w->bell);
	free(w);
}

/* Its turn is over: when there is more, it gets another one, after all else that the loop has to do. */
static void see_what_is_left(struct ipc_flow_watch *w)
{
	if (!has_items(w)) {
		w->items_wanted = true;
	} else if (!w->rung) {
		w->rung = true;
		ipc_watch_later(w->watch, 0);
	}
}

static void call_back(struct ipc_flow_watch *w, bool items, bool room)
{
	if (items)
		w->on_items(w->queue, w->arg);
	if (room && w->on_room && !w->no_room)
		w->on_room(w->queue, w->arg);
}

/* The callbacks may have taken the watch back, and forked: then the lock may be somebody's who does not exist here. */
static void after_call(struct ipc_flow_watch *w, bool room)
{
	struct aioqueue *q = w->queue;
	bool ours = q->epoch == ipc_epoch();

	if (ours)
		ipc_queue_lock(q);
	w->calling = false;
	if (w->over) {
		leave(w);
		free_watch(w);
	} else if (ours) {
		w->room_wanted = w->room_wanted || (room && w->no_room);
		see_what_is_left(w);
	}
	if (ours) {
		ipc_flow_watches_tell(q);
		ipc_queue_unref_and_unlock(q);
	} else {
		aioqueue_free(q);
	}
}

/* The callbacks may give the queue up. */
static void answer(struct ipc_flow_watch *w)
{
	struct aioqueue *q = w->queue;
	bool items = has_items(w), room = has_room(w);

	w->calling = true;
	w->room_wanted = w->room_wanted && !room;
	w->end_told = w->end_told || (items && !ipc_queue_has_items(q));
	if (items || room)
		go_last(w);
	q->refs++;
	ipc_queue_unlock(q);
	call_back(w, items, room);
	after_call(w, room);
}

/* Under the lock, which it gives up. The queue was freed meanwhile. */
static void go_with_the_queue(struct ipc_flow_watch *w)
{
	struct aioqueue *q = w->queue;

	leave(w);
	free_watch(w);
	ipc_queue_unlock_or_destroy(q);
}

static void on_ring(short what, void *arg)
{
	struct ipc_flow_watch *w = arg;

	ipc_queue_lock(w->queue);
	if (what & EV_READ)
		ipc_os_bell_quiet(w->bell[0]);
	w->rung = false;
	w->thread = pthread_self();
	w->thread_known = true;
	if (w->queue->refs == 0)
		go_with_the_queue(w);
	else if (w->calling)
		ipc_queue_unlock(w->queue);
	else
		answer(w);
}

/* Or the base was freed, and there will be none. */
static void on_first_turn(void *arg)
{
	struct ipc_flow_watch *w = arg;

	ipc_queue_lock(w->queue);
	w->first_turn = NULL;
	if (w->queue->refs == 0)
		go_with_the_queue(w);
	else
		ipc_queue_unlock(w->queue);
}

void ipc_flow_watches_drop(struct aioqueue *q)
{
	bool ours = q->epoch == ipc_epoch();
	struct ipc_flow_watch *w, *next;

	for (w = q->watches; w; w = next) {
		next = w->next;
		if (ours && !is_here(w)) {
			ring(w);
			continue;
		}
		leave(w);
		free_watch(w);
	}
}

static struct ipc_flow_watch *make(struct aioqueue *q, struct event_base *base)
{
	struct ipc_flow_watch *w = calloc(1, sizeof *w);
	int error;

	if (!w)
		return NULL;
	w->queue = q;
	w->base = base;
	if (ipc_os_bell(w->bell) == -1)
		goto fail;
	w->watch = ipc_watch_new(base, w->bell[0], on_ring, w);
	if (w->watch && ipc_watch_want(w->watch, EV_READ) == 0 &&
	    (w->first_turn = ipc_turn_new(base, on_first_turn, w)))
		return w;
	error = errno;
	ipc_watch_free(w->watch);
	ipc_os_bell_close(w->bell);
	errno = error;
fail:
	free(w);
	return NULL;
}

static void set(struct ipc_flow_watch *w, aioqueue_cb *on_items, aioqueue_cb *on_room, void *arg)
{
	if (on_room && !w->on_room) {
		w->room_wanted = true;
		w->charge = 0;
	}
	w->over = false;
	w->on_items = on_items;
	w->on_room = on_room;
	w->arg = arg;
	w->rung = true;
	ipc_watch_soon(w->watch);
}

static void take_back(struct ipc_flow_watch *w)
{
	w->on_items = w->on_room = NULL;
	w->over = true;
	if (w->calling)
		return;
	leave(w);
	free_watch(w);
}

static void begin(struct ipc_flow_watch *w, aioqueue_cb *on_items, aioqueue_cb *on_room, void *arg)
{
	struct aioqueue *q = w->queue;

	ipc_queue_lock(q);
	w->next = q->watches;
	q->watches = w;
	set(w, on_items, on_room, arg);
	ipc_queue_unlock(q);
}

struct ipc_flow_watch *ipc_flow_watch_new(struct aioqueue *q, struct event_base *base, aioqueue_cb *on_items,
					  aioqueue_cb *on_room, void *arg)
{
	struct ipc_flow_watch *w = ipc_queue_check(q) == 0 ? make(q, base) : NULL;

	if (w)
		begin(w, on_items, on_room, arg);
	return w;
}

void ipc_flow_watch_be_patient(struct ipc_flow_watch *w)
{
	ipc_queue_lock(w->queue);
	w->patient = true;
	ipc_queue_unlock(w->queue);
}

/* Whether it is called now or another one in its place, tell() knows. */
void ipc_flow_watch_want(struct ipc_flow_watch *w, bool items, bool room)
{
	if (ipc_queue_check(w->queue) == -1 || (w->no_items == !items && w->no_room == !room))
		return;
	ipc_queue_lock(w->queue);
	w->no_items = !items;
	w->no_room = !room;
	ipc_flow_watches_tell(w->queue);
	ipc_queue_unlock(w->queue);
}

void ipc_flow_watch_free(struct ipc_flow_watch *w)
{
	struct aioqueue *q = w ? w->queue : NULL;

	if (!w)
		return;
	if (q->epoch != ipc_epoch()) {
		take_back(w);
		return;
	}
	ipc_queue_lock(q);
	take_back(w);
	ipc_flow_watches_tell(q);
	ipc_queue_unlock(q);
}

static struct ipc_flow_watch *find_user_s(struct aioqueue *q, const struct event_base *base)
{
	struct ipc_flow_watch *w = q->watches;

	while (w && !(w->of_the_user && w->base == base))
		w = w->next;
	return w;
}

int aioqueue_watch(struct aioqueue *q, struct event_base *base, aioqueue_cb *on_items, aioqueue_cb *on_room,
		   void *arg)
{
	struct ipc_flow_watch *w;

	if (ipc_queue_check(q) == -1)
		return -1;
	ipc_queue_lock(q);
	w = find_user_s(q, base);
	if (w && (on_items || on_room))
		set(w, on_items, on_room, arg);
	else if (w)
		take_back(w);
	ipc_flow_watches_tell(q);
	ipc_queue_unlock(q);
	if (w || (!on_items && !on_room))
		return 0;
	w = make(q, base);
	if (!w)
		return -1;
	w->of_the_user = true;
	begin(w, on_items, on_room, arg);
	return 0;
}
