/*
 * Switching stacks: see switch.h. makecontext() and setcontext() enter a stack for the first time. All else is _setjmp() and _longjmp(), which
 * make no system call and exist for every processor. A stack that is used again begins where it began the first time. The address and thread
 * sanitizers and valgrind are told.
 *
 * glibc's fortified longjmp() aborts when it jumps to another stack, so it is off in this file.
 */
#undef _FORTIFY_SOURCE
#include "ipc/task/switch.h"

#include <poll.h>
#include <stdint.h>
#include <ucontext.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define TSAN 1
#endif

#ifdef ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#ifdef TSAN
#include <sanitizer/tsan_interface.h>

void __tsan_ignore_thread_begin(void);
void AnnotateIgnoreSyncBegin(const char *file, int line);
#endif
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

/*
 * For functions that run between two stacks. The thread sanitizer would count their calls on one stack and their returns on the other; the address
 * sanitizer would guard frames that never return.
 */
#define UNSEEN __attribute__((no_sanitize("thread"), no_sanitize("address")))

void ipc_switch_know(struct ipc_stack *stack)
{
#ifdef VALGRIND_STACK_REGISTER
	stack->valgrind_id = VALGRIND_STACK_REGISTER(stack->low, stack->low + stack->size);
#endif
#ifdef ASAN
	__lsan_register_root_region(stack->low, stack->size);
#endif
#ifndef VALGRIND_STACK_REGISTER
	(void)stack;
#endif
}

void ipc_switch_forget(struct ipc_stack *stack)
{
#ifdef VALGRIND_STACK_DEREGISTER
	VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
#endif
#ifdef ASAN
	__asan_unpoison_memory_region(stack->low, stack->size);
	__lsan_unregister_root_region(stack->low, stack->size);
#endif
#ifdef TSAN
	if (stack->fiber)
		__tsan_destroy_fiber(stack->fiber);
#endif
	stack->begun = false;
}

static bool forked;

UNSEEN void ipc_switch_forked(void)
{
	forked = true;
}

/*
 * The last call on the stack that is left, before the jump. The thread sanitizer takes each stack for a thread, and delays signals until that
 * thread makes a call that may wait. The poll is such a call.
 */
UNSEEN static void leave(struct ipc_context *from, struct ipc_context *to, bool for_ever)
{
	to->from = from;
	(void)for_ever;
#ifdef ASAN
	__sanitizer_start_switch_fiber(for_ever ? NULL : &from->fake, to->low, to->size);
#endif
#ifdef TSAN
	poll(NULL, 0, 0);
	from->fiber = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(to->fiber, 0);
#endif
}

/* The first call after the jump. */
UNSEEN static void arrive(struct ipc_context *here)
{
#ifdef ASAN
	__sanitizer_finish_switch_fiber(here->fake, &here->from->low, &here->from->size);
#endif
#ifdef TSAN
	if (forked) {
		__tsan_ignore_thread_begin();
		AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
	}
#endif
	forked = false;
	(void)here;
}

/* Where a stack begins. makecontext() passes integers only. */
UNSEEN static void begin(unsigned high, unsigned low)
{
	struct ipc_stack *stack = (struct ipc_stack *)(uintptr_t)((uint64_t)high << 32 | low);

	_setjmp(stack->again);
	arrive(stack->context);
	stack->fn(stack->arg);
}

/* Goes to the beginning of @stack. */
UNSEEN __attribute__((noreturn)) static void enter(struct ipc_stack *stack)
{
	uint64_t address = (uintptr_t)stack;
	ucontext_t context;

	if (stack->begun)
		_longjmp(stack->again, 1);
	stack->begun = true;
	getcontext(&context);
	context.uc_stack.ss_sp = stack->low;
	context.uc_stack.ss_size = stack->size;
	context.uc_link = NULL;
	makecontext(&context, (void (*)(void))begin, 2, (unsigned)(address >> 32), (unsigned)address);
	setcontext(&context);
	__builtin_unreachable();
}

UNSEEN static void prepare(struct ipc_context *to, struct ipc_stack *stack, void (*fn)(void *), void *arg)
{
	*to = (struct ipc_context){.low = stack->low, .size = stack->size};
	stack->context = to;
	stack->fn = fn;
	stack->arg = arg;
#ifdef ASAN
	__asan_unpoison_memory_region(stack->low, stack->size);
#endif
#ifdef TSAN
	if (!stack->fiber)
		stack->fiber = __tsan_create_fiber(0);
	to->fiber = stack->fiber;
#endif
}

UNSEEN void ipc_switch(struct ipc_context *from, struct ipc_context *to)
{
	if (_setjmp(from->env) == 0) {
		leave(from, to, false);
		_longjmp(to->env, 1);
	}
	arrive(from);
}

UNSEEN void ipc_switch_new(struct ipc_context *from, struct ipc_context *to, struct ipc_stack *stack,
			   void (*fn)(void *), void *arg)
{
	prepare(to, stack, fn, arg);
	if (_setjmp(from->env) == 0) {
		leave(from, to, false);
		enter(stack);
	}
	arrive(from);
}

UNSEEN void ipc_switch_last(struct ipc_context *from, struct ipc_context *to)
{
	leave(from, to, true);
	_longjmp(to->env, 1);
}

UNSEEN void ipc_switch_last_new(struct ipc_context *from, struct ipc_context *to, struct ipc_stack *stack,
				void (*fn)(void *), void *arg)
{
	prepare(to, stack, fn, arg);
	leave(from, to, true);
	enter(stack);
}
