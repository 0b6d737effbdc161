/* Arguments for any format. See args.h. */
#include "fuzz/args.h"

#include <stdlib.h>
#include <string.h>

#define DOUBLES 8

static const char text[] = "text";

static size_t letter_size(char c)
{
	return c == 'c' ? 1 : c == 'j' || c == 'v' ? 2 : c == 'i' || c == 'u' ? 4 : 8;
}

const char *args_item_end(const char *p)
{
	size_t depth = 0;

	do {
		depth += *p == 'A' || *p == 'S';
		depth -= *p == ')';
	} while (*++p && depth > 0);
	while (*p == '#')
		p++;
	return p;
}

static bool push(struct args *a, uintptr_t v)
{
	if (a->n == ARGS)
		return false;
	a->v[a->n++] = v;
	return true;
}

/* A block for @n things of @size bytes. */
static bool push_block(struct args *a, size_t size, size_t n, bool strings)
{
	char *block;
	const char *s = text;

	if (a->blocks == ARGS || size > ARGS_MOST_BYTES || n > ARGS_MOST_BYTES || size * n > ARGS_MOST_BYTES)
		return false;
	block = calloc(1, size * n + (size * n == 0));
	if (!block)
		return false;
	a->block[a->blocks++] = block;
	for (size_t i = 0; strings && size == sizeof s && i < n; i++)
		memcpy(block + i * size, &s, sizeof s);
	return push(a, (uintptr_t)block);
}

/* Takes the '#' at *@p; 0 if they are too many to be used. */
static size_t take_counts(struct args *a, const char **p, size_t *list, unsigned *n)
{
	size_t product = 1;

	for (; **p == '#'; ++*p) {
		size_t count = a->next_count(a->source);

		if (*n == ARGS || count > ARGS_MOST_BYTES || product > ARGS_MOST_BYTES)
			return 0;
		list[(*n)++] = count;
		product *= count;
	}
	return product;
}

/* The size of a struct whose members are at *@p; moves that behind their ')'. 0 if it can't be used. */
static size_t take_struct(struct args *a, const char **p, size_t *widest, size_t *list, unsigned *n)
{
	size_t size = 0;

	*widest = 1;
	while (**p && **p != ')') {
		char c = *(*p)++;
		size_t one = letter_size(c), align = one, count;

		if (c == 'A' || c == 'B')
			return 0;
		if (c == 'S') {
			++*p;
			one = take_struct(a, p, &align, list, n);
		}
		count = take_counts(a, p, list, n);
		if (one == 0 || count == 0 || one * count > ARGS_MOST_BYTES || size > ARGS_MOST_BYTES)
			return 0;
		size = (size + align - 1) / align * align + one * count;
		*widest = align > *widest ? align : *widest;
	}
	++*p;
	return (size + *widest - 1) / *widest * *widest;
}

static bool push_list(struct args *a, const size_t *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!push(a, list[i]))
			return false;
	return true;
}

static bool make_array(struct args *a, const char *p)
{
	bool one_letter = p[2] != '#' && p[2] != 'S' && p[3] == ')';
	bool strings = one_letter && p[2] == 's';
	size_t list[ARGS], widest, size, *told;
	unsigned n = 0;

	p += 2;
	size = take_struct(a, &p, &widest, list, &n);
	if (size == 0 || !push_block(a, size, a->room, strings) || !push(a, a->room))
		return false;
	if (!one_letter && !push(a, size))
		return false;
	if (!a->values) {
		if (!push_block(a, sizeof(size_t), 1, false))
			return false;
		told = a->told[a->arrays++] = a->block[a->blocks - 1];
		*told = (size_t)-1;
	}
	return push_list(a, list, n);
}

static bool make_struct(struct args *a, const char *p)
{
	size_t list[ARGS], widest, size, times;
	unsigned n = 0;

	p += 2;
	size = take_struct(a, &p, &widest, list, &n);
	times = take_counts(a, &p, list, &n);
	return size && times && push_block(a, size, times, false) && push(a, size) && push_list(a, list, n);
}

static bool make_vector(struct args *a, const char *p)
{
	size_t list[ARGS], times;
	unsigned n = 0;
	char c = *p++;

	times = take_counts(a, &p, list, &n);
	return times && push_block(a, letter_size(c), times, a->values && c == 's') && push_list(a, list, n);
}

static bool make_item(struct args *a, const char *p)
{
	if (*p == 'A')
		return make_array(a, p);
	if (*p == 'S')
		return make_struct(a, p);
	if (p[1] == '#')
		return make_vector(a, p);
	if (*p == 'B' && a->values)
		return push_block(a, 1, 5, false) && push(a, 5);
	if (*p == 'B')
		return push_block(a, sizeof(void *), 1, false) && push_block(a, sizeof(size_t), 1, false);
	if (!a->values)
		return push_block(a, letter_size(*p), 1, false);
	if (*p == 'f') /* travels in a register of its own, as long as there are some */
		return a->doubles++ < DOUBLES;
	return push(a, *p == 's' ? (uintptr_t)text : 7);
}

bool args_make(struct args *a, const char *p, const char *end)
{
	a->n = a->blocks = a->arrays = a->doubles = 0;
	memset(a->v, 0, sizeof a->v);
	for (; p < end; p = args_item_end(p))
		if (!make_item(a, p))
			return false;
	return true;
}

void args_free(struct args *a)
{
	while (a->blocks > 0)
		free(a->block[--a->blocks]);
}
