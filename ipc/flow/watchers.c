/* Rings those who watch a queue. See watchers.h. */
#include "ipc/flow/watchers.h"

#include <stdlib.h>

#include "ipc/flow/queue.h"
#include "ipc/loop/turn.h"
#include "ipc/loop/watch.h"
#include "ipc/os/bell.h"
#include "ipc/own/own.h"

static bool is_here(const struct ipc_flow_watch *w)
{
	return w->thread_known && pthread_equal(w->thread, pthread_self());
}

void ipc_watcher_ring(struct ipc_flow_watch *w)
{
	if (w->rung)
		return;
	w->rung = true;
	if (is_here(w))
		ipc_watch_soon(w->watch);
	else
		ipc_os_bell_ring(w->bell[1]);
}

bool ipc_watcher_has_items(const struct ipc_flow_watch *w)
{
	return w->on_items && !w->no_items &&
	       (ipc_queue_has_items(w->queue) || (ipc_queue_is_closed(w->queue) && !w->end_told));
}

bool ipc_watcher_has_room(const struct ipc_flow_watch *w)
{
	const struct aioqueue *q = w->queue;

	if (!w->on_room || w->no_room || !w->room_wanted)
		return false;
	return ipc_queue_is_closed(q) ||
	       (ipc_queue_has_room(q, w->charge) && (!w->patient || ipc_queue_is_half_empty(q)));
}

void ipc_watcher_leave(struct ipc_flow_watch *w)
{
	struct ipc_flow_watch **at = &w->queue->watches;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
}

void ipc_watcher_go_last(struct ipc_flow_watch *w)
{
	struct ipc_flow_watch **at;

	if (!w->next)
		return;
	ipc_watcher_leave(w);
	for (at = &w->queue->watches; *at; at = &(*at)->next)
		;
	*at = w;
	w->next = NULL;
}

void ipc_flow_watches_tell(struct aioqueue *q)
{
	struct ipc_flow_watch *items = NULL, *room = NULL;

	for (struct ipc_flow_watch *w = q->watches; w; w = w->next) {
		if (!items && w->items_wanted && ipc_watcher_has_items(w))
			items = w;
		if (!room && !w->rung && ipc_watcher_has_room(w))
			room = w;
	}
	if (items) {
		items->items_wanted = false;
		ipc_watcher_ring(items);
	}
	if (room)
		ipc_watcher_ring(room);
}

void ipc_flow_watches_end(struct aioqueue *q)
{
	for (struct ipc_flow_watch *w = q->watches; w; w = w->next) {
		w->room_wanted = true;
		ipc_watcher_ring(w);
	}
}

/* All watches of this thread may have put it. One that waits for less than @charge is still told as soon as that fits. */
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

void ipc_watcher_free(struct ipc_flow_watch *w)
{
	bool ours = w->queue->epoch == ipc_epoch();

	ipc_turn_cancel(w->first_turn);
	ipc_watch_free(w->watch);
	/* in a child its number is the watch's business: closed, or a placeholder's */
	if (ours)
		ipc_os_bell_close(w->bell);
	free(w);
}

void ipc_flow_watches_drop(struct aioqueue *q)
{
	bool ours = q->epoch == ipc_epoch();
	struct ipc_flow_watch *w, *next;

	for (w = q->watches; w; w = next) {
		next = w->next;
		if (ours && !is_here(w)) {
			ipc_watcher_ring(w);
			continue;
		}
		ipc_watcher_leave(w);
		ipc_watcher_free(w);
		ipc_queue_drop(q);
	}
}
