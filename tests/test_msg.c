/* Messages: values in, the same values out. */
#include <aioipc/msg.h>

#include "tests/harness.h"

TEST(values_come_back)
{
	struct aiomsg *m = must(aiomsg_new("is", 42, "hello"));
	int32_t i;
	const char *s;

	ck_assert_str_eq(aiomsg_format(m), "is");
	must(aiomsg_unpack(m, "is", &i, &s));
	ck_assert_int_eq(i, 42);
	ck_assert_str_eq(s, "hello");
	must_fail(aiomsg_unpack(m, "iu", &i, &s), EBADMSG);
	must_fail(aiomsg_unpack(m, "i(", &i, &s), EINVAL);
	aiomsg_free(m);
}

TEST(arrays_of_structs_with_strings)
{
	struct point {
		int32_t id;
		double x;
		const char *name;
	} in[] = {{1, 1.5, "one"}, {2, 2.5, NULL}, {3, 3.5, ""}}, out[3] = {{0}};
	struct aiomsg *m = must(aiomsg_new("sA(ifs)", "cloud", in, (size_t)3, sizeof *in));
	const char *title = "untouched";
	size_t n;

	must_fail(aiomsg_unpack(m, "sA(ifs)", &title, out, (size_t)2, sizeof *out, &n), EMSGSIZE);
	ck_assert_uint_eq(n, 3);
	ck_assert_str_eq(title, "untouched");
	must_fail(aiomsg_unpack(m, "sA(ifs)", &title, out, (size_t)3, sizeof *out - 1, &n), EINVAL);
	must(aiomsg_unpack(m, "sA(ifs)", &title, out, (size_t)3, sizeof *out, &n));
	ck_assert_str_eq(title, "cloud");
	ck_assert_str_eq(out[0].name, "one");
	ck_assert_ptr_null(out[1].name);
	ck_assert_str_eq(out[2].name, "");
	ck_assert_double_eq(out[2].x, 3.5);
	aiomsg_free(m);
}
