/* Refusals and cancels that the user did not write: they go into the queue as they are, and leave with what is there. */
#include "ipc/conn/note.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/conn/life.h"
#include "ipc/conn/output.h"
#include "ipc/conn/trace.h"
#include "ipc/loop/knock.h"
#include "ipc/own/bell.h"
#include "ipc/wire/frame.h"

#define RETRY_NS (INT64_C(10) * 1000 * 1000) /* when memory or descriptors are short */
#define FREED "the message of the call was freed without an answer"

static int put(struct aioconn *c, const struct ipc_frame *f, uint64_t id, uint32_t error, const char *text)
{
	size_t preface = c->way_out == IPC_OUT_NEW ? IPC_PREFACE_LEN : 0;
	size_t label = ipc_frame_label(f->kind);
	unsigned char *at;

	if (!c->writes || c->way_out >= IPC_OUT_GOODBYE || c->life != IPC_LIFE_OPEN)
		return 0;
	at = ipc_out_reserve(&c->out, preface + IPC_FRAME_LEN + f->length);
	if (!at)
		return -1;
	memcpy(at, ipc_preface, preface);
	at += preface;
	ipc_frame_write(at, f);
	ipc_frame_write_id(at + IPC_FRAME_LEN, id);
	if (f->kind == IPC_FRAME_REFUSAL)
		ipc_frame_write_error(at + IPC_FRAME_LEN + IPC_CALL_ID_LEN, error);
	memcpy(at + IPC_FRAME_LEN + label, text, f->length - label);
	ipc_out_commit(&c->out, preface + IPC_FRAME_LEN + f->length, NULL);
	if (c->trace)
		ipc_trace(ipc_conn_fd(c), ">", f->kind, (const unsigned char *)text, f->length - label, 0);
	c->used = true;
	if (c->way_out == IPC_OUT_NEW)
		c->way_out = IPC_OUT_OPEN;
	ipc_conn_soon(c);
	return 0;
}

int ipc_conn_put_refusal(struct aioconn *c, uint64_t id, uint32_t error, const char *text)
{
	const struct ipc_frame f = {.length = (uint32_t)(IPC_REFUSAL_LEN + strlen(text)),
				    .kind = IPC_FRAME_REFUSAL};

	return put(c, &f, id, error, text);
}

int ipc_conn_put_cancel(struct aioconn *c, uint64_t id)
{
	static const struct ipc_frame f = {.length = IPC_CALL_ID_LEN, .kind = IPC_FRAME_CANCEL};

	return put(c, &f, id, 0, "");
}

int ipc_conn_pay(struct aioconn *c)
{
	uint64_t id;

	while (ipc_desk_owes(c->desk, &id)) {
		if (!ipc_conn_has_room(c, 2 * IPC_FRAME_LEN + IPC_REFUSAL_LEN + sizeof FREED))
			return 0;
		if (ipc_conn_put_refusal(c, id, ENOMSG, FREED) < 0)
			return -1;
		ipc_desk_paid(c->desk);
	}
	return 0;
}

bool ipc_conn_owes(const struct aioconn *c)
{
	uint64_t id;

	return ipc_desk_owes(c->desk, &id);
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
	struct ipc_knock *knock;

	if (!c->base || !c->turn || !ipc_desk_count(c->desk) || ipc_desk_knock(c->desk))
		return;
	knock = ipc_knock_new(c->base, on_knock, c);
	if (knock)
		ipc_desk_set_knock(c->desk, knock);
	else
		ipc_watch_later(c->turn, RETRY_NS);
}

/* Where there is no memory to tell the peer, it answers what nobody wants, and that is ignored. */
void ipc_conn_give_up(struct aioconn *c, struct aiocall *call, int error)
{
	uint64_t id = call->id;

	ipc_flight_end(c->flight, call, NULL, error);
	ipc_conn_put_cancel(c, id);
}
