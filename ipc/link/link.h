/*
 * The inside of a link, shared by the files that make it:
 *
 *   link.c      its life: made, started, closed, aborted, freed; what it tells of itself
 *   options.c   what it was asked to be
 *   course.c    its states: attempts, pauses between them, and the end
 *   talk.c      one connection: messages both ways, goodbyes, limits
 *   wait.c      who waits for it
 *   thread.c    its own thread, where it has one
 *
 * All of it happens in the thread of its loop, but what lies under the lock: that is for everybody. A state is told to
 * the user last of all that a function does: the callback may free the link. Whoever goes on after something that may tell one
 * holds it, and looks whether it is over.
 */
#ifndef IPC_LINK_LINK_H
#define IPC_LINK_LINK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <aioipc/link.h>

#include "ipc/conn/conn.h"
#include "ipc/own/own.h"
#include "ipc/loop/watch.h"
#include "ipc/flow/waitlist.h"
#include "ipc/flow/watch.h"
#include "ipc/net/address.h"
#include "ipc/net/dial.h"
#include "ipc/link/outgoing.h"
#include "ipc/link/incoming.h"
#include "ipc/net/local.h"
#include "ipc/os/socket.h"

struct aiolistener;

/* What it was asked to be, checked and copied. */
struct ipc_link_options {
	enum aiolink_role role;
	char *address;
	enum aiolink_direction direction;
	enum aioconn_framing framing;
	char delimiter[9]; /* "": the usual one */
	unsigned fds;
	int64_t first, most; /* nanoseconds, as all below; at first */
	int64_t connect_limit, idle_limit, send_limit, give_up_after;
	int64_t grace;                     /* negative: for ever */
	struct ipc_os_keepalive keepalive; /* milliseconds */
	struct aioconn_limits limits;
	struct ipc_local *local; /* NULL: wherever */
	unsigned spin;
	bool half_open;
	mode_t mode;
	uid_t *uids;
	size_t n_uids;
};

/* What it is busy with. The user is told of it by and by, as a state. */
enum ipc_link_phase {
	IPC_LINK_NEW,
	IPC_LINK_BEGINS, /* its first turn comes */
	IPC_LINK_DIALS,
	IPC_LINK_LISTENS,
	IPC_LINK_PAUSES,
	IPC_LINK_TALKS,
	IPC_LINK_LANDS, /* its last connection is over, but not all that came is in the inbox */
	IPC_LINK_OVER,
};

struct aiolink {
	uint32_t epoch;
	atomic_uint holds;
	struct ipc_link_options o;
	struct aioend *end; /* NULL once started */
	struct aioqueue *inbox, *outbox;
	bool made_inbox, made_outbox; /* not given */
	aiolink_state_cb *cb;
	void *arg;
	_Atomic(int64_t) first, most; /* pauses between attempts; 0: it never tries again */
	_Atomic(const char *) where;  /* it listens */
	int port;

	pthread_mutex_t lock; /* of these */
	enum aiolink_state state;
	int error;
	bool up;             /* there is a connection that is not over */
	uint64_t ups, downs; /* connections that began and that were over */
	bool none_follows;   /* the last one is over */
	bool talks;          /* there is one, up or not any more, */
	uint64_t talk, drop; /* its number, and that of one that is to be dropped */
	bool deaf;           /* it listens no more */
	char why[128], peer[IPC_ADDRESS_SIZE], local[IPC_ADDRESS_SIZE];
	struct ipc_waitlist waiters; /* who waits for any of it to change */
	bool started, freed;         /* by its user */

	struct event_base *base;
	_Atomic(uint64_t) thread; /* serial of who runs it; 0: not yet known */
	enum ipc_link_phase phase;
	enum aiolink_state told; /* to the user */
	struct ipc_watch *turn;  /* what is due when this turn is over */
	struct ipc_watch *timer; /* what is due at a time */
	struct ipc_flow_watch *in_watch, *out_watch;
	bool late; /* there was no memory for a timer: what is due is done in the next turn */
	bool left_inbox, left_outbox; /* it is none of those who share it any more */
	bool closing;                 /* no more comes out of the outbox than is in it */
	bool hurried;                 /* in aiolink_close(): what finds no room in the inbox is dropped */
	bool cut;                     /* being aborted */
	struct ipc_incoming incoming;
	struct ipc_outgoing outgoing;

	struct aiolistener *listener;
	char listens_at[IPC_ADDRESS_SIZE];
	struct ipc_dial *dial;
	struct ipc_watch *dial_watch[IPC_DIAL_MOST];
	int64_t tries_since; /* without a connection */
	bool looked;         /* once more, behind the time to give up */
	int64_t until;       /* when this phase is over; 0: it has no such time */
	int64_t delay;       /* the next pause */

	struct aioconn *ready; /* the one made of an end, before it talks */
	struct aioconn *conn;  /* while it talks */
	struct ipc_conn_hook hook;
	int64_t since;
	bool they_left;      /* the peer said goodbye */
	bool we_left;        /* we did, or would if it were not finishing: nothing follows */
	bool sure;           /* the peer said it behind ours: it has read all */
	int64_t grace_until; /* the peer has to say goodbye; 0: no such time */
	bool grace_looked;   /* it was over, and what had come by then is read before the end */
	bool finishing;      /* what the connection holds still leaves, then it is gone */
	bool bad;            /* the peer broke the protocol */
	bool paused;         /* there is no room in the inbox */
	int talk_error;
	char talk_why[128];
	uint64_t handed;      /* msgs_out when it began */
	uint64_t read, wrote; /* bytes when limits were looked at last, and since when */
	int64_t read_since, wrote_since;
	struct ipc_counter connections, unsure;

	struct ipc_link_thread *own; /* NULL: it is on a base */
};

/* link.c */
int ipc_link_check(const struct aiolink *l); /* -1/ECHILD */
void ipc_link_hold(struct aiolink *l);
void ipc_link_release(struct aiolink *l);
void ipc_link_close_here(struct aiolink *l);

/* options.c: -1/EINVAL, which is logged; ENOMEM */
int ipc_link_take_options(struct ipc_link_options *to, const struct aiolink_options *o);
void ipc_link_free_options(struct ipc_link_options *o);
int ipc_link_check_reconnect(const struct ipc_link_options *o, int64_t first, int64_t most); /* the same */
int64_t ipc_link_nanoseconds(int64_t ms);

/* course.c */
int ipc_link_equip(struct aiolink *l, struct event_base *base); /* what it needs to run; on failure nothing */
void ipc_link_unequip(struct aiolink *l);
void ipc_link_begin(struct aiolink *l);             /* the first step is due */
void ipc_link_after(struct aiolink *l, int64_t ns); /* a step, or a turn of the talk */
void ipc_link_step(struct aiolink *l);              /* goes on as far as it can now */
bool ipc_link_is_last(const struct aiolink *l);     /* no connection follows */
void ipc_link_pace(struct aiolink *l);              /* the pauses are others now */
void ipc_link_close_soon(struct aiolink *l);        /* nothing more will be put into the outbox */
void ipc_link_talk_over(struct aiolink *l, int error, const char *why); /* the connection is gone */
void ipc_link_cut(struct aiolink *l, int error, const char *why);       /* ends now, whatever is left */
void ipc_link_leave_inbox(struct aiolink *l);  /* closes it, unless others feed it; */
void ipc_link_leave_outbox(struct aiolink *l); /* take from it, and go on with it */
bool ipc_link_nothing_left(const struct aiolink *l);
void ipc_link_tell(struct aiolink *l, enum aiolink_state state); /* comes last */
void ipc_link_note(struct aiolink *l, int error, const char *why);

/* talk.c */
int ipc_link_check_end(const struct aiolink *l, const struct aioend *end); /* -1: EBADF, EOPNOTSUPP */
int ipc_link_set_up(const struct aiolink *l, struct aioconn *c);           /* a new one */
int ipc_link_talk(struct aiolink *l, struct aioconn *c); /* takes @c over; on failure it is aborted */
void ipc_link_talk_timer(struct aiolink *l);
void ipc_link_pump(struct aiolink *l);                /* out of the outbox, as far as it goes */
void ipc_link_drop(struct aiolink *l, uint64_t talk); /* aborts that one, if it is still there */
void ipc_link_enough(struct aiolink *l);              /* the peer is not waited for any more */
bool ipc_link_land(struct aiolink *l); /* what came goes into the inbox; true: nothing is left */

/* wait.c */
enum ipc_link_event { IPC_LINK_UP, IPC_LINK_DOWN, IPC_LINK_END };
int ipc_link_wait(struct aiolink *l, enum ipc_link_event what, int64_t deadline);
void ipc_link_enter(struct aiolink *l, enum aiolink_state state);
bool ipc_link_is_here(const struct aiolink *l); /* this is the thread of its loop */

/* thread.c */
int ipc_link_start_thread(struct aiolink *l);
enum ipc_link_ask {
	IPC_LINK_CLOSE = 1,
	IPC_LINK_CUT = 2,
	IPC_LINK_ENOUGH = 4,
	IPC_LINK_PACE = 8,
	IPC_LINK_DROP = 16,
};
void ipc_link_ask_thread(struct aiolink *l, enum ipc_link_ask what);
void ipc_link_leave_thread(struct aiolink *l); /* joins it; from its own callback, lets it go on alone */
void ipc_link_free_thread(struct aiolink *l);  /* its memory, when it is over */

#endif
