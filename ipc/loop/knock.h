/*
 * How other threads have something looked at in the thread that runs a base: they knock. All who may be knocked for on one base share one
 * bell, which is there as long as somebody has a knock.
 */
#ifndef IPC_LOOP_KNOCK_H
#define IPC_LOOP_KNOCK_H

struct event_base;
struct ipc_knock;

/* Calls cb(arg) in the loop after ipc_knock(), once for all knocks until then. In the base's thread. NULL: EMFILE, ENFILE, ENOMEM, ECHILD. */
struct ipc_knock *ipc_knock_new(struct event_base *base, void (*cb)(void *arg), void *arg);

/* Any thread, as long as nobody frees it meanwhile. Takes only a leaf lock. Not in a forked child. */
void ipc_knock(struct ipc_knock *k);

/* In the base's thread; may be called in its own callback. In a forked child: its memory. NULL is fine. */
void ipc_knock_free(struct ipc_knock *k);

#endif
