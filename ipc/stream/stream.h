/*
 * The inside of a stream. Calls go down:
 *
 *   stream.c    the public calls
 *   run.c       its life on a loop: the course, the queue, the ends
 *   send.c      one transaction after the other
 *   read.c      asks for what is new, for a group or for itself
 *   keep.c      the second connection of a member: answers, leases; with recover.c, bury.c, trim.c, leave.c
 *   pending.c   what is pending: how it is asked for, had, and given back
 *   arrive.c    entries become messages, and go into the queue
 *   work.c      what a member has
 *   row.c       what it says of itself for aioipc top
 *   wire.c      one connection; with server.c, refusal.c, resp.c
 *
 * It may have a thread of its own: ipc/net/runner.c.
 *
 * A stream belongs to the thread of its loop. What others need is in its status, its counters and its work.
 */
#ifndef IPC_STREAM_STREAM_H
#define IPC_STREAM_STREAM_H

#include <aioipc/stream.h>

#include "ipc/net/counter.h"
#include "ipc/net/course.h"
#include "ipc/net/runner.h"
#include "ipc/net/status.h"
#include "ipc/os/os.h"
#include "ipc/stream/server.h"
#include "ipc/stream/wire.h"
#include "ipc/stream/work.h"

#define IPC_STREAM_BATCH 1024                /* messages in one transaction */
#define IPC_STREAM_BYTES ((size_t)256 << 10) /* after so many bytes it is full; and an answer is large */
#define IPC_STREAM_LIST 64                   /* entries that are listed at a time */
#define IPC_STREAM_TOLD 1000                 /* ids in one command */
#define IPC_STREAM_MS INT64_C(1000000)
#define IPC_STREAM_BLOCK_MS 5000 /* a reader waits so long at the server */

struct ipc_flow_watch;
struct ipc_knock;
struct ipc_row;

/* Its options, checked and copied. Times in nanoseconds. */
struct ipc_stream_options {
	struct ipc_server server;
	struct aiotls *tls; /* NULL: it is not encrypted */
	char *stream, *group, *member, *mark, *fence, *dead;
	int64_t first, most_pause, connect_limit, reply_limit;
	uint64_t most;
	bool from_start, keep;
	unsigned prefetch, tries;
	int64_t lease, handle_limit;
};

/* The server refused something: it is asked again after this. */
struct ipc_stream_pause {
	int64_t delay, until; /* 0: none */
	int error;            /* that was noted; 0: none */
	unsigned refusals;    /* since it passed */
};

struct ipc_stream_sender {
	struct aiomsg *m[IPC_STREAM_BATCH];
	size_t n;          /* messages that are not confirmed: lent by the queue */
	uint64_t number;   /* of the transaction that has them, in the mark */
	bool asked;        /* the server was asked to append them */
	bool doubt;        /* and the connection broke: perhaps it has */
	bool again;        /* and it has not */
	bool bad;          /* an error came before the answer to EXEC */
	bool full;         /* the stream holds too many */
	bool no_fence;     /* its user may not watch one */
	bool with_fence;   /* the transaction touches it too: */
	int64_t fence_due; /* from then on; of ipc_os_now() */
	struct ipc_stream_pause pause;
};

struct ipc_stream_reader {
	struct aiomsg **arrived; /* wait for room in the queue: head to n */
	size_t head, n, room;
	unsigned count;    /* how many are asked for at most, as to their size */
	int64_t few_until; /* there is room for few, and it waits for more until then; 0: it does not */
	unsigned asked;    /* this time */
	bool lost_group;   /* it is to be made anew, from the start of the stream */
	bool has_place;    /* a broadcast: what came last is known */
	struct ipc_entry_id last;
	struct ipc_stream_pause pause;
};

/* An entry of a list of pending ones. */
struct ipc_stream_pending {
	struct ipc_entry_id id;
	int64_t idle, tries;
};

enum ipc_stream_stage {
	IPC_KEEP_RENEW,
	IPC_KEEP_CLAIM,
	IPC_KEEP_TRIM,
	IPC_KEEP_TICK, /* it is over, and waits for the next */
};

struct ipc_stream_keeper {
	struct ipc_entry_list acks, backs;           /* to be told */
	struct ipc_entry_list told_acks, told_backs; /* were told, and it is not confirmed */
	bool recovered;                              /* what it had before has been got again */
	bool old_first;                              /* leases have run out, and there is no room for all */
	enum ipc_stream_stage stage;
	unsigned refusals;                               /* before this round */
	int64_t tick;                                    /* the next round; of ipc_os_now() */
	struct ipc_stream_pending list[IPC_STREAM_LIST]; /* of these, at to n are still to be looked at */
	int64_t wish;                             /* and it should be then at the latest; 0: no such time */
	size_t at, n, claimed;                    /* and so many are being claimed */
	bool own;                                 /* the list is of what this member has itself */
	int64_t idle;                             /* and that lies there so many milliseconds */
	int64_t own_again;                        /* then that is listed once more; 0: not again */
	bool more;                                /* there may be more than fit into the list */
	struct ipc_entry_id cursor;               /* recovering: behind this one */
	struct ipc_entry_id bad[IPC_STREAM_LIST]; /* no messages: to be buried */
	size_t bads;
	struct ipc_stream_pending buried; /* is being */
	bool unburied;                    /* an error came before the answer to EXEC */
	bool one_slot;                    /* the names must share one slot of a cluster */
	struct ipc_stream_pause pause;

	/* trim.c */
	enum { IPC_TRIM_BEGINS, IPC_TRIM_LOOKS, IPC_TRIM_ENDS } trimming;
	char **groups;
	size_t n_groups, group;
	struct ipc_entry_id low;
	bool can_trim; /* as far as is known */

	/* leave.c */
	bool leaves;    /* it has begun to ask what is to be given back */
	unsigned empty; /* lists in turn */
};

/* How its user wants it to end. */
enum ipc_stream_leaving {
	IPC_STREAM_STAYS,
	IPC_STREAM_LEAVES,  /* when all that its user got is answered */
	IPC_STREAM_HURRIES, /* now, but what it has is given back */
};

struct aiostream {
	struct ipc_status status;
	struct ipc_course course;
	struct ipc_stream_options o;
	struct aioqueue *queue;
	bool made_queue, left_queue;
	aiostream_state_cb *cb;
	void *arg;
	bool freed; /* by its user; the lock of its status guards this */

	struct ipc_flow_watch *watch;
	struct ipc_knock *knock;      /* messages were answered */
	struct ipc_wire one, two;     /* two: of a member of a group */
	bool begun;                   /* on this connection: the first question was asked */
	bool knows_place;             /* and answered: it is up */
	char where[IPC_ADDRESS_SIZE]; /* another server has the stream; "": that of the options */
	bool asks;                    /* and has it only for who says ASKING */
	bool unreachable;             /* the last attempt has failed */
	int64_t timer_at;             /* 0: it is not set */
	enum ipc_stream_leaving leaving;

	struct ipc_work *work; /* NULL: it sends */
	struct ipc_stream_sender send;
	struct ipc_stream_reader read;
	struct ipc_stream_keeper keep;
	struct ipc_counter connections, sent, resent, unsendable, received, again, acked, nacked, late, dead,
		vanished;

	struct ipc_runner *own; /* NULL: it runs on the user's base */
	struct ipc_row *row;    /* where the program keeps statistics; NULL */
};

static inline bool ipc_stream_sends(const struct aiostream *s)
{
	return !s->o.group;
}

static inline bool ipc_stream_is_member(const struct aiostream *s)
{
	return s->o.group && *s->o.group;
}

static inline struct aiostream *ipc_stream_of(struct ipc_wire *w)
{
	return w->owner;
}

/* options.c. -1/EINVAL, EOPNOTSUPP, which are logged; ENOMEM */
int ipc_stream_take_options(struct ipc_stream_options *to, const struct aiostream_options *o,
			    struct aioqueue **queue);
void ipc_stream_free_options(struct ipc_stream_options *o);

/*
 * pause.c. refused: the server said no: it is noted, and the same is not asked again for a while, or the connection is given up. passed: it
 * did not say no. is_paused: the pause is not over; the timer is set.
 */
void ipc_stream_refused(struct aiostream *s, struct ipc_wire *w, struct ipc_stream_pause *p,
			const struct ipc_resp_item *i);
void ipc_stream_pause(struct aiostream *s, struct ipc_stream_pause *p, int error, const char *why);
void ipc_stream_passed(struct aiostream *s, struct ipc_stream_pause *p);
bool ipc_stream_is_paused(struct aiostream *s, const struct ipc_stream_pause *p);
void ipc_stream_by(struct aiostream *s, int64_t when); /* the timer is to fire at this time, or before */

/* send.c. begin: on a new connection. pump: does what can be done. */
void ipc_send_begin(struct aiostream *s);
void ipc_send_pump(struct aiostream *s);
void ipc_send_lost(struct aiostream *s);
void ipc_send_end(struct aiostream *s); /* what is not confirmed goes back to the queue */
bool ipc_send_is_done(const struct aiostream *s);

/*
 * arrive.c. entries: the array of them that @walk is at, @most entries at most; @tries tells how often each was given, NULL: once. How many
 * there were, or -1: the answer is confused.
 */
typedef unsigned ipc_arrive_tries(struct aiostream *s, struct ipc_entry_id id);
int64_t ipc_arrive_entries(struct aiostream *s, struct ipc_resp_walk *walk, size_t most,
			   ipc_arrive_tries *tries);
bool ipc_arrive_deliver(struct aiostream *s); /* into the queue; true: nothing is left */
void ipc_arrive_drop(struct aiostream *s);    /* what arrived, and what is in the queue, its user had not */
size_t ipc_arrive_room(struct aiostream *s);  /* how many more it may have */

/* read.c */
void ipc_read_begin(struct aiostream *s);
void ipc_read_pump(struct aiostream *s);
void ipc_read_lost(struct aiostream *s, int error);

/* keep.c */
void ipc_keep_begin(struct aiostream *s);
void ipc_keep_pump(struct aiostream *s);
void ipc_keep_lost(struct aiostream *s);
bool ipc_keep_is_done(const struct aiostream *s); /* all is told and confirmed */

/* Parts of it. Each asks one question; false: there is none to ask now. */
void ipc_recover_list(struct aiostream *s);
bool ipc_recover_claim(struct aiostream *s);
bool ipc_bury_bad(struct aiostream *s);
void ipc_bury(struct aiostream *s, const struct ipc_stream_pending *p, int64_t idle_ms);
bool ipc_trim(struct aiostream *s);
void ipc_trim_forget(struct aiostream *s);
bool ipc_leave(struct aiostream *s);

/*
 * pending.c. list: the next of those behind the cursor that lie there so long; @own: of this member. take: those of the answer that are wanted become
 * the list; false: it is confused.
 */
typedef bool ipc_pending_wanted(struct aiostream *s, const struct ipc_stream_pending *p);
void ipc_pending_list(struct aiostream *s, int64_t idle_ms, bool own, ipc_wire_answer *answer);
bool ipc_pending_take(struct aiostream *s, struct ipc_resp_walk *walk, ipc_pending_wanted *wanted);

/* Claims what lies there so long: this, then @words ids and other words. */
void ipc_claim_begin(struct aiostream *s, int64_t idle_ms, size_t words);
void ipc_claim_id(struct aiostream *s, struct ipc_entry_id id);

/* Gives back: this, @n ids, and the end. As if they lay there so long, and had been given so often; @tries -1: as often as they were. */
void ipc_give_back_begin(struct aiostream *s, size_t n, int64_t tries);
void ipc_give_back_end(struct aiostream *s, int64_t idle_ms, int64_t tries);

/* row.c: for the statistics that the program may keep */
void ipc_stream_take_row(struct aiostream *s);
void ipc_stream_fill_row(struct aiostream *s) __attribute__((cold));
static inline void ipc_stream_tell_row(struct aiostream *s)
{
	if (s->row)
		ipc_stream_fill_row(s);
}

/* run.c. What other threads ask for, as bits. */
enum ipc_stream_ask { IPC_STREAM_CLOSE = 1, IPC_STREAM_HURRY = 2, IPC_STREAM_CUT = 4 };
extern const struct ipc_course_owner ipc_stream_course;
int ipc_stream_equip(struct aiostream *s, struct event_base *base);
void ipc_stream_unequip(struct aiostream *s);
bool ipc_stream_all_is_well(const struct aiostream *s); /* nothing was left */

#endif
