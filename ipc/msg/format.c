/*
 * tpl formats: the grammar in one loop, and the walk over structs. Knows nothing of images but the counts of '#', and
 * nothing of messages.
 */
#include "ipc/msg/format.h"

#include <errno.h>
#include <string.h>

#include "ipc/msg/number.h"
#include "ipc/os/log.h"

/* Some compilers align 8 bytes by 4 within a struct. */
#define ALIGN(type)                                                                                          \
	offsetof(                                                                                            \
		struct {                                                                                     \
			char c;                                                                              \
			type t;                                                                              \
		},                                                                                           \
		t)

const struct ipc_letter ipc_letters[256] = {
	['c'] = {1, 1, 1},
	['j'] = {2, sizeof(int16_t), ALIGN(int16_t)},
	['v'] = {2, sizeof(uint16_t), ALIGN(uint16_t)},
	['i'] = {4, sizeof(int32_t), ALIGN(int32_t)},
	['u'] = {4, sizeof(uint32_t), ALIGN(uint32_t)},
	['I'] = {8, sizeof(int64_t), ALIGN(int64_t)},
	['U'] = {8, sizeof(uint64_t), ALIGN(uint64_t)},
	['f'] = {8, sizeof(double), ALIGN(double)},
	['s'] = {4, sizeof(char *), ALIGN(char *)},
};

static int fail(int error)
{
	errno = error;
	return -1;
}

/* Where a scan is. The flag stands apart: read in one with the depth it would stall. */
struct scan {
	struct ipc_format *f;
	bool in_struct;
	uint32_t open[IPC_FORMAT_ARRAYS]; /* the A() that it is in */
	uint32_t depth;
};

/* The '#' at @p, if any; NULL if too many. */
static const char *scan_hashes(struct scan *s, const char *p)
{
	const char *first = p;

	while (*p == '#')
		p++;
	s->f->hashes += (uint32_t)(p - first);
	return p - first <= IPC_FORMAT_HASHES ? p : NULL;
}

/* From here on @p is behind the character that the function is named for; NULL is no format. */
static const char *scan_array(struct scan *s, const char *p)
{
	struct ipc_array *array = &s->f->array[s->f->arrays];

	if (s->in_struct || p[0] != '(' || p[1] == ')' || s->f->arrays == IPC_FORMAT_ARRAYS)
		return NULL;
	array->body = p + 1;
	array->before = s->f->hashes;
	s->open[s->depth++] = s->f->arrays++;
	if (s->depth > s->f->depth)
		s->f->depth = s->depth;
	return p + 1;
}

static const char *scan_struct(struct scan *s, const char *p)
{
	if (s->in_struct || p[0] != '(' || p[1] == ')')
		return NULL;
	s->in_struct = true;
	return p + 1;
}

static const char *scan_close(struct scan *s, const char *p)
{
	struct ipc_array *array;

	if (s->in_struct) {
		s->in_struct = false;
		return scan_hashes(s, p);
	}
	if (s->depth == 0)
		return NULL;
	array = &s->f->array[s->open[--s->depth]];
	array->end = p - 1;
	array->until = s->f->hashes;
	array->inside = s->f->arrays - 1 - s->open[s->depth];
	return p;
}

/*
 * Returns where it ends, NULL if it is none; *@at is the last character that was looked at. Inline, so that it costs nothing where
 * nobody wants to know that.
 */
static inline __attribute__((always_inline)) const char *scan(struct scan *s, const char *format,
							      const char **at)
{
	const char *p = format;
	struct ipc_format *f = s->f;

	s->depth = 0;
	s->in_struct = false;
	f->hashes = f->arrays = f->depth = 0;
	f->strings = false;
	while (p && *p) {
		char c = *p;

		*at = p++;
		if (ipc_letter(c)->wire) {
			f->strings |= c == 's';
			if (*p == '#')
				p = scan_hashes(s, p);
		} else if (c == 'A') {
			p = scan_array(s, p);
		} else if (c == 'S') {
			p = scan_struct(s, p);
		} else if (c == ')') {
			p = scan_close(s, p);
		} else if (c != 'B' || s->in_struct) {
			p = NULL;
		}
	}
	return p;
}

int ipc_format_scan(const char *format, struct ipc_format *f)
{
	struct scan s;
	const char *at, *end;

	s.f = f;
	end = scan(&s, format, &at);
	if (!end || s.depth > 0 || s.in_struct)
		return fail(EINVAL);
	f->len = (size_t)(end - format);
	return 0;
}

/* The scan ended at @at, since this is no format. */
static const char *explain(const struct scan *s, const char *at)
{
	bool opens = (*at == 'A' || *at == 'S') && at[1] == '(';

	if (opens && s->in_struct)
		return "no brackets stand in S(..)";
	if (opens && at[2] == ')')
		return "brackets are not empty";
	if (opens)
		return "there are more than 64 A(..)";
	if (*at == 'A' || *at == 'S')
		return "a ( is missing behind this";
	if (*at == 'B')
		return "B does not stand in S(..)";
	if (strspn(at + 1, "#") > IPC_FORMAT_HASHES)
		return "more than 10 # stand in a row";
	if (*at == ')')
		return "no ( belongs to this )";
	if (*at == '(')
		return "A or S is missing in front of this";
	return *at == '#' ? "a # stands behind a letter or S(..) only"
			  : "this is no letter of a format: c j v i u I U f s B are";
}

const char *ipc_format_why(const char *format, size_t *place)
{
	struct ipc_format f;
	struct scan s = {.f = &f};
	const char *at = format, *end = scan(&s, format, &at);

	*place = (size_t)((end ? end : at) - format) + 1;
	return end ? "a ) is missing" : explain(&s, at);
}

int ipc_format_take(const char *format, struct ipc_format *f)
{
	size_t place;
	const char *why;

	if (ipc_format_scan(format, f) == 0)
		return 0;
	why = ipc_format_why(format, &place);
	return ipc_refuse("\"%.200s\" is not a format, see aiomsg(3): at character %zu, %s", format, place,
			  why);
}

int ipc_stretch_fit(struct ipc_stretch *s, const char *text, const char *p)
{
	size_t len = strlen(text), depth = 0;

	if (len == 0 || strncmp(text, p, len) != 0 || p[len] == '#' || p[len] == '(')
		return fail(EINVAL);
	s->opens = len >= 2 && text[len - 1] == '(' && text[len - 2] == 'A';
	s->end = p + len - (s->opens ? 2 : 0);
	s->hashes = 0;
	for (; p < s->end; p++) {
		s->hashes += *p == '#';
		depth += *p == '(';
		if (*p == ')' && depth-- == 0)
			return fail(EINVAL);
	}
	return depth == 0 ? 0 : fail(EINVAL);
}

const char *ipc_stretch_leave(const char *p, size_t *hashes)
{
	size_t depth = 1;

	for (; depth > 0; p++) {
		*hashes += *p == '#';
		depth += *p == '(';
		depth -= *p == ')';
	}
	return p;
}

void ipc_args_copy(struct ipc_args *to, struct ipc_args *from)
{
	va_copy(to->ap, from->ap);
	to->counts = from->counts;
	to->swap = from->swap;
	to->differs = from->differs;
}

static int refuse_count(const struct ipc_args *a, uint32_t there, uint32_t count)
{
	ipc_refuse("the count of a # is %u, but it is %u %s", count, there,
		   a->differs == EINVAL ? "in the elements before" : "in the message");
	return fail(a->differs);
}

static int match_count(struct ipc_args *a, uint32_t count)
{
	uint32_t there = ipc_get32(a->counts, a->swap);

	if (there == 0)
		ipc_put32(a->counts, count);
	else if (there != count)
		return refuse_count(a, there, count);
	a->counts += sizeof there;
	return 0;
}

int ipc_args_counts(struct ipc_args *a, const char **p, size_t *n)
{
	uint64_t product = 1;

	for (; **p == '#'; ++*p) {
		size_t count = va_arg(a->ap, size_t);

		if (count < 1 || count > INT32_MAX || product * count > INT32_MAX)
			return ipc_refuse("the count of a # is %zu: it must be a size_t, 1 or more, and all "
					  "that belong together "
					  "2147483647 at most",
					  count);
		product *= count;
		if (a->counts && match_count(a, (uint32_t)count) == -1)
			return -1;
	}
	*n = (size_t)product;
	return 0;
}

static uint64_t align_up(uint64_t at, size_t align)
{
	return (at + align - 1) & ~(uint64_t)(align - 1);
}

/* @n members that each take so much. Each takes some of an image, and at most so many times that in memory: no overflow. */
static int layout_add(struct ipc_group *g, uint64_t size, size_t align, uint64_t wire, size_t n)
{
	if (wire * n > UINT32_MAX - g->wire)
		return fail(EMSGSIZE);
	g->size = align_up(g->size, align) + size * n;
	g->wire += wire * n;
	if (align > g->align)
		g->align = align;
	return 0;
}

static int layout_nested(struct ipc_group *g, struct ipc_args *a, const char **p);

static int layout_member(struct ipc_group *g, struct ipc_args *a, const char **p)
{
	char c = *(*p)++;
	const struct ipc_letter *l = ipc_letter(c);
	struct ipc_group nested;
	size_t n;
	int error;

	if (c == 'S') {
		error = layout_nested(&nested, a, p);
		ipc_group_end(&nested);
		g->strings |= !error && nested.strings;
		return error ? -1 : layout_add(g, nested.size, nested.align, nested.wire, nested.count);
	}
	if (l->wire == 0)
		return ipc_refuse("%c in an A(..) is for aiowriter_put() and aioreader_get(), piece by piece",
				  c);
	g->strings |= c == 's';
	if (ipc_args_counts(a, p, &n) == -1)
		return -1;
	return layout_add(g, l->size, l->align, l->wire, n);
}

/* Sizes up the members from *@p to the ')', and takes their counts. */
static int layout(struct ipc_group *g, struct ipc_args *a, const char **p)
{
	g->size = g->wire = 0;
	g->align = 1;
	g->strings = false;
	while (**p != ')')
		if (layout_member(g, a, p) == -1)
			return -1;
	g->size = align_up(g->size, g->align);
	return 0;
}

/* What *@p, at its '(', says of structs whose address and size are known. */
static int layout_nested(struct ipc_group *g, struct ipc_args *a, const char **p)
{
	g->members = ++*p;
	ipc_args_copy(&g->inner, a);
	if (layout(g, a, p) == -1)
		return -1;
	++*p;
	return ipc_args_counts(a, p, &g->count);
}

static int check_group(const struct ipc_group *g, size_t size, const char *what)
{
	if (size != g->size)
		return ipc_refuse("the size of a struct of %s is %zu, but its letters say %zu bytes, as "
				  "sizeof it would be",
				  what, size, (size_t)g->size);
	return g->base || g->count == 0 ? 0 : ipc_refuse("the address of %s is NULL, but has values", what);
}

int ipc_group_struct(struct ipc_group *g, struct ipc_args *a, const char **p)
{
	size_t size;

	g->base = va_arg(a->ap, char *);
	size = va_arg(a->ap, size_t);
	g->told = NULL;
	if (layout_nested(g, a, p) == -1)
		return -1;
	return check_group(g, size, "S(..)");
}

int ipc_group_array(struct ipc_group *g, struct ipc_args *a, const char **p, bool to_read)
{
	bool one_letter = ipc_letter((*p)[1])->wire && (*p)[2] == ')';
	size_t size = 0;

	g->base = va_arg(a->ap, char *);
	g->count = va_arg(a->ap, size_t);
	if (!one_letter)
		size = va_arg(a->ap, size_t);
	g->told = to_read ? va_arg(a->ap, size_t *) : NULL;
	g->members = ++*p;
	ipc_args_copy(&g->inner, a);
	if (layout(g, a, p) == -1)
		return -1;
	++*p;
	return check_group(g, one_letter ? g->size : size, "A(..)");
}

void ipc_group_end(struct ipc_group *g)
{
	va_end(g->inner.ap);
}

/* What is done with each member of a walk over structs. */
struct walk {
	ipc_member_op *op;
	void *context;
};

static int walk(const struct walk *w, struct ipc_group *g, uintptr_t base, size_t count);

/* An S(..) inside a struct of which @size bytes come before it; *@size then counts it too. */
static int walk_nested(const struct walk *w, const char **p, struct ipc_args *a, uintptr_t base,
		       uint64_t *size)
{
	struct ipc_group g;
	int error = layout_nested(&g, a, p);

	if (!error) {
		*size = align_up(*size, g.align);
		error = walk(w, &g, base + (uintptr_t)*size, g.count);
		*size += g.size * g.count;
	}
	ipc_group_end(&g);
	return error;
}

/* One struct; @p at its first member. */
static int walk_members(const struct walk *w, const char *p, struct ipc_args *a, uintptr_t base)
{
	uint64_t size = 0;

	while (*p != ')') {
		char c = *p++;
		const struct ipc_letter *l = ipc_letter(c);
		size_t n = 1;

		if (c == 'S') {
			if (walk_nested(w, &p, a, base, &size) == -1)
				return -1;
			continue;
		}
		if (*p == '#' && ipc_args_counts(a, &p, &n) == -1)
			return -1;
		size = align_up(size, l->align);
		if (w->op(w->context, c, (char *)(base + (uintptr_t)size), n) == -1)
			return -1;
		size += l->size * n;
	}
	return 0;
}

/* @base is a number: a walk that reads nothing may come from NULL. */
static int walk(const struct walk *w, struct ipc_group *g, uintptr_t base, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct ipc_args a;
		int error;

		ipc_args_copy(&a, &g->inner);
		error = walk_members(w, g->members, &a, base + (uintptr_t)(i * g->size));
		va_end(a.ap);
		if (error)
			return -1;
	}
	return 0;
}

int ipc_group_each(struct ipc_group *g, size_t count, ipc_member_op *op, void *context)
{
	struct walk w = {op, context};

	return walk(&w, g, (uintptr_t)g->base, count);
}
