/*
 * The one place that waits. Every call of the library that may block comes here, turn by turn. The thread polls; a task is suspended
 * instead (see here.h). Callers see no difference.
 */
#ifndef IPC_LOOP_WAIT_H
#define IPC_LOOP_WAIT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

struct event_base;

/* 0, or -1/EINVAL: @deadline is neither AIOIPC_NOW nor AIOIPC_FOREVER nor from aioipc_after(). */
int ipc_deadline_check(int64_t deadline);

/* Nanoseconds until @deadline: 0 when it has passed, -1 for AIOIPC_FOREVER. */
int64_t ipc_deadline_left(int64_t deadline);

/*
 * One turn of waiting: until a descriptor is ready (see revents), the deadline has passed, or a signal handler ran. 0: something may have
 * changed; -1: ETIMEDOUT, EINTR, in a task also ECANCELED. Call ipc_wait_allowed() first.
 */
int ipc_wait(struct pollfd *fds, nfds_t n, int64_t deadline);

/* May the caller wait for something that the loop of @base does? 0, or -1: EINVAL (@deadline), EDEADLK (for ever, in a callback of @base). */
int ipc_wait_allowed(struct event_base *base, int64_t deadline);

#endif
