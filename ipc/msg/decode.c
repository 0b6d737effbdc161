/*
 * From an image to values, where the caller's pointers say. The image has passed the checker, and the format is its own. What can
 * go wrong is wrong in the arguments, and is found by a first pass before anything is written. Used by
 * aiomsg_unpack() and the reader.
 */
#include "ipc/msg/image.h"

#include <errno.h>
#include <string.h>

#include "ipc/msg/number.h"
#include "ipc/os/log.h"

/* The passes over the same arguments. LOOK writes nothing; TELL, when an A() found no room, only how many elements it has. */
enum pass { LOOK, TELL, READ };

struct decode {
	struct ipc_place *place;
	enum pass pass;
	bool no_room;
};

static uint32_t get_length(struct ipc_place *place)
{
	uint32_t n = ipc_get32(place->at, place->swap);

	place->at += 4;
	return n;
}

static const char *get_string(struct ipc_place *place)
{
	uint32_t len = get_length(place);
	const char *s;

	if (len == 0)
		return NULL;
	s = place->text ? place->text : (const char *)place->at;
	if (place->text)
		place->text += len;
	place->at += len - 1;
	return s;
}

/* @n values of the letter @c: an ipc_member_op. */
static int read_values(void *context, char c, char *at, size_t n)
{
	struct decode *d = context;
	size_t wire = ipc_letter(c)->wire;

	if (c != 's') {
		if (d->pass == READ)
			ipc_copy(at, d->place->at, wire, n, d->place->swap);
		d->place->at += wire * n;
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		const char *s = get_string(d->place);

		if (d->pass == READ)
			memcpy(at + i * sizeof s, &s, sizeof s);
	}
	return 0;
}

/* x# */
static int read_vector(struct decode *d, char c, struct ipc_args *a, const char **p)
{
	char *at = va_arg(a->ap, char *);
	size_t n;

	if (ipc_args_counts(a, p, &n) == -1)
		return -1;
	if (!at)
		return ipc_refuse("the pointer for the values of %c# is NULL", c);
	return read_values(d, c, at, n);
}

static void read_bytes(const void **data, size_t *size, struct ipc_place *place)
{
	uint32_t n = get_length(place);

	*data = n > 0 ? place->at : NULL;
	*size = n;
	place->at += n;
}

static void pass_bytes(struct decode *d, struct ipc_args *a)
{
	const void **data = va_arg(a->ap, const void **);
	size_t *size = va_arg(a->ap, size_t *);

	if (d->pass == READ)
		read_bytes(data, size, d->place);
	else
		d->place->at += get_length(d->place);
}

/* @count structs. */
static void read_group(struct decode *d, struct ipc_group *g, size_t count)
{
	if (g->strings || (d->pass == READ && (d->place->swap || !ipc_group_dense(g)))) {
		ipc_group_each(g, count, read_values, d);
		return;
	}
	if (d->pass == READ && count > 0)
		memcpy(g->base, d->place->at, g->wire * count);
	d->place->at += g->wire * count;
}

static int read_struct(struct decode *d, struct ipc_args *a, const char **p)
{
	struct ipc_group g;
	int error = ipc_group_struct(&g, a, p);

	if (!error)
		read_group(d, &g, g.count);
	ipc_group_end(&g);
	return error;
}

static int read_array(struct decode *d, struct ipc_args *a, const char **p)
{
	struct ipc_group g;
	int error = ipc_group_array(&g, a, p, true);

	if (!error) {
		size_t count = get_length(d->place);

		if (count > g.count)
			d->no_room = true;
		if (d->pass != LOOK)
			*g.told = count;
		read_group(d, &g, count);
	}
	ipc_group_end(&g);
	return error;
}

/* A letter without '#'. */
static void read_letter(struct decode *d, char c, struct ipc_args *a)
{
	void *to = va_arg(a->ap, void *);

	read_values(d, c, to, 1);
}

static int read_part(struct decode *d, const char *p, const char *end, struct ipc_args *a)
{
	int error = 0;

	while (p < end && !error) {
		char c = *p++;

		if (c == 'A')
			error = read_array(d, a, &p);
		else if (c == 'S')
			error = read_struct(d, a, &p);
		else if (c == 'B')
			pass_bytes(d, a);
		else if (*p == '#')
			error = read_vector(d, c, a, &p);
		else
			read_letter(d, c, a);
	}
	return error;
}

/* Only brackets and '#' have arguments that can be wrong. */
static bool needs_look(const char *p, const char *end)
{
	for (; p < end; p++)
		if (*p == '#' || *p == '(')
			return true;
	return false;
}

/* One value of a plain one, to @to. */
static inline void read_plain(char c, void *to, struct ipc_place *place)
{
	const unsigned char *at = place->at;
	const char *s;

	switch (c) {
	case 's':
		s = get_string(place);
		memcpy(to, &s, sizeof s);
		return;
	case 'i':
	case 'u':
		ipc_copy_number(to, at, 4, place->swap);
		place->at += 4;
		return;
	case 'j':
	case 'v':
		ipc_copy_number(to, at, 2, place->swap);
		place->at += 2;
		return;
	case 'c':
		memcpy(to, at, 1);
		place->at++;
		return;
	default:
		ipc_copy_number(to, at, 8, place->swap);
		place->at += 8;
	}
}

void ipc_image_read_plain(const char *p, const char *end, struct ipc_args *a, struct ipc_place *place)
{
	struct ipc_place at = *place;

	for (; p < end; p++) {
		void *to = va_arg(a->ap, void *);

		if (*p == 'B')
			read_bytes(to, va_arg(a->ap, size_t *), &at);
		else
			read_plain(*p, to, &at);
	}
	*place = at;
}

bool ipc_image_view(const unsigned char *data, const char *format, struct ipc_view *v)
{
	const char *p = (const char *)data + IPC_IMAGE_FORMAT;
	bool brackets = false, strings = false, copies = false;
	size_t hashes = 0;

	v->format = p;
	for (; *p && *p == *format; p++, format++) {
		copies |= strings;
		strings |= *p == 's';
		brackets |= *p == '(';
		hashes += *p == '#';
	}
	if (*p != *format)
		return false;
	v->end = p;
	v->counts = (unsigned char *)p + 1;
	v->place.at = v->counts + 4 * hashes;
	v->place.swap = ipc_image_swapped(data);
	v->place.text = NULL;
	v->plain = !brackets && hashes == 0;
	v->copies = copies;
	return true;
}

/* A pass over copies of everything. */
static int pass_over(enum pass pass, const char *p, const char *end, struct ipc_args *a,
		     const struct ipc_place *place, bool *no_room)
{
	struct ipc_place start = *place;
	struct decode d = {&start, pass, false};
	struct ipc_args again;
	int error;

	ipc_args_copy(&again, a);
	error = read_part(&d, p, end, &again);
	va_end(again.ap);
	*no_room = d.no_room;
	return error;
}

int ipc_image_read_part(const char *p, const char *end, struct ipc_args *a, struct ipc_place *place)
{
	struct decode d = {place, READ, false};
	bool no_room;

	if (!needs_look(p, end)) {
		ipc_image_read_plain(p, end, a, place);
		return 0;
	}
	if (pass_over(LOOK, p, end, a, place, &no_room) == -1)
		return -1;
	if (no_room) {
		pass_over(TELL, p, end, a, place, &no_room);
		errno = EMSGSIZE;
		return -1;
	}
	return read_part(&d, p, end, a);
}
