/*
 * The inside of a connection. The files of this folder, from the public calls down to bytes; each calls only those below it:
 *
 *   conn.c                       opening, settings, what a connection tells about itself
 *   tpl.c send.c recv.c stream.c close.c    the calls that send, receive, read as from a stream, and close
 *   wait.c                       waiting
 *   turn.c                       a turn of the loop: callbacks, and how the end is told
 *   finish.c, interest.c         ending without waiting; what the loop watches for
 *   input.c, output.c            reading and writing
 *   split.c                      messages out of the bytes that came
 *   life.c                       holds, hooks, changes of state
 *   inbox.c ledger.c blame.c trace.c
 *
 * Only turn.c calls back (but for LOCAL: life.c), and never inside a callback. Whoever may call back holds the connection
 * meanwhile, so that its memory stays when the callback frees it. Afterwards, c->gone says whether it did.
 *
 * An owner on a floor above hooks itself in (hook.h), and may use these:
 *
 *   by_hand         Set when the connection is new. The peer's goodbye is not answered. on_close tells CLEAN as soon as everything before
 *                   it is delivered, and sending goes on: until a send fails with EPIPE, or hook->lost is called, or the owner
 *                   finishes, closes or aborts the connection. When a socket can't be written to any more, what came before is
 *                   still read, and then the input ends.
 *   take            Set in on_msg: the owner keeps the message, and its reference.
 *   bytes_out       How many bytes the kernel took, with preface, headers and delimiters.
 *   bytes_refused   Bytes of messages that sends had accepted, and whose descriptors the kernel then did not pass. The peer never
 *                   sees them. ipc_conn_left() is the sum of both.
 *   left + out.bytes   How many bytes sends accepted in all: after a send returned 0, the place where its message ends in the stream.
 *                   A message has left whole when ipc_conn_left() has reached that place, unless hook->refused was called. When the
 *                   peer is lost, the queue is dropped, and bytes_out stays. A send that failed accepted nothing.
 */
#ifndef IPC_CONN_CONN_H
#define IPC_CONN_CONN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

#include <aioipc/conn.h>
#include <aioipc/msg.h>

#include "ipc/carry/carry.h"
#include "ipc/conn/blame.h"
#include "ipc/conn/hook.h"
#include "ipc/conn/inbox.h"
#include "ipc/conn/ledger.h"
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

struct aioconn {
	struct ipc_carrier carrier;
	short shown[IPC_CARRY_WAITS]; /* by which events of its descriptors, when it was last asked */
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

/* The descriptor that stands for it. */
static inline int ipc_conn_fd(const struct aioconn *c)
{
	const struct ipc_own *own = &c->carrier.own;

	return own->r.fd >= 0 ? own->r.fd : own->w.fd;
}

static inline uint64_t ipc_conn_left(const struct aioconn *c)
{
	return c->bytes_out + c->bytes_refused;
}

/* What a caller says, as ours. Its size may be smaller. -1/EINVAL. */
int ipc_conn_take_limits(struct aioconn_limits *to, const struct aioconn_limits *from);

#endif
