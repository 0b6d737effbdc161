/*
 * The inside of a connection. The files of this folder, from the public calls down to bytes. Each calls only those below it:
 *
 *   conn.c; tpl.c call.c cork.c send.c recv.c stream.c close.c    opening and settings; the calls that send, call, receive, and close
 *   wait.c; turn.c                                  waiting; what a turn of the loop calls back
 *   finish.c interest.c; input.c output.c           ending without waiting, what to watch for; reading, writing
 *   grant.c; split.c; life.c; inbox.c ledger.c blame.c trace.c    messages out of bytes; holds, hooks, changes of state
 *   row.c                                           what it says of itself for aioipc top
 *
 * Only turn.c calls back (and life.c, for LOCAL), and never inside a callback. Its caller holds the connection meanwhile: a callback
 * may free it, and its memory stays. The states; each moves to the right only:
 *
 *               end of bytes        all is split        on_close
 *   way_in    OPEN --------> EOF ----------------> ENDED -------> TOLD
 *               `-- the goodbye, or a broken stream --^
 *
 *               preface       goodbye is queued       it left
 *   way_out   NEW ----> OPEN ----------------> GOODBYE ------> SHUT          hook->lost
 *               `---------`-----------------------`--------------`----> LOST ---------> TOLD
 *                                   a write failed, or the end is not CLEAN
 *
 *   life      OPEN --close--> CLOSING ---> OVER
 *               |`---finish--> FINISHING ---^
 *               `----abort------------------^
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
#include "ipc/conn/desk.h"
#include "ipc/conn/flight.h"
#include "ipc/conn/hook.h"
#include "ipc/conn/inbox.h"
#include "ipc/conn/ledger.h"
#include "ipc/loop/watch.h"
#include "ipc/task/task.h"
#include "ipc/wire/in.h"
#include "ipc/wire/out.h"

struct aioend;

#define IPC_SPIN_MOST 1000 /* microseconds */
#define IPC_MESSAGE_MOST ((size_t)1 << 30)

enum ipc_way_in { IPC_IN_OPEN, IPC_IN_EOF, IPC_IN_ENDED, IPC_IN_TOLD };
enum ipc_way_out { IPC_OUT_NEW, IPC_OUT_OPEN, IPC_OUT_GOODBYE, IPC_OUT_SHUT, IPC_OUT_LOST, IPC_OUT_TOLD };
enum ipc_life { IPC_LIFE_OPEN, IPC_LIFE_CLOSING, IPC_LIFE_FINISHING, IPC_LIFE_OVER };

/* Paused by the user. STALLED: input came all the same, and the loop does not watch for more. */
enum ipc_pause { IPC_NOT_PAUSED, IPC_PAUSED, IPC_STALLED };

/* What is small lies together: a program may have many connections, and most of them are idle. */
struct aioconn {
	struct ipc_carrier carrier;
	struct event_base *base;
	/* Of input, or of both where they have one descriptor; blind when that was closed. */
	struct ipc_watch *read_watch;
	struct ipc_watch *write_watch; /* of output */
	struct ipc_watch *awake; /* no descriptor: keeps the loop from sleeping; NULL unless asked for */
	uint8_t shown[IPC_CARRY_WAITS]; /* the events of its descriptors that show each, as it last said */

	enum ipc_way_in way_in : 8;
	enum ipc_way_out way_out : 8;
	enum ipc_life life : 8;
	enum aioconn_cause cause : 8;
	enum ipc_pause paused : 8;
	enum ipc_verdict verdict : 8;

	uint8_t waits;  /* what its tasks wait for: enum ipc_conn_for */
	bool calling;   /* a callback runs */
	bool telling;   /* that is on_writable, and the limit of the outbox is not set */
	bool kept;      /* the first of the inbox was KEPT: on_msg does not see it before resume */
	bool receiving; /* a call waits for input */
	bool polled;    /* a blocking call reads it, whatever other connections hold */
	bool more;      /* messages are left for the next turn */
	bool filled;    /* the last read, of bytes in bulk, took all that it had room for */
	bool owes;      /* what the hooks were told last */
	bool answering; /* what is sent now is seen to when the callbacks have returned: no call at the turn's end is asked for */
	bool burst;       /* the last turn that sent anything sent two or more */
	bool corked;      /* by the user */
	bool blocked;     /* the kernel took less than was offered: wait until it shows room */
	bool outbox_set;  /* by the user: its limit */
	bool lost_output; /* something that a send had accepted never left */
	bool refusing; /* it refused a call for want of places: who does not read that is not read either */
	bool reads, writes; /* its ways: they do not change */
	bool used;          /* framing and allow_fds can't be changed any more */
	bool by_hand;       /* its owner answers the peer's goodbye: see hook.h */
	bool trace;
	uint8_t memory_most; /* so many may be on their way or wait here; 0: none are taken */
	uint8_t in_a_row;    /* reads of a pass of the loop that no descriptor asked for */

	unsigned holds, calls;
	unsigned turn_sent; /* messages in this turn */
	uint32_t pass;      /* of the loop, in which it had messages last */
	unsigned callers;   /* calls that wait for an answer */
	uint32_t calls_limit, unanswered_limit;
	uint32_t goodbye_len; /* of our goodbye in the queue. It is no loss if it does not arrive */
	uint32_t spin;        /* nanoseconds */
	int end_error;        /* what recv fails with after the end; 0 for CLEAN */
	const char *why;
	struct ipc_blame in_fault, out_fault; /* why reading failed, and writing */

	aioconn_msg_cb *on_msg;
	aioconn_cb *on_writable;
	aioconn_close_cb *on_close;
	void *arg;
	struct ipc_conn_hook *hooks;  /* a list */
	struct ipc_posting *postings; /* a list: each sending task has one */

	struct ipc_in in;
	struct ipc_inbox inbox;
	struct ipc_loose_fds *fds; /* NULL unless descriptors are allowed */
	size_t inbox_limit;
	struct ipc_ledger *ledger; /* NULL: nobody counts what it holds */
	size_t charged;            /* to the ledger */

	struct ipc_out out;
	size_t outbox_limit;
	int64_t send_wait; /* milliseconds, or AIOIPC_FOREVER */
	int64_t retry;     /* until then writing is of no use, though the kernel shows room; 0 */
	size_t refused;    /* on_writable is due when so much fits; 0: it is not wanted */

	struct ipc_flight *flight; /* our calls; NULL before the first */
	struct ipc_desk *desk;     /* the peer's; NULL before the first */
	struct ipc_own *bell; /* for a call that sleeps in poll while some of these are not answered; NULL */
	struct aiomsg *unsorted; /* came, and there was no memory for its ticket; NULL */

	uint64_t memory_granted; /* messages in memory that the peer may send in all, as it was told */
	uint64_t memory_sent;

	int64_t awake_until;        /* nanoseconds */
	int64_t deadline;           /* of finish */
	struct ipc_waiters waiters; /* tasks */
	_Atomic(uint64_t) caller;   /* without a base: serial of the thread that is in a call; 0 */

	struct ipc_row *row; /* where the program keeps statistics; NULL */
	uint64_t msgs_in, msgs_out, bytes_in, bytes_out, bytes_refused, refusals;
	uint64_t calls_out, calls_in, strays;
	size_t peak_in, peak_out;
};

/* The watch that also fires at the end of this turn, or later. NULL without a base, and when it is over. */
static inline struct ipc_watch *ipc_conn_turn_watch(const struct aioconn *c)
{
	return c->read_watch ? c->read_watch : c->write_watch;
}

/* How many descriptors may wait here. */
static inline unsigned ipc_conn_fds_most(const struct aioconn *c)
{
	return c->in.fds_limit + c->memory_most;
}

/* As aioend_open(). Of an end whose socket is encrypted, with the seal of it: it is the connection's then. */
struct aioconn *ipc_conn_open(struct aioend *end, struct event_base *base, struct ipc_seal *seal);

/* The descriptor that stands for the connection. */
static inline int ipc_conn_fd(const struct aioconn *c)
{
	return c->carrier.own.r.fd >= 0 ? c->carrier.own.r.fd : c->carrier.own.w.fd;
}

#endif
