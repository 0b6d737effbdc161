/*
 * One call over a link, from when it is made until it has ended: its message in the outbox, where it flies, and what became of it. Calls go down:
 *
 *   call.c    who calls and waits
 *   later.c   who calls and is called back, and the loop that does it
 *   asked.c   this
 */
#ifndef IPC_LINK_ASKED_H
#define IPC_LINK_ASKED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <aioipc/call.h>

#include "ipc/conn/flight.h"
#include "ipc/flow/waitlist.h"
#include "ipc/link/link.h"

struct asking;

struct ipc_link_call {
	struct ipc_call_handle handle; /* first; of one that has a callback */
	/* Who made it, the asking, the connection where it flies, lists of given up and due ones. */
	atomic_uint refs;
	uint32_t epoch;
	int64_t deadline;
	bool repeats;
	struct ipc_link_call *next, **at; /* in the link's list, while somebody waits */
	struct ipc_link_call *next_ended, *next_given_up, *next_due;

	struct aiolink *owner; /* of one that has a callback; NULL: somebody waits */
	aiocall_cb *cb;        /* for the owner's loop; NULL: it was called */
	void *arg;
	struct aiomsg *m; /* to be asked again */
	int64_t until;    /* the deadline, in the time of the clock; INT64_MAX */
	bool is_due;      /* under the lock of the owner's status */

	pthread_mutex_t lock; /* of all below, and of cb; the lock of a link's status may be taken under it */
	struct ipc_waitlist waiters;
	int send_error;        /* why its message could not be sent */
	struct asking *asking; /* the last one; NULL once its message is gone */
	bool lost;             /* it left, and its connection broke: ask again */
	bool over;
	struct aiomsg *answer;
	int error;
	struct aiocall *flying;  /* for the thread of the connection; NULL */
	struct aiolink *carrier; /* whose connection that is: another one's, where links share an outbox */
	bool given_up;           /* the carrier was told */
};

/* The caller has the first reference. NULL with ENOMEM. */
struct ipc_link_call *ipc_asked_new(int64_t deadline, bool repeats);
void ipc_asked_ref(struct ipc_link_call *k);
void ipc_asked_unref(struct ipc_link_call *k);

/* What every call asks for first. -1: EINVAL, ECHILD, EBADF. */
int ipc_asked_check(const struct aiolink *l, unsigned flags, int64_t deadline);

/* The thread of the loop can't wait for the loop, but by running it. */
bool ipc_asked_is_here(const struct aiolink *l);

/* A place in the link's list, so that its end is told. -1/EPIPE: it has ended. */
int ipc_asked_join(struct aiolink *l, struct ipc_link_call *k);
void ipc_asked_leave(struct aiolink *l, struct ipc_link_call *k);

/* Puts a message that asks into the outbox. Who calls back never waits for room. -1: as aioqueue_put(), EAGAIN (no room, and it may not wait). */
int ipc_asked_put(struct aiolink *l, struct ipc_link_call *k, const struct aiomsg *m);

/* With @answer, whose reference is taken over, or an error. Only the first end counts: true. */
bool ipc_asked_end(struct ipc_link_call *k, struct aiomsg *answer, int error);

/* Nobody waits any more, unless it has ended by now: false. The peer is told in the thread of the connection. */
bool ipc_asked_give_up(struct ipc_link_call *k, int error);

bool ipc_asked_is_wanted(struct ipc_link_call *k);

/* Before a call is sent, in the thread of the loop: who gives it up must be able to say so. -1: EMFILE, ENFILE, ENOMEM. */
int ipc_asked_listen(struct aiolink *l);

/* Something is to be done for it in the loop, when that comes round. The caller holds the lock of the call. False: that was known. */
bool ipc_asked_stay_due(struct ipc_link_call *k);

/* Something is due in the loop of a link that can't end meanwhile. Any thread. */
void ipc_asked_rouse(struct aiolink *l);

#endif
