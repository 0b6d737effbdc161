/*
 * Public structs that begin with their size, so that they can grow. A program that was compiled against an older release passes a smaller
 * one: its missing members count as zero.
 */
#ifndef IPC_OS_SIZED_H
#define IPC_OS_SIZED_H

#include <stddef.h>
#include <string.h>

#include "ipc/os/log.h"

static inline int ipc_sized_check(size_t theirs, size_t ours)
{
	if (theirs >= sizeof(size_t) && theirs <= ours)
		return 0;
	return ipc_refuse(
		"the member size of a struct is %zu, it must be from %zu to %zu: set it to sizeof the struct",
		theirs, sizeof(size_t), ours);
}

/* Copies a caller's options to *@to, which is ours and has @size bytes. -1/EINVAL: the caller's size is larger, or no size at all. */
static inline int ipc_sized_take(void *to, size_t size, const void *from)
{
	size_t theirs = *(const size_t *)from;

	if (ipc_sized_check(theirs, size) == -1)
		return -1;
	memset(to, 0, size);
	memcpy(to, from, theirs);
	*(size_t *)to = size;
	return 0;
}

/* Copies statistics to a caller: of *@from, which has @size bytes, as many as *@to has room for. -1/EINVAL as above. */
static inline int ipc_sized_give(void *to, const void *from, size_t size)
{
	size_t theirs = *(size_t *)to;

	if (ipc_sized_check(theirs, size) == -1)
		return -1;
	memcpy(to, from, theirs);
	*(size_t *)to = theirs;
	return 0;
}

#endif
