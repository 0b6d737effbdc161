/* Sending and reading messages with libtpl's own nodes. */
#include "tests/harness.h"

#include <stdlib.h>

#include <aioipc.h>
#include <aioipc/tpl.h>

TEST(a_node_travels_and_is_read_by_either)
{
	struct aioend *one, *other;
	struct aioconn *a, *b;
	struct aiomsg *m;
	int32_t number = 7, got = 0;
	char *text = "seven", *got_text;
	const char *view;
	tpl_node *tn;

	must(aiosockpair(&one, &other));
	a = must(aioend_open(one, NULL));
	b = must(aioend_open(other, NULL));
	tn = must(tpl_map("is", &number, &text));
	tpl_pack(tn, 0);
	must(aioconn_send_tpl(a, tn));
	must(aioconn_send_tpl(a, tn));
	tpl_free(tn);

	ck_assert_int_eq(must(aioconn_recv(b, &m, AIOIPC_FOREVER)), 1);
	must(aiomsg_unpack(m, "is", &got, &view));
	ck_assert_int_eq(got, 7);
	ck_assert_str_eq(view, "seven");
	aiomsg_free(m);

	ck_assert_int_eq(must(aioconn_recv(b, &m, AIOIPC_FOREVER)), 1);
	tn = must(aiomsg_tpl(m, "is", &number, &got_text));
	number = 0;
	ck_assert_int_gt(tpl_unpack(tn, 0), 0);
	ck_assert_int_eq(number, 7);
	ck_assert_str_eq(got_text, "seven");
	free(got_text);
	must_fail(aiomsg_tpl(m, "si", &got_text, &number), EBADMSG);
	tpl_free(tn);
	aiomsg_free(m);
	aioconn_abort(a);
	aioconn_abort(b);
}
