/* Stacks for tasks: see stack.h. The mutex of own/epoch.h guards the list of slabs, so a fork finds it whole. */
#include "ipc/task/stack.h"

#include <errno.h>
#include <stdlib.h>

#include "ipc/own/own.h"
#include "ipc/os/os.h"

#define SLAB_STACKS 16
#define KEPT_MOST 4 /* slabs of which no stack is used */

/*
 * Below each stack. A frame may exceed what is left of the stack by so much, and its first access still traps. Linux leaves as much below a
 * program's stack. It costs address space, and a page of page tables for every 2 MiB of that.
 */
#define GUARD (sizeof(void *) > 4 ? (size_t)1 << 20 : (size_t)64 << 10)

struct ipc_slab {
	struct ipc_slab *next, *prev; /* those with a free stack */
	char *map;
	size_t stack_size; /* with its guard */
	unsigned used;
	struct ipc_stack *free;
	struct ipc_stack stacks[SLAB_STACKS];
};

static struct ipc_slab *slabs;
static unsigned kept;

static void link_slab(struct ipc_slab *slab)
{
	slab->prev = NULL;
	slab->next = slabs;
	if (slabs)
		slabs->prev = slab;
	slabs = slab;
}

static void unlink_slab(struct ipc_slab *slab)
{
	if (slab->prev)
		slab->prev->next = slab->next;
	else
		slabs = slab->next;
	if (slab->next)
		slab->next->prev = slab->prev;
}

static void unmap(struct ipc_slab *slab)
{
	for (unsigned i = 0; i < SLAB_STACKS; i++)
		ipc_switch_forget(&slab->stacks[i]);
	ipc_os_unmap_stacks(slab->map, SLAB_STACKS * slab->stack_size, SLAB_STACKS);
	free(slab);
}

/* Makes the guards, and puts the stacks into the list of the slab. */
static int cut(struct ipc_slab *slab)
{
	for (unsigned i = 0; i < SLAB_STACKS; i++) {
		struct ipc_stack *stack = &slab->stacks[i];
		char *low = slab->map + i * slab->stack_size;

		if (ipc_os_guard(low, GUARD) == -1) {
			ipc_os_unmap_stacks(slab->map, SLAB_STACKS * slab->stack_size, i);
			return -1;
		}
		stack->slab = slab;
		stack->low = low + GUARD;
		stack->size = slab->stack_size - GUARD;
		stack->next = slab->free;
		slab->free = stack;
	}
	return 0;
}

static struct ipc_slab *new_slab(size_t stack_size)
{
	struct ipc_slab *slab = calloc(1, sizeof *slab);
	int error;

	if (!slab)
		return NULL;
	slab->stack_size = stack_size;
	slab->map = ipc_os_map_stacks(SLAB_STACKS * stack_size);
	if (!slab->map || cut(slab) == -1) {
		error = errno;
		free(slab);
		errno = error;
		return NULL;
	}
	for (unsigned i = 0; i < SLAB_STACKS; i++)
		ipc_switch_know(&slab->stacks[i]);
	return slab;
}

/* Under the mutex. */
static struct ipc_stack *take(struct ipc_slab *slab)
{
	struct ipc_stack *stack = slab->free;

	slab->free = stack->next;
	if (slab->used++ == 0)
		kept--;
	if (!slab->free)
		unlink_slab(slab);
	return stack;
}

static struct ipc_slab *slab_with(size_t stack_size)
{
	struct ipc_slab *slab = slabs;

	while (slab && slab->stack_size != stack_size)
		slab = slab->next;
	return slab;
}

struct ipc_stack *ipc_stack_get(size_t size)
{
	size_t page = ipc_os_page_size(), stack_size = (size + page - 1) / page * page + GUARD;
	struct ipc_slab *slab;
	struct ipc_stack *stack;

	if (ipc_own_hold() == -1)
		return NULL;
	slab = slab_with(stack_size);
	if (!slab) {
		ipc_own_let_go();
		slab = new_slab(stack_size);
		if (!slab || ipc_own_hold() == -1)
			return NULL;
		link_slab(slab);
		kept++;
	}
	stack = take(slab);
	ipc_own_let_go();
	return stack;
}

void ipc_stack_put(struct ipc_stack *stack)
{
	struct ipc_slab *slab = stack->slab;
	bool surplus = false;

	if (ipc_own_hold() == -1)
		return;
	if (!slab->free)
		link_slab(slab);
	stack->next = slab->free;
	slab->free = stack;
	if (--slab->used == 0) {
		surplus = kept == KEPT_MOST;
		if (surplus)
			unlink_slab(slab);
		else
			kept++;
	}
	ipc_own_let_go();
	if (surplus)
		unmap(slab);
}
