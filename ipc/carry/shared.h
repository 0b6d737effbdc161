/*
 * The carrier of two rings in shared memory, one each way, and a unix socket. The socket does three things: a byte on it wakes
 * a sleeper, it passes descriptors, and its end tells that the peer closed or died. The maker of the pair sends a hello to
 * both sockets, which holds the memory. So an end is one descriptor until it is opened, and moves as any other does.
 */
#ifndef IPC_CARRY_SHARED_H
#define IPC_CARRY_SHARED_H

#include <stddef.h>

#include "ipc/carry/carry.h"

/*
 * Makes the memory for rings of @size bytes each way, and sends each of the two sockets its hello. @size is a power of two from 4 KiB
 * to 16 MiB, or 0: 256 KiB. -1: EINVAL, or as ipc_os_memory() and sendmsg(2).
 */
int ipc_carry_share(int one, int other, size_t size);

/*
 * @k->own is a socket that has a hello: maps the memory, and takes the hello out. -1: EAGAIN (there is no hello yet), ECONNRESET
 * (the peer is gone), EPROTO (that is no hello, or no memory that can be trusted), or as recvmsg(2) and mmap(2). The hello stays then.
 */
int ipc_carry_by_rings(struct ipc_carrier *k);

/*
 * @k->own is a socket whose peer waits for a hello: makes memory for rings of 64 KiB, maps it, and says hello. -1: as ipc_carry_share(). Nothing
 * has changed then.
 */
int ipc_carry_offer(struct ipc_carrier *k);

#endif
