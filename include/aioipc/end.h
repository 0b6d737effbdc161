/*
 * aioend: one end of a pipe, double pipe or socket pair that is not open yet. An end lives in exactly one process: fork()
 * moves the ends that were detached to the child, and closes all other ends there.
 */
#ifndef AIOIPC_END_H
#define AIOIPC_END_H

#include <stddef.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aioend;
struct aioconn;

/*
 * Each makes two ends that are connected to each other. Open both with aioend_open(), or free them with aioend_free().
 * The descriptors are close-on-exec. aiopipe: one pipe; @rx reads and @tx writes. aioduplex: two pipes, one for each
 * direction. aiosockpair: a pair of unix stream sockets, which can pass descriptors. Errno: EMFILE, ENFILE. Since 0.1.
 */
AIOIPC_API int aiopipe(struct aioend **rx, struct aioend **tx);
AIOIPC_API int aioduplex(struct aioend **one, struct aioend **other);
AIOIPC_API int aiosockpair(struct aioend **one, struct aioend **other);

/*
 * Makes two ends that are connected by shared memory: a ring of @size bytes each way, a power of two from 4 KiB to 16 MiB, or 0 for
 * 256 KiB. The memory is charged to this process. A unix socket wakes a sleeper, passes descriptors, and tells the end, so the pair does
 * all that aiosockpair() does. It is for latency: a message that leaves by itself costs no system call while the peer is awake. The
 * memory is mapped when the end is opened, and only in the process that opens it. A peer may write anything into it: that
 * ends its own connection with AIOCONN_BAD.
 * Errno: EINVAL (@size), EMFILE, ENFILE, ENOMEM, EFBIG (RLIMIT_FSIZE is less), ENOSYS (the kernel has no memfd). Since 0.2.
 */
AIOIPC_API int aioring(struct aioend **one, struct aioend **other, size_t size);

/*
 * Makes an end of descriptors that are open already: it reads from @rfd and writes to @wfd. -1 means none. The same number
 * twice is a socket. One socket under two numbers, such as 0 and 1 of a service of inetd, is recognised as one socket.
 * The descriptors belong to the end from then on. It makes them close-on-exec, and gives them their other flags back when
 * it closes them. On failure they stay the caller's.
 * Errno: EBADF (not open, or open for the other direction), EINVAL (both are -1; since 0.2 also: a socket that listens),
 * EBUSY (they belong to another end), EPROTOTYPE (since 0.2: a socket of packets, SOCK_SEQPACKET or SOCK_DGRAM). Since 0.1.
 */
AIOIPC_API struct aioend *aioend_from_fds(int rfd, int wfd);

/*
 * The opposite of aioend_from_fds(): gives the descriptors to the caller and frees the end. *@rfd or *@wfd is -1 where the
 * end has no such direction; of a socket both are the same number. @rfd and @wfd may not be NULL.
 * Errno: EBADF (the end moved to a child), EOPNOTSUPP (since 0.2: it is of aioring(), which is more than descriptors). Since 0.1.
 */
AIOIPC_API int aioend_release(struct aioend *end, int *rfd, int *wfd);

/*
 * Marks the end for the next fork() of this thread: that fork closes it here, and it lives on in the child. One fork uses
 * the mark up. A fork that fails changes nothing. Detach right before you fork.
 * Errno: EMFILE, ENFILE (a spare pipe is made here, so that the fork needs no descriptor), EBADF (it moved already), EBUSY
 * (another thread detached it). Since 0.1.
 */
AIOIPC_API int aioend_detach(struct aioend *end);

/* Undoes aioend_detach(). Errno: EBADF (it moved already), EINVAL (it was not detached). Since 0.1. */
AIOIPC_API int aioend_reclaim(struct aioend *end);

/* Closes the end and frees it. Of an end that has moved it frees only the handle. @end may be NULL. Since 0.1. */
AIOIPC_API void aioend_free(struct aioend *end);

/*
 * Opens the end as a connection: on @base, or for blocking calls when @base is NULL. On success the end is freed, and its
 * descriptors belong to the connection. On failure the end is as before. The base must outlive the connection.
 * Errno: EBADF (it moved to a child), EBUSY (it is detached), ECHILD (the base was made before a fork and can't become this
 * process's own here: see aioipc_base_reinit()); since 0.2, of aioring(): ECONNRESET (the other end was closed before this one was
 * opened), EPROTO (that is no ring), ENOMEM, EMFILE. Since 0.1.
 */
AIOIPC_API struct aioconn *aioend_open(struct aioend *end, struct event_base *base);

/*
 * For aioproc_exec(): names the end, so that the child finds it with aioend_inherited(). @name is copied. It has 1 to 63
 * letters, digits, '_', '-' and '.'. Errno: EINVAL. Since 0.1.
 */
AIOIPC_API int aioend_set_name(struct aioend *end, const char *name);

/*
 * In a program that aioproc_exec() started: the end that the parent named @name. The caller owns it. Each end is found
 * once. The first call takes charge of all inherited ends, whatever name it asks for: make it before you fork.
 * Errno: ENOENT (there is no such name, it was found already, the environment is that of another process, or this program is
 * set-user-ID), EBADF (the descriptor is not the one that the parent sent). Since 0.1.
 */
AIOIPC_API struct aioend *aioend_inherited(const char *name);

/*
 * For aioproc_exec(): the end becomes standard descriptors of the child. The child reads it as @rfd (0, or -1 for none) and
 * writes it as @wfd (1, 2, or -1 for none). Errno: EINVAL, EBADF (the end has no such direction), EOPNOTSUPP (since 0.2: it is
 * of aioring()). Since 0.1.
 */
AIOIPC_API int aioend_set_stdio(struct aioend *end, int rfd, int wfd);

#ifdef __cplusplus
}
#endif

#endif
