/*
 * Stacks for tasks, each above a guard. They are mapped in slabs and kept for the next task; a slab
 * of which none is used is unmapped, unless it is one of the few that are kept. Any thread.
 */
#ifndef IPC_TASK_STACK_H
#define IPC_TASK_STACK_H

#include <stddef.h>

#include "ipc/task/switch.h"

/* A stack of @size bytes, rounded up to pages. NULL with ENOMEM. */
struct ipc_stack *ipc_stack_get(size_t size);

/* Nothing runs on it, or will. */
void ipc_stack_put(struct ipc_stack *stack);

#endif
