/*
 * The inside of a connection, shared by the files of this folder:
 *
 *   conn.c     its life: opening, settings, what it tells of itself
 *   io.c       reading from and writing to the kernel, watches, and waiting for them
 *   turn.c     what a turn of the loop does: callbacks, and how the end is told
 *   send.c     putting messages into the queue, at once or later
 *   recv.c     taking messages out
 *   stream.c   reading as from a stream
 *   close.c    goodbye, close, finish, abort
 *
 * Rules: callbacks are called from turn.c only (but LOCAL from close.c), and never nested. Whoever may call one
 * holds the connection meanwhile, so that its memory stays when the callback frees it; c->gone says so afterwards.
 *
 * For who drives one from a floor above, hooks itself in and may set by_hand when it is new:
 *
 *   by_hand                the peer's goodbye is not answered: on_close tells CLEAN as soon as all before it is
 *                          delivered, and sending goes on, until a send fails with EPIPE, hook->lost is
 *                          called, or its owner finishes, closes or aborts it. When a socket can't be written to
 *                          any more, what came before is still read, and then ends.
 *   take                   set in on_msg: the message is its owner's from then on, and its reference too.
 *   bytes_out              how many bytes the kernel took, preface, headers and delimiters among them.
 *   bytes_refused          of messages that sends had accepted, and whose descriptors the kernel then refused to pass: the peer
 *                          never sees them. ipc_conn_left() is both together.
 *   left + out.bytes       how many sends accepted in all: after one returned 0, where its message ends in the stream.
 *                          A message has left whole when ipc_conn_left() got there, unless hook->refused was called. When the peer is lost, the queue
 *                          is dropped and bytes_out stays what it was; a send that failed accepted nothing.
 */
#ifndef IPC_CONN_CONN_H
#define IPC_CONN_CONN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

#include <aioipc/conn.h>
#include <aioipc/msg.h>

#include "ipc/conn/blame.h"
#include "ipc/own/own.h"
#include "ipc/loop/watch.h"
#include "ipc/task/task.h"
#include "ipc/wire/in.h"
#include "ipc/wire/out.h"

#define IPC_SPIN_MOST 1000 /* microseconds */
#define IPC_MESSAGE_MOST ((size_t)1 << 30)

/*
 * So much that waits for the end of the turn leaves now. With the message that reaches it, still below 64 KiB where messages are small:
 * that is one packet on the loopback, and one read for the peer.
 */
#define IPC_CONN_BATCH ((size_t)60 * 1024)

/* Messages that were received before anyone asked for them, in order. */
struct ipc_inbox {
	struct aiomsg **ring; /* from the pool */
	size_t block, room, head, count;
	size_t bytes; /* charged */
	unsigned fds;
};

/*
 * Descriptors that were received, but whose frame is not whole yet. Reading stops while as many as allowed are
 * held; one more read may bring those of the next frame.
 */
struct ipc_loose_fds {
	unsigned n;
	int fd[2 * IPC_FDS_MOST];
};

/* What a call waits for. Of tasks, one may wait for each. */
enum ipc_conn_for { IPC_FOR_INPUT = 1, IPC_FOR_ROOM = 2, IPC_FOR_FLUSH = 4, IPC_FOR_CLOSE = 8 };

/*
 * Whoever made the connection, or has it by hand, and wants to know: told whether the peer has said something whole,
 * or is to say more, each time that changes; each time the kernel
 * took some, of a message that was accepted, ends there in the stream, and is not sent since its descriptors can't be passed, and when it is closed (its members may still be read then; @h is out of the list). Who
 * has it by hand is also told, in a turn, once, where the system tells it: after its clean end the peer left
 * altogether, nothing can be sent any more. All but @gone may be NULL; @owes, @wrote and @refused do nothing to the connection.
 */
struct ipc_conn_hook {
	void (*owes)(struct ipc_conn_hook *h, bool owes);
	void (*gone)(struct ipc_conn_hook *h);
	void (*lost)(struct ipc_conn_hook *h);
	void (*wrote)(struct ipc_conn_hook *h);
	void (*refused)(struct ipc_conn_hook *h, uint64_t end);
	struct ipc_conn_hook *next;
};

/* A send that has not returned yet, of a message with descriptors: what becomes of it can still be told. */
struct ipc_posting {
	uint64_t end; /* where it ends in the stream */
	int error;    /* the kernel refused it */
	struct ipc_posting *next;
};

/*
 * What some connections, those of a listener, hold in all of what has come and nobody has taken. Over the most, who has more
 * than its share is not read until others are through; but who has more than half of all goes on, so that one message of any
 * legal size always gets through.
 */
struct ipc_ledger {
	size_t held, peak, most, share;
	bool over;
	void (*changed)(struct ipc_ledger *l); /* @over; does nothing to connections at once */
};

struct aioconn {
	struct ipc_own own;
	struct event_base *base;
	struct ipc_watch *read_watch;  /* of a socket this one sees to both directions */
	struct ipc_watch *write_watch; /* of a pipe that is written to */
	struct ipc_watch *turn;        /* no descriptor: the end of this turn, or later */
	struct ipc_watch *awake;       /* the same: keeps the loop from sleeping; NULL unless asked for */

	aioconn_msg_cb *on_msg;
	aioconn_cb *on_writable;
	aioconn_close_cb *on_close;
	void *arg;
	struct ipc_conn_hook *hooks;  /* a list */
	struct ipc_posting *postings; /* a list: tasks take turns */

	struct ipc_in in;
	struct ipc_inbox inbox;
	struct ipc_loose_fds *fds; /* NULL unless allowed */
	struct ipc_out out;
	size_t inbox_limit, outbox_limit;
	int64_t send_wait; /* milliseconds, or AIOIPC_FOREVER */
	int64_t spin;      /* nanoseconds; */
	int64_t awake_until;
	int64_t deadline; /* of finish */
	int64_t retry;    /* deadline until which writing is of no use, though the kernel says otherwise; 0 */

	enum aioconn_cause cause;
	int end_error; /* what recv says after the end; 0 for CLEAN */
	const char *why;
	struct ipc_blame in_fault, out_fault; /* what a read, and a write, said that failed for good */
	size_t goodbye_len;                   /* of our goodbye, once said: no loss if it does not arrive */
	size_t refused;                       /* on_writable is due when so much fits; 0 not wanted */
	uint64_t pass;                        /* in which it had messages last */
	bool owes;                            /* the peer has begun to say something, or said nothing yet */
	struct ipc_ledger *ledger;            /* NULL: nobody counts what it holds: */
	size_t charged;
	bool polled;        /* a call that blocks reads it, whatever others hold */
	unsigned turn_sent; /* messages in this turn */
	unsigned holds, calls;
	struct ipc_waiter waiters; /* tasks, */
	unsigned waits;            /* and what they wait for: enum ipc_conn_for */
	_Atomic(uint64_t) caller;  /* serial of the thread that is in a call, where there is no base; 0 */

	bool reads, writes; /* its directions */
	bool used;          /* framing and allow_fds are settled */
	bool prefaced;      /* our preface is queued */
	bool said_goodbye;  /* nothing can be sent behind it */
	bool write_closed;  /* the goodbye left, and the direction is shut */
	bool peer_gone;     /* writing is of no use any more */
	bool ended;         /* nothing more will be read: cause */
	bool told;          /* on_close was called */
	bool gone;          /* closed or aborted; only holders still see it */
	bool closing;       /* in close or finish: what comes in is of no interest */
	bool finishing;
	bool paused;
	bool stalled;   /* paused, and input came all the same: it is not watched for */
	bool by_hand;   /* its owner answers the peer's goodbye: see above */
	bool told_lost; /* hook->lost was called */
	bool kept;      /* on_msg gave a message back: it is the inbox' first */
	bool calling;   /* a callback is running */
	bool take;      /* it takes the message over, and its reference */
	bool keep;      /* aioconn_keep was called in it */
	bool corked;
	bool burst;       /* two or more messages left in the last turn that sent */
	bool blocked;     /* the kernel took less than was offered: wait until it is writable */
	bool more;        /* messages are left for the next turn */
	bool lost_output; /* something that was taken for sending never left */
	bool reset;       /* the stream ended by an error, not by EOF */
	bool receiving;   /* a call waits for input */
	bool trace;

	uint64_t msgs_in, msgs_out, bytes_in, bytes_out, bytes_refused, refusals;
	size_t peak_in, peak_out;
};

/* Would the output queue take so many bytes? */
static inline bool ipc_conn_has_room(const struct aioconn *c, size_t size)
{
	return c->out.bytes == 0 || (c->out.bytes + size <= c->outbox_limit && c->out.fds < IPC_FDS_MOST);
}

static inline uint64_t ipc_conn_left(const struct aioconn *c)
{
	return c->bytes_out + c->bytes_refused;
}

/* conn.c */
/* Without a base the first caller has it, and may call again from its callbacks; EBUSY. */
int ipc_conn_claim(struct aioconn *c);
void ipc_conn_hold(struct aioconn *c);
void ipc_conn_release(struct aioconn *c);
void ipc_conn_hook(struct aioconn *c, struct ipc_conn_hook *h);
void ipc_conn_unhook(struct aioconn *c, struct ipc_conn_hook *h);

/* What a caller says, as ours, with a size that may be smaller. -1/EINVAL. */
int ipc_conn_take_limits(struct aioconn_limits *to, const struct aioconn_limits *from);

/* A call begins, and holds: ECHILD, EBUSY, EPIPE. */
static inline int ipc_conn_enter(struct aioconn *c)
{
	if (ipc_own_check(&c->own) < 0 || (!c->base && ipc_conn_claim(c) < 0))
		return -1;
	if (c->gone) {
		errno = EPIPE;
		return -1;
	}
	c->holds++;
	if (!c->base)
		c->calls++;
	return 0;
}

/* Keeps errno. */
static inline void ipc_conn_leave(struct aioconn *c)
{
	bool last = !c->base && --c->calls == 0;

	if (c->holds == 1) {
		ipc_conn_release(c);
		return;
	}
	c->holds--;
	if (last)
		atomic_store(&c->caller, 0); /* from here on another thread may be in a call */
}

/* io.c: only wait calls back */
int ipc_conn_fill(struct aioconn *c);  /* 1 something came, 0 nothing (or the end did), -1/ENOMEM */
int ipc_conn_flush(struct aioconn *c); /* writes what the kernel takes; 0, or -1 with ipc_conn_send_error() */
int ipc_conn_not_written(struct aioconn *c);  /* by errno of a write: 0 later, -1 as flush */
void ipc_conn_tell_wrote(struct aioconn *c);  /* the hooks: the kernel took something */
void ipc_conn_drop_output(struct aioconn *c); /* nothing can be written any more */
int ipc_conn_send_error(
	const struct aioconn *c); /* why: EPIPE where the peer is gone, else what the kernel said */
/* The same, because writing failed. */
void ipc_conn_lose_peer(struct aioconn *c, const struct ipc_blame *why);
void ipc_conn_check_reader(struct aioconn *c);  /* of what is only written to: is it still there? */
void ipc_conn_interest(struct aioconn *c);      /* what the loop should wait for */
bool ipc_conn_is_read(const struct aioconn *c); /* is input that comes read now? */
void ipc_conn_soon(struct aioconn *c);          /* a turn, behind what is due now */
int ipc_conn_wait_allowed(struct aioconn *c, int64_t deadline);
/*
 * Waits for room or input, moves both directions, calls back. In a task of the base the loop does that meanwhile.
 * Errno: ETIMEDOUT, EINTR, EPIPE (gone), ENOMEM, ECANCELED, EBUSY (another task waits for the same).
 */
int ipc_conn_wait(struct aioconn *c, enum ipc_conn_for what, int64_t deadline);
void ipc_conn_wake(struct aioconn *c, unsigned what); /* tasks that wait for any of it */

/* turn.c */
void ipc_conn_turn(struct aioconn *c); /* calls back what is due */
void ipc_conn_on_turn(short what, void *arg);
void ipc_conn_on_ready(short what, void *arg);
void ipc_conn_on_awake(short what, void *arg);
int ipc_conn_stow(struct aioconn *c); /* moves what arrived to the inbox, while there is room; -1/ENOMEM */
/* 1, 0, -1/ENOMEM; a broken stream ends the connection. */
int ipc_conn_next(struct aioconn *c, struct aiomsg **m);
void ipc_conn_end(struct aioconn *c, enum aioconn_cause cause, int error, const char *why);

/* recv.c */
/* Enters, and claims the right to wait for input. */
int ipc_conn_begin_receive(struct aioconn *c, int64_t deadline);
void ipc_conn_end_receive(struct aioconn *c);

/* ledger.c */
void ipc_conn_put_on(struct aioconn *c, struct ipc_ledger *l); /* NULL: it is charged to none any more */
void ipc_conn_charge(struct aioconn *c);                       /* what it holds may have changed */
bool ipc_conn_must_wait(const struct aioconn *c);              /* until others hold less */

/* close.c */
/*
 * Lines and bytes have no goodbye. Over TCP a reset is what tells an end from a loss: the socket is set to reset the peer when it is closed,
 * by the kernel too when the process is killed, until our end has been said.
 */
void ipc_conn_set_reset(struct aioconn *c, bool on);
int ipc_conn_say_goodbye(struct aioconn *c);
void ipc_conn_shut_written(struct aioconn *c); /* when the goodbye left: shuts the direction */
void ipc_conn_finish_turn(struct aioconn *c);
void ipc_conn_finalize(struct aioconn *c, enum aioconn_cause cause);

/* inbox.c */
int ipc_inbox_grow(struct ipc_inbox *box);
void ipc_inbox_push(struct ipc_inbox *box, struct aiomsg *m); /* takes the reference over; prepared before */
void ipc_inbox_unshift(struct ipc_inbox *box, struct aiomsg *m); /* the same, in front */
struct aiomsg *ipc_inbox_shift(struct ipc_inbox *box);
void ipc_inbox_free(struct ipc_inbox *box);

/* Room for one more; -1/ENOMEM. */
static inline int ipc_inbox_prepare(struct ipc_inbox *box)
{
	return box->count < box->room ? 0 : ipc_inbox_grow(box);
}

/* trace.c */
bool ipc_trace_wanted(void);
void ipc_trace(const struct aioconn *c, const char *direction, const char *kind, size_t len, unsigned nfds);

#endif
