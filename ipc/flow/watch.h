/*
 * Who watches a queue: an event base, one watch for each. It is rung when there is something to get or room to put, once for
 * all that came until it looks.
 */
#ifndef IPC_FLOW_WATCH_H
#define IPC_FLOW_WATCH_H

#include <stdbool.h>
#include <stddef.h>

struct aioqueue;
struct ipc_flow_watch;

/* Something was put or got: rings the first of those who can use it. */
void ipc_flow_watches_tell(struct aioqueue *q);

/* The queue was closed: rings all. */
void ipc_flow_watches_end(struct aioqueue *q);

/* This thread was refused a message of @charge bytes: its watch is told when there is room. */
void ipc_flow_watches_refused(struct aioqueue *q, size_t charge);

/* The last reference is gone: takes down what can be taken down from here, rings the rest. */
void ipc_flow_watches_drop(struct aioqueue *q);

#endif
