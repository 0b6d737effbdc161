/*
 * aiochan: a channel between two tasks. The server sends items. The client asks for the next item, and may send something
 * back with each question. A channel stores nothing: a send returns when the client comes back for more, so an item may
 * live on the stack of the sender. An item is any pointer. NULL is an item like others, not an end mark.
 *
 * Calls are for tasks of one thread: EPERM outside a task, EBUSY in another thread. Only close and free may be called by any
 * code of that thread. A side (server or client) belongs to the task that used it last. While that task waits in the
 * channel, another task that uses the same side gets EBUSY. When the task of a side ends, and has not got the side by
 * aiochan_lend(), the other side is told as if this one had closed: with ECONNRESET, or with ECANCELED when the task was
 * cancelled in the channel.
 *
 * Errno of calls that wait: EINVAL (not a deadline), ETIMEDOUT, ECANCELED (this task was cancelled), EPIPE (this side was
 * closed here), and the error that the other side gave to aiochan_close().
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

/* Makes a channel that nobody uses yet. Since 0.1. */
AIOIPC_API struct aiochan *aiochan_new(void);

/* Closes the channel without an error, and gives up the handle. Calls that wait return first. @ch may be NULL. Since 0.1. */
AIOIPC_API void aiochan_free(struct aiochan *ch);

/* The server waits until the client asks. Errno: EPIPE also when the client has closed without an error. Since 0.1. */
AIOIPC_API int aiochan_serve(struct aiochan *ch, int64_t deadline);

/*
 * The server gives @item to the client, and waits until the client asks for the next one. *@reply is what the client sent
 * with that question; @reply may be NULL. Returns 1; 0 when the client has closed; -1. After ETIMEDOUT or ECANCELED the
 * client may still use the item. aiochan_serve() then waits until the client has come back, and the reply to that item is
 * lost. Since 0.1.
 */
AIOIPC_API int aiochan_send(struct aiochan *ch, void *item, void **reply, int64_t deadline);

/*
 * As aiochan_send() with @n items, which the client takes without a switch for each. Replies are lost. Returns how many the
 * client took. That is less than @n only when the client closed, the deadline passed, or the task was cancelled on the way.
 * When it took none: 0 or -1, as aiochan_send(). Since 0.1.
 */
AIOIPC_API ssize_t aiochan_send_all(struct aiochan *ch, void *const *items, size_t n, int64_t deadline);

/*
 * The same with items that are made on demand. When the client asks for the next item, @make(@arg, &item) is called. It
 * returns false when there are no more items. @make runs in the client's task, so that no item costs a switch. It must not
 * wait, and calls for this channel fail in it with EBUSY. Returns how many items were taken; 0 also when @make made none.
 * Errno: EINVAL (@make is NULL). Since 0.2.
 */
AIOIPC_API ssize_t aiochan_send_each(struct aiochan *ch, bool (*make)(void *arg, void **item), void *arg,
				     int64_t deadline);

/*
 * The client asks for the next item, and sends @item with the question. Nobody hears @item in the first question and in a
 * question after one that failed: it must be NULL there. *@got is the item that came. Returns 1; 0 when the server has
 * closed; -1. Errno: EINVAL (@item is not NULL and nobody would hear it). Since 0.1.
 */
AIOIPC_API int aiochan_next(struct aiochan *ch, void *item, void **got, int64_t deadline);

/*
 * aiochan_next_once: takes as many items as the server gives at once, from 1 to @n. aiochan_next_all: takes @n items, and
 * asks as often as needed. It takes fewer only when something ended it; the next call tells what. Items that were given
 * earlier in the same call may be gone by then: use it for items that outlive their sending. Both return how many; 0 and
 * -1 as aiochan_next(). Since 0.1.
 */
AIOIPC_API ssize_t aiochan_next_once(struct aiochan *ch, void **items, size_t n, int64_t deadline);
AIOIPC_API ssize_t aiochan_next_all(struct aiochan *ch, void **items, size_t n, int64_t deadline);

/*
 * Runs a statement for each item, and sends nothing back: aiochan_each (ch, name) puts(name); It does not tell an end (0)
 * from a failure (-1). Where that matters, write the loop out:
 * while ((more = aiochan_next(ch, NULL, &name, AIOIPC_FOREVER)) == 1) puts(name); Since 0.1.
 */
#define aiochan_each(ch, item) for (void *item; aiochan_next((ch), NULL, &item, AIOIPC_FOREVER) == 1;)

/*
 * Ends the channel. The current call and all later calls of the other side return 0, or -1 with errno @error when @error is
 * not 0. A caller that has no side ends the channel for both sides. Items that were not taken stay the sender's. A second
 * close does nothing. Since 0.1.
 */
AIOIPC_API void aiochan_close(struct aiochan *ch, int error);

/*
 * Lends the caller's side to the task @helper. The loan ends when @helper ends, in whatever way. Then the side is the
 * caller's again, and the channel is still open. Meanwhile calls of the caller on that side fail with EBUSY; aiotask_join()
 * waits for the helper. A helper may lend the side on. When the caller ends first, the side ends together with the helper.
 * Errno: EPERM (the caller has no side yet: its first call gives it one), EBUSY (it is in a call, or @helper belongs to
 * another thread), ESRCH (@helper has ended), EINVAL (@helper is the caller). Since 0.2.
 */
AIOIPC_API int aiochan_lend(struct aiochan *ch, struct aiotask *helper);

/*
 * Makes a generator: a channel, and a task of @base that serves it. When the client first asks, @fn(ch, @arg) begins. It
 * sends its items, and returns 0 or an errno: the channel is closed with that. The caller is the client, and frees the
 * channel. When it frees the channel early, the next send of @fn returns 0. Errno: as aiotask_spawn(). Since 0.1.
 */
AIOIPC_API struct aiochan *aiochan_produce(struct event_base *base, int (*fn)(struct aiochan *ch, void *arg),
					   void *arg);

#ifdef __cplusplus
}
#endif

#endif
