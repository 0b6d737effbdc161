/*
 * When a base begins to run: told in the first turn of its loop from now on, in the thread that runs it, or when it is freed
 * without one. It is how something can be taken down that was set up for a loop that may never run, when it is not known
 * which thread will run it.
 */
#ifndef IPC_LOOP_TURN_H
#define IPC_LOOP_TURN_H

struct event_base;
struct ipc_turn;

/* Calls cb(arg) then, once; a forked child does not. NULL: ENOMEM. */
struct ipc_turn *ipc_turn_new(struct event_base *base, void (*cb)(void *arg), void *arg);

/* Not any more. May be called in any thread that holds off the callback, until it has come. NULL is fine. */
void ipc_turn_cancel(struct ipc_turn *t);

#endif
