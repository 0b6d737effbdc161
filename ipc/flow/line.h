/*
 * A line of those who wait, each at its place, which lies on the stack of its call. A lock guards the line; whoever takes a
 * place out of it decides what its call gets, collects it, and wakes it once the lock is free. The place is then its
 * call's again, and may be gone. What is waited for is none of this file's business.
 */
#ifndef IPC_FLOW_LINE_H
#define IPC_FLOW_LINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A thread that sleeps, or will soon. */
struct ipc_place {
	struct ipc_place *next, *prev;
	bool in_line;
	atomic_uint state;
};

/* First come, first served. */
struct ipc_line {
	struct ipc_place *first, *last;
};

void ipc_line_join(struct ipc_line *l, struct ipc_place *p);
void ipc_line_leave(struct ipc_line *l, struct ipc_place *p);

/* Waits until woken: 0. Else -1, ETIMEDOUT or EINTR, and it is still in line, or being woken just now. */
int ipc_place_wait(struct ipc_place *p, int64_t deadline);

/* Wakes each of a line that nobody else can reach any more. */
void ipc_line_wake(struct ipc_line *l);

#endif
