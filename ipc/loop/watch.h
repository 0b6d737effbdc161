/*
 * One libevent watch on one descriptor, made so that a fork does no harm. In a child the inherited base still lists the parent's watches:
 * touching them would change the parent's epoll, closing their numbers would break event_reinit. So the fork
 * handler puts a never-ready placeholder on each watched number, for who calls event_reinit itself. A freed dead watch gives
 * its number back and is parked, and aioipc_base_reinit() drops them all. A watch belongs to the process that made it:
 * its callback does not run in another. One per descriptor: two would let the child's file into the parent's epoll.
 */
#ifndef IPC_LOOP_WATCH_H
#define IPC_LOOP_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

struct ipc_watch;
typedef void ipc_watch_cb(short what, void *arg);

/* 0 when watches may be made on @base in this process; makes an inherited one our own where that is safe, else -1/ECHILD. */
int ipc_watch_base_ok(struct event_base *base);

/* @fd -1: fires only by ipc_watch_soon and ipc_watch_after. Not armed. NULL with ENOMEM, EBADF, ECHILD. */
struct ipc_watch *ipc_watch_new(struct event_base *base, int fd, ipc_watch_cb *cb, void *arg);

/*
 * What to wait for: EV_READ | EV_WRITE, level-triggered, until changed; 0 nothing. Cheap when unchanged. A file, which the kernel
 * can't watch, is ready for all of it once in each turn. -1 with errno of event_add.
 */
int ipc_watch_want(struct ipc_watch *w, short what);

/* Fires behind the callbacks that are due now (what = EV_TIMEOUT). Once, however often it is called. */
void ipc_watch_soon(struct ipc_watch *w);

/* Fires once after @ns nanoseconds (0: in the next turn), with EV_TIMEOUT; replaces an earlier one. -1 as event_add. */
int ipc_watch_after(struct ipc_watch *w, int64_t ns);

/* The same, and does not fail: sooner when there is no memory for a timer. */
void ipc_watch_later(struct ipc_watch *w, int64_t ns);

/*
 * Disarms and frees, before the descriptor is closed; may be called in its own callback. Of a dead one: gives its number back, and
 * parks it for aioipc_base_reinit(). NULL is fine.
 */
void ipc_watch_free(struct ipc_watch *w);

/*
 * For a watch on which ipc_watch_after() is always pending: was its base freed under it? Then it
 * can only be forgotten: frees it without a look at the base.
 */
bool ipc_watch_base_freed(const struct ipc_watch *w);
void ipc_watch_forget(struct ipc_watch *w);

/* In a child that will not call event_reinit() itself: takes the placeholders away. Async-signal-safe. */
void ipc_watch_let_numbers_go(void);

/* In a child that has closed whatever it inherited: the bases of all watches that are dead can't be made its own any more. */
void ipc_watch_bases_closed(void);

#endif
