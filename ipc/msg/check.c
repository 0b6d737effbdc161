/*
 * The strict checker: one walk over an image that a peer chose. No allocation, no recursion, and no more steps than the
 * image has bytes, times a small constant. What it says yes to, every other function here takes on trust.
 */
#include "ipc/msg/image.h"

#include <string.h>

#include "ipc/msg/format.h"
#include "ipc/msg/number.h"

/* What the checker knows of an A() beside its place in the format. */
struct level {
	uint64_t least;  /* bytes that one element takes at least; 0 before it was asked for */
	bool fixed;      /* and exactly */
	uint32_t left;   /* elements, with the one it is in */
	uint32_t parent; /* the A() around it */
};

struct check {
	struct ipc_format f;
	struct level level[IPC_FORMAT_ARRAYS];
	const unsigned char *counts; /* of the '#' */
	const unsigned char *at, *end;
	bool swap;
	const char *p;         /* place in the format, */
	uint32_t hash;         /* how many '#' are before it, */
	uint32_t array;        /* how many A(), */
	uint32_t inside;       /* and in which A() it is */
	const char *members;   /* of the S() it is in, NULL outside */
	uint32_t members_hash; /* the '#' before them */
	uint64_t structs;      /* and how many are left, with this one */
	size_t text;           /* bytes that the strings take with a NUL each */
	char *to;              /* where they are copied, or NULL */
};

static const char cut_short[] = "tpl image: shorter than its values";
static const char too_long[] = "tpl image: longer than its values";
static const char bad_string[] = "tpl image: NUL inside a string";
static const char wrong_flag[] = "tpl image: the flag for strings is wrong";

static size_t left(const struct check *c)
{
	return (size_t)(c->end - c->at);
}

/* The product of the counts of the '#' at *@p, 1 if there is none, and moves behind them. 0: no tpl has such counts. */
static uint64_t take_counts(const struct check *c, const char **p, uint32_t *hash)
{
	uint64_t product = 1;

	for (; **p == '#'; ++*p) {
		product *= ipc_get32(c->counts + 4 * (size_t)(*hash)++, c->swap);
		if (product > INT32_MAX)
			product = 0;
	}
	return product;
}

static bool counts_are_possible(const struct check *c, const char *format)
{
	uint32_t hash = 0;

	while (hash < c->f.hashes) {
		if (*format != '#')
			format++;
		else if (take_counts(c, &format, &hash) == 0)
			return false;
	}
	return true;
}

/* More than any image has bytes, and small enough to be multiplied with any product of counts. */
static uint64_t cap(uint64_t bytes)
{
	return bytes > UINT32_MAX ? (uint64_t)UINT32_MAX + 1 : bytes;
}

/* The least that the members of an S() take, @p at the first; moves it to the ')'. */
static uint64_t least_of_struct(const struct check *c, const char **p, uint32_t *hash, bool *fixed)
{
	uint64_t least = 0;

	while (**p != ')') {
		char letter = *(*p)++;

		least = cap(least + ipc_letter(letter)->wire * take_counts(c, p, hash));
		if (letter == 's')
			*fixed = false;
	}
	return least;
}

/* Sizes up an element of the A() number @k. */
static void measure(struct check *c, uint32_t k)
{
	const struct ipc_array *array = &c->f.array[k];
	struct level *level = &c->level[k];
	const char *p = array->body;
	uint32_t hash = array->before, next = k + 1;
	uint64_t least = 0, bytes;

	level->fixed = true;
	while (p < array->end) {
		char letter = *p++;

		if (letter == 'S') {
			p++;
			bytes = least_of_struct(c, &p, &hash, &level->fixed);
			p++;
		} else if (letter == 'A') {
			bytes = 4;
			p = c->f.array[next].end + 1;
			hash = c->f.array[next].until;
			next += 1 + c->f.array[next].inside;
			level->fixed = false;
		} else {
			bytes = letter == 'B' ? 4 : ipc_letter(letter)->wire;
			level->fixed &= letter != 'B' && letter != 's';
		}
		least = cap(least + bytes * take_counts(c, &p, &hash));
	}
	level->least = least;
}

static const char *check_string(struct check *c)
{
	uint32_t len;

	if (left(c) < 4)
		return cut_short;
	len = ipc_get32(c->at, c->swap);
	c->at += 4;
	if (len == 0)
		return NULL;
	if (left(c) < len - 1)
		return cut_short;
	if (memchr(c->at, 0, len - 1))
		return bad_string;
	if (c->to) {
		memcpy(c->to + c->text, c->at, len - 1);
		c->to[c->text + len - 1] = 0;
	}
	c->text += len;
	c->at += len - 1;
	return NULL;
}

static const char *check_letter(struct check *c, char letter)
{
	uint64_t n = 1, bytes;
	const char *wrong = NULL;

	if (*c->p == '#')
		n = take_counts(c, &c->p, &c->hash);
	if (letter == 's') {
		for (; n > 0 && !wrong; n--)
			wrong = check_string(c);
		return wrong;
	}
	bytes = ipc_letter(letter)->wire * n;
	if (left(c) < bytes)
		return cut_short;
	c->at += bytes;
	return NULL;
}

static const char *check_bytes(struct check *c)
{
	uint32_t len;

	if (left(c) < 4)
		return cut_short;
	len = ipc_get32(c->at, c->swap);
	c->at += 4;
	if (left(c) < len)
		return cut_short;
	c->at += len;
	return NULL;
}

/* At the '(' of an S(). */
static void enter_struct(struct check *c)
{
	const char *p = ++c->p;
	uint32_t hash = c->hash;

	c->members = p;
	c->members_hash = hash;
	for (; *p != ')'; p++)
		hash += *p == '#';
	p++;
	c->structs = take_counts(c, &p, &hash);
}

/* Behind its ')'. */
static void leave_struct(struct check *c)
{
	if (--c->structs > 0) {
		c->p = c->members;
		c->hash = c->members_hash;
		return;
	}
	take_counts(c, &c->p, &c->hash);
	c->members = NULL;
}

/* At the '(' of an A(). Elements of fixed size are skipped at once. */
static const char *enter_array(struct check *c)
{
	uint32_t k = c->array, n;
	const struct ipc_array *array = &c->f.array[k];
	struct level *level = &c->level[k];

	if (left(c) < 4)
		return cut_short;
	n = ipc_get32(c->at, c->swap);
	c->at += 4;
	if (level->least == 0)
		measure(c, k);
	if (n > left(c) / level->least)
		return "tpl image: more elements than bytes";
	if (n == 0 || level->fixed) {
		c->at += n * level->least;
		c->p = array->end + 1;
		c->hash = array->until;
		c->array += 1 + array->inside;
		return NULL;
	}
	level->left = n;
	level->parent = c->inside;
	c->inside = k;
	c->p = array->body;
	c->array = k + 1;
	return NULL;
}

/* Behind the ')' of an A(): the next element, or what follows. */
static void leave_element(struct check *c)
{
	struct level *level = &c->level[c->inside];
	const struct ipc_array *array = &c->f.array[c->inside];

	if (--level->left == 0) {
		c->inside = level->parent;
		return;
	}
	c->p = array->body;
	c->hash = array->before;
	c->array = c->inside + 1;
}

static const char *check_data(struct check *c)
{
	const char *wrong = NULL;

	while (*c->p && !wrong) {
		char letter = *c->p++;

		switch (letter) {
		case 'A':
			wrong = enter_array(c);
			break;
		case 'B':
			wrong = check_bytes(c);
			break;
		case 'S':
			enter_struct(c);
			break;
		case ')':
			if (c->members)
				leave_struct(c);
			else
				leave_element(c);
			break;
		default:
			wrong = check_letter(c, letter);
		}
	}
	if (!wrong && c->at != c->end)
		wrong = too_long;
	return wrong;
}

/* Everything in front of the format. */
static const char *check_front(const unsigned char *data, size_t len, bool *swap)
{
	if (len < IPC_IMAGE_FORMAT + 1 || memcmp(data, "tpl", 3) != 0)
		return "not a tpl image";
	if (data[3] & ~(IPC_IMAGE_BIG_ENDIAN | IPC_IMAGE_STRINGS))
		return "tpl image: unknown flags";
	*swap = ipc_image_swapped(data);
	return ipc_get32(data + 4, *swap) == len ? NULL : "tpl image: its length is not the frame's";
}

/* How many letters the format at @format has, if it has only letters, such as "is"; else 0. */
static inline size_t plain_letters(const unsigned char *format, const unsigned char *end)
{
	const unsigned char *p = format;

	while (p < end && ipc_letter((char)*p)->wire)
		p++;
	return p < end && *p == 0 ? (size_t)(p - format) : 0;
}

/* The values of such a format. */
static inline const char *check_plain(const unsigned char *data, const unsigned char *end, size_t letters,
				      bool swap, struct ipc_plain *plain)
{
	const unsigned char *format = data + IPC_IMAGE_FORMAT, *at = format + letters + 1;
	bool strings = false, copies = false;

	for (; *format; format++) {
		size_t n = ipc_letter((char)*format)->wire;
		uint32_t len;

		if ((size_t)(end - at) < n)
			return cut_short;
		at += n;
		copies |= strings;
		if (*format != 's')
			continue;
		strings = true;
		len = ipc_get32(at - n, swap);
		if (len == 0)
			continue;
		if ((size_t)(end - at) < len - 1)
			return cut_short;
		if (memchr(at, 0, len - 1))
			return bad_string;
		at += len - 1;
	}
	if (strings != !!(data[3] & IPC_IMAGE_STRINGS))
		return wrong_flag;
	if (at != end)
		return too_long;
	*plain = (struct ipc_plain){letters < UINT8_MAX ? (uint8_t)letters : 0, copies};
	return NULL;
}

static const char *check_head(struct check *c, const unsigned char *data, size_t len)
{
	const unsigned char *nul;
	const char *wrong = check_front(data, len, &c->swap);

	if (wrong)
		return wrong;
	nul = memchr(data + IPC_IMAGE_FORMAT, 0, len - IPC_IMAGE_FORMAT);
	if (!nul)
		return "tpl image: its format has no end";
	if (ipc_format_scan((const char *)data + IPC_IMAGE_FORMAT, &c->f) == -1)
		return "tpl image: not a format";
	if (c->f.strings != !!(data[3] & IPC_IMAGE_STRINGS))
		return wrong_flag;
	c->counts = nul + 1;
	c->end = data + len;
	if ((size_t)(c->end - c->counts) / 4 < c->f.hashes)
		return cut_short;
	c->at = c->counts + 4 * (size_t)c->f.hashes;
	if (!counts_are_possible(c, (const char *)data + IPC_IMAGE_FORMAT))
		return "tpl image: impossible count of #";
	return NULL;
}

static const char *check(struct check *c, const unsigned char *data, size_t len, char *to)
{
	const char *wrong = check_head(c, data, len);

	if (wrong)
		return wrong;
	c->p = (const char *)data + IPC_IMAGE_FORMAT;
	c->hash = c->array = c->inside = 0;
	c->members = NULL;
	c->text = 0;
	c->to = to;
	for (uint32_t i = 0; i < c->f.arrays; i++)
		c->level[i].least = 0;
	return check_data(c);
}

/* Of its own, so that the check of a plain one needs little stack. */
__attribute__((noinline)) static const char *check_any(const unsigned char *data, size_t len)
{
	struct check c;

	return check(&c, data, len, NULL);
}

/* The flag comes before the values, and so does what is wrong with it. */
__attribute__((noinline)) static const char *first_fault(const unsigned char *data, const char *wrong)
{
	bool strings = strchr((const char *)data + IPC_IMAGE_FORMAT, 's');

	return strings != !!(data[3] & IPC_IMAGE_STRINGS) ? wrong_flag : wrong;
}

const char *ipc_image_look(const unsigned char *data, size_t len, struct ipc_plain *plain)
{
	bool swap;
	const char *wrong = check_front(data, len, &swap);
	size_t letters;

	if (wrong)
		return wrong;
	letters = plain_letters(data + IPC_IMAGE_FORMAT, data + len);
	if (letters) {
		wrong = check_plain(data, data + len, letters, swap, plain);
		return wrong ? first_fault(data, wrong) : NULL;
	}
	plain->letters = 0;
	return check_any(data, len);
}

const char *ipc_image_check(const unsigned char *data, size_t len)
{
	struct ipc_plain unused;

	return ipc_image_look(data, len, &unused);
}

size_t ipc_image_strings(const unsigned char *data, size_t len, char *to)
{
	struct check c;

	check(&c, data, len, to);
	return c.text;
}
