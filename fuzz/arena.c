/* libtpl's memory and its errors, for fuzz targets. See arena.h. */
#include "fuzz/arena.h"

#include <stdint.h>
#include <string.h>

#include <tpl.h>

extern tpl_hook_t tpl_hook; /* tpl.h has the type only */

#define SIZE (8u << 20)

jmp_buf arena_fatal;

static _Alignas(16) unsigned char memory[SIZE];
static size_t used;

void *arena_alloc(size_t size)
{
	unsigned char *block = memory + used;

	if (size > SIZE || used + size + 32 > SIZE)
		longjmp(arena_fatal, 1);
	memcpy(block, &size, sizeof size);
	used += (size + 16 + 15) / 16 * 16;
	return block + 16;
}

static void *arena_realloc(void *old, size_t size)
{
	void *block = arena_alloc(size);
	size_t had;

	if (old) {
		memcpy(&had, (unsigned char *)old - 16, sizeof had);
		memcpy(block, old, had < size ? had : size);
	}
	return block;
}

static void arena_free(void *block)
{
	(void)block;
}

static int say_nothing(const char *format, ...)
{
	(void)format;
	return 0;
}

static void end_run(const char *format, ...)
{
	(void)format;
	longjmp(arena_fatal, 1);
}

void arena_reset(void)
{
	used = 0;
	tpl_hook.oops = say_nothing;
	tpl_hook.malloc = arena_alloc;
	tpl_hook.realloc = arena_realloc;
	tpl_hook.free = arena_free;
	tpl_hook.fatal = end_run;
}
