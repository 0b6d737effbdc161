/*
 * The list of those who watch a queue, and their bells. A queue rings watchers here when something changed. This calls nobody
 * back: watch.c does, when the loop of a watcher's base answers the bell. The queue's lock guards all of it.
 */
#ifndef IPC_FLOW_WATCHERS_H
#define IPC_FLOW_WATCHERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include <aioipc/queue.h>

struct ipc_flow_watch {
	struct ipc_flow_watch *next;
	struct aioqueue *queue;
	struct event_base *base;
	struct ipc_watch *watch;
	struct ipc_turn *first_turn; /* NULL: it has come */
	int bell[2];
	pthread_t thread; /* the one that runs the base; known after the first turn */
	bool thread_known;
	bool of_the_user;       /* made by aioqueue_watch() */
	bool patient;           /* called for room only when the queue is half empty */
	bool rung;              /* its bell was rung, and it has not answered yet */
	bool calling;           /* its callbacks run */
	bool over;              /* it was freed while they ran */
	bool no_items, no_room; /* its owner does not want these calls now */
	bool items_wanted;      /* it found nothing, and is rung for the next message */
	bool room_wanted;       /* a put was refused, and it is rung when @charge bytes fit */
	bool end_told;
	size_t charge;
	aioqueue_cb *on_items, *on_room;
	void *arg;
};

/* Rings it, unless it was rung and has not answered yet. */
void ipc_watcher_ring(struct ipc_flow_watch *w);

/* Is there something to call it for now? */
bool ipc_watcher_has_items(const struct ipc_flow_watch *w);
bool ipc_watcher_has_room(const struct ipc_flow_watch *w);

/* Takes it out of the list of its queue. */
void ipc_watcher_leave(struct ipc_flow_watch *w);

/* Moves it behind all others: those who wait for the same take turns. */
void ipc_watcher_go_last(struct ipc_flow_watch *w);

/* It has left the list. */
void ipc_watcher_free(struct ipc_flow_watch *w);

/* Something was put or got: rings the first watch that can use it. */
void ipc_flow_watches_tell(struct aioqueue *q);

/* The queue was closed: rings all. */
void ipc_flow_watches_end(struct aioqueue *q);

/* A put of this thread, of @charge bytes, was refused: its watches are rung when there is room. */
void ipc_flow_watches_refused(struct aioqueue *q, size_t charge);

/* Messages came back after the queue had ended: the end is told once more. */
void ipc_flow_watches_not_ended(struct aioqueue *q);

/* The last reference is gone: frees the watches of this thread, and rings the others, which then free themselves. */
void ipc_flow_watches_drop(struct aioqueue *q);

#endif
