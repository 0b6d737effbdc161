/*
 * Stacks for tasks, each above a guard. They are mapped in slabs, and used again by the next task. A slab without a used stack is unmapped,
 * but for a few that are kept. Any thread may call this.
 */
#ifndef IPC_TASK_STACK_H
#define IPC_TASK_STACK_H

#include <stddef.h>

#include "ipc/task/switch.h"

/* A stack of @size bytes, rounded up to pages. NULL with ENOMEM. */
struct ipc_stack *ipc_stack_get(size_t size);

/* Nothing runs on it any more. */
void ipc_stack_put(struct ipc_stack *stack);

#endif
