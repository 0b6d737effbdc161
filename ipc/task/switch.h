/*
 * Switching from one stack to another. This knows nothing of tasks: its callers say what runs next. To resume a context, switch to it, in the
 * thread that left it.
 */
#ifndef IPC_TASK_SWITCH_H
#define IPC_TASK_SWITCH_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>

/* Code that was left, with its stack. The loop has one too; the bounds of its stack are learned when it is left. */
struct ipc_context {
	jmp_buf env;
	struct ipc_context *from; /* who switched to it last */
	const void *low;          /* its stack, for the address sanitizer */
	size_t size;
	void *fake;  /* of the address sanitizer */
	void *fiber; /* of the thread sanitizer */
};

/* A stack to start contexts on, one after another; stack.c makes them. */
struct ipc_stack {
	struct ipc_stack *next;
	struct ipc_slab *slab;
	char *low; /* the lowest byte that may be used; the page below is the guard */
	size_t size;
	bool begun; /* a context has started on it before, so @again is set: the next one starts there */
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

/* Leaves @from for ever. What runs then may use its stack again. */
void ipc_switch_last(struct ipc_context *from, struct ipc_context *to) __attribute__((noreturn));
void ipc_switch_last_new(struct ipc_context *from, struct ipc_context *to, struct ipc_stack *stack,
			 void (*fn)(void *), void *arg) __attribute__((noreturn));

/* The next switch happens in a child that a task has forked: the thread sanitizer knows the stacks no more there. */
void ipc_switch_forked(void);

/* Tells valgrind and the sanitizers of a stack after it was made, and before it is unmapped. */
void ipc_switch_know(struct ipc_stack *stack);
void ipc_switch_forget(struct ipc_stack *stack);

#endif
