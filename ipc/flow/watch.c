/*
 * Watches of queues: see watch.h. A bell only says "look". When the loop answers it, the watch looks under the queue's lock whether there is
 * something to do. While there is something to get, the watch is called once a turn. So a callback that takes one message and returns
 * misses nothing, and the loop stays fair.
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
#include "ipc/flow/watchers.h"
#include "ipc/os/bell.h"

/* Its turn is over. If there is more, it gets another turn, after all else that the loop has to do. */
static void see_what_is_left(struct ipc_flow_watch *w)
{
	if (!ipc_watcher_has_items(w)) {
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

/* The callbacks may have freed the watch. They may have forked too: then a thread of the parent may hold the lock. */
static void after_call(struct ipc_flow_watch *w, bool room)
{
	struct aioqueue *q = w->queue;
	bool ours = q->epoch == ipc_epoch(), over = w->over;

	if (ours)
		ipc_queue_lock(q);
	w->calling = false;
	if (over) {
		ipc_watcher_leave(w);
		ipc_watcher_free(w);
	} else if (ours) {
		w->room_wanted = w->room_wanted || (room && w->no_room);
		see_what_is_left(w);
	}
	if (ours) {
		ipc_flow_watches_tell(q);
		ipc_queue_unref_and_unlock(q);
		if (over)
			ipc_queue_drop(q);
	} else {
		aioqueue_free(q);
	}
}

/* The callbacks may free the queue: this keeps a reference meanwhile. */
static void answer(struct ipc_flow_watch *w)
{
	struct aioqueue *q = w->queue;
	bool items = ipc_watcher_has_items(w), room = ipc_watcher_has_room(w);

	w->calling = true;
	w->room_wanted = w->room_wanted && !room;
	w->end_told = w->end_told || (items && !ipc_queue_has_items(q));
	if (items || room)
		ipc_watcher_go_last(w);
	q->refs++;
	ipc_queue_unlock(q);
	call_back(w, items, room);
	after_call(w, room);
}

/* The queue was freed. The caller holds the lock; this unlocks. */
static void go_with_the_queue(struct ipc_flow_watch *w)
{
	struct aioqueue *q = w->queue;

	ipc_watcher_leave(w);
	ipc_watcher_free(w);
	ipc_queue_unlock(q);
	ipc_queue_drop(q);
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

/* Also called if the base is freed before its first turn. */
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
	w->over = w->no_items = w->no_room = false;
	w->on_items = on_items;
	w->on_room = on_room;
	w->arg = arg;
	w->rung = true;
	ipc_watch_soon(w->watch);
}

/* The caller holds the lock, except in a child, and the queue. */
static void take_back(struct ipc_flow_watch *w)
{
	struct aioqueue *q = w->queue;

	w->on_items = w->on_room = NULL;
	w->over = true;
	if (w->calling)
		return;
	ipc_watcher_leave(w);
	ipc_watcher_free(w);
	ipc_queue_drop(q);
}

static void begin(struct ipc_flow_watch *w, aioqueue_cb *on_items, aioqueue_cb *on_room, void *arg)
{
	struct aioqueue *q = w->queue;

	ipc_queue_hold(q);
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

/* Another watch may be rung instead of this one now. */
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

static int set_pause(struct aioqueue *q, struct event_base *base, bool on)
{
	struct ipc_flow_watch *w;

	if (ipc_queue_check(q) == -1)
		return -1;
	ipc_queue_lock(q);
	w = find_user_s(q, base);
	if (w) {
		w->no_items = w->no_room = on;
		ipc_flow_watches_tell(q);
	}
	ipc_queue_unlock(q);
	if (w)
		return 0;
	errno = ENOENT;
	return -1;
}

int aioqueue_pause(struct aioqueue *q, struct event_base *base)
{
	return set_pause(q, base, true);
}

int aioqueue_resume(struct aioqueue *q, struct event_base *base)
{
	return set_pause(q, base, false);
}
