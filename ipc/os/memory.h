/*
 * Memory that processes share: a file without a name. Of that which rings lie in, nobody can change the size. Of that which messages
 * lie in, nobody can change the bytes either.
 */
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

/* As ipc_os_memory(), but it can still be frozen, and so its size is not safe from who has the descriptor. */
int ipc_os_memory_for_bytes(size_t len);

/* For writing. A child has it mapped, too. NULL: as mmap(2). */
void *ipc_os_memory_map_open(int fd, size_t len);

/* For reading alone, of frozen memory. Where @at is not NULL, in the place of what is mapped there. NULL: as mmap(2). */
void *ipc_os_memory_map_frozen(void *at, int fd, size_t len);

/* From now on nobody changes the bytes or the size. -1/EBUSY: a process has it mapped for writing, or a device writes to it. */
int ipc_os_memory_freeze(int fd);

/* Is @fd frozen memory of exactly @len bytes, and are all of them there already? Then no read of it can end this process. */
bool ipc_os_memory_is_frozen(int fd, size_t len);

/*
 * Maps a new file at @path, zeroed; only its user may read it. A file of that name that is this user's is replaced. There is room for it to
 * grow to @most bytes; it has @len, and nothing behind them may be touched. Forked children have it mapped, too. NULL: EFBIG as above,
 * EEXIST (it is another user's, or no file), or as open(2), posix_fallocate(3), mmap(2).
 */
void *ipc_os_memory_file(const char *path, size_t len, size_t most);

/* It has @len bytes then. -1: as above, or ESTALE: another file has that path now. */
int ipc_os_memory_file_grow(const char *path, const void *at, size_t len);

#endif
