/*
 * One attempt to connect, in steps that never block. The name is looked up (lookup.h). Then its addresses are tried as RFC 8305
 * says: families take turns; the next address is tried when the one before has failed, or has not answered for a quarter of a second; the
 * first that connects wins. An encrypted one then does its handshake. The caller waits between the steps: aioconn_connect() blocks, a link waits in its loop. A dial does not try
 * again after a failure. ipc_dial_free() gives it up at any time.
 */
#ifndef IPC_NET_DIAL_H
#define IPC_NET_DIAL_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/os/socket.h"

struct aioconn;
struct aiotls;
struct event_base;
struct ipc_dial;
struct ipc_local;
struct ipc_watch;

#define IPC_DIAL_MOST 6 /* addresses that are tried at a time */

/* What to wait for before the next step: one of it is enough. A step may close the descriptors: free watches on them before. */
struct ipc_dial_wait {
	struct pollfd fd[IPC_DIAL_MOST]; /* POLLIN, POLLOUT, or both */
	unsigned n;
	int64_t ns; /* the longest wait; -1: for ever */
};

/*
 * Copies @address. Opens nothing yet. NULL: EINVAL, EPROTONOSUPPORT, which are logged in words; ENOMEM. The second refers to @tls, which may be
 * NULL.
 */
struct ipc_dial *ipc_dial_new(const char *address);
struct ipc_dial *ipc_dial_new_tls(const char *address, struct aiotls *tls);

/* Before the first step: the keepalive of TCP sockets. Without it, the default of ipc_os_keep_alive(). */
void ipc_dial_keep_alive(struct ipc_dial *d, const struct ipc_os_keepalive *k);

/* Before the first step: binds its sockets to @local. The caller keeps @local as long as @d. */
void ipc_dial_from(struct ipc_dial *d, const struct ipc_local *local);

/* Before a step: the caller will give up at @until, of ipc_os_now(); 0: never. All addresses are tried before that. */
void ipc_dial_until(struct ipc_dial *d, int64_t until);

/*
 * Goes on as far as it can without waiting. A step that comes too early does no harm. 1: connected, ipc_dial_open() is next. 0: wait for
 * *@w, then step again. -1: failed for good. Of the errors of all addresses, errno is the one that tells most: as socket(2) and connect(2);
 * ENOENT (no such host, or no such path), EHOSTUNREACH (the name can't be looked up now), EMFILE, ENFILE, EAGAIN (no thread), ENOMEM,
 * ECHILD. Of TLS: EACCES, EPROTO, ECONNRESET, ETIMEDOUT.
 */
int ipc_dial_step(struct ipc_dial *d, struct ipc_dial_wait *w);

/*
 * await.c: for a caller with a loop. Watches on all of @w, which call @ready; the array is all NULL before. -1 as ipc_watch_new() and
 * ipc_watch_want(), and some of them may be there. Unwatch frees those that are.
 */
int ipc_dial_watch(struct ipc_watch *watch[IPC_DIAL_MOST], const struct ipc_dial_wait *w,
		   struct event_base *base, void (*ready)(short what, void *arg), void *arg);
void ipc_dial_unwatch(struct ipc_watch *watch[IPC_DIAL_MOST]);

/* Its name is being looked up. Nothing can stop a lookup: keep @d for the next attempt, so that the name is not asked for twice. */
bool ipc_dial_looks_up(const struct ipc_dial *d);

/* After a step returned 1: the connection, which the caller owns. @d is still to be freed. NULL: as aioend_open(). */
struct aioconn *ipc_dial_open(struct ipc_dial *d, struct event_base *base);

/* Why the last step failed, in words; "" if none has. Lives as long as @d. */
const char *ipc_dial_why(const struct ipc_dial *d);

/* Gives it up. The caller frees watches on its descriptors before. @d may be NULL. */
void ipc_dial_free(struct ipc_dial *d);

#endif
