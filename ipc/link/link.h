/*
 * The inside of a link. Calls go down:
 *
 *   link.c      the public calls
 *   run.c       a link on its loop: what it does when the course or a queue asks
 *   attempt.c   how it gets a connection: dial, listen, open an end
 *   talk.c      one connection: messages both ways, goodbyes, limits
 *   confirm.c   what both sides tell each other of the numbers of messages, where they confirm them
 *   book.c      what came from one sender, and what of it the program is done with
 *   queues.c    its inbox and outbox, which it may share
 *   call.c, later.c, asked.c   calls that are made over it
 *   row.c       what it says of itself for aioipc top
 *
 * With a stream it shares, in ipc/net:
 *
 *   runner.c    its own thread, if it has one
 *   course.c    attempts, pauses, giving up, the end: its life is drawn in course.h
 *   status.c    what any thread may know, and wait for
 *
 * What these have to start above them, they start by the functions that run.c registers.
 *
 * While the course is UP, each direction of the connection has a state:
 *
 *   ours:    SENDS --said goodbye--> LEFT --the peer has said it too, or can't hear us--> FINISHES
 *   theirs:  SPEAKS --said goodbye before us--> LEFT_FIRST
 *            SPEAKS --said goodbye after us, so it has read all--> LEFT_LAST
 *            SPEAKS --sent what is no message--> BROKE
 *
 * All of it runs in the thread of its loop, except for what is under the lock of its status. ipc_course_tell() calls the user
 * back, and the user may free the link: so a function calls it last, or holds the link.
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
#include "ipc/link/book.h"
#include "ipc/net/course.h"
#include "ipc/link/incoming.h"
#include "ipc/link/outgoing.h"
#include "ipc/net/status.h"
#include "ipc/net/local.h"
#include "ipc/net/runner.h"
#include "ipc/os/socket.h"

struct aiolistener;
struct ipc_knock;
struct ipc_link_call;

/* Its options, checked and copied. */
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
	struct aiotls *tls;      /* NULL: it is not encrypted */
	unsigned spin;
	bool half_open, confirm;
	mode_t mode;
	uid_t *uids;
	size_t n_uids;
};

#define IPC_LINK_BOOKS 64 /* senders that a link knows; the one that came longest ago is forgotten first */

/* Where both sides confirm messages. */
struct ipc_link_confirm {
	struct ipc_key id;                      /* of this link, as a sender */
	struct ipc_book *books[IPC_LINK_BOOKS]; /* the one that came last is the first */
	struct ipc_knock *knock;                /* the program freed messages */
	struct ipc_watch *timer;
	bool waits; /* for the timer */

	/* of this connection: */
	struct ipc_book *book; /* of its peer; NULL: it has said no hello, or is not read */
	bool said_hello, heard_hello;
	bool owes_had;       /* the peer's hello is not answered yet */
	bool begun;          /* the peer has answered ours, so we send */
	uint64_t had, taken; /* what we tell the peer */
	uint64_t told;       /* what we told it last */
	size_t bytes;        /* that came since then */
	bool looked;         /* time is up for its hello, and what had come by then is being read */
};

/* Our side of the connection. */
enum ipc_link_ours {
	IPC_LINK_SENDS,
	IPC_LINK_LEFT,     /* we said goodbye: we send nothing more, and still read */
	IPC_LINK_FINISHES, /* what the connection holds still leaves, then it is gone */
};

/* The peer's side. */
enum ipc_link_theirs {
	IPC_LINK_SPEAKS,
	IPC_LINK_LEFT_FIRST, /* it said goodbye before it had read ours */
	IPC_LINK_LEFT_LAST,  /* it said goodbye after ours: it has read all */
	IPC_LINK_BROKE,      /* it broke the protocol */
};

struct aiolink {
	struct ipc_status status;
	struct ipc_course course;
	struct ipc_link_options o;
	struct aioend *end; /* NULL once started */
	struct aioqueue *inbox, *outbox;
	bool made_inbox, made_outbox; /* by this link: the user gave none */
	aiolink_state_cb *cb;
	void *arg;
	_Atomic(const char *) where; /* the address at which it listens */
	int port;

	/* The lock of its status guards these. */
	bool talks;          /* there is a connection, though its peer may have left */
	uint64_t talk, drop; /* the number of the connection, and of the one that is to be dropped */
	bool deaf;           /* it listens no more */
	bool freed;          /* by its user */
	bool calls_over;     /* it has ended, and nobody calls any more */
	struct ipc_link_call *calls,
		*given_up;       /* those that somebody waits for, and those that nobody does any more */
	struct ipc_knock *knock; /* for the latter; NULL before the first call was sent */
	struct ipc_link_call *due, **last_due; /* have a callback, and news for it */
	int64_t call_at;                       /* when to look at their deadlines next; INT64_MAX: never */
	char peer[IPC_ADDRESS_SIZE], local[IPC_ADDRESS_SIZE];

	struct ipc_watch *call_watch; /* tells what calls are due; NULL: it makes none */
	struct ipc_flow_watch *in_watch, *out_watch;
	bool left_inbox, left_outbox; /* it is no sharer of them any more */
	struct ipc_incoming incoming;
	struct ipc_outgoing outgoing;
	struct ipc_link_confirm confirm;

	struct aiolistener *listener;
	char listens_at[IPC_ADDRESS_SIZE];
	struct ipc_dial *dial;
	struct ipc_watch *dial_watch[IPC_DIAL_MOST];

	struct aioconn *ready; /* made of the end, before it talks */
	struct aioconn *conn;  /* while the course is up */
	struct ipc_conn_hook hook;
	enum ipc_link_ours ours;
	enum ipc_link_theirs theirs;
	int64_t since;       /* when the connection began */
	int64_t grace_until; /* until then the peer has to say goodbye; 0: no such time */
	bool grace_looked;   /* the grace is over, and what had come by then is being read */
	bool paused;         /* it does not read: there is no room in the inbox */
	int talk_error;      /* why the connection ends */
	char talk_why[128];
	uint64_t handed;      /* msgs_out when it began */
	uint64_t read, wrote; /* bytes when the limits were checked last, and since when they are so many */
	int64_t read_since, wrote_since;
	struct ipc_counter connections, unsure;
	struct ipc_row *row; /* where the program keeps statistics; NULL */

	struct ipc_runner *own; /* NULL: it runs on the user's base */
};

/* It sends what is in the outbox, and then ends. */
static inline bool ipc_link_closes(const struct aiolink *l)
{
	return l->course.ending >= IPC_COURSE_CLOSES;
}

/* options.c: -1/EINVAL, which is logged; ENOMEM */
int ipc_link_take_options(struct ipc_link_options *to, const struct aiolink_options *o);
void ipc_link_free_options(struct ipc_link_options *o);
int ipc_link_check_reconnect(const struct ipc_link_options *o, int64_t first,
			     int64_t most); /* the same errors */
int64_t ipc_link_nanoseconds(int64_t ms);

/* row.c: for the statistics that the program may keep */
void ipc_link_take_row(struct aiolink *l);
void ipc_link_fill_row(struct aiolink *l);
static inline void ipc_link_tell_row(struct aiolink *l)
{
	if (l->row)
		ipc_link_fill_row(l);
}

/* queues.c */
int ipc_link_take_queues(struct aiolink *l, const struct aiolink_options *o);
void ipc_link_join_queues(struct aiolink *l);         /* as a sharer */
void ipc_link_leave_inbox(struct aiolink *l);         /* the last producer closes it */
void ipc_link_leave_outbox(struct aiolink *l);        /* the last consumer closes it */
void ipc_link_leave_unused_queues(struct aiolink *l); /* instead of both, if it was never started */
bool ipc_link_nothing_left(const struct aiolink *l);  /* to send */

/* talk.c */
int ipc_link_check_end(const struct aiolink *l, const struct aioend *end); /* -1: EBADF, EOPNOTSUPP */
int ipc_link_set_up(const struct aiolink *l, struct aioconn *c);           /* a new connection */
int ipc_link_talk(struct aiolink *l, struct aioconn *c); /* takes @c over; on failure it aborts @c */
void ipc_link_talk_timer(struct aiolink *l);
void ipc_link_pump(struct aiolink *l);                /* sends from the outbox as much as it can */
void ipc_link_drop(struct aiolink *l, uint64_t talk); /* aborts that connection, if it is still there */
void ipc_link_end_grace(struct aiolink *l);           /* it no longer waits for the peer's goodbye */
bool ipc_link_deliver(struct aiolink *l);        /* puts what arrived into the inbox; true: nothing is left */
bool ipc_link_has_peer(const struct aiolink *l); /* there is a connection, and its peer has not left */

/*
 * confirm.c. heard: a frame of this came, mostly numbers; came: a message. Each returns why the connection can't go on, with errno, or NULL. flush sends
 * what is due; mind sees to it that the peer is told what the program is done with.
 */
int ipc_confirm_equip(struct aiolink *l);
void ipc_confirm_unequip(struct aiolink *l);
void ipc_confirm_begin(struct aiolink *l); /* a connection */
void ipc_confirm_end(struct aiolink *l);
const char *ipc_confirm_heard(struct aiolink *l, const struct aiomsg *m);
const char *ipc_confirm_came(struct aiolink *l, struct aiomsg *m);
void ipc_confirm_flush(struct aiolink *l);
void ipc_confirm_mind(struct aiolink *l);
void ipc_confirm_look(struct aiolink *l);    /* tells at once what the program is done with */
void ipc_confirm_decline(struct aioconn *c); /* we do not confirm */

/* attempt.c */
int ipc_link_listen(struct aiolink *l);   /* if it was asked to */
int ipc_link_open_end(struct aiolink *l); /* if it was given one */
void ipc_link_attempt(struct aiolink *l);
void ipc_link_go_on(struct aiolink *l);
void ipc_link_stop_dialling(struct aiolink *l);
void ipc_link_stop_listening(struct aiolink *l);

/* run.c; what other threads ask for, as bits */
enum ipc_link_ask {
	IPC_LINK_CLOSE = 1,  /* nothing more will be put into the outbox */
	IPC_LINK_CUT = 2,    /* it ends now */
	IPC_LINK_ENOUGH = 4, /* it waits for the peer no longer */
	IPC_LINK_PACE = 8,   /* the pauses have changed */
	IPC_LINK_DROP = 16,  /* the connection is to be dropped */
	IPC_LINK_CALLS = 32, /* some calls are due */
};
extern const struct ipc_course_owner ipc_link_course;
int ipc_link_equip(struct aiolink *l,
		   struct event_base *base); /* takes what it needs to run; on failure nothing */
void ipc_link_unequip(struct aiolink *l);
#endif
