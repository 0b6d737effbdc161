/* What came and is more than a message: calls get their ticket, answers go to who called, cancels to the desk. */
#include "ipc/conn/sort.h"

#include <errno.h>

#include "ipc/conn/life.h"
#include "ipc/conn/note.h"
#include "ipc/conn/output.h"

/* More than may wait for their answers. Who floods us with calls, and does not read, is not read either. */
static int refuse(struct aioconn *c, struct aiomsg *m, uint64_t id)
{
	if (ipc_conn_put_refusal(c, id, EAGAIN, "too many calls wait for their answers") < 0)
		return -1;
	c->refusing = true;
	aiomsg_free(m);
	return 0;
}

static int take_call(struct aioconn *c, struct aiomsg *m, uint64_t id)
{
	if (!c->writes) { /* there is no way back */
		m->role = IPC_PLAIN;
		return 1;
	}
	if (!c->desk && !(c->desk = ipc_desk_new()))
		return -1;
	if (ipc_desk_count(c->desk) >= c->unanswered_limit)
		return refuse(c, m, id);
	if (ipc_desk_take(c->desk, m, id) == 0) {
		c->calls_in++;
		return 1;
	}
	if (errno != EEXIST)
		return -1;
	ipc_conn_end(c, AIOCONN_BAD, EPROTO, "a call with the number of one that waits for its answer");
	aiomsg_free(m);
	return 0;
}

static int take_answer(struct aioconn *c, struct aiomsg *m, uint64_t id)
{
	struct aiocall *call = c->flight ? ipc_flight_find(c->flight, id) : NULL;

	if (!call) {
		c->strays++;
		aiomsg_free(m);
		return 0;
	}
	if (m->role == IPC_ANSWER)
		m->role = IPC_PLAIN;
	ipc_flight_end(c->flight, call, m, aiomsg_error(m, NULL));
	ipc_conn_soon(c);
	return 0;
}

static int take_cancel(struct aioconn *c, struct aiomsg *m, uint64_t id)
{
	if (!c->desk || !ipc_desk_cancel(c->desk, id))
		c->strays++;
	aiomsg_free(m);
	return 0;
}

int ipc_conn_sort(struct aioconn *c, struct aiomsg *m)
{
	switch ((enum ipc_role)m->role) {
	case IPC_CALL:
		return take_call(c, m, c->in.id);
	case IPC_CANCEL:
		return take_cancel(c, m, c->in.id);
	default:
		return take_answer(c, m, c->in.id);
	}
}
