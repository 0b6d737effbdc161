/*
 * Ours against libtpl. The input chooses a format, of everything that one can have, and values. Our writer and tpl_dump() must make
 * the same bytes; our reader and tpl_unpack() must find the same values in them, as they are and written by
 * a machine of the other byte order. Then the input damages the image: what our checker still takes, libtpl must load, and
 * both must read alike; what it refuses, libtpl must refuse too, but for the faults that it does not see.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tpl.h>

#include <aioipc/msg.h>

#include "fuzz/arena.h"
#include "ipc/msg/image.h"
#include "ipc/msg/msg.h"

#define MOST_ITEMS 24
#define MOST_ARGS 64
#define DEPTH 3
#define ROOM 3 /* elements of an array */

#define must(condition)                                                                                      \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: %s (format %s)\n", __FILE__, __LINE__, #condition, format);  \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

/* One item of a format. A closed array is one for us, and an A() with members for libtpl. */
struct item {
	char kind; /* the letter, B, S or A */
	bool closed;
	unsigned hashes, count[2];
	struct item *members, *next;
	const char *text; /* in the format; of an open A() just "A(" */
	size_t len, size; /* size: in memory, of one struct or of all values */
	void *ours, *theirs;
	int number; /* of an A(), libtpl's */
};

struct bytes {
	const void *data;
	size_t len;
};

static const uint8_t *input;
static size_t input_left;
static char format[512];
static size_t format_len;
static unsigned items, arrays;
static tpl_node *tn;

static uint8_t take(void)
{
	if (input_left == 0)
		return 0;
	input_left--;
	return *input++;
}

static void emit(const char *text)
{
	size_t len = strlen(text);

	memcpy(format + format_len, text, len + 1);
	format_len += len;
}

static size_t times(const struct item *it)
{
	size_t n = 1;

	for (unsigned i = 0; i < it->hashes; i++)
		n *= it->count[i];
	return n;
}

static size_t letter_size(char c)
{
	return c == 'c' ? 1 : c == 'j' || c == 'v' ? 2 : c == 'i' || c == 'u' ? 4 : 8;
}

/* Of S and closed A: C's rule, on its own. */
static size_t struct_size(const struct item *it)
{
	size_t at = 0, widest = 1;

	for (const struct item *m = it->members; m; m = m->next) {
		size_t size = letter_size(m->kind);

		at = (at + size - 1) / size * size + size * times(m);
		widest = size > widest ? size : widest;
	}
	return (at + widest - 1) / widest * widest;
}

static void make_hashes(struct item *it)
{
	unsigned n = take();

	if (n % 4 != 1)
		return;
	it->hashes = 1 + n / 4 % 2;
	for (unsigned i = 0; i < it->hashes; i++) {
		it->count[i] = 1 + n / (i ? 64 : 16) % 4;
		emit("#");
	}
}

static struct item *make_items(unsigned depth, bool letters_only);

static void make_brackets(struct item *it, const char *open, unsigned depth, bool letters_only)
{
	emit(open);
	it->members = make_items(depth, letters_only);
	emit(")");
	it->size = letters_only ? struct_size(it) : 0;
}

static struct item *make_item(unsigned depth, bool letters_only)
{
	static const char letters[] = "cjviuIUfs";
	struct item *it = arena_alloc(sizeof *it);
	size_t from = format_len;
	uint8_t n = take();

	memset(it, 0, sizeof *it);
	items++;
	if (letters_only || n % 16 < 9) {
		it->kind = letters[n % 9];
		emit((char[]){it->kind, 0});
		make_hashes(it);
		it->size = letter_size(it->kind) * times(it);
	} else if (n % 16 < 11) {
		it->kind = 'B';
		emit("B");
		it->size = sizeof(struct bytes);
	} else if (n % 16 < 13) {
		it->kind = 'S';
		make_brackets(it, "S(", depth, true);
		make_hashes(it);
	} else if (n % 16 < 14 || depth == 0) {
		it->kind = 'A';
		it->closed = true;
		it->number = (int)++arrays;
		make_brackets(it, "A(", depth, true);
	} else {
		it->kind = 'A';
		it->number = (int)++arrays;
		make_brackets(it, "A(", depth - 1, false);
	}
	it->len = it->kind == 'A' && !it->closed ? 2 : format_len - from;
	it->text = format + from;
	it->ours = arena_alloc(it->size * times(it) * (it->closed ? ROOM : 1) + 16);
	it->theirs = arena_alloc((it->kind == 'B' ? sizeof(tpl_bin) : it->size * times(it)) + 16);
	return it;
}

static struct item *make_items(unsigned depth, bool letters_only)
{
	struct item *first = NULL, **last = &first;

	for (unsigned n = 1 + take() % 4; n > 0 && (items < MOST_ITEMS || !first); n--) {
		*last = make_item(depth, letters_only);
		last = &(*last)->next;
	}
	return first;
}

/* The text of an item as a piece of its own. */
static const char *piece(const struct item *it)
{
	static char text[sizeof format];

	memcpy(text, it->text, it->len);
	text[it->len] = 0;
	return text;
}

/* The counts of '#' in an item, in order. */
static unsigned counts_of(const struct item *it, size_t *to)
{
	unsigned n = 0;

	for (const struct item *m = it->members; m; m = m->next)
		n += counts_of(m, to + n);
	for (unsigned i = 0; i < it->hashes; i++)
		to[n++] = it->count[i];
	return n;
}

/* What tpl_map() is given. */
static unsigned map_args(const struct item *it, void **to)
{
	unsigned n = 0;
	size_t counts[2 * MOST_ITEMS];

	for (; it; it = it->next) {
		if (it->kind == 'A') {
			n += map_args(it->members, to + n);
			continue;
		}
		to[n++] = it->theirs;
		for (unsigned i = 0, k = counts_of(it, counts); i < k; i++)
			to[n++] = (void *)(uintptr_t)counts[i];
	}
	return n;
}

static tpl_node *map(const struct item *root)
{
	void *a[MOST_ARGS * 2] = {NULL};

	if (map_args(root, a) > MOST_ARGS)
		longjmp(arena_fatal, 1);
	return tpl_map(format, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11],
		       a[12], a[13], a[14], a[15], a[16], a[17], a[18], a[19], a[20], a[21], a[22], a[23],
		       a[24], a[25], a[26], a[27], a[28], a[29], a[30], a[31], a[32], a[33], a[34], a[35],
		       a[36], a[37], a[38], a[39], a[40], a[41], a[42], a[43], a[44], a[45], a[46], a[47],
		       a[48], a[49], a[50], a[51], a[52], a[53], a[54], a[55], a[56], a[57], a[58], a[59],
		       a[60], a[61], a[62], a[63]);
}

/* Values. */

static char *make_string(void)
{
	size_t len = take() % 8;
	char *s;

	if (len == 7)
		return NULL;
	s = arena_alloc(len + 1);
	for (size_t i = 0; i < len; i++)
		s[i] = (char)(take() | 1);
	s[len] = 0;
	return s;
}

static void make_values(char c, char *at, size_t n)
{
	char *s;

	for (size_t i = 0; i < n; i++) {
		if (c == 's') {
			s = make_string();
			memcpy(at + i * sizeof s, &s, sizeof s);
			continue;
		}
		for (size_t k = 0; k < letter_size(c); k++)
			at[i * letter_size(c) + k] = (char)take();
	}
}

/* What is done with the letters of a struct: @at in one copy, @other in a second one. */
static void each_member(const struct item *it, size_t structs,
			void (*op)(char c, char *at, char *other, size_t n))
{
	for (size_t i = 0; i < structs; i++) {
		size_t at = i * it->size;

		for (const struct item *m = it->members; m; m = m->next) {
			size_t size = letter_size(m->kind);

			at = (at + size - 1) / size * size;
			op(m->kind, (char *)it->theirs + at, (char *)it->ours + at, times(m));
			at += size * times(m);
		}
	}
}

static void make_member(char c, char *at, char *other, size_t n)
{
	(void)other;
	make_values(c, at, n);
}

static void make_bytes(struct item *it)
{
	struct bytes *ours = it->ours;
	tpl_bin *theirs = it->theirs;
	uint8_t len = take() % 16;
	char *data = len ? arena_alloc(len) : NULL;

	for (unsigned i = 0; i < len; i++)
		data[i] = (char)take();
	*ours = (struct bytes){data, len};
	theirs->addr = data;
	theirs->sz = len;
}

static void make_value(struct item *it)
{
	if (it->kind == 'B') {
		make_bytes(it);
		return;
	}
	if (it->kind == 'S')
		each_member(it, times(it), make_member);
	else
		make_values(it->kind, it->theirs, times(it));
	memcpy(it->ours, it->theirs, it->size * (it->kind == 'S' ? times(it) : 1));
}

static uint64_t number(const void *at, size_t size)
{
	uint64_t n = 0;

	memcpy(&n, at, size);
	return n;
}

static void put_value(struct aiowriter *w, const struct item *it)
{
	size_t k[2 * MOST_ITEMS] = {0};
	struct bytes *b = it->ours;
	double f;
	char *s;

	counts_of(it, k);
	if (it->kind == 'S') {
		aiowriter_put(w, piece(it), it->ours, it->size, k[0], k[1], k[2], k[3], k[4], k[5], k[6],
			      k[7], k[8], k[9]);
	} else if (it->hashes) {
		aiowriter_put(w, piece(it), it->ours, k[0], k[1]);
	} else if (it->kind == 'B') {
		aiowriter_put(w, "B", b->data, b->len);
	} else if (it->kind == 'f') {
		memcpy(&f, it->ours, sizeof f);
		aiowriter_put(w, "f", f);
	} else if (it->kind == 's') {
		memcpy(&s, it->ours, sizeof s);
		aiowriter_put(w, "s", s);
	} else if (letter_size(it->kind) == 8) {
		aiowriter_put(w, piece(it), number(it->ours, 8));
	} else {
		aiowriter_put(w, piece(it), (int)number(it->ours, letter_size(it->kind)));
	}
}

/* A closed array: what libtpl packs from single variables is put into structs for us. */
static void put_closed(struct aiowriter *w, const struct item *it, unsigned n)
{
	size_t k[2 * MOST_ITEMS] = {0};
	char *to = it->ours;

	for (unsigned i = 0; i < n; i++) {
		size_t at = i * it->size;

		for (struct item *m = it->members; m; m = m->next) {
			make_value(m);
			at = (at + letter_size(m->kind) - 1) / letter_size(m->kind) * letter_size(m->kind);
			memcpy(to + at, m->ours, m->size);
			at += m->size;
		}
		tpl_pack(tn, it->number);
	}
	counts_of(it, k);
	if (it->len == 4)
		aiowriter_put(w, piece(it), to, (size_t)n);
	else
		aiowriter_put(w, piece(it), to, (size_t)n, it->size, k[0], k[1], k[2], k[3], k[4], k[5], k[6],
			      k[7]);
}

/* An array without elements would never tell us how many its '#' are. */
static unsigned choose_elements(const struct item *it)
{
	size_t counts[2 * MOST_ITEMS];
	unsigned n = take() % (ROOM + 1);

	return n == 0 && counts_of(it, counts) > 0 ? 1 : n;
}

static void put_items(struct aiowriter *w, struct item *it, int level)
{
	for (; it; it = it->next) {
		unsigned n;

		if (it->kind != 'A') {
			make_value(it);
			put_value(w, it);
			continue;
		}
		n = choose_elements(it);
		if (it->closed) {
			put_closed(w, it, n);
			continue;
		}
		aiowriter_put(w, "A(");
		for (; n > 0; n--)
			put_items(w, it->members, it->number);
		aiowriter_put(w, ")");
	}
	tpl_pack(tn, level);
}

/* Reading. */

static void same_values(char c, char *at, char *other, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *s, *t;

		if (c != 's') {
			must(memcmp(at + i * letter_size(c), other + i * letter_size(c), letter_size(c)) ==
			     0);
			continue;
		}
		memcpy(&s, at + i * sizeof s, sizeof s);
		memcpy(&t, other + i * sizeof t, sizeof t);
		must(!s == !t && (!s || strcmp(s, t) == 0));
	}
}

static void get_value(struct aioreader *r, const struct item *it)
{
	size_t k[2 * MOST_ITEMS] = {0};
	struct bytes *b = it->ours;
	tpl_bin *bin = it->theirs;
	int got;

	counts_of(it, k);
	if (it->kind == 'S')
		got = aioreader_get(r, piece(it), it->ours, it->size, k[0], k[1], k[2], k[3], k[4], k[5],
				    k[6], k[7], k[8], k[9]);
	else if (it->kind == 'B')
		got = aioreader_get(r, "B", &b->data, &b->len);
	else
		got = aioreader_get(r, piece(it), it->ours, k[0], k[1]);
	must(got == 1);
	if (it->kind == 'S')
		each_member(it, times(it), same_values);
	else if (it->kind == 'B')
		must(b->len == bin->sz && (b->len == 0 || memcmp(b->data, bin->addr, b->len) == 0));
	else
		same_values(it->kind, it->theirs, it->ours, times(it));
}

static void get_closed(struct aioreader *r, const struct item *it)
{
	size_t k[2 * MOST_ITEMS] = {0}, n = 0, room = ROOM;
	char *ours = it->ours;

	counts_of(it, k);
	for (int got = -1; got != 1; room = n) {
		if (room > ROOM)
			ours = arena_alloc(room * it->size + 16);
		if (it->len == 4)
			got = aioreader_get(r, piece(it), ours, room, &n);
		else
			got = aioreader_get(r, piece(it), ours, room, it->size, &n, k[0], k[1], k[2], k[3],
					    k[4], k[5], k[6], k[7]);
		must(got == 1 || (errno == EMSGSIZE && n > room));
	}
	for (size_t i = 0; i < n; i++) {
		size_t at = i * it->size;

		must(tpl_unpack(tn, it->number) > 0);
		for (struct item *m = it->members; m; m = m->next) {
			at = (at + letter_size(m->kind) - 1) / letter_size(m->kind) * letter_size(m->kind);
			same_values(m->kind, m->theirs, ours + at, times(m));
			at += m->size;
		}
	}
	must(tpl_unpack(tn, it->number) == 0);
}

static void get_items(struct aioreader *r, struct item *it, int level)
{
	uint32_t n;

	must(tpl_unpack(tn, level) > 0);
	for (; it; it = it->next) {
		if (it->kind != 'A') {
			get_value(r, it);
			continue;
		}
		if (it->closed) {
			get_closed(r, it);
			continue;
		}
		must(aioreader_get(r, "A(", &n) == 1);
		for (; n > 0; n--)
			get_items(r, it->members, it->number);
		must(aioreader_get(r, "c", NULL) == 0);
		must(tpl_unpack(tn, it->number) == 0);
	}
}

static struct aiomsg *message_of(const void *image, size_t len)
{
	struct aiomsg *m = ipc_msg_alloc(IPC_KIND_TPL, len);

	memcpy(m->data, image, len);
	return m;
}

/* Both readers over an image that our checker has taken, whose format and counts are the root's. */
static void read_both(struct item *root, const struct aiomsg *m)
{
	struct aioreader r;

	tn = map(root);
	must(tpl_load(tn, TPL_MEM, m->data, m->len) == 0);
	must(aioreader_init(&r, m, format) == 0);
	get_items(&r, root, 0);
	must(aioreader_get(&r, "c", NULL) == 0);
}

/* The other byte order. */

static void swap(unsigned char **p, size_t size)
{
	for (size_t i = 0; i < size / 2; i++) {
		unsigned char c = (*p)[i];

		(*p)[i] = (*p)[size - 1 - i];
		(*p)[size - 1 - i] = c;
	}
	*p += size;
}

static uint32_t swap_length(unsigned char **p)
{
	uint32_t n;

	memcpy(&n, *p, sizeof n);
	swap(p, sizeof n);
	return n;
}

static void swap_items(struct item *it, unsigned char **p);

static void swap_item(struct item *it, unsigned char **p)
{
	uint32_t n;

	if (it->kind == 'A') {
		for (n = swap_length(p); n > 0; n--)
			swap_items(it->members, p);
		return;
	}
	for (size_t i = times(it); i > 0; i--) {
		if (it->kind == 'S') {
			swap_items(it->members, p);
		} else if (it->kind == 's') {
			n = swap_length(p);
			*p += n > 0 ? n - 1 : 0;
		} else if (it->kind == 'B') {
			n = swap_length(p);
			*p += n;
		} else {
			swap(p, letter_size(it->kind));
		}
	}
}

static void swap_items(struct item *it, unsigned char **p)
{
	for (; it; it = it->next)
		swap_item(it, p);
}

static void read_swapped(struct item *root, const struct aiomsg *m)
{
	struct aiomsg *other = message_of(m->data, m->len);
	unsigned char *p = other->data + 4;

	other->data[3] ^= IPC_IMAGE_BIG_ENDIAN;
	swap_length(&p);
	p = other->data + IPC_IMAGE_FORMAT + format_len + 1;
	for (const char *c = format; *c; c++)
		if (*c == '#')
			swap_length(&p);
	swap_items(root, &p);
	must(p == other->data + other->len);
	must(ipc_image_check(other->data, other->len) == NULL);
	read_both(root, other);
	aiomsg_free(other);
}

static struct aiomsg *write_both(struct item *root)
{
	struct aiowriter *w = aiowriter_new(format);
	struct aiomsg *m;
	size_t len;
	void *image;

	must(w);
	tn = map(root);
	must(tn);
	put_items(w, root, 0);
	m = aiowriter_finish(w);
	must(m);
	must(tpl_dump(tn, TPL_MEM, &image, &len) == 0);
	must(m->len == len && memcmp(m->data, image, len) == 0);
	must(ipc_image_check(m->data, m->len) == NULL);
	return m;
}

/*
 * Formats of letters and B alone go a short way: written by aiomsg_new() in one walk, and read by aiomsg_unpack() after a check that has
 * found that out. The same bytes, and the same values again. Doubles travel in registers of their own.
 */

#define MOST_PLAIN 20
#define DOUBLES 8

static bool is_plain(const struct item *it)
{
	unsigned n = 0, doubles = 0;

	for (; it; it = it->next, n++) {
		if (it->kind == 'A' || it->kind == 'S' || it->hashes > 0)
			return false;
		doubles += it->kind == 'f';
	}
	return n <= MOST_PLAIN && doubles <= DOUBLES;
}

static void write_plain(const struct item *root, const struct aiomsg *whole)
{
	uintptr_t v[2 * MOST_PLAIN] = {0}, *at = v;
	double f[DOUBLES] = {0}, *real = f;
	struct aiomsg *m;

	for (const struct item *it = root; it; it = it->next) {
		const struct bytes *b = it->ours;

		if (it->kind == 'f') {
			memcpy(real++, it->ours, sizeof *real);
		} else if (it->kind == 'B') {
			*at++ = (uintptr_t)b->data;
			*at++ = b->len;
		} else {
			*at++ = number(it->ours, letter_size(it->kind));
		}
	}
	m = aiomsg_new(format, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11],
		       v[12], v[13], v[14], v[15], v[16], v[17], v[18], v[19], v[20], v[21], v[22], v[23],
		       v[24], v[25], v[26], v[27], v[28], v[29], v[30], v[31], v[32], v[33], v[34], v[35],
		       v[36], v[37], v[38], v[39], f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]);
	must(m && m->len == whole->len && memcmp(m->data, whole->data, m->len) == 0);
	aiomsg_free(m);
}

/* What was read where a pointer said, and for a B its size. */
struct read_value {
	uint64_t value;
	size_t size;
};

static void compare_plain(const struct item *it, const struct read_value *r)
{
	const char *ours, *read = (const char *)(uintptr_t)r->value;
	const struct bytes *b = it->ours;

	if (it->kind == 'B') {
		must(r->size == b->len && (b->len == 0 || memcmp(read, b->data, b->len) == 0));
	} else if (it->kind == 's') {
		memcpy(&ours, it->ours, sizeof ours);
		must(ours && read ? strcmp(ours, read) == 0 : ours == read);
	} else {
		must(memcmp(&r->value, it->ours, letter_size(it->kind)) == 0);
	}
}

static void read_plain(const struct item *root, const struct aiomsg *whole)
{
	struct aiomsg *m = message_of(whole->data, whole->len);
	struct read_value r[MOST_PLAIN] = {{0}};
	void *v[2 * MOST_PLAIN] = {NULL}, **at = v;
	unsigned n = 0;

	for (const struct item *it = root; it; it = it->next, n++) {
		*at++ = &r[n].value;
		if (it->kind == 'B')
			*at++ = &r[n].size;
	}
	must(ipc_msg_check(m) == NULL);
	must(aiomsg_unpack(m, format, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10],
			   v[11], v[12], v[13], v[14], v[15], v[16], v[17], v[18], v[19], v[20], v[21], v[22],
			   v[23], v[24], v[25], v[26], v[27], v[28], v[29], v[30], v[31], v[32], v[33], v[34],
			   v[35], v[36], v[37], v[38], v[39]) == 0);
	for (n = 0; root; root = root->next)
		compare_plain(root, &r[n++]);
	aiomsg_free(m);
}

/* libtpl sees neither a NUL inside a string nor a count of 2^31 and more. */
static void refused(struct item *root, const struct aiomsg *m, const char *why)
{
	if (strstr(why, "NUL") || strstr(why, "more elements") || strstr(why, "flag"))
		return;
	tn = map(root);
	must(tpl_load(tn, TPL_MEM, m->data, m->len) != 0);
}

static void damage(struct item *root, const struct aiomsg *whole)
{
	struct aiomsg *m = message_of(whole->data, whole->len);
	size_t data = (size_t)IPC_IMAGE_FORMAT + format_len + 1;
	const char *why;

	for (const char *c = format; *c; c++)
		data += *c == '#' ? 4 : 0;
	for (unsigned n = 1 + take() % 4; n > 0; n--) {
		size_t at = take();

		at = (at << 8 | take()) % m->len;
		m->data[at] = take();
	}
	why = ipc_image_check(m->data, m->len);
	if (memcmp(m->data + 8, whole->data + 8, data - 8) == 0 && m->data[3] == whole->data[3]) {
		if (why)
			refused(root, m, why);
		else
			read_both(root, m);
	}
	aiomsg_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct aiomsg *m;
	struct item *root;

	input = data;
	input_left = size;
	format_len = items = arrays = 0;
	format[0] = 0;
	arena_reset();
	if (setjmp(arena_fatal) == 0) {
		root = make_items(DEPTH, false);
		m = write_both(root);
		if (is_plain(root)) {
			write_plain(root, m);
			read_plain(root, m);
		}
		read_both(root, m);
		read_swapped(root, m);
		for (unsigned i = 0; i < 4; i++)
			damage(root, m);
	}
	aiomsg_free(m);
	m = NULL;
	return 0;
}
