/* The life of a connection: who holds it, who hooks into it, and how its state changes. */
#ifndef IPC_CONN_LIFE_H
#define IPC_CONN_LIFE_H

#include <errno.h>

#include "ipc/conn/conn.h"
#include "ipc/conn/row.h"

/* What a call waits for. Of the tasks, one may wait for each. */
enum ipc_conn_for { IPC_FOR_INPUT = 1, IPC_FOR_ROOM = 2, IPC_FOR_FLUSH = 4, IPC_FOR_CLOSE = 8 };

/* A held connection keeps its memory, also when it is over. */
void ipc_conn_hold(struct aioconn *c);
void ipc_conn_release(struct aioconn *c);

void ipc_conn_hook(struct aioconn *c, struct ipc_conn_hook *h);
void ipc_conn_unhook(struct aioconn *c, struct ipc_conn_hook *h);

/* Without a base, the first caller has the connection for itself, and may call again from its callbacks. Others: -1/EBUSY. */
int ipc_conn_claim(struct aioconn *c);

void ipc_conn_wake(struct aioconn *c, unsigned what); /* the tasks that wait for any of it */
void ipc_conn_soon(struct aioconn *c);                /* asks for a turn, after what is due now */

/* Tells the hooks that nothing more can be sent. The way out has changed already. */
void ipc_conn_tell_muted(struct aioconn *c);

/* Nothing can be written any more: drops what is queued. */
void ipc_conn_drop_output(struct aioconn *c);
/* The same, because a write failed. */
void ipc_conn_lose_peer(struct aioconn *c, const struct ipc_blame *why);
/* What a send fails with then: EPIPE where the peer is gone, else the kernel's errno. */
int ipc_conn_send_error(const struct aioconn *c);

/* The end of what comes in was found. Any cause but CLEAN ends the way out, too. */
void ipc_conn_end(struct aioconn *c, enum aioconn_cause cause, int error, const char *why);

/* This process has enough of the peer, and cuts it off. The owner is told of the end as of any other. */
void ipc_conn_cut(struct aioconn *c, const char *why);

/*
 * Lines and bytes have no goodbye. Over TCP only a reset tells a loss from an end. So the kernel is told to reset the peer when
 * the socket is closed, also when this process is killed, until our end has been said.
 */
void ipc_conn_set_reset(struct aioconn *c, bool on);

/* Calls back for calls that have ended. The caller holds the connection, which may be over afterwards. */
void ipc_conn_tell_calls(struct aioconn *c);

/* The same, when no answer will be waited for any more. */
void ipc_conn_end_calls(struct aioconn *c);

/* The connection is over: tells on_close unless it was told, closes all, and drops the owner's hold. */
void ipc_conn_finalize(struct aioconn *c, enum aioconn_cause cause);

/* A public call begins, and holds the connection: 0, or -1 with ECHILD, EBUSY or EPIPE. */
static inline int ipc_conn_enter(struct aioconn *c)
{
	if (ipc_own_check(&c->carrier.own) < 0 || (!c->base && ipc_conn_claim(c) < 0))
		return -1;
	if (c->life == IPC_LIFE_OVER) {
		errno = EPIPE;
		return -1;
	}
	c->holds++;
	if (!c->base)
		c->calls++;
	return 0;
}

/* Another thread may call now. */
static inline void ipc_conn_unclaim(struct aioconn *c)
{
	atomic_store_explicit(&c->caller, 0, memory_order_release);
}

/*
 * For a short way without a base, in which nothing is called back: this thread is in a call. Not where it is inside another one. False: the long
 * way finds out.
 */
static inline bool ipc_conn_slip_in(struct aioconn *c)
{
	if (ipc_own_check(&c->carrier.own) < 0 || ipc_conn_claim(c) < 0)
		return false;
	return c->calls == 0;
}

static inline void ipc_conn_leave_quietly(struct aioconn *c)
{
	bool last = !c->base && --c->calls == 0;

	if (c->holds == 1) {
		ipc_conn_release(c);
		return;
	}
	c->holds--;
	if (last)
		ipc_conn_unclaim(c);
}

/* For the few that have a row. */
void ipc_conn_tell_and_leave(struct aioconn *c) __attribute__((cold));

/* It ends. Keeps errno. */
static inline void ipc_conn_leave(struct aioconn *c)
{
	if (c->row)
		ipc_conn_tell_and_leave(c);
	else
		ipc_conn_leave_quietly(c);
}

#endif
