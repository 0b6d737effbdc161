/*
 * Watches of a queue. An event base may have any number of them. aioqueue_watch() keeps one for each base, and finds only that one; the
 * library has a handle for each of its own. A watch is called when there is something to get, or room to put.
 */
#ifndef IPC_FLOW_WATCH_H
#define IPC_FLOW_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include <aioipc/queue.h>

struct ipc_flow_watch;

/*
 * A new watch, like that of aioqueue_watch(). on_room is called after any refused put of this thread. The caller keeps its reference to
 * the queue as long as the watch. NULL: EMFILE, ENFILE, ENOMEM, ECHILD.
 */
struct ipc_flow_watch *ipc_flow_watch_new(struct aioqueue *q, struct event_base *base, aioqueue_cb *on_items,
					  aioqueue_cb *on_room, void *arg);

/*
 * Which of its callbacks are called from now on; at first both. What happens in the meantime, also the end, is told when the callback is
 * wanted again. No system call.
 */
void ipc_flow_watch_want(struct ipc_flow_watch *w, bool items, bool room);

/* on_room is called only when half of the queue is free. For owners that put many messages at a time. */
void ipc_flow_watch_be_patient(struct ipc_flow_watch *w);

/* May be called in its own callback. In a forked child it frees the memory only. @w may be NULL. */
void ipc_flow_watch_free(struct ipc_flow_watch *w);

#endif
