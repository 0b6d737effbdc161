/*
 * Where threads leave blocks that they have too many of, for threads that have none: bundles of blocks of one size. It
 * keeps messages that one thread makes and another frees away from malloc's locks. Only the pool calls it.
 */
#ifndef IPC_MSG_DEPOT_H
#define IPC_MSG_DEPOT_H

#include <stdbool.h>

#define IPC_DEPOT_CLASSES 11

/* A free block of the pool's: the first of a bundle knows the next bundle, and how many blocks it has. */
struct ipc_block {
	struct ipc_block *next, *bundle;
	unsigned n;
};

/* Leaves a bundle of class @k there. False when there are @most already or somebody else is at it: nobody ever waits. */
bool ipc_depot_leave(unsigned k, struct ipc_block *bundle, unsigned most);

/* Fetches one. NULL: as above. */
struct ipc_block *ipc_depot_fetch(unsigned k);

#endif
