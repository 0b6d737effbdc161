/*
 * The carrier of an encrypted socket. An engine (engine.h) makes records of what is written, and reads those of the peer. This file knows the
 * socket, and counts: it tells the connection of bytes that left only when the whole of their record has left.
 *
 * A seal begins on a socket that is connected, before there is a connection, and does its handshake there. Then the connection is opened
 * with it.
 */
#ifndef IPC_CARRY_SEAL_H
#define IPC_CARRY_SEAL_H

#include "ipc/carry/carry.h"

struct aiotls;
struct ipc_seal;

/* Takes a reference to @t. @host as in engine.h. NULL with ENOMEM, EINVAL. */
struct ipc_seal *ipc_seal_new(struct aiotls *t, const char *host);
void ipc_seal_free(struct ipc_seal *s);

/*
 * Goes on with the handshake over @own, as far as it can without waiting. 1: it is done. 0: wait until the socket can be read, or written where
 * ipc_seal_unsent(). -1: errno and ipc_seal_why() say what went wrong. The peer was told as far as that can be.
 */
int ipc_seal_shake(struct ipc_seal *s, const struct ipc_own *own);
bool ipc_seal_unsent(const struct ipc_seal *s);
const char *ipc_seal_why(const struct ipc_seal *s);

/* @k->own is its socket: from now on @k has @s, and frees it when it is closed. */
void ipc_carry_by_seal(struct ipc_carrier *k, struct ipc_seal *s);

/* As aioconn_peer_certificate(). -1/EOPNOTSUPP: @k is not encrypted. */
int ipc_seal_tell(const struct ipc_carrier *k, int field, char *buf, size_t size);

/* The memory that half a handshake may take, roughly. */
#define IPC_SEAL_MEMORY ((size_t)48 * 1024)

#endif
