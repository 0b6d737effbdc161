/*
 * aioend: one unopened end of a pipe, double pipe or socket pair. It lives in exactly one process:
 * fork() moves the ends that were detached, and closes every other one in the child.
 */
#ifndef AIOIPC_END_H
#define AIOIPC_END_H

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aioend;
struct aioconn;

/*
 * Each makes two ends, connected to each other; free both with aioend_free() or open them.
 * The descriptors are close-on-exec. aiopipe: one pipe, @rx reads and @tx writes. aioduplex: two
 * pipes, crossed. aiosockpair: a pair of unix stream sockets, which can pass descriptors.
 * Errno: EMFILE, ENFILE. Since 0.1.
 */
AIOIPC_API int aiopipe(struct aioend **rx, struct aioend **tx);
AIOIPC_API int aioduplex(struct aioend **one, struct aioend **other);
AIOIPC_API int aiosockpair(struct aioend **one, struct aioend **other);

/*
 * Adopts descriptors: @rfd is read from, @wfd written to, -1 for none; the same number twice is a
 * socket. They are the end's from then on, are made close-on-exec, and get their other flags back when closed.
 * One socket under two numbers, as a service of inetd has it in 0 and 1, is known as such.
 * Errno: EBADF (not open, or open the wrong way), EINVAL (both -1; since 0.2 also a socket that listens), EBUSY (already
 * an end's), EPROTOTYPE (since 0.2: a socket of packets, SOCK_SEQPACKET or SOCK_DGRAM). Since 0.1.
 */
AIOIPC_API struct aioend *aioend_from_fds(int rfd, int wfd);

/*
 * The opposite: gives the descriptors to the caller (-1 for none, the same number twice for a socket)
 * and frees the end. @rfd and @wfd may not be NULL. Errno: EBADF (it moved to a child). Since 0.1.
 */
AIOIPC_API int aioend_release(struct aioend *end, int *rfd, int *wfd);

/*
 * The next fork() of this thread takes the end along: it is then closed here and lives in the
 * child. Used up by one fork; nothing changes if the fork fails. "Detach, then fork at once".
 * Errno: EMFILE, ENFILE (a spare pipe is made here so that fork itself needs none), EBADF (it
 * moved already), EBUSY (another thread detached it). Since 0.1.
 */
AIOIPC_API int aioend_detach(struct aioend *end);

/* Takes a detach back. Errno: EBADF (it moved already), EINVAL (it was not detached). Since 0.1. */
AIOIPC_API int aioend_reclaim(struct aioend *end);

/* Closes what is still here and frees the end; of a moved end only the handle. NULL is fine. Since 0.1. */
AIOIPC_API void aioend_free(struct aioend *end);

/*
 * Opens an end as a connection on @base, or, without one, for blocking calls. On success the end
 * is freed and its descriptors are the connection's; on failure it is as before. The base must
 * outlive the connection. Errno: EBADF (it moved to a child), EBUSY (it is detached), ECHILD (the
 * base was made before a fork and can't be made this process's own here: see aioipc_base_reinit()). Since 0.1.
 */
AIOIPC_API struct aioconn *aioend_open(struct aioend *end, struct event_base *base);

/*
 * For aioproc_exec(): the child finds this end by @name (copied; letters, digits, '_', '-' and '.',
 * at most 63), with aioend_inherited(). Errno: EINVAL. Since 0.1.
 */
AIOIPC_API int aioend_set_name(struct aioend *end, const char *name);

/*
 * In a program started by aioproc_exec(): the end that its parent named @name. Found once: the
 * caller owns it. The first call, whatever it asks for, takes charge of all: make it before forking. Errno: ENOENT (none of this name, or taken already, or the environment is
 * another process's, or this program is set-user-ID), EBADF (the descriptor is not what the parent sent). Since 0.1.
 */
AIOIPC_API struct aioend *aioend_inherited(const char *name);

/*
 * For aioproc_exec(): the end becomes the child's standard descriptors, @rfd (0, or -1) what it
 * reads and @wfd (1, 2, or -1) what it writes. Errno: EINVAL, EBADF (the end has no such direction). Since 0.1.
 */
AIOIPC_API int aioend_set_stdio(struct aioend *end, int rfd, int wfd);

#ifdef __cplusplus
}
#endif

#endif
