/* The writer and the reader: nested arrays, piece by piece. */
#include <aioipc/msg.h>

#include "ipc/wire/image.h"
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
