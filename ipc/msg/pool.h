/*
 * Memory for messages and buffers: blocks of 64 + a power of two bytes, of which each thread keeps a few
 * for its next use, so that a message in the steady state costs no malloc. Blocks may be put back by
 * another thread, and find their way to those that need some. What a thread keeps is bounded, and freed when it ends.
 */
#ifndef IPC_MSG_POOL_H
#define IPC_MSG_POOL_H

#include <stdbool.h>
#include <stddef.h>

#define IPC_POOL_HEADER 64 /* room beside the power of two, for a struct aiomsg */

/* A block of at least @want bytes, how many in *@size; NULL with ENOMEM. */
void *ipc_pool_get(size_t want, size_t *size);

/* @size as get said. NULL is fine. */
void ipc_pool_put(void *block, size_t size);

/* Does this thread keep blocks? Not under tools that look for uses of freed memory: who keeps blocks elsewhere asks too. */
bool ipc_pool_keeps(void);

/* Frees what this thread keeps, and what no thread keeps. For tests that count. */
void ipc_pool_drain(void);

#endif
