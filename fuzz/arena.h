/*
 * libtpl in a cage, for the targets that compare with it: its memory is an arena that is thrown away whole, it prints
 * nothing, and where it would end the process the run ends instead.
 */
#ifndef FUZZ_ARENA_H
#define FUZZ_ARENA_H

#include <setjmp.h>
#include <stddef.h>

extern jmp_buf arena_fatal; /* where libtpl's fatal errors, and an empty arena, go */

/* Empty again, and libtpl's hooks in place. */
void arena_reset(void);
void *arena_alloc(size_t size);

#endif
