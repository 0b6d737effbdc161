/* What a hub does with a connection of its members: it queues a message by reference, makes room, and has enough of a slow peer. */
#ifndef IPC_CONN_SHARE_H
#define IPC_CONN_SHARE_H

#include "ipc/conn/conn.h"
#include "ipc/conn/output.h"
#include "ipc/wire/cast.h"

/*
 * Makes a connection on a base ready to share: it sends the preface, if there is one, and its framing is settled. 0; -1: EBADF (it only reads),
 * EPIPE or the errno with which writing failed (nothing can be sent any more), ENOMEM.
 */
int ipc_conn_join_in(struct aioconn *c);

/*
 * Is there room for @size bytes of a shared message, and memory to refer to them? If not, it tries to write first; with @look also where the
 * loop will tell of room. 0; -1: EAGAIN, ENOMEM; EPIPE (nothing can be sent any more, and the hooks were told).
 */
int ipc_conn_make_room(struct aioconn *c, size_t size, bool look);

/*
 * Queues the bytes of a message, for which ipc_conn_make_room() has just made room, and lets them leave as those of any send. @sparse: the
 * message before was not queued here, so bytes in between are of no use to this queue. Calls no user. -1: the peer is gone.
 */
int ipc_conn_share(struct aioconn *c, const struct ipc_cast *k, bool sparse);

/* What the two above would find in the common case: there is room, and memory to refer to the message. */
static inline bool ipc_conn_is_ready(const struct aioconn *c, size_t size)
{
	return c->way_out == IPC_OUT_OPEN && c->life == IPC_LIFE_OPEN && ipc_conn_has_room(c, size) &&
	       c->out.count + IPC_CAST_PARTS <= c->out.room;
}

/*
 * The short way for the common case: other messages were sent in this turn, so it is settled when they leave; there is room; and the bytes lie
 * behind those that were queued last. True: it is queued.
 */
static inline bool ipc_conn_share_behind(struct aioconn *c, const struct ipc_cast *k)
{
	const struct ipc_cast_part *p = k->part;

	if (!c->turn_sent || c->trace || k->parts != 1 || !ipc_conn_is_ready(c, k->size) ||
	    !ipc_out_follows(&c->out, p->owner, p->at) ||
	    (!c->blocked && c->out.bytes + k->size >= IPC_CONN_BATCH))
		return false;
	ipc_out_share(&c->out, p->owner, p->at, p->n);
	if (c->out.bytes > c->peak_out)
		c->peak_out = c->out.bytes;
	c->turn_sent++;
	c->msgs_out++;
	return true;
}

/* The owner will try again when @size bytes have room. Then on_writable is called, too. */
void ipc_conn_not_shared(struct aioconn *c, size_t size);

#endif
