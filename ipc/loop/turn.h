/*
 * A callback in the next turn of a base's loop, in the thread that runs it; or when the base is freed before that. It serves to take down what
 * was set up for a loop, when nobody knows whether the loop will run and in which thread.
 */
#ifndef IPC_LOOP_TURN_H
#define IPC_LOOP_TURN_H

struct event_base;
struct ipc_turn;

/* Calls cb(arg) then, once; not in a forked child. NULL: ENOMEM. */
struct ipc_turn *ipc_turn_new(struct event_base *base, void (*cb)(void *arg), void *arg);

/* Cancels it before the callback has run. Any thread may call this that makes sure that the callback does not run now. NULL is fine. */
void ipc_turn_cancel(struct ipc_turn *t);

#endif
