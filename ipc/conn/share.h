/* What a hub does with a connection of its members: it queues a message by reference, makes room, and has enough of a slow peer. */
#ifndef IPC_CONN_SHARE_H
#define IPC_CONN_SHARE_H

#include "ipc/conn/conn.h"
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

/* The owner will try again when @size bytes have room. Then on_writable is called, too. */
void ipc_conn_not_shared(struct aioconn *c, size_t size);

#endif
