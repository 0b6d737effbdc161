/*
 * One attempt to connect, as steps that never block: the name is looked up (lookup.h), then its addresses are tried, one
 * after the other. Who calls waits between the steps: aioconn_connect() in the one place that waits, a link on its base.
 * It does not try again after a failure, and knows no deadline: give it up with ipc_dial_free(), from
 * any state and at once.
 */
#ifndef IPC_NET_DIAL_H
#define IPC_NET_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/os/socket.h"

struct aioconn;
struct event_base;
struct ipc_dial;

/* What to wait for before the next step: any of it. */
struct ipc_dial_wait {
	int fd; /* -1: none. It may be another one after each step: free a watch on it before stepping */
	short events; /* POLLIN or POLLOUT; EV_READ or EV_WRITE for a watch */
	int64_t ns;   /* so long at most; -1 for ever */
};

/* @address is copied. Opens nothing yet. -1: EINVAL, which is logged in words. */
struct ipc_dial *ipc_dial_new(const char *address);

/* Before the first step: for TCP, else as ipc_os_keep_alive() says by itself. */
void ipc_dial_keep_alive(struct ipc_dial *d, const struct ipc_os_keepalive *k);

/*
 * Goes on as far as it can without waiting; to step too early does no harm. 1: connected, ipc_dial_open() is next. 0: wait for *@w,
 * then step again. -1, for good: as socket(2) and connect(2); ENOENT (no such host, or no such path), EHOSTUNREACH (its
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
