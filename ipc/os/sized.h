/*
 * Structs of the public headers that begin with their size, so that they can grow: a program that was compiled against an
 * older release passes a smaller one. What that lacks counts as zero.
 */
#ifndef IPC_OS_SIZED_H
#define IPC_OS_SIZED_H

#include <errno.h>
#include <stddef.h>
#include <string.h>

static inline int ipc_sized_check(size_t theirs, size_t ours)
{
	if (theirs >= sizeof(size_t) && theirs <= ours)
		return 0;
	errno = EINVAL;
	return -1;
}

/* Options of a caller: *@to, of @size bytes, is ours. -1/EINVAL: larger than any that we know. */
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

/* Statistics for a caller: of *@from, of @size bytes, as much as *@to has room for. -1/EINVAL, as above. */
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
