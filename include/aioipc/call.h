/*
 * Calls and answers: a message that the peer is to answer, over connections that carry messages, and over links. Any number of
 * calls may be in flight at once, in both directions, among other messages; answers come in any order.
 *
 * A call is received as a message, by on_msg, recv, or a link's inbox. aiomsg_is_call() knows it, and aiomsg_answer() makes the answer,
 * which is sent like any message, over the connection or link that the call came by: at once or later, from any thread that
 * can put a message into a queue. A call whose message is freed, and that nobody answered, is answered by the library, with ENOMSG.
 *
 * Every call ends once: answered; refused, by an error and words of the peer's; its deadline passed, or it was cancelled, and then the
 * peer is told; or the connection ended. What comes after that is ignored. A call that was made on one connection is never
 * answered by another.
 *
 * A peer of version 0.1 knows no calls: it ends the connection with EPROTO, "frame of unknown kind 4".
 */
#ifndef AIOIPC_CALL_H
#define AIOIPC_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aiocall;
struct aioconn;
struct aiolink;
struct aiomsg;

/* Is it a call, which came from a peer? One that is sent on to somebody else is a plain message, or a call of its own. Since 0.2. */
AIOIPC_API bool aiomsg_is_call(const struct aiomsg *m);

/*
 * Does anybody still wait for the answer? False once it was answered, the caller gave it up (a deadline, a cancel), or the connection
 * is over: a handler that takes long may look now and then. Any thread. Since 0.2.
 */
AIOIPC_API bool aiomsg_is_wanted(const struct aiomsg *call);

/*
 * The answer to @call, as a new message: these values; the payload and the descriptors of @m, copied; or a refusal, an @error above
 * 0 (an errno, or a number that both sides agreed on) and words (copied; NULL: none). Descriptors may be added to the first
 * two. One is sent for each call: a second is EALREADY to aioconn_send_msg(), and one that is no longer wanted is dropped there
 * without an error. Over another connection than the call's, say after a reconnect, ESTALE: see aiomsg_send_answer(). A link sends what
 * is wanted where it belongs, and drops the others.
 * One that is freed instead leaves the call as it was. Errno: EINVAL (no call; @error), as aiomsg_new(), as aiomsg_add_fd(). Since 0.2.
 */
AIOIPC_API struct aiomsg *aiomsg_answer(const struct aiomsg *call, const char *format, ...);
AIOIPC_API struct aiomsg *aiomsg_answer_msg(const struct aiomsg *call, const struct aiomsg *m);
AIOIPC_API struct aiomsg *aiomsg_answer_error(const struct aiomsg *call, int error, const char *text);

/*
 * Sends an answer over the connection that its call came by, from any thread: for who has no connection or link at hand, such as a service that
 * works for many. It waits for nothing: the connection takes it in its next turn, or next call that waits, when there is room. @answer stays
 * the caller's. A link does this with the answers in its outbox that are not for its own connection. Errno: EALREADY (the call was answered),
 * EINVAL (no answer). Since 0.2.
 */
AIOIPC_API int aiomsg_send_answer(struct aiomsg *answer);

/*
 * The error of a refusal, and its words (*@text, which lives as long as @m; may be NULL); 0 of any other message, and *@text stays. What
 * a peer wrote that could play with a terminal is '?' in the words. Since 0.2.
 */
AIOIPC_API int aiomsg_error(const struct aiomsg *m, const char **text);

/*
 * Sends a call of these values, or of the payload and the descriptors of @m, and waits for what becomes of it. Returns 1 and the answer;
 * 0 and a refusal: see aiomsg_error(); the caller frees either; -1. In a task the loop goes on with everything, and any
 * number of tasks may call at once; outside, as with aioconn_recv(), the call moves only this connection, and messages that come
 * meanwhile go to on_msg, or stay in the inbox. Goes on after signals. Where the inbox is full of messages that nobody takes, an answer
 * behind them does not come through. While the connection is paused, only this call reads.
 * Errno: ETIMEDOUT, ECANCELED (of the task); in both cases the peer is told that nobody wants the answer; EAGAIN (as many are in flight
 * as the limits allow, or it is full, as for aioconn_send()); ECONNRESET and others that aioconn_recv() has (the connection was lost before the answer
 * came), EPIPE (it was closed here, or the peer said goodbye); EINVAL (no deadline; the framing is not MESSAGES), EBADF (it has one direction), EDEADLK (in a
 * callback of the same connection), as aioconn_send(). Whether the peer has done what it was asked to is not known after any error but those
 * of sending. Since 0.2.
 */
AIOIPC_API int aioconn_call(struct aioconn *c, struct aiomsg **answer, int64_t deadline, const char *format,
			    ...);
AIOIPC_API int aioconn_call_msg(struct aioconn *c, const struct aiomsg *m, struct aiomsg **answer,
				int64_t deadline);

/*
 * Called once for a call: with its answer and 0; with a refusal and the peer's error; with NULL and an errno as above. From the loop, or
 * from a waiting call on the same connection, behind the messages that came before the answer; and by aiocall_cancel(), close, finish and
 * abort before they return. It may do anything, also free the connection. The message is the library's: aiomsg_ref() keeps it.
 */
typedef void aiocall_cb(struct aiomsg *answer, int error, void *arg);

/*
 * Sends a call, and returns: @cb will be called. The handle is good until then, for aiocall_cancel(). Errno: as above; EAGAIN in callbacks,
 * on_writable tells when to try again where it was full; EINVAL also (no callback). Since 0.2.
 */
AIOIPC_API struct aiocall *aioconn_call_later(struct aioconn *c, const struct aiomsg *m, aiocall_cb *cb,
					      void *arg, int64_t deadline);

/*
 * Ends a call with ECANCELED; the peer is told. The callback is called before this returns; with what had come, if that was still
 * to be told. In the thread of the connection. Errno: EBUSY (another thread is in a call), NULL is fine. Since 0.2.
 */
AIOIPC_API int aiocall_cancel(struct aiocall *call);

/*
 * The same over a link, from any thread or task: the call goes through the outbox with the messages there, as soon as there is a connection, and
 * waits for room as they do. The link has both directions and carries messages. In the thread of its base, outside callbacks and tasks, they run the base
 * meanwhile. When the connection breaks, a call that had not left whole is sent on the next one, as messages are; one that had is lost, -1/ECONNRESET, unless @flags have
 * AIOLINK_REPEAT: then it is asked again, and the peer may do twice what it is asked to. While the inbox is full the link does not read, and no answer
 * comes. Errno: as aioconn_call(), EPIPE (the link has ended, or ends; the outbox is closed), EAGAIN (the outbox is full, in the thread of the loop), EDEADLK (in a callback of the
 * loop that runs the link), EINVAL also (flags). Since 0.2.
 */
enum { AIOLINK_REPEAT = 1 };
AIOIPC_API int aiolink_call(struct aiolink *l, unsigned flags, struct aiomsg **answer, int64_t deadline,
			    const char *format, ...);
AIOIPC_API int aiolink_call_msg(struct aiolink *l, const struct aiomsg *m, unsigned flags,
				struct aiomsg **answer, int64_t deadline);

/*
 * The same without waiting: @cb will be called, from the loop of the link, in the thread of its own if it has one, behind the messages that were
 * put into the inbox before the answer; by aiocall_cancel(); and at the latest before the state ENDED is told. It may do anything, also free the link. The handle is good until
 * then, for aiocall_cancel(), in the thread of that loop (EBUSY in another). To be called in that thread too, also in callbacks; where the link has a thread of its own, from any.
 * Errno: as above, but EDEADLK; EAGAIN (the outbox is full: aioqueue_watch() tells when it is not), EBUSY (another thread runs the loop), EINVAL also (no callback; the link was not started).
 * Since 0.2.
 */
AIOIPC_API struct aiocall *aiolink_call_later(struct aiolink *l, const struct aiomsg *m, unsigned flags,
					      aiocall_cb *cb, void *arg, int64_t deadline);

#ifdef __cplusplus
}
#endif

#endif
