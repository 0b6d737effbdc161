/*
 * Two stacks and the way from one to the other. Knows nothing of tasks: floor mates say who runs next. A context
 * that was left is resumed by switching to it, in the thread that left it.
 */
#ifndef IPC_TASK_SWITCH_H
#define IPC_TASK_SWITCH_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>

/* A stack that is not running. The loop's own is one, too; of that the bounds are learned when it is left. */
struct ipc_context {
	jmp_buf env;
	struct ipc_context *from; /* who switched to it last */
	const void *low;          /* its stack, for the address sanitizer, */
	size_t size;
	void *fake;  /* and what that keeps for it */
	void *fiber; /* what the thread sanitizer keeps */
};

/* A stack to start contexts on, one after another; stack.c makes them. */
struct ipc_stack {
	struct ipc_stack *next;
	struct ipc_slab *slab;
	char *low; /* the lowest byte that may be used; the page below is the guard */
	size_t size;
	bool begun; /* a context was started on it before: @again is where the next one starts */
	jmp_buf again;
	struct ipc_context *context;
	void (*fn)(void *);
	void *arg;
	void *fiber;
	unsigned valgrind_id;
};

/* Leaves @from, resumes @to. Returns when somebody switches to @from. */
void ipc_switch(struct ipc_context *from, struct ipc_context *to);

/* Leaves @from, and runs fn(arg), which does not return, as @to on @stack. */
void ipc_switch_new(struct ipc_context *from, struct ipc_context *to, struct ipc_stack *stack,
		    void (*fn)(void *), void *arg);

/* Leaves @from for ever: its stack may be used again by who runs then. */
void ipc_switch_last(struct ipc_context *from, struct ipc_context *to) __attribute__((noreturn));
void ipc_switch_last_new(struct ipc_context *from, struct ipc_context *to, struct ipc_stack *stack,
			 void (*fn)(void *), void *arg) __attribute__((noreturn));

/* The next switch is made in a child that a task forked: the thread sanitizer has lost count of who is who there. */
void ipc_switch_forked(void);

/* What the tools want to know of a stack, once made, and before it is unmapped. */
void ipc_switch_know(struct ipc_stack *stack);
void ipc_switch_forget(struct ipc_stack *stack);

#endif
