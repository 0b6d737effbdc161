/*
 * tpl formats: their grammar, and how C lays out the structs that they describe. The one place that knows either; the
 * checker, the codec, the writer and the reader stand on it.
 *
 *	item    letter #*  |  B  |  A( item.. )  |  S( member.. ) #*
 *	member  letter #*
 *	letter  c j v i u I U f s
 */
#ifndef IPC_MSG_FORMAT_H
#define IPC_MSG_FORMAT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IPC_FORMAT_ARRAYS 64 /* the most A() in one format */
#define IPC_FORMAT_HASHES 10 /* the most # in a row: tpl's own limit */

/* What a letter takes in an image and in a C struct. @wire is 0 of what is no letter; of 's' it is the length alone. */
struct ipc_letter {
	uint8_t wire, size, align;
};

extern const struct ipc_letter ipc_letters[256];

static inline const struct ipc_letter *ipc_letter(char c)
{
	return &ipc_letters[(unsigned char)c];
}

/* One A() of a format. */
struct ipc_array {
	const char *body, *end; /* behind its '(', and its ')' */
	uint32_t before, until; /* how many '#' of the format stand before the body, and before the end */
	uint32_t inside;        /* how many A() are in it, at any depth */
};

struct ipc_format {
	size_t len;
	uint32_t hashes, arrays, depth;            /* depth: of the A() */
	bool strings;                              /* has an 's' */
	struct ipc_array array[IPC_FORMAT_ARRAYS]; /* in the order of their '(' */
};

/* Is @format one? -1/EINVAL if not. The other one is for a user's, and says why to the log. */
int ipc_format_scan(const char *format, struct ipc_format *f);
int ipc_format_take(const char *format, struct ipc_format *f);

/* What is wrong with a format that is none, and at which character, counted from 1. */
const char *ipc_format_why(const char *format, size_t *place);

/* A piece of a format, as the writer and the reader are given it: whole items, and maybe an "A(" at its end. */
struct ipc_stretch {
	const char *end; /* of the items */
	size_t hashes;   /* in them */
	bool opens;      /* an "A(" follows */
};

/* Does the piece @text fit the valid format at @p? -1/EINVAL if not, or if it is empty. */
int ipc_stretch_fit(struct ipc_stretch *s, const char *text, const char *p);

/* From anywhere in the body of an A(), but not inside brackets of that, to behind its ')'; adds to *@hashes what is passed. */
const char *ipc_stretch_leave(const char *p, size_t *hashes);

/*
 * The arguments of a call that has values, or pointers to them, as its format says. Where @counts is not NULL it is the
 * place in an image of the next '#': each count must be the one that is there, else it is errno @differs; a 0 there is filled in.
 */
struct ipc_args {
	va_list ap;
	unsigned char *counts;
	bool swap; /* the image's byte order is not ours */
	int differs;
};

void ipc_args_copy(struct ipc_args *to, struct ipc_args *from);

/* Takes a count for each '#' at *@p; *@n is their product, 1 for none. -1: EINVAL, @differs. */
int ipc_args_counts(struct ipc_args *a, const char **p, size_t *n);

/* Structs, one or an array of them, as the arguments of S(..) and of a closed A(..) tell. */
struct ipc_group {
	char *base;
	size_t *told;          /* where the count of an A() is to be told; NULL in calls with values */
	size_t count;          /* how many structs; of an A() to be read, the room */
	const char *members;   /* behind the '(' */
	struct ipc_args inner; /* the arguments at that place */
	uint64_t size;         /* of one struct in memory, */
	uint64_t wire;         /* and in an image; strings by their lengths alone */
	size_t align;
	bool strings;
};

/*
 * Takes the arguments of the S(..) or A(..) at whose '(' *@p is, @to_read those of pointers to read an A() into, and
 * moves *@p behind the ')' and its '#'. -1: EINVAL (a size that does not fit, no pointer, nested arrays), EMSGSIZE (over 4 GiB), @differs.
 * Success or not, ipc_group_end() must follow.
 */
int ipc_group_struct(struct ipc_group *g, struct ipc_args *a, const char **p);
int ipc_group_array(struct ipc_group *g, struct ipc_args *a, const char **p, bool to_read);
void ipc_group_end(struct ipc_group *g);

/* In memory as in an image? */
static inline bool ipc_group_dense(const struct ipc_group *g)
{
	return !g->strings && g->size == g->wire;
}

/* Calls @op for each member of the first @count structs: @n values of the letter @c at @at. Stops at a -1, and returns it. */
typedef int ipc_member_op(void *context, char c, char *at, size_t n);
int ipc_group_each(struct ipc_group *g, size_t count, ipc_member_op *op, void *context);

#endif
