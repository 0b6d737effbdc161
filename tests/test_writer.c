/* The writer and the reader: nested arrays, piece by piece. */
#include <aioipc/msg.h>

#include "ipc/msg/image.h"
#include "tests/harness.h"

static struct aiomsg *inventory(void)
{
	struct aiowriter *w = must(aiowriter_new("sA(iA(s))"));

	aiowriter_put(w, "sA(", "inventory");
	for (int32_t i = 0; i < 3; i++) {
		aiowriter_put(w, "iA(", i);
		for (int32_t k = 0; k < i; k++)
			aiowriter_put(w, "s", k ? "item" : "first");
		aiowriter_put(w, ")");
	}
	aiowriter_put(w, ")");
	return aiowriter_finish(w);
}

TEST(what_the_writer_writes_the_reader_reads)
{
	struct aiomsg *m = must(inventory());
	struct aioreader r;
	const char *title, *s;
	uint32_t rows, k, seen = 0;
	int32_t id, next = 0;
	size_t len;
	const void *image = aiomsg_bytes(m, &len);

	ck_assert_ptr_null(ipc_image_check(image, len));
	must(aioreader_init(&r, m, "sA(iA(s))"));
	ck_assert_int_eq(must(aioreader_get(&r, "sA(", &title, &rows)), 1);
	ck_assert_str_eq(title, "inventory");
	ck_assert_uint_eq(rows, 3);
	while (must(aioreader_get(&r, "iA(", &id, &k)) == 1) {
		ck_assert_int_eq(id, next++);
		ck_assert_uint_eq(k, (uint32_t)id);
		for (uint32_t i = 0; must(aioreader_get(&r, "s", &s)) == 1; i++, seen++)
			ck_assert_str_eq(s, i ? "item" : "first");
	}
	ck_assert_int_eq(next, 3);
	ck_assert_uint_eq(seen, 3);
	ck_assert_int_eq(aioreader_get(&r, "s", &s), 0);
	aiomsg_free(m);
}

static struct aiomsg *finish_after(const char *format, const char *const *pieces)
{
	struct aiowriter *w = must(aiowriter_new(format));

	for (; *pieces; pieces++)
		aiowriter_put(w, *pieces, 1, 2, 3);
	return aiowriter_finish(w);
}

/* Only ints in these formats: the same arguments fit every piece. */
TEST(pieces_that_fit)
{
	static const struct {
		const char *format, *pieces[12];
	} fit[] = {
		{"", {NULL}},
		{"", {"", NULL}},
		{"iii", {"i", "ii", NULL}},
		{"iA(i)", {"iA(", "i", "i", ")", NULL}},
		{"A(i)i", {"A(", ")i", NULL}},
		{"A(A(A(i)))", {"A(", "A(", "A(", "i", ")", "A(", ")", "))", NULL}},
		{"A(A(i)i)A(i)", {"A(", "A(", "i", ")i", "A(", ")", "i", ")A(", "i", ")", NULL}},
	};

	for (size_t i = 0; i < sizeof fit / sizeof *fit; i++) {
		struct aiomsg *m = must(finish_after(fit[i].format, fit[i].pieces));
		size_t len;
		const void *image = aiomsg_bytes(m, &len);

		ck_assert_ptr_null(ipc_image_check(image, len));
		ck_assert_str_eq(aiomsg_format(m), fit[i].format);
		aiomsg_free(m);
	}
}

TEST(pieces_out_of_step)
{
	static const struct {
		const char *format, *pieces[8];
	} wrong[] = {
		{"i", {NULL}},
		{"i", {"u", NULL}},
		{"i", {"i", "i", NULL}},
		{"i", {")", NULL}},
		{"A(i)", {"A(", NULL}},
		{"A(i)", {"A(", "i", NULL}},
		{"A(i)", {"A", NULL}},
		{"A(i)", {"A(i", NULL}},
		{"A(i)", {"A(", "ii", NULL}},
		{"A(i)", {"A(", "i)", NULL}},
		{"A(ii)", {"A(", "i", ")", NULL}},
		{"A(i)", {"A(", ")", ")", NULL}},
		{"A(A(i))", {"A(A(", NULL}},
		{"A(A(i))", {"A(", "A(", "))", ")", NULL}},
		{"i#", {"i", NULL}},
		{"S(i)", {"S(", "i", ")", NULL}},
		{"S(i)", {"S", NULL}},
	};

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		must_fail(finish_after(wrong[i].format, wrong[i].pieces), EINVAL);
	must_fail(aiowriter_new("A(i"), EINVAL);
	must_fail(aiowriter_put(NULL, "i", 1), EINVAL);
	must_fail(aiowriter_finish(NULL), EINVAL);
	aiowriter_free(NULL);
	aiowriter_free(must(aiowriter_new("A(i)")));
}

TEST(the_first_error_sticks)
{
	struct aiowriter *w = must(aiowriter_new("Bi"));

	must_fail(aiowriter_put(w, "B", "x", (size_t)UINT32_MAX), EMSGSIZE);
	must_fail(aiowriter_put(w, "u", 1), EMSGSIZE);
	must_fail(aiowriter_put(w, "B", "x", (size_t)1), EMSGSIZE);
	must_fail(aiowriter_finish(w), EMSGSIZE);
}

TEST(counts_of_hashes_are_the_same_in_each_element)
{
	struct aiowriter *w = must(aiowriter_new("A(c#)"));
	struct aioreader r;
	struct aiomsg *m;
	uint32_t n;
	char c[3];

	must(aiowriter_put(w, "A("));
	must(aiowriter_put(w, "c#", "abc", (size_t)3));
	must_fail(aiowriter_put(w, "c#", "ab", (size_t)2), EINVAL);
	aiowriter_free(w);

	w = must(aiowriter_new("A(c#)"));
	must(aiowriter_put(w, "A("));
	must(aiowriter_put(w, "c#", "abc", (size_t)3));
	must(aiowriter_put(w, "c#", "def", (size_t)3));
	must(aiowriter_put(w, ")"));
	m = must(aiowriter_finish(w));
	must(aioreader_init(&r, m, "A(c#)"));
	ck_assert_int_eq(must(aioreader_get(&r, "A(", &n)), 1);
	must_fail(aioreader_get(&r, "c#", c, (size_t)2), EBADMSG);
	ck_assert_int_eq(must(aioreader_get(&r, "c#", c, (size_t)3)), 1);
	ck_assert_int_eq(must(aioreader_get(&r, "c#", c, (size_t)3)), 1);
	ck_assert_mem_eq(c, "def", 3);
	ck_assert_int_eq(must(aioreader_get(&r, "c#", c, (size_t)3)), 0);
	aiomsg_free(m);

	w = must(aiowriter_new("A(c#)")); /* no element says how many: 1 */
	must(aiowriter_put(w, "A("));
	must(aiowriter_put(w, ")"));
	m = must(aiowriter_finish(w));
	ck_assert_ptr_null(ipc_image_check(aiomsg_bytes(m, NULL), 8 + 6 + 4 + 4));
	aiomsg_free(m);
}

TEST(counts_behind_an_array_that_is_empty)
{
	struct aiowriter *w = must(aiowriter_new("A(c#A(c#))c#"));
	struct aioreader r;
	struct aiomsg *m;
	uint32_t n;
	char c[3];

	must(aiowriter_put(w, "A("));
	must(aiowriter_put(w, ")c#", "abc", (size_t)3));
	m = must(aiowriter_finish(w));
	must(aioreader_init(&r, m, "A(c#A(c#))c#"));
	ck_assert_int_eq(must(aioreader_get(&r, "A(", &n)), 1);
	ck_assert_int_eq(must(aioreader_get(&r, "c#", c, (size_t)3)), 0);
	ck_assert_int_eq(must(aioreader_get(&r, "c#", c, (size_t)3)), 1);
	ck_assert_mem_eq(c, "abc", 3);
	aiomsg_free(m);
}

TEST(a_reader_out_of_step_has_read_nothing)
{
	struct aiomsg *m = must(inventory());
	struct aioreader r;
	const char *s = NULL;
	uint32_t rows, k;
	int32_t id = -1;

	must_fail(aioreader_init(&r, m, "sA(iA(B))"), EBADMSG);
	must_fail(aioreader_init(&r, m, "sA("), EINVAL);
	must(aioreader_init(&r, m, "sA(iA(s))"));
	must_fail(aioreader_get(&r, "i", &id), EINVAL);
	must_fail(aioreader_get(&r, "", &id), EINVAL);
	must_fail(aioreader_get(&r, "sA(iA(s))", &s), EINVAL);
	ck_assert_ptr_null(s);
	ck_assert_int_eq(must(aioreader_get(&r, "s", &s)), 1);
	ck_assert_int_eq(must(aioreader_get(&r, "A(", &rows)), 1);
	must_fail(aioreader_get(&r, ")"), EINVAL);
	ck_assert_int_eq(must(aioreader_get(&r, "i", &id)), 1);
	must_fail(aioreader_get(&r, "i", &id), EINVAL);
	ck_assert_int_eq(must(aioreader_get(&r, "A(", &k)), 1);
	ck_assert_int_eq(must(aioreader_get(&r, "s", &s)), 0); /* the first row has none */
	ck_assert_int_eq(must(aioreader_get(&r, "iA(", &id, &k)), 1);
	ck_assert_int_eq(id, 1);
	ck_assert_uint_eq(k, 1);
	aiomsg_free(m);
}

TEST(a_closed_array_in_a_piece)
{
	struct aiowriter *w = must(aiowriter_new("A(sA(i))"));
	struct aioreader r;
	struct aiomsg *m;
	int32_t v[3] = {1, 2, 3}, out[3];
	const char *s;
	uint32_t rows;
	size_t n;

	must(aiowriter_put(w, "A("));
	must(aiowriter_put(w, "sA(i)", "three", v, (size_t)3));
	must(aiowriter_put(w, "sA(i)", "none", NULL, (size_t)0));
	must(aiowriter_put(w, ")"));
	m = must(aiowriter_finish(w));
	must(aioreader_init(&r, m, "A(sA(i))"));
	ck_assert_int_eq(must(aioreader_get(&r, "A(", &rows)), 1);
	must_fail(aioreader_get(&r, "sA(i)", &s, out, (size_t)2, &n), EMSGSIZE);
	ck_assert_uint_eq(n, 3);
	ck_assert_int_eq(must(aioreader_get(&r, "sA(i)", &s, out, (size_t)3, &n)), 1);
	ck_assert_str_eq(s, "three");
	ck_assert_int_eq(out[2], 3);
	ck_assert_int_eq(must(aioreader_get(&r, "sA(i)", &s, out, (size_t)3, &n)), 1);
	ck_assert_str_eq(s, "none");
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(must(aioreader_get(&r, "s", &s)), 0);
	ck_assert_int_eq(must(aioreader_get(&r, "s", &s)), 0);
	aiomsg_free(m);
}

static void nest(char *to, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++)
		to = stpcpy(to, "A(");
	*to++ = 'i';
	memset(to, ')', depth);
	to[depth] = 0;
}

TEST(sixteen_deep)
{
	struct aiowriter *w;
	struct aioreader r;
	struct aiomsg *m;
	char format[100];
	uint32_t n;
	int32_t i = 0;

	nest(format, 17);
	must_fail(aiowriter_new(format), EMSGSIZE);
	nest(format, 16);
	w = must(aiowriter_new(format));
	for (int k = 0; k < 16; k++)
		must(aiowriter_put(w, "A("));
	must(aiowriter_put(w, "i", 42));
	must(aiowriter_put(w, "))))))))))))))))"));
	m = must(aiowriter_finish(w));
	nest(format, 17);
	must_fail(aioreader_init(&r, m, format), EMSGSIZE);
	nest(format, 16);
	must(aioreader_init(&r, m, format));
	for (int k = 0; k < 16; k++)
		ck_assert_int_eq(must(aioreader_get(&r, "A(", &n)), 1);
	ck_assert_int_eq(must(aioreader_get(&r, "i", &i)), 1);
	ck_assert_int_eq(i, 42);
	for (int k = 0; k < 17; k++)
		ck_assert_int_eq(must(aioreader_get(&r, "i", &i)), 0);
	aiomsg_free(m);
}

TEST(a_large_image_grows)
{
	struct aiowriter *w = must(aiowriter_new("A(is)"));
	struct aioreader r;
	struct aiomsg *m;
	char text[100];
	const char *s;
	uint32_t n;
	int32_t i, expected = 0;

	memset(text, 'x', sizeof text);
	text[99] = 0;
	must(aiowriter_put(w, "A("));
	for (i = 0; i < 20000; i++)
		must(aiowriter_put(w, "is", i, text + i % 100));
	must(aiowriter_put(w, ")"));
	m = must(aiowriter_finish(w));
	must(aioreader_init(&r, m, "A(is)"));
	ck_assert_int_eq(must(aioreader_get(&r, "A(", &n)), 1);
	while (must(aioreader_get(&r, "is", &i, &s)) == 1) {
		ck_assert_int_eq(i, expected);
		ck_assert_str_eq(s, text + expected++ % 100);
	}
	ck_assert_uint_eq(n, 20000);
	ck_assert_int_eq(expected, 20000);
	aiomsg_free(m);
}
