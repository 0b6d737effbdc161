/*
 * aiohub: one message to many connections. A hub has members: connections of a listener, or others, all on one base. What is
 * sent to the hub is sent to each member, as aioconn_send_msg() would; but its bytes are there once, however many members
 * wait for them. A peer that reads slowly, or not at all, does not hold up the others, unless that is wanted.
 *
 * A connection stays its owner's: the owner still receives from it, may send to it alone, and closes it. It leaves the hub by
 * itself when it ends or when its goodbye is sent. It may be in many hubs, one for each subject. Members may have different
 * framings and delimiters.
 *
 * A hub belongs to the thread of its base. Its calls may be made in callbacks, in tasks, and outside the loop.
 */
#ifndef AIOIPC_HUB_H
#define AIOIPC_HUB_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aioconn;
struct aiohub;
struct aiomsg;
struct event_base;

/* What happens to a member that is slow: its queue has no room for the message. See aioconn_set_limits(), outbox. */
enum aiohub_slow {
	/*
	 * It does not get this message, nor those that follow, until half of its queue is free again. So what it gets are long
	 * stretches without a gap. The connection's on_writable is called then.
	 */
	AIOHUB_SKIP,
	/*
	 * It is cut off. The connection ends with AIOCONN_LOCAL: on_close is called as for any end, and aioconn_recv() says
	 * ECONNABORTED behind what came before. The owner frees it, as always.
	 */
	AIOHUB_CLOSE,
	/* The send waits until all members have room. So the slowest of them sets the pace. */
	AIOHUB_WAIT,
};

/* A send had failed with EAGAIN or ETIMEDOUT, and now all members have room for that message. It may do anything. */
typedef void aiohub_cb(struct aiohub *h, void *arg);

/* 0 and NULL are the defaults. A base is needed. */
struct aiohub_options {
	size_t size;             /* sizeof(struct aiohub_options) */
	struct event_base *base; /* of all members */
	enum aiohub_slow slow;   /* AIOHUB_SKIP */
	int64_t wait;            /* AIOHUB_WAIT: milliseconds, at most, that a send waits; 0: no limit */
	aiohub_cb *on_writable;  /* AIOHUB_WAIT */
	void *arg;
};

/* Makes a hub without members. @o is copied. Errno: EINVAL (size, no base, not a policy, a negative time). Since 0.2. */
AIOIPC_API struct aiohub *aiohub_new(const struct aiohub_options *o);

/*
 * @c becomes a member. That is a use of the connection: set its framing, its limits, and allow descriptors before.
 * Errno: EINVAL (another base), EALREADY (it is a member), EBADF (it only reads), EPIPE (nothing can be sent there any more), or
 * the errno with which writing failed. Since 0.2.
 */
AIOIPC_API int aiohub_join(struct aiohub *h, struct aioconn *c);

/* @c is a member no more. What was sent before still reaches it. Errno: ENOENT (it is no member). Since 0.2. */
AIOIPC_API int aiohub_leave(struct aiohub *h, struct aioconn *c);

/*
 * Sends @m to all members; aiohub_send_others: to all but @c, which need not be a member. Returns how many members got it into
 * their queues; that may be 0. When the call fails, no member got it. The message is not copied where a reference is cheaper;
 * the hub takes its own.
 *
 * AIOHUB_WAIT: it waits while a member has no room; in a callback it fails instead. A signal does not end the wait.
 * Errno: EAGAIN (a member has no room, and this is a callback), ETIMEDOUT (that was so for all of `wait`), ECANCELED (the task
 * was cancelled), EPIPE (the hub was freed during the wait), EMSGSIZE (over the message limit of a member, under LINES over
 * its line limit), EINVAL (typed values, and a member has lines or bytes; a delimiter inside a line; the answer to a call),
 * EOPNOTSUPP (the message has descriptors). Since 0.2.
 */
AIOIPC_API ssize_t aiohub_send(struct aiohub *h, const struct aiomsg *m);
AIOIPC_API ssize_t aiohub_send_others(struct aiohub *h, const struct aioconn *c, const struct aiomsg *m);

/* How many messages @c has missed since it joined, because it was slow. 0 when it is no member. Since 0.2. */
AIOIPC_API uint64_t aiohub_skipped(const struct aiohub *h, const struct aioconn *c);

struct aiohub_stats {
	size_t size;       /* sizeof(struct aiohub_stats) */
	uint64_t messages; /* given to the hub */
	uint64_t sent;     /* put into a member's queue: each counts once for each member */
	uint64_t skipped;  /* not put there, because the member was slow */
	uint64_t closed;   /* members that were cut off */
	unsigned members;  /* now */
	unsigned slow;     /* of these, members that get nothing now, or that a send waits for */
};

/* Fills as much of @stats as @stats->size says. Errno: EINVAL. Since 0.2. */
AIOIPC_API int aiohub_stats(const struct aiohub *h, struct aiohub_stats *stats);

/* Frees the hub. Its members stay open, and get what was sent before. In a forked child it only frees memory. @h may be NULL. Since 0.2. */
AIOIPC_API void aiohub_free(struct aiohub *h);

#ifdef __cplusplus
}
#endif

#endif
