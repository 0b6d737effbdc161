/*
 * Waiting in the thread of a base, outside its callbacks and tasks: runs the base meanwhile. Turn by turn, so that others' callbacks
 * see the loop as they know it.
 */
#ifndef IPC_LOOP_RUN_H
#define IPC_LOOP_RUN_H

#include <stdbool.h>
#include <stdint.h>

struct event_base;

/*
 * Runs @base until done(arg). -1: ETIMEDOUT, EDEADLK (this is a callback of @base), EINTR (somebody broke the loop), ECHILD
 * (a callback forked, and this is the child: done() is not asked there), as event_add().
 */
int ipc_run_until(struct event_base *base, bool (*done)(const void *arg), const void *arg, int64_t deadline);

#endif
