/*
 * The writer: builds an image piece by piece in a message that grows. Knows where in the format it is and which
 * arrays are open; the values themselves are the codec's. A wrong piece spoils it for good.
 */
#include "ipc/msg/msg.h"

#include <errno.h>
#include <string.h>

#include "ipc/msg/image.h"
#include "ipc/msg/number.h"
#include "ipc/msg/pool.h"
#include "ipc/os/log.h"

/* An array that is open. */
struct open_array {
	const char *body; /* in the format */
	size_t hashes;    /* before that */
	size_t count_at;  /* place in the image of its count */
	uint32_t count;   /* elements begun */
};

struct aiowriter {
	size_t block;        /* what the pool gave */
	int error;           /* the first, or 0 */
	struct aiomsg *m;    /* its len is what is written so far */
	size_t counts, data; /* places in the image of the first '#' and the first value */
	const char *p;       /* place in the format, */
	size_t hashes;       /* and how many '#' are before it */
	unsigned depth;
	struct open_array array[AIOREADER_DEPTH];
	char format[];
};

static int fail(struct aiowriter *w, int error)
{
	w->error = error;
	errno = error;
	return -1;
}

static struct aiowriter *start(const char *format, const struct ipc_format *f)
{
	struct aiowriter *w;
	size_t block, hashes;

	w = ipc_pool_get(sizeof *w + f->len + 1, &block);
	if (!w)
		return NULL;
	w->data = ipc_image_head(f);
	w->m = ipc_msg_alloc(IPC_KIND_TPL, w->data);
	if (!w->m) {
		ipc_pool_put(w, block);
		return NULL;
	}
	w->counts = (size_t)(ipc_image_write_head(w->m->data, 0, format, &hashes) - w->m->data);
	memcpy(w->format, format, f->len + 1);
	w->block = block;
	w->error = 0;
	w->p = w->format;
	w->hashes = 0;
	w->depth = 0;
	return w;
}

struct aiowriter *aiowriter_new(const char *format)
{
	struct ipc_format f;

	if (ipc_format_take(format, &f) == -1)
		return NULL;
	if (f.depth > AIOREADER_DEPTH || ipc_image_head(&f) > UINT32_MAX) {
		errno = EMSGSIZE;
		return NULL;
	}
	return start(format, &f);
}

/* In front of an element of the innermost array, or behind one? */
static bool between_elements(const struct aiowriter *w)
{
	return w->depth > 0 && (*w->p == ')' || w->p == w->array[w->depth - 1].body);
}

static int close_array(struct aiowriter *w)
{
	struct open_array *array;

	if (!between_elements(w)) {
		ipc_refuse("a ) in front of a piece closes an array between two elements, here \"%.60s\" is "
			   "next",
			   w->p);
		return fail(w, EINVAL);
	}
	array = &w->array[--w->depth];
	ipc_put32(w->m->data + array->count_at, array->count);
	w->p = ipc_stretch_leave(w->p, &w->hashes);
	return 0;
}

static void begin_element(struct aiowriter *w)
{
	struct open_array *array = &w->array[w->depth - 1];

	array->count++;
	w->p = array->body;
	w->hashes = array->hashes;
}

/* Room for an image of @len bytes; more than that, so that growing costs little in the long run. */
static int need(struct aiowriter *w, size_t len)
{
	size_t room = ipc_msg_room(w->m);

	if (len <= room)
		return 0;
	if (len < 2 * room)
		len = 2 * room;
	return ipc_msg_grow(&w->m, len, w->m->len) == -1 ? fail(w, errno) : 0;
}

static void open_array(struct aiowriter *w)
{
	struct open_array *array = &w->array[w->depth++];

	w->p += 2;
	array->body = w->p;
	array->hashes = w->hashes;
	array->count_at = w->m->len;
	array->count = 0;
	w->m->len += 4;
}

static void set_args(struct ipc_args *a, const struct aiowriter *w, va_list values)
{
	va_copy(a->ap, values);
	a->counts = w->m->data + w->counts + 4 * w->hashes;
	a->swap = false;
	a->differs = EINVAL;
}

/* Items, and maybe an "A(". */
static int put_piece(struct aiowriter *w, const char *text, va_list values)
{
	struct ipc_stretch stretch;
	struct ipc_args a;
	uint64_t total = w->m->len;
	int error;

	if (between_elements(w))
		begin_element(w);
	if (ipc_stretch_fit(&stretch, text, w->p) == -1) {
		ipc_refuse("the piece \"%.60s\" is no stretch of the format, of which \"%.60s\" is next",
			   text, w->p);
		return fail(w, EINVAL);
	}
	set_args(&a, w, values);
	error = ipc_image_size_part(w->p, stretch.end, &a, &total);
	va_end(a.ap);
	if (!error && total + 4 > UINT32_MAX)
		error = errno = EMSGSIZE;
	if (error)
		return fail(w, errno);
	if (need(w, (size_t)total + 4) == -1)
		return -1;
	set_args(&a, w, values);
	ipc_image_write_part(w->m->data + w->m->len, w->p, stretch.end, &a);
	va_end(a.ap);
	w->m->len = (size_t)total;
	w->p = stretch.end;
	w->hashes += stretch.hashes;
	if (stretch.opens)
		open_array(w);
	return 0;
}

int aiowriter_put(struct aiowriter *w, const char *piece, ...)
{
	va_list values;
	int error = 0;

	if (!w)
		return ipc_refuse("the writer is NULL: aiowriter_new() has failed");
	if (w->error) {
		errno = w->error;
		return -1;
	}
	for (; *piece == ')' && !error; piece++)
		error = close_array(w);
	if (*piece == 0 || error)
		return error;
	va_start(values, piece);
	error = put_piece(w, piece, values);
	va_end(values);
	return error;
}

/* Nobody has said how many of these there are, in elements that there are none of. */
static void fill_counts(struct aiowriter *w)
{
	for (size_t at = w->counts; at < w->data; at += 4)
		if (ipc_get32(w->m->data + at, false) == 0)
			ipc_put32(w->m->data + at, 1);
}

struct aiomsg *aiowriter_finish(struct aiowriter *w)
{
	struct aiomsg *m = NULL;
	int error = EINVAL;

	if (w)
		error = w->error;
	else
		ipc_refuse("the writer is NULL: aiowriter_new() has failed");
	if (!error && (w->depth > 0 || *w->p)) {
		ipc_refuse("the message is not at the end of its format: \"%.60s\" is left", w->p);
		error = EINVAL;
	}
	if (!error) {
		fill_counts(w);
		m = w->m;
		w->m = NULL;
		ipc_put32(m->data + 4, (uint32_t)m->len);
		m->data[m->len] = 0;
	}
	aiowriter_free(w);
	if (error)
		errno = error;
	return m;
}

void aiowriter_free(struct aiowriter *w)
{
	if (!w)
		return;
	aiomsg_free(w->m);
	ipc_pool_put(w, w->block);
}
