/*
 * aioqueue: a bounded first-in, first-out queue of messages between threads, tasks and callbacks, in any mix. Any thread may
 * make any call at any time, except aioqueue_watch().
 *
 * Callers that wait are served in the order in which they came, putters and getters apart. Each is woken once, when there is
 * something for it. A thread that waits sleeps. Where waits were short lately, it polls first, for 50 microseconds at most.
 * Inside a task only the task sleeps. In a callback a wait would stop the whole loop: use AIOIPC_NOW there, and
 * aioqueue_watch().
 *
 * Errno of calls that wait: EINVAL (not a deadline), ETIMEDOUT, and in a task also ECANCELED (nothing is lost), EMFILE and
 * ENFILE (no descriptor to wake the task with). ECHILD as in <aioipc/base.h>: a queue does not cross a fork. A child may free
 * a queue of its parent.
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
 * Makes a queue of at most @most messages and @most_bytes bytes. Each message counts with its length plus 64 bytes. 0 means
 * that this limit is off; one of the two must be set. An empty queue takes one message of any size.
 * Errno: EINVAL (both are 0). Since 0.1.
 */
AIOIPC_API struct aioqueue *aioqueue_new(size_t most, size_t most_bytes);

/*
 * Puts @m at the end, and waits for room until @deadline. The queue takes a reference of its own, and @m stays the caller's.
 * A signal does not end the wait. Errno: ETIMEDOUT (the queue is full), EPIPE (the queue was closed). Since 0.1.
 */
AIOIPC_API int aioqueue_put(struct aioqueue *q, struct aiomsg *m, int64_t deadline);

/*
 * Puts @n messages, in order, and waits for room as often as needed. Returns how many it has put. That is less than @n only
 * when the deadline passed, the queue was closed, or the task was cancelled on the way. When it has put none, it returns -1
 * with errno as aioqueue_put(). Since 0.1.
 */
AIOIPC_API ssize_t aioqueue_put_all(struct aioqueue *q, struct aiomsg *const *m, size_t n, int64_t deadline);

/*
 * Takes the first message; the caller frees it. Returns 1; 0 when the queue was closed and is empty; -1. After a loop over
 * aioqueue_get(), look whether it ended with 0 or with -1. Errno: ETIMEDOUT (the queue is empty), EINTR (a signal handler
 * ran). Since 0.1.
 */
AIOIPC_API int aioqueue_get(struct aioqueue *q, struct aiomsg **m, int64_t deadline);

/*
 * Takes the messages that are there, at most @n. It waits only for the first. The caller frees each. Returns how many; 0 and
 * -1 as aioqueue_get(). Since 0.1.
 */
AIOIPC_API ssize_t aioqueue_get_all(struct aioqueue *q, struct aiomsg **m, size_t n, int64_t deadline);

/* As aioqueue_get_all(), but no more than @bytes bytes of messages, unless the first alone has more. 0: no limit. Since 0.2. */
AIOIPC_API ssize_t aioqueue_get_some(struct aioqueue *q, struct aiomsg **m, size_t n, size_t bytes,
				     int64_t deadline);

/* How many messages are in the queue now. Since 0.1. */
AIOIPC_API size_t aioqueue_count(const struct aioqueue *q);

/*
 * aioqueue_close: no more messages can be put (EPIPE, for waiting callers too). What is in the queue can still be taken;
 * after that aioqueue_get() returns 0. All waiting callers wake. aioqueue_discard: the same, and it drops what is in the
 * queue. A second call, or NULL, does nothing. Since 0.1.
 */
AIOIPC_API void aioqueue_close(struct aioqueue *q);
AIOIPC_API void aioqueue_discard(struct aioqueue *q);

/*
 * Watches @q from the loop of @base. on_items is called once in each turn of the loop while there is a message to get, and
 * once when the end has come. on_room is called once at first. After that it is called once for each put in this thread that
 * AIOIPC_NOW refused: as soon as there is room for that message, or the queue is closed. Callbacks may do anything.
 *
 * Call it in the thread that runs @base, or before the base runs. A second watch of the same base replaces the callbacks.
 * NULL for both removes the watch: do so before the base is freed. The watch holds no reference, and ends with the queue.
 * Errno: EMFILE, ENFILE. Since 0.1.
 */
typedef void aioqueue_cb(struct aioqueue *q, void *arg);
AIOIPC_API int aioqueue_watch(struct aioqueue *q, struct event_base *base, aioqueue_cb *on_items,
			      aioqueue_cb *on_room, void *arg);

/*
 * Pauses the watch of @base: it is not called until it is resumed. What happens meanwhile, also the end, is told then. In the thread that
 * runs @base; also in the callbacks. A watch that is set anew is not paused. Errno: ENOENT (there is no watch of @base). Since 0.2.
 */
AIOIPC_API int aioqueue_pause(struct aioqueue *q, struct event_base *base);
AIOIPC_API int aioqueue_resume(struct aioqueue *q, struct event_base *base);

/*
 * Queues are counted: one aioqueue_free() for aioqueue_new() and one for each aioqueue_ref(). The last one closes the queue
 * and drops what is in it. A call that still waits holds the queue until it returns, as after aioqueue_discard(): with 0 or
 * EPIPE. Its thread needs a reference of its own to call again. Since 0.1.
 */
AIOIPC_API struct aioqueue *aioqueue_ref(struct aioqueue *q);
AIOIPC_API void aioqueue_free(struct aioqueue *q);

#ifdef __cplusplus
}
#endif

#endif
