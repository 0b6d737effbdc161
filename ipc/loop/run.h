/* Waiting in the thread of a base, outside its callbacks and tasks: the base runs meanwhile, turn by turn. */
#ifndef IPC_LOOP_RUN_H
#define IPC_LOOP_RUN_H

#include <stdbool.h>
#include <stdint.h>

struct event_base;

/*
 * Runs @base until done(arg) is true. -1: ETIMEDOUT, EDEADLK (this is a callback of @base), EINTR (somebody has broken the loop), ECHILD (a
 * callback has forked and this is the child, where done() is not called), or as event_add().
 */
int ipc_run_until(struct event_base *base, bool (*done)(const void *arg), const void *arg, int64_t deadline);

#endif
