/*
 * The course of something that is kept up (a link): attempts, pauses that grow between them, the time to give up, and the end. It knows no
 * connections. Its owner gives it functions, begins an attempt when the course says so, and reports what came of it.
 *
 *              begin            attempt            succeeded
 *        NEW --------> BEGINS ----------> TRIES -------------> UP
 *                                         ^   |                |
 *                             time is up  |   | failed         | over
 *                                         |   v                |
 *                                        PAUSES <--------------+
 *
 *        From each of these, when no attempt follows:    ... ---> DRAINS ---> OVER
 *
 * A passive course waits for peers: it has no pauses, and goes from UP back to TRIES. DRAINS: all that arrived is still to be
 * delivered. All calls are made in the thread of its loop, unless they say otherwise.
 */
#ifndef IPC_NET_COURSE_H
#define IPC_NET_COURSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/net/status.h"

struct ipc_watch;
struct ipc_course;

enum ipc_course_life {
	IPC_COURSE_NEW,
	IPC_COURSE_BEGINS, /* its first turn has not come */
	IPC_COURSE_TRIES,
	IPC_COURSE_PAUSES,
	IPC_COURSE_UP,
	IPC_COURSE_DRAINS,
	IPC_COURSE_OVER,
};

/* How it is to end. It only goes up. */
enum ipc_course_ending {
	IPC_COURSE_STAYS,
	IPC_COURSE_CLOSES,  /* when all has been sent */
	IPC_COURSE_HURRIES, /* and does not wait for room to deliver what arrived */
	IPC_COURSE_CUT,     /* now */
};

/* The owner's functions. tell and end may free the owner, if nobody holds it. */
struct ipc_course_owner {
	void (*attempt)(struct ipc_course *c); /* begin one */
	void (*go_on)(
		struct ipc_course *c); /* an attempt that is not passive has its turn, or its time is over */
	void (*turn)(struct ipc_course *c);            /* while it is up: ipc_course_soon() asked for this */
	void (*timer)(struct ipc_course *c);           /* while it is up: ipc_course_after() asked for this */
	bool (*deliver)(struct ipc_course *c);         /* what arrived; true: nothing is left */
	bool (*all_sent)(const struct ipc_course *c);  /* nothing is left to be sent */
	bool (*can_retry)(const struct ipc_course *c); /* another attempt makes sense */
	bool (*is_up)(const struct ipc_course *c); /* as others see it: there is a connection that lasts */
	void (*tell)(struct ipc_course *c, enum aiolink_state state); /* its user */
	void (*end)(struct ipc_course *c); /* it is over: stop, and give all back */

	/* For runner.c: take what it needs to run, -1: nothing; and do what other threads asked for, in bits that it has given them. */
	int (*equip)(struct ipc_course *c, struct event_base *base);
	void (*heed)(struct ipc_course *c, unsigned asked);
};

/* Times are in nanoseconds. */
struct ipc_course {
	const struct ipc_course_owner *owner;
	struct ipc_status *status;
	_Atomic(int64_t) first, most; /* pauses; first is 0: no other attempt. Any thread may set them */
	int64_t attempt_limit;        /* for one attempt; 0: none */
	int64_t give_up_after;        /* so long without a connection; 0: never */
	bool passive;

	enum ipc_course_life life;
	enum ipc_course_ending ending;
	enum aiolink_state told; /* to the user */
	struct ipc_watch *turn, *timer;
	bool late;           /* there was no memory for the timer: the next turn does its work */
	int64_t tries_since; /* when the last connection was lost */
	bool looked;         /* the time to give up is over, and it has looked once more */
	int64_t until;       /* the end of the attempt or of the pause; 0: none */
	int64_t delay;       /* the next pause */
};

/* The watches that it needs. The base is in its status. On failure, ipc_course_unequip() follows. */
int ipc_course_equip(struct ipc_course *c);
void ipc_course_unequip(struct ipc_course *c);

/* The first turn is due. */
void ipc_course_begin(struct ipc_course *c);

/* A turn of the loop, or one in @ns. They can't fail. */
void ipc_course_soon(struct ipc_course *c);
void ipc_course_after(struct ipc_course *c, int64_t ns);

/*
 * What came of an attempt; and what was up is over. The owner notes the reason in the status first. Both may tell the
 * user, and so come last.
 */
void ipc_course_succeeded(struct ipc_course *c);
void ipc_course_failed(struct ipc_course *c);
void ipc_course_over(struct ipc_course *c);

/* The connection was a good one: the next pause is a short one again. */
void ipc_course_was_good(struct ipc_course *c);

/* Goes on as far as it can now. */
void ipc_course_step(struct ipc_course *c);

/* The pauses have changed. */
void ipc_course_pace(struct ipc_course *c);

/* It will end this way, if not more quickly. Nothing happens yet. */
void ipc_course_will(struct ipc_course *c, enum ipc_course_ending ending);

/* No attempt follows: it ends when all that arrived is delivered. */
void ipc_course_finish(struct ipc_course *c);

/* It ends now. */
void ipc_course_end(struct ipc_course *c);

/* The user is told of a new state, once. */
void ipc_course_tell(struct ipc_course *c, enum aiolink_state state);

/* No connection follows this one. Any thread. */
static inline bool ipc_course_is_last(const struct ipc_course *c)
{
	return atomic_load_explicit(&c->first, memory_order_relaxed) == 0;
}

#endif
