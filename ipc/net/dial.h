/*
 * One attempt to connect, as steps that never block: the name is looked up (lookup.h), then its addresses are tried as RFC
 * 8305 says: families take turns, the next address is tried when the one before has failed or has not answered for a
 * quarter of a second, and the first that connects is it. Who calls waits between the steps: aioconn_connect() in the one place that waits, a link on its base.
 * It does not try again after a failure, and knows no deadline: give it up with ipc_dial_free(), from
 * any state and at once.
 */
#ifndef IPC_NET_DIAL_H
#define IPC_NET_DIAL_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/os/socket.h"

struct aioconn;
struct event_base;
struct ipc_dial;
struct ipc_local;

#define IPC_DIAL_MOST 6 /* addresses that are tried at a time */

/* What to wait for before the next step: any of it. */
struct ipc_dial_wait {
	struct pollfd fd
		[IPC_DIAL_MOST]; /* POLLIN or POLLOUT. Others after each step: free watches on them before stepping */
	unsigned n;
	int64_t ns; /* so long at most; -1 for ever */
};

/* @address is copied. Opens nothing yet. -1: EINVAL, which is logged in words. */
struct ipc_dial *ipc_dial_new(const char *address);

/* Before the first step: for TCP, else as ipc_os_keep_alive() says by itself. */
void ipc_dial_keep_alive(struct ipc_dial *d, const struct ipc_os_keepalive *k);

/* Before the first step: its sockets come from there, which stays its caller's and as long as @d. */
void ipc_dial_from(struct ipc_dial *d, const struct ipc_local *local);

/* Before a step: who calls gives up at that time, by ipc_os_now(), and all addresses get their chance before. 0: never. */
void ipc_dial_until(struct ipc_dial *d, int64_t until);

/*
 * Goes on as far as it can without waiting; to step too early does no harm. 1: connected, ipc_dial_open() is next. 0: wait for *@w,
 * then step again. -1, for good, the most telling of what became of the addresses: as socket(2) and connect(2); ENOENT (no such host, or no such path), EHOSTUNREACH (its
 * name can't be looked up now), EMFILE, ENFILE, EAGAIN (no thread to be had), ENOMEM, ECHILD.
 */
int ipc_dial_step(struct ipc_dial *d, struct ipc_dial_wait *w);

/* Its name is being looked up, which nothing stops: to be kept for the next attempt rather than to be asked again. */
bool ipc_dial_looks_up(const struct ipc_dial *d);

/* Once connected: the connection, which is the caller's. @d is still to be freed. Errno: as aioend_open(). */
struct aioconn *ipc_dial_open(struct ipc_dial *d, struct event_base *base);

/* In words why the last step failed; "" while none has. Lives as long as @d. */
const char *ipc_dial_why(const struct ipc_dial *d);

/* Gives it up. A watch on its descriptor is freed before. NULL is fine. */
void ipc_dial_free(struct ipc_dial *d);

#endif
