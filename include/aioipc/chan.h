/*
 * aiochan: a rendezvous of two tasks. The server sends items, the client asks for the next, and may send something
 * back with each question. A channel holds nothing: send returns when the client comes back for more, so an item may live on the
 * sender's stack. Items are pointers, any of them: NULL too, none is a marker.
 *
 * Calls are for tasks of one thread (EPERM outside a task, EBUSY in another thread), but close and free, which any code of
 * that thread may call. A side belongs to the task that used it last; a second one that comes while it waits gets EBUSY. When
 * that task ends, and has not got it by aiochan_lend(), the other side is told, as if it had closed: ECONNRESET, or ECANCELED if it was cancelled in the channel.
 *
 * Calls that wait: EINVAL (not a deadline), ETIMEDOUT, ECANCELED (this task was cancelled), EPIPE (this side was
 * closed here), and the reason that the other side gave to aiochan_close().
 */
#ifndef AIOIPC_CHAN_H
#define AIOIPC_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aiochan;
struct aiotask;
struct event_base;

/* A channel that nobody uses yet. Since 0.1. */
AIOIPC_API struct aiochan *aiochan_new(void);

/* Closes it without an error, and gives the handle up: calls that wait return first. NULL is fine. Since 0.1. */
AIOIPC_API void aiochan_free(struct aiochan *ch);

/* The server waits until the client asks. Errno: EPIPE also when the client has closed without an error. Since 0.1. */
AIOIPC_API int aiochan_serve(struct aiochan *ch, int64_t deadline);

/*
 * The server gives @item to the client and waits until that asks for the next; *@reply (@reply may be NULL) is what
 * it sent along. Returns 1; 0 when the client has closed; -1. After ETIMEDOUT and ECANCELED the client may have
 * the item: aiochan_serve() waits until it has come back. Then its reply is not heard. Since 0.1.
 */
AIOIPC_API int aiochan_send(struct aiochan *ch, void *item, void **reply, int64_t deadline);

/*
 * The same with @n items that the client can take without a switch for each. Replies are not heard. Returns how many
 * were taken: less than @n only when the client closed, the deadline passed or the task was cancelled on the
 * way; 0 and -1 as aiochan_send(), when none was. Since 0.1.
 */
AIOIPC_API ssize_t aiochan_send_all(struct aiochan *ch, void *const *items, size_t n, int64_t deadline);

/*
 * The same with items that are made on demand: make(arg, &item) is called when the client asks for the next, and returns false
 * when there is none any more. It runs in the client's task, so that no item costs a switch: it may not wait, and calls for this
 * channel are EBUSY in it. Returns how many were taken; 0 also when none was made. Errno: EINVAL (no @make). Since 0.2.
 */
AIOIPC_API ssize_t aiochan_send_each(struct aiochan *ch, bool (*make)(void *arg, void **item), void *arg,
				     int64_t deadline);

/*
 * The client asks for the next item, and sends @item along. With the first question, or after one that failed,
 * there is nobody to hear it: it is NULL. Returns 1; 0 when the server has closed; -1. Errno: EINVAL (@item is not NULL
 * and nobody hears it). Since 0.1.
 */
AIOIPC_API int aiochan_next(struct aiochan *ch, void *item, void **got, int64_t deadline);

/*
 * next_once: as many items as the server gives at once, from 1 to @n. next_all: @n items, for which it asks as often as it
 * takes; less only when something ended it, which the next call tells. Those given earlier may be gone by
 * then: for items that outlive their sending. Both return how many; 0 and -1 as aiochan_next(). Since 0.1.
 */
AIOIPC_API ssize_t aiochan_next_once(struct aiochan *ch, void **items, size_t n, int64_t deadline);
AIOIPC_API ssize_t aiochan_next_all(struct aiochan *ch, void **items, size_t n, int64_t deadline);

/*
 * For each item of a channel to which nothing is sent back: aiochan_each (ch, name) puts(name); Where it matters whether that was the end (0) or
 * a failure (-1), write the loop out: while ((more = aiochan_next(ch, NULL, &name, AIOIPC_FOREVER)) == 1) puts(name); Since 0.1.
 */
#define aiochan_each(ch, item) for (void *item; aiochan_next((ch), NULL, &item, AIOIPC_FOREVER) == 1;)

/*
 * Ends the channel. The other side gets 0, or -1 with @error as errno when that is not 0, from its current and every later
 * call; both sides when neither is the caller's. Items that were not taken stay the sender's. Again: nothing happens. Since 0.1.
 */
AIOIPC_API void aiochan_close(struct aiochan *ch, int error);

/*
 * Lends the caller's side to the task @helper, until that ends, in whatever way: then the side is the caller's again, and the channel still
 * open. Meanwhile the caller's own calls on that side are EBUSY; aiotask_join() waits. A helper may lend it on. Should the caller end
 * first, the side ends with the helper. Errno: EPERM (the caller has no side yet: it has one with its first call), EBUSY (in a call, or another
 * thread's task), ESRCH (@helper has ended), EINVAL (it is the caller). Since 0.2.
 */
AIOIPC_API int aiochan_lend(struct aiochan *ch, struct aiotask *helper);

/*
 * A generator: a channel with a task of @base that serves it. When the client first asks, fn(ch, arg) begins, sends
 * what it makes, and returns 0 or an errno, with which the channel is closed. The caller is the client, and frees the
 * channel; should that be early, fn's next send returns 0. Errno: as aiotask_spawn(). Since 0.1.
 */
AIOIPC_API struct aiochan *aiochan_produce(struct event_base *base, int (*fn)(struct aiochan *ch, void *arg),
					   void *arg);

#ifdef __cplusplus
}
#endif

#endif
