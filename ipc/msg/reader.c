/*
 * The reader: a place in a message that moves along its format, in and out of arrays. It lives on the user's
 * stack and holds nothing; the values themselves are the codec's.
 */
#include "ipc/msg/msg.h"

#include <errno.h>

#include "ipc/msg/image.h"
#include "ipc/msg/number.h"
#include "ipc/os/log.h"

static int fail(int error)
{
	errno = error;
	return -1;
}

int aioreader_init(struct aioreader *r, const struct aiomsg *m, const char *format)
{
	struct ipc_format f;
	struct ipc_view v;

	if (ipc_format_take(format, &f) == -1)
		return -1;
	if (f.depth > AIOREADER_DEPTH)
		return fail(EMSGSIZE);
	if (ipc_msg_read(m, format, &v) == -1)
		return -1;
	r->format = v.format;
	r->counts = v.counts;
	r->at = v.place.at;
	r->text = v.place.text;
	r->swap = v.place.swap;
	r->depth = 0;
	return 0;
}

/* Where a get begins: in front of an element, unless it continues one. */
struct step {
	const char *p;
	unsigned char *counts;
	bool begins; /* an element */
};

/* 0: there is none, the array has ended, and the reader stands behind it. */
static int find_step(struct aioreader *r, struct step *s)
{
	const struct aioreader_array *array = r->depth > 0 ? &r->array[r->depth - 1] : NULL;
	size_t hashes = 0;

	s->p = r->format;
	s->counts = r->counts;
	s->begins = array && (*s->p == ')' || s->p == array->body);
	if (!s->begins)
		return *s->p != 0;
	if (array->left > 0) {
		s->p = array->body;
		s->counts = array->counts;
		return 1;
	}
	r->format = ipc_stretch_leave(s->p, &hashes);
	r->counts += 4 * hashes;
	r->depth--;
	return 0;
}

/* Behind the items of a piece there is an "A(", and *@count is to be the number of its elements. */
static void enter_array(struct aioreader *r, uint32_t *count)
{
	struct aioreader_array *array = &r->array[r->depth++];

	*count = ipc_get32(r->at, r->swap != 0);
	r->at += 4;
	r->format += 2;
	array->body = r->format;
	array->counts = r->counts;
	array->left = *count;
}

int aioreader_get(struct aioreader *r, const char *text, ...)
{
	struct ipc_place place = {r->at, r->swap != 0, r->text};
	struct ipc_args a = {.swap = r->swap != 0, .differs = EBADMSG};
	struct ipc_stretch stretch;
	struct step s;
	int error;

	if (!find_step(r, &s))
		return 0;
	if (ipc_stretch_fit(&stretch, text, s.p) == -1)
		return ipc_refuse(
			"the piece \"%.60s\" is no stretch of the format, of which \"%.60s\" is next", text,
			s.p);
	a.counts = s.counts;
	va_start(a.ap, text);
	error = ipc_image_read_part(s.p, stretch.end, &a, &place);
	if (!error) {
		if (s.begins)
			r->array[r->depth - 1].left--;
		r->format = stretch.end;
		r->counts = s.counts + 4 * stretch.hashes;
		r->at = place.at;
		r->text = place.text;
		if (stretch.opens)
			enter_array(r, va_arg(a.ap, uint32_t *));
	}
	va_end(a.ap);
	return error ? -1 : 1;
}
