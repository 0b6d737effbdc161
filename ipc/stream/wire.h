/*
 * One connection to a server: dialled, and then greeted (who we are, which database). Commands are written, and each has somebody who is
 * given its answer: in order, as the server answers. It never tries again, and calls nobody when it breaks: it asks for a turn of its owner, who
 * looks at its state, and hangs up.
 */
#ifndef IPC_STREAM_WIRE_H
#define IPC_STREAM_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/net/address.h"
#include "ipc/net/dial.h"
#include "ipc/stream/refusal.h"
#include "ipc/stream/resp.h"

#define IPC_WIRE_MOST ((size_t)64 << 20) /* bytes of one answer, and of one message */
#define IPC_WIRE_DUE 16

struct aioconn;
struct aiotls;
struct event_base;
struct ipc_server;
struct ipc_watch;
struct ipc_wire;

/* An answer has come. The walk is good until this returns. */
typedef void ipc_wire_answer(struct ipc_wire *w, struct ipc_resp_walk *walk);

enum ipc_wire_state {
	IPC_WIRE_NONE,
	IPC_WIRE_DIALS, /* ipc_wire_step() goes on */
	IPC_WIRE_GREETS,
	IPC_WIRE_READY,
	IPC_WIRE_BROKEN, /* error and why say how */
};

/* Somebody waits for @n answers. */
struct ipc_wire_due {
	ipc_wire_answer *answer;
	size_t n;
	int64_t limit; /* nanoseconds for all, from when they are the next */
};

struct ipc_wire {
	/* Its owner should have a turn: its state is another one, or nothing is due any more. This changes nothing itself. */
	void (*wake)(struct ipc_wire *w);
	void *owner;
	struct event_base *base;
	const struct ipc_server *server;
	struct aiotls *tls; /* NULL: it is not encrypted */
	int64_t limit;      /* nanoseconds for an answer to the greeting */

	enum ipc_wire_state state;
	struct ipc_dial *dial;
	struct ipc_watch *watch[IPC_DIAL_MOST];
	int64_t until; /* of ipc_os_now(): then the dial, or what is due, should be looked at; 0: no such time */
	bool looked; /* it has: what had come by then is being read */
	struct aioconn *conn;
	struct ipc_resp_in in;
	struct ipc_resp_out out;
	struct ipc_wire_due due[IPC_WIRE_DUE];
	unsigned first, count;
	bool asks; /* the server has the stream only for who says ASKING */

	int error;
	char why[128];
	bool moved, moved_asks; /* the server says that another one has the stream: */
	char where[IPC_ADDRESS_SIZE];
};

/* Begins to dial @address. -1: ENOMEM. */
int ipc_wire_dial(struct ipc_wire *w, const char *address);

/* While it dials. @until: the end of the attempt. */
void ipc_wire_step(struct ipc_wire *w, int64_t until);

/* The time w->until has come. */
void ipc_wire_look(struct ipc_wire *w);

/* Lets go of everything. In a forked child too. */
void ipc_wire_hang_up(struct ipc_wire *w);

/* It is of no use any more. @why may be NULL: the words of the errno. */
void ipc_wire_fail(struct ipc_wire *w, int error, const char *why);
void ipc_wire_refused(struct ipc_wire *w, const struct ipc_resp_item *i); /* in the words of the server */
void ipc_wire_confused(struct ipc_wire *w); /* the answer has not the shape that it should */

/* The words of a server, cut and tamed. */
void ipc_wire_quote(char *to, size_t size, const struct ipc_resp_item *i);

/*
 * To ask: begin, w->out is written, expect, and so on; then send, which lets all of it leave. A transaction is one command here.
 */
void ipc_wire_begin(struct ipc_wire *w);
void ipc_wire_expect(struct ipc_wire *w, ipc_wire_answer *answer, size_t n, int64_t limit);
void ipc_wire_send(struct ipc_wire *w);

/* Is nothing due? */
static inline bool ipc_wire_is_idle(const struct ipc_wire *w)
{
	return w->state == IPC_WIRE_READY && w->count == 0;
}

#endif
