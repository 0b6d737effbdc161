/* Memory that two processes share: a file without a name, whose size nobody can change any more. */
#ifndef IPC_OS_MEMORY_H
#define IPC_OS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A descriptor of @len bytes, zeroed and in memory already, so that they are charged to this process; close-on-exec. -1: EFBIG
 * (RLIMIT_FSIZE is less), ENOSYS (the kernel can't seal memory), or as memfd_create(2) and fallocate(2).
 */
int ipc_os_memory(size_t len);

/*
 * May @fd, which a peer has sent, be mapped? Only what can't shrink, in ordinary pages, or else a read could end this process.
 * Its size goes to *@len.
 */
bool ipc_os_memory_is_safe(int fd, size_t *len);

/* For reading and writing; not in the children of this process. NULL: as mmap(2). */
void *ipc_os_memory_map(int fd, size_t len);
void ipc_os_memory_unmap(void *at, size_t len);

#endif
