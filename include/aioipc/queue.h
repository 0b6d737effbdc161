/*
 * aioqueue: a bounded first-in, first-out queue of messages between threads, tasks and callbacks in any mix. Any
 * thread may make any call at any time, but for aioqueue_watch().
 *
 * Who has to wait stands in line, each direction its own: first come, first served, each woken once, for what
 * it can use. A thread that waits sleeps; where that paid off lately, it first looks again and again, for 50 microseconds at most.
 * Inside a task only the task sleeps. In a callback that would stop the whole loop: use AIOIPC_NOW there, and
 * aioqueue_watch().
 *
 * Calls that wait: EINVAL (not a deadline), ETIMEDOUT and, in a task, ECANCELED (nothing lost), EMFILE, ENFILE (no
 * descriptor to wake the task by). ECHILD as in <aioipc/base.h>: a queue does not cross a fork, freeing it there is safe.
 */
#ifndef AIOIPC_QUEUE_H
#define AIOIPC_QUEUE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aiomsg;
struct aioqueue;
struct event_base;

/*
 * A queue of at most @most messages and @most_bytes bytes, for which every message counts its length and 64 more.
 * 0 leaves one of the two unlimited. An empty queue takes one message of any size. Errno: EINVAL (both are 0). Since 0.1.
 */
AIOIPC_API struct aioqueue *aioqueue_new(size_t most, size_t most_bytes);

/*
 * Puts @m behind all others, waiting for room until @deadline. The queue takes a reference of its own; @m stays the
 * caller's. Goes on after signals. Errno: ETIMEDOUT (it is full), EPIPE (it was closed). Since 0.1.
 */
AIOIPC_API int aioqueue_put(struct aioqueue *q, struct aiomsg *m, int64_t deadline);

/*
 * Puts @n messages, in order, waiting for room as often as it takes. Returns how many were put: fewer only when the deadline
 * passed, the queue was closed or the task cancelled on the way. -1, and errno as aioqueue_put(), when none was. Since 0.1.
 */
AIOIPC_API ssize_t aioqueue_put_all(struct aioqueue *q, struct aiomsg *const *m, size_t n, int64_t deadline);

/*
 * Takes the first message; the caller frees it. Returns 1; 0 when the queue was closed and everything was taken;
 * -1. Errno: ETIMEDOUT (it is empty), EINTR (a signal handler ran). A loop ends with 0 or -1, and looks which. Since 0.1.
 */
AIOIPC_API int aioqueue_get(struct aioqueue *q, struct aiomsg **m, int64_t deadline);

/*
 * Takes what is there, at most @n messages, waiting only for the first. The caller frees each. Returns how many; 0 and -1
 * as aioqueue_get(). Since 0.1.
 */
AIOIPC_API ssize_t aioqueue_get_all(struct aioqueue *q, struct aiomsg **m, size_t n, int64_t deadline);

/* How many messages are in it now. Since 0.1. */
AIOIPC_API size_t aioqueue_count(const struct aioqueue *q);

/*
 * close: no more is put (EPIPE, also for those that wait); what is in it can still be got, then get returns 0. All who
 * wait wake. discard: the same, and drops what is in it. Again, or on NULL: nothing happens. Since 0.1.
 */
AIOIPC_API void aioqueue_close(struct aioqueue *q);
AIOIPC_API void aioqueue_discard(struct aioqueue *q);

/*
 * Watches @q from @base's loop; a base that watches it already gets these callbacks instead, and both NULL takes the watch
 * back. In the thread that runs @base, or before it runs; the watch must be taken back before the base is freed. on_items: called once a turn of the loop
 * while there is something to get, and once when the end has come. on_room: called once at first, and once
 * after a put in this thread was refused for AIOIPC_NOW, as soon as there is room for that message or the queue is closed. Callbacks may
 * do anything. The watch holds no reference: it ends with the queue. Errno: EMFILE, ENFILE. Since 0.1.
 */
typedef void aioqueue_cb(struct aioqueue *q, void *arg);
AIOIPC_API int aioqueue_watch(struct aioqueue *q, struct event_base *base, aioqueue_cb *on_items,
			      aioqueue_cb *on_room, void *arg);

/*
 * Counted: one free for new and for each ref. The last one closes it and drops what is in it. A call that waits holds the
 * queue meanwhile, and returns as after aioqueue_discard(): 0 or EPIPE; its thread has to have a reference of its own to call again. Since 0.1.
 */
AIOIPC_API struct aioqueue *aioqueue_ref(struct aioqueue *q);
AIOIPC_API void aioqueue_free(struct aioqueue *q);

#ifdef __cplusplus
}
#endif

#endif
