/* Refusals and cancels that the user did not write: they go into the queue as they are, and leave with what is there. */
#include "ipc/conn/note.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/conn/life.h"
#include "ipc/conn/output.h"
#include "ipc/conn/trace.h"
#include "ipc/loop/knock.h"
#include "ipc/msg/ticket.h"
#include "ipc/own/bell.h"
#include "ipc/wire/frame.h"

#define RETRY_NS (INT64_C(10) * 1000 * 1000) /* when memory or descriptors are short */

/* What a frame says: behind its header the number of a call, of a refusal the error, and then this. */
struct note {
	uint8_t kind;
	uint64_t id;
	uint32_t error;
	const void *data;
	size_t len;
	struct aiomsg *fds; /* its descriptors go along; NULL */
};

static size_t size_of(const struct note *n)
{
	return IPC_FRAME_LEN + ipc_frame_label(n->kind) + n->len;
}

static void write_note(unsigned char *at, const struct note *n)
{
	const struct ipc_frame f = {.length = (uint32_t)(ipc_frame_label(n->kind) + n->len),
				    .kind = n->kind,
				    .nfds = n->fds ? (uint8_t)aiomsg_fds(n->fds) : 0};

	ipc_frame_write(at, &f);
	ipc_frame_write_id(at + IPC_FRAME_LEN, n->id);
	if (n->kind == IPC_FRAME_REFUSAL)
		ipc_frame_write_error(at + IPC_FRAME_LEN + IPC_CALL_ID_LEN, n->error);
	if (n->len)
		memcpy(at + IPC_FRAME_LEN + ipc_frame_label(n->kind), n->data, n->len);
}

static int put(struct aioconn *c, const struct note *n)
{
	size_t preface = c->way_out == IPC_OUT_NEW ? IPC_PREFACE_LEN : 0, size = preface + size_of(n);
	unsigned char *at;

	if (!c->writes || c->way_out >= IPC_OUT_GOODBYE || c->life != IPC_LIFE_OPEN)
		return 0;
	at = ipc_out_reserve(&c->out, size);
	if (!at || (n->fds && ipc_out_prepare(&c->out, 1) < 0))
		return -1;
	memcpy(at, ipc_preface, preface);
	write_note(at + preface, n);
	ipc_out_commit(&c->out, size, n->fds ? aiomsg_ref(n->fds) : NULL);
	if (c->trace)
		ipc_trace(ipc_conn_fd(c), ">", n->kind, n->data, n->len, n->fds ? aiomsg_fds(n->fds) : 0);
	c->used = true;
	if (c->way_out == IPC_OUT_NEW)
		c->way_out = IPC_OUT_OPEN;
	ipc_conn_soon(c);
	return 0;
}

int ipc_conn_put_refusal(struct aioconn *c, uint64_t id, uint32_t error, const char *text)
{
	const struct note n = {
		.kind = IPC_FRAME_REFUSAL, .id = id, .error = error, .data = text, .len = strlen(text)};

	return put(c, &n);
}

int ipc_conn_put_cancel(struct aioconn *c, uint64_t id)
{
	const struct note n = {.kind = IPC_FRAME_CANCEL, .id = id};

	return put(c, &n);
}

static struct note refusal_of(uint64_t id, int error, const char *why)
{
	return (struct note){.kind = IPC_FRAME_REFUSAL,
			     .id = id,
			     .error = (uint32_t)error,
			     .data = why,
			     .len = strlen(why)};
}

/* What is owed to a call: the answer, if there is one and it can be sent. */
static struct note owed_to(const struct aioconn *c, uint64_t id, struct aiomsg *answer)
{
	bool fds = answer && answer->fds && aiomsg_fds(answer);
	struct note n;

	if (!answer)
		return refusal_of(id, ENOMSG, "the message of the call was freed without an answer");
	if (answer->len > c->in.message_limit)
		return refusal_of(id, EMSGSIZE, "the answer is larger than the limit");
	if (fds && !(c->carrier.can & IPC_CARRY_FDS_OUT))
		return refusal_of(id, EOPNOTSUPP, "the answer has descriptors, which can't be sent here");
	n = (struct note){
		.id = id, .data = ipc_msg_bytes(answer), .len = answer->len, .fds = fds ? answer : NULL};
	n.kind = answer->kind == IPC_KIND_TPL ? IPC_FRAME_ANSWER : IPC_FRAME_ANSWER_BYTES;
	if (answer->role == IPC_REFUSAL) {
		n.kind = IPC_FRAME_REFUSAL;
		n.error = ipc_msg_refusal_error(answer);
	}
	return n;
}

int ipc_conn_pay(struct aioconn *c)
{
	struct aiomsg *answer;
	uint64_t id;

	while (ipc_desk_owes(c->desk, &id, &answer)) {
		struct note n = owed_to(c, id, answer);

		if (!ipc_conn_has_room(c, IPC_PREFACE_LEN + size_of(&n)))
			return 0;
		if (put(c, &n) < 0)
			return -1;
		ipc_desk_paid(c->desk);
	}
	return 0;
}

bool ipc_conn_owes(const struct aioconn *c)
{
	struct aiomsg *answer;
	uint64_t id;

	return ipc_desk_owes(c->desk, &id, &answer);
}

bool ipc_conn_has_bell(struct aioconn *c)
{
	if (c->bell)
		return true;
	c->bell = malloc(sizeof *c->bell);
	if (!c->bell)
		return false;
	ipc_own_init(c->bell);
	if (ipc_own_bell(c->bell) == 0)
		return true;
	free(c->bell);
	c->bell = NULL;
	return false;
}

static void on_knock(void *arg)
{
	ipc_conn_soon(arg);
}

void ipc_conn_mind_desk(struct aioconn *c)
{
	struct ipc_watch *w = ipc_conn_turn_watch(c);
	struct ipc_knock *knock;

	if (!w || !ipc_desk_count(c->desk) || ipc_desk_knock(c->desk))
		return;
	knock = ipc_knock_new(c->base, on_knock, c);
	if (!knock) {
		ipc_watch_later(w, RETRY_NS);
		return;
	}
	ipc_desk_set_knock(c->desk, knock);
	if (ipc_conn_owes(c)) /* since before there was somebody to knock for */
		ipc_conn_soon(c);
}

/* Where there is no memory to tell the peer, it answers what nobody wants, and that is ignored. */
void ipc_conn_give_up(struct aioconn *c, struct aiocall *call, int error)
{
	uint64_t id = call->id;

	ipc_flight_end(c->flight, call, NULL, error);
	ipc_conn_put_cancel(c, id);
}
