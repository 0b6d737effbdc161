/*
 * Arguments for any stretch of any format, made while the program runs: values, or pointers to read into, each to a
 * block of exactly the size that the library may touch, so that ASan sees one byte too many.
 */
#ifndef FUZZ_ARGS_H
#define FUZZ_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARGS 64
#define ARGS_MOST_BYTES (1u << 20)

struct args {
	bool values;                        /* or pointers */
	size_t (*next_count)(void *source); /* what each '#' gets */
	void *source;
	size_t room; /* elements in each closed array */
	uintptr_t v[ARGS];
	unsigned n;
	void *block[ARGS];
	unsigned blocks;
	size_t *told[ARGS]; /* where arrays tell their counts, which start at -1 */
	unsigned arrays;
	unsigned doubles;
};

/* For [p, end), whole items. False when there are too many, or they need too much: not to be called then. args_free in any case. */
bool args_make(struct args *a, const char *p, const char *end);
void args_free(struct args *a);

/* Behind the item at @p: a letter or brackets, with their '#'. */
const char *args_item_end(const char *p);

/* The arguments of a call. */
#define ARGS_ALL(w)                                                                                          \
	(w)[0], (w)[1], (w)[2], (w)[3], (w)[4], (w)[5], (w)[6], (w)[7], (w)[8], (w)[9], (w)[10], (w)[11],    \
		(w)[12], (w)[13], (w)[14], (w)[15], (w)[16], (w)[17], (w)[18], (w)[19], (w)[20], (w)[21],    \
		(w)[22], (w)[23], (w)[24], (w)[25], (w)[26], (w)[27], (w)[28], (w)[29], (w)[30], (w)[31],    \
		(w)[32], (w)[33], (w)[34], (w)[35], (w)[36], (w)[37], (w)[38], (w)[39], (w)[40], (w)[41],    \
		(w)[42], (w)[43], (w)[44], (w)[45], (w)[46], (w)[47], (w)[48], (w)[49], (w)[50], (w)[51],    \
		(w)[52], (w)[53], (w)[54], (w)[55], (w)[56], (w)[57], (w)[58], (w)[59], (w)[60], (w)[61],    \
		(w)[62], (w)[63]

#endif
