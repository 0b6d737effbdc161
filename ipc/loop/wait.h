/*
 * The one place that waits: every call of the library that may block comes here, turn by turn. It polls, or
 * inside a task parks that, without a difference to its callers.
 */
#ifndef IPC_LOOP_WAIT_H
#define IPC_LOOP_WAIT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

struct event_base;

/* 0, or -1/EINVAL: neither NOW nor FOREVER nor from aioipc_after(). */
int ipc_deadline_check(int64_t deadline);

/* Nanoseconds left until @deadline: 0 when past, -1 for ever. */
int64_t ipc_deadline_left(int64_t deadline);

/* True in a callback of @base's running loop, in its thread. NULL: false, and so is a task of @base. */
bool ipc_in_callback(struct event_base *base);

/*
 * One turn of waiting: until a descriptor is ready (see revents), the deadline, or a signal handler ran. 0 something may have changed;
 * -1 ETIMEDOUT, EINTR. The caller has made sure that it is allowed to wait here: ipc_wait_allowed().
 */
int ipc_wait(struct pollfd *fds, nfds_t n, int64_t deadline);

/* 0, or -1: EINVAL (deadline), EDEADLK (FOREVER in a callback of @base). */
int ipc_wait_allowed(struct event_base *base, int64_t deadline);

#endif
