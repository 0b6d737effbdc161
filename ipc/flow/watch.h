/*
 * Who watches a queue: an event base, any number of watches each. aioqueue_watch() has one of them a base and finds only
 * that one; the library's own are known by their handle. A watch is rung when there is something to get or room to put, once
 * for all that came until it looks.
 */
#ifndef IPC_FLOW_WATCH_H
#define IPC_FLOW_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include <aioipc/queue.h>

struct ipc_flow_watch;

/*
 * A watch as aioqueue_watch() makes it, by itself; on_room is called for every put in this thread that was refused, its own or
 * not. The caller holds the queue as long as the watch. NULL: EMFILE, ENFILE, ENOMEM, ECHILD.
 */
struct ipc_flow_watch *ipc_flow_watch_new(struct aioqueue *q, struct event_base *base, aioqueue_cb *on_items,
					  aioqueue_cb *on_room, void *arg);

/*
 * Which of its callbacks are called from now on; at first both. What comes meanwhile, the end too, is told when it is wanted
 * again. Cheap: no system call.
 */
void ipc_flow_watch_want(struct ipc_flow_watch *w, bool items, bool room);

/* on_room is called when no more than half of the queue is in use: for who puts many, and has each call cost something. */
void ipc_flow_watch_be_patient(struct ipc_flow_watch *w);

/* May be called in its own callback. In a forked child: its memory. NULL is fine. */
void ipc_flow_watch_free(struct ipc_flow_watch *w);

/* Something was put or got: rings the first of those who can use it. Who is served is the last from then on. */
void ipc_flow_watches_tell(struct aioqueue *q);

/* The queue was closed: rings all. */
void ipc_flow_watches_end(struct aioqueue *q);

/* This thread was refused a message of @charge bytes: its watches are told when there is room. */
void ipc_flow_watches_refused(struct aioqueue *q, size_t charge);

/* It was closed and empty, and is not empty any more: the end is told once more. */
void ipc_flow_watches_not_ended(struct aioqueue *q);

/* The last reference is gone: takes down what can be taken down from here, rings the rest. */
void ipc_flow_watches_drop(struct aioqueue *q);

#endif
