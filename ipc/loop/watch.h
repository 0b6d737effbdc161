/*
 * One libevent watch on one descriptor, made so that a fork does no harm. A watch belongs to the process that made it; its callback does
 * not run in another process. There must be only one watch for a descriptor: with two, the child's file gets into the parent's epoll.
 *
 * In a child, the inherited base still lists the parent's watches; here they are called dead. To delete them would change the parent's
 * epoll; to close their numbers would break event_reinit(). So the fork handler puts a placeholder, which is never ready, on each watched
 * number: then a program may call event_reinit() itself. (The child of ipc_own_fork() may not, and gets none.) Freeing a dead watch closes its
 * number but keeps its memory, because the base lists it. aioipc_base_reinit() deletes all dead watches of a base.
 */
#ifndef IPC_LOOP_WATCH_H
#define IPC_LOOP_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

struct ipc_watch;
typedef void ipc_watch_cb(short what, void *arg);

/* May this process make watches on @base? Calls aioipc_base_reinit() on an inherited base where that is safe. 0, or -1/ECHILD. */
int ipc_watch_base_ok(struct event_base *base);

/* Not armed yet. With @fd -1 only ipc_watch_soon() and ipc_watch_after() make it fire. NULL with ENOMEM, EBADF, ECHILD. */
struct ipc_watch *ipc_watch_new(struct event_base *base, int fd, ipc_watch_cb *cb, void *arg);

/*
 * What to wait for from now on: EV_READ | EV_WRITE, level-triggered; 0: nothing. Cheap when it is as before. The kernel can't watch a file: it is
 * ready for everything once in each turn. Without a descriptor nothing is waited for. -1 with the errno of event_add().
 */
int ipc_watch_want(struct ipc_watch *w, short what);

/* Besides EV_TIMEOUT: a timer fired, so the loop began another pass. */
#define IPC_WATCH_TIMED EV_PERSIST

/* Fires once, after the callbacks that are due now, with EV_TIMEOUT; more calls before that change nothing. */
void ipc_watch_soon(struct ipc_watch *w);

/* Fires once after @ns nanoseconds (0: in the next turn), with EV_TIMEOUT; replaces an earlier timer. -1 as event_add(). */
int ipc_watch_after(struct ipc_watch *w, int64_t ns);

/* The same, but it can't fail: it fires soon when there is no memory for a timer. */
void ipc_watch_later(struct ipc_watch *w, int64_t ns);

/* Its descriptor is about to be closed: from now on only soon() and after() make it fire. NULL is fine. */
void ipc_watch_blind(struct ipc_watch *w);

/* Disarms and frees. Call it before the descriptor is closed; its own callback may call it. NULL is fine. */
void ipc_watch_free(struct ipc_watch *w);

/* Was the base freed? Only for a watch on which ipc_watch_after() is always pending. Then use the second, which frees @w without the base. */
bool ipc_watch_base_freed(const struct ipc_watch *w);
void ipc_watch_forget(struct ipc_watch *w);

/* A thread of the library runs @base, which has a watch: in a forked child nobody makes it anew, and no placeholders are needed. */
void ipc_watch_base_is_ours(struct event_base *base);

/* In a child that has closed all that it inherited: aioipc_base_reinit() fails from now on for the bases of dead watches. */
void ipc_watch_bases_closed(void);

#endif
