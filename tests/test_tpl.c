/* For those who hold tpl nodes: from a node to a message, and back. */
#include <stdlib.h>

#include <aioipc/msg.h>
#include <aioipc/tpl.h>

#include "ipc/msg/tpl.h"
#include "tests/harness.h"

extern tpl_hook_t tpl_hook;

static int say_nothing(const char *format, ...)
{
	(void)format;
	return 0;
}

TEST(a_node_becomes_a_message)
{
	int32_t id = 7, v, n;
	char *name = "seven";
	tpl_node *tn = must(tpl_map("isA(i)", &id, &name, &v));
	struct aiomsg *m;
	const char *s;
	int32_t out[3];
	size_t count;

	for (v = 0; v < 3; v++)
		must(tpl_pack(tn, 1));
	must(tpl_pack(tn, 0));
	m = must(ipc_tpl_dump(tn));
	tpl_free(tn);
	must(aiomsg_unpack(m, "isA(i)", &n, &s, out, (size_t)3, &count));
	ck_assert_int_eq(n, 7);
	ck_assert_str_eq(s, "seven");
	ck_assert_uint_eq(count, 3);
	ck_assert_int_eq(out[2], 2);
	aiomsg_free(m);
}

TEST(a_message_becomes_a_node)
{
	struct pair {
		int32_t a, b;
	} in[2] = {{1, 2}, {3, 4}}, pairs[2];
	struct aiomsg *m = must(
		aiomsg_new("sA(i)S(ii)#", "text", (int32_t[]){5, 6}, (size_t)2, in, sizeof *in, (size_t)2));
	char *s = NULL;
	int32_t i;
	tpl_node *tn;

	must_fail(aiomsg_tpl(m, "sA(i)", &s, &i), EBADMSG);
	must_fail(aiomsg_tpl(m, "s(", &s), EINVAL);
	must_fail(aiomsg_tpl(m, "sA(i)S(ii)#", &s, &i, pairs, 3), EBADMSG);
	must_fail(aiomsg_tpl(m, "sA(i)S(ii)#", &s, &i, pairs, 0), EBADMSG); /* libtpl would exit */
	tn = must(aiomsg_tpl(m, "sA(i)S(ii)#", &s, &i, pairs, 2));
	must(tpl_unpack(tn, 0));
	ck_assert_str_eq(s, "text");
	ck_assert_int_eq(pairs[1].b, 4);
	ck_assert_int_gt(tpl_unpack(tn, 1), 0);
	ck_assert_int_gt(tpl_unpack(tn, 1), 0);
	ck_assert_int_eq(i, 6);
	ck_assert_int_eq(tpl_unpack(tn, 1), 0);
	free(s);
	tpl_free(tn);
	aiomsg_free(m);
	m = must(aiomsg_new_bytes("i", 1));
	must_fail(aiomsg_tpl(m, "i", &i), EBADMSG);
	aiomsg_free(m);
}

TEST(each_count_is_its_own)
{
	struct aiomsg *m = must(aiomsg_new("c#i#", "abc", (size_t)3, (int32_t[]){1, 2}, (size_t)2));
	char c[3];
	int32_t i[3];
	tpl_node *tn;

	must_fail(aiomsg_tpl(m, "c#i#", c, 3, i, 3), EBADMSG);
	tn = must(aiomsg_tpl(m, "c#i#", c, 3, i, 2));
	must(tpl_unpack(tn, 0));
	ck_assert_int_eq(i[1], 2);
	tpl_free(tn);
	aiomsg_free(m);
}

TEST(nodes_that_cannot_be_dumped)
{
	struct {
		int32_t a;
		struct {
			int32_t b;
		} inner;
	} nested = {1, {2}};
	tpl_node *tn = must(tpl_map("S(i$(i))", &nested));
	struct aiomsg *m = must(aiomsg_new("i", 1));
	int32_t i;

	must(tpl_pack(tn, 0));
	must_fail(ipc_tpl_dump(tn), EINVAL); /* $() */
	must_fail(ipc_tpl_dump(tn->children), EINVAL);
	tpl_free(tn);
	tpl_hook.oops = say_nothing;
	tn = must(aiomsg_tpl(m, "i", &i));
	must_fail(ipc_tpl_dump(tn), EINVAL); /* it was loaded */
	tpl_free(tn);
	aiomsg_free(m);
}
