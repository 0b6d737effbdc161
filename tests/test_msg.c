/* Messages: values in, the same values out; what is refused, and what is left alone then; descriptors; sharing. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aioipc/msg.h>

#include "ipc/msg/image.h"
#include "ipc/msg/msg.h"
#include "tests/harness.h"

TEST(every_letter_comes_back)
{
	struct aiomsg *m = must(aiomsg_new("cjviuIUfsB", 'x', -2, 65535, -3, 4000000000u, (int64_t)-5,
					   UINT64_MAX, 0.5, "text", "blob", (size_t)4));
	char c;
	int16_t j;
	uint16_t v;
	int32_t i;
	uint32_t u;
	int64_t I;
	uint64_t U;
	double f;
	const char *s;
	const void *b;
	size_t n;

	ck_assert_str_eq(aiomsg_format(m), "cjviuIUfsB");
	must(aiomsg_unpack(m, "cjviuIUfsB", &c, &j, &v, &i, &u, &I, &U, &f, &s, &b, &n));
	ck_assert_int_eq(c, 'x');
	ck_assert_int_eq(j, -2);
	ck_assert_uint_eq(v, 65535);
	ck_assert_int_eq(i, -3);
	ck_assert_uint_eq(u, 4000000000u);
	ck_assert_int_eq(I, -5);
	ck_assert(U == UINT64_MAX);
	ck_assert_double_eq(f, 0.5);
	ck_assert_str_eq(s, "text");
	ck_assert_uint_eq(n, 4);
	ck_assert_mem_eq(b, "blob", 4);
	aiomsg_free(m);
}

TEST(strings_end_in_NUL_wherever_they_are)
{
	struct aiomsg *m = must(aiomsg_new("sssB", "first", NULL, "", "behind", (size_t)6));
	struct aiomsg *last = must(aiomsg_new("is", 1, "last"));
	const char *s[3] = {"", "", NULL}, *t;
	const void *b;
	size_t n;
	int32_t i;

	must(aiomsg_unpack(m, "sssB", &s[0], &s[1], &s[2], &b, &n));
	ck_assert_str_eq(s[0], "first");
	ck_assert_ptr_null(s[1]);
	ck_assert_str_eq(s[2], "");
	must(aiomsg_unpack(last, "is", &i, &t));
	ck_assert_str_eq(t, "last");
	aiomsg_free(m);
	aiomsg_free(last);
}

TEST(nothing_in_it)
{
	struct aiomsg *m = must(aiomsg_new(""));
	struct aiomsg *empty = must(aiomsg_new("sB", NULL, NULL, (size_t)0));
	const char *s = "";
	const void *b = "";
	size_t n = 1;

	must(aiomsg_unpack(m, ""));
	must(aiomsg_unpack(empty, "sB", &s, &b, &n));
	ck_assert_ptr_null(s);
	ck_assert_ptr_null(b);
	ck_assert_uint_eq(n, 0);
	aiomsg_free(m);
	aiomsg_free(empty);
}

TEST(counted_values)
{
	const int16_t in[2][3] = {{1, 2, 3}, {4, 5, 6}};
	const char *names[] = {"a", NULL}, *names_out[2];
	struct aiomsg *m = must(aiomsg_new("j##s#", in, (size_t)2, (size_t)3, names, (size_t)2));
	int16_t out[2][3] = {{0}};

	must_fail(aiomsg_unpack(m, "j##s#", out, (size_t)3, (size_t)2, names_out, (size_t)2), EBADMSG);
	must_fail(aiomsg_unpack(m, "j##s#", out, (size_t)2, (size_t)3, names_out, (size_t)1), EBADMSG);
	must_fail(aiomsg_unpack(m, "j##s#", out, (size_t)2, (size_t)0, names_out, (size_t)2), EINVAL);
	must_fail(aiomsg_unpack(m, "j##s#", out, (size_t)2, (size_t)3, NULL, (size_t)2), EINVAL);
	ck_assert_int_eq(out[1][2], 0);
	must(aiomsg_unpack(m, "j##s#", out, (size_t)2, (size_t)3, names_out, (size_t)2));
	ck_assert_mem_eq(out, in, sizeof in);
	ck_assert_str_eq(names_out[0], "a");
	ck_assert_ptr_null(names_out[1]);
	aiomsg_free(m);
	must_fail(aiomsg_new("i#", NULL, (size_t)2), EINVAL);
	must_fail(aiomsg_new("i#", in, (size_t)0), EINVAL);
	must_fail(aiomsg_new("c##", in, (size_t)1 << 16, (size_t)1 << 16), EINVAL);
}

struct inner {
	char c;
	int64_t I;
};

struct outer {
	char c;
	int16_t j[3];
	double f;
	const char *s;
};

TEST(structs_are_laid_out_as_the_compiler_does)
{
	const struct outer in[2] = {{'a', {1, 2, 3}, 0.5, "one"}, {'b', {4, 5, 6}, 1.5, NULL}};
	struct outer out[2];
	struct aiomsg *m = must(aiomsg_new("S(cj#fs)#", in, sizeof *in, (size_t)3, (size_t)2));

	memset(out, 0, sizeof out);
	must_fail(aiomsg_unpack(m, "S(cj#fs)#", out, sizeof *out - 1, (size_t)3, (size_t)2), EINVAL);
	must_fail(aiomsg_unpack(m, "S(cj#fs)#", out, sizeof *out, (size_t)3, (size_t)1), EBADMSG);
	must(aiomsg_unpack(m, "S(cj#fs)#", out, sizeof *out, (size_t)3, (size_t)2));
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(out[i].c, in[i].c);
		ck_assert_mem_eq(out[i].j, in[i].j, sizeof in[i].j);
		ck_assert_double_eq(out[i].f, in[i].f);
	}
	ck_assert_str_eq(out[0].s, "one");
	ck_assert_ptr_null(out[1].s);
	aiomsg_free(m);
	must_fail(aiomsg_new("S(cI)", in, (size_t)9), EINVAL);
	must_fail(aiomsg_new("S(cI)", NULL, sizeof(struct inner)), EINVAL);
}

TEST(arrays_of_structs)
{
	struct row {
		int32_t id;
		struct inner inner[2];
		const char *name;
	} in[3] = {{1, {{'a', 10}, {'b', 20}}, "one"},
		   {2, {{'c', 30}, {'d', 40}}, NULL},
		   {3, {{'e', 50}, {'f', 60}}, ""}},
	  out[3];
	struct aiomsg *m = must(aiomsg_new("sA(iS(cI)#s)", "rows", in, (size_t)3, sizeof *in, (size_t)2));
	const char *title = "untouched";
	size_t n = 0;

	memset(out, 0, sizeof out);
	must_fail(aiomsg_unpack(m, "sA(iS(cI)#s)", &title, out, (size_t)2, sizeof *out, &n, (size_t)2),
		  EMSGSIZE);
	ck_assert_uint_eq(n, 3);
	ck_assert_str_eq(title, "untouched");
	ck_assert_int_eq(out[0].id, 0);
	n = 7;
	must_fail(aiomsg_unpack(m, "sA(iS(cI)#s)", &title, out, (size_t)3, sizeof *out + 1, &n, (size_t)2),
		  EINVAL);
	must_fail(aiomsg_unpack(m, "sA(iS(cI)#s)", &title, out, (size_t)3, sizeof *out, &n, (size_t)3),
		  EBADMSG);
	ck_assert_uint_eq(n, 7);
	must(aiomsg_unpack(m, "sA(iS(cI)#s)", &title, out, (size_t)3, sizeof *out, &n, (size_t)2));
	ck_assert_str_eq(title, "rows");
	ck_assert_uint_eq(n, 3);
	for (int k = 0; k < 3; k++) {
		ck_assert_int_eq(out[k].id, in[k].id);
		ck_assert_int_eq(out[k].inner[1].c, in[k].inner[1].c);
		ck_assert_int_eq(out[k].inner[1].I, in[k].inner[1].I);
	}
	ck_assert_str_eq(out[0].name, "one");
	ck_assert_ptr_null(out[1].name);
	ck_assert_str_eq(out[2].name, "");
	aiomsg_free(m);
}

TEST(every_array_tells_how_much_room_it_needs)
{
	int32_t in[5] = {1, 2, 3, 4, 5}, out[5];
	struct aiomsg *m = must(aiomsg_new("A(i)A(i)A(s)", in, (size_t)5, in, (size_t)2, NULL, (size_t)0));
	const char *s[1];
	size_t a = 0, b = 0, c = 9;

	must_fail(aiomsg_unpack(m, "A(i)A(i)A(s)", NULL, (size_t)0, &a, out, (size_t)2, &b, s, (size_t)1, &c),
		  EMSGSIZE);
	ck_assert_uint_eq(a, 5);
	ck_assert_uint_eq(b, 2);
	ck_assert_uint_eq(c, 0);
	aiomsg_free(m);
}

TEST(formats_must_agree)
{
	struct aiomsg *m = must(aiomsg_new("is", 1, "x"));
	struct aiomsg *bytes = must(aiomsg_new_bytes("is", 2));
	int32_t i = 0;
	const char *s = NULL;

	must_fail(aiomsg_unpack(m, "iu", &i, &s), EBADMSG);
	must_fail(aiomsg_unpack(m, "i", &i), EBADMSG);
	must_fail(aiomsg_unpack(m, "iss", &i, &s, &s), EBADMSG);
	must_fail(aiomsg_unpack(m, "i(", &i, &s), EINVAL);
	must_fail(aiomsg_unpack(bytes, "is", &i, &s), EBADMSG);
	ck_assert_ptr_null(s);
	ck_assert_ptr_null(aiomsg_format(bytes));
	aiomsg_free(m);
	aiomsg_free(bytes);
	must_fail(aiomsg_new("A(A(i))", NULL, (size_t)0), EINVAL);
	must_fail(aiomsg_new("A(B)", NULL, (size_t)0), EINVAL);
	must_fail(aiomsg_new("A(i)", NULL, (size_t)1), EINVAL);
	must_fail(aiomsg_new("B", NULL, (size_t)1), EINVAL);
	must_fail(aiomsg_new("S($(i)i)", &i, sizeof i), EINVAL);
}

TEST(over_4_GiB)
{
	if (sizeof(size_t) < 8)
		return;
	must_fail(aiomsg_new("B", "x", (size_t)UINT32_MAX), EMSGSIZE);
	must_fail(aiomsg_new("BB", "x", (size_t)1 << 31, "x", (size_t)1 << 31), EMSGSIZE);
	must_fail(aiomsg_new("A(I)", "x", (size_t)1 << 61), EMSGSIZE);
	must_fail(aiomsg_new("A(II)", "x", SIZE_MAX, (size_t)16), EMSGSIZE);
	must_fail(aiomsg_new("I#I#", "x", (size_t)1 << 29, "x", (size_t)1 << 29), EMSGSIZE);
	must_fail(aiomsg_new("S(I#I#)#", "x", (size_t)1 << 33, (size_t)1 << 29, (size_t)1 << 29,
			     (size_t)1 << 30),
		  EMSGSIZE);
	must_fail(aiomsg_new("A(S(I#)#c)", "x", (size_t)1, (size_t)8, (size_t)1 << 30, (size_t)1 << 30),
		  EMSGSIZE);
	must_fail(aiomsg_new_bytes("x", (size_t)UINT32_MAX + 1), EMSGSIZE);
}

TEST(plain_bytes)
{
	struct aiomsg *m = must(aiomsg_new_bytes("a\0b", 3)), *none = must(aiomsg_new_bytes(NULL, 0));
	size_t n;
	const char *b = aiomsg_bytes(m, &n);

	ck_assert_uint_eq(n, 3);
	ck_assert_mem_eq(b, "a\0b", 4); /* and a NUL that is not counted */
	ck_assert_str_eq((const char *)aiomsg_bytes(none, NULL), "");
	ck_assert_ptr_eq(aiomsg_ref(m), m);
	aiomsg_free(m);
	ck_assert_mem_eq(aiomsg_bytes(m, NULL), "a\0b", 3);
	aiomsg_free(m);
	aiomsg_free(none);
	aiomsg_free(NULL);
}

/* What a machine of the other byte order writes. */
TEST(the_other_byte_order)
{
	static const unsigned char image[] = "tpl\3\0\0\0\x3d"
					     "jIfsA(v)i#\0"
					     "\0\0\0\2"
					     "\1\2"
					     "\1\2\3\4\5\6\7\x8"
					     "\x3f\xf0\0\0\0\0\0\0"
					     "\0\0\0\3ab"
					     "\0\0\0\1\1\2"
					     "\0\0\0\1\0\0\0\2";
	struct aiomsg *m = must(ipc_msg_alloc(IPC_KIND_TPL, sizeof image - 1));
	char why[80] = "";
	int16_t j;
	int64_t I;
	double f;
	const char *s;
	uint16_t v[1];
	size_t n;
	int32_t i[2];

	memcpy(m->data, image, sizeof image - 1);
	if (ipc_msg_seal(m, why, sizeof why) == -1)
		ck_abort_msg("%s", why);
	must(aiomsg_unpack(m, "jIfsA(v)i#", &j, &I, &f, &s, v, (size_t)1, &n, i, (size_t)2));
	ck_assert_int_eq(j, 0x102);
	ck_assert_int_eq(I, 0x102030405060708);
	ck_assert_double_eq(f, 1.0);
	ck_assert_str_eq(s, "ab");
	ck_assert_uint_eq(v[0], 0x102);
	ck_assert_int_eq(i[0], 1);
	ck_assert_int_eq(i[1], 2);
	aiomsg_free(m);
}

static bool same_file(int fd, int other)
{
	struct stat a, b;

	must(fstat(fd, &a));
	must(fstat(other, &b));
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

TEST(descriptors_are_duplicated_taken_and_closed)
{
	struct aiomsg *m = must(aiomsg_new("i", 1));
	int null = must(open("/dev/null", O_RDWR | O_CLOEXEC)),
	    zero = must(open("/dev/zero", O_RDWR | O_CLOEXEC)), fd;

	must_fail(aiomsg_take_fd(m), ENOENT);
	must(aiomsg_add_fd(m, null));
	must(aiomsg_add_fd(m, zero));
	must_fail(aiomsg_add_fd(m, -1), EBADF);
	aiomsg_ref(m);
	must_fail(aiomsg_add_fd(m, null), EBUSY);
	aiomsg_free(m);
	ck_assert_uint_eq(aiomsg_fds(m), 2);
	fd = must(aiomsg_take_fd(m));
	ck_assert(same_file(fd, null) && fd != null);
	ck_assert_int_eq(must(fcntl(fd, F_GETFD)), FD_CLOEXEC);
	ck_assert_uint_eq(aiomsg_fds(m), 1);
	close(fd);
	close(null);
	close(zero);
	aiomsg_free(m); /* closes the second: the harness counts */
}

TEST(no_more_than_253_descriptors)
{
	struct aiomsg *m = must(aiomsg_new_bytes("x", 1));
	int fd;

	for (int i = 0; i < 253; i++)
		must(aiomsg_add_fd(m, 0));
	fd = (int)harness_count_fds();
	must_fail(aiomsg_add_fd(m, 0), EMSGSIZE);
	ck_assert_int_eq((int)harness_count_fds(), fd);
	close(must(aiomsg_take_fd(m)));
	must(aiomsg_add_fd(m, 0));
	ck_assert_uint_eq(aiomsg_fds(m), 253);
	aiomsg_free(m);
}

/* Threads that share one message. */
static void *unpack_and_take(void *arg)
{
	struct aiomsg *m = arg;
	const char *s, *t, *names[2];
	intptr_t taken = 0;
	size_t n;
	int fd;

	for (int i = 0; i < 200; i++) {
		must(aiomsg_unpack(m, "ssA(s)", &s, &t, names, (size_t)2, &n));
		ck_assert_str_eq(s, "one");
		ck_assert_str_eq(names[1], "four");
	}
	while ((fd = aiomsg_take_fd(m)) >= 0) {
		taken++;
		close(fd);
	}
	aiomsg_free(m);
	return (void *)taken;
}

TEST(threads_share_a_message)
{
	const char *names[] = {"three", "four"};
	pthread_t thread[4];
	intptr_t taken = 0;
	void *value;

	for (int round = 0; round < 20; round++) {
		struct aiomsg *m = must(aiomsg_new("ssA(s)", "one", "two", names, (size_t)2));

		for (int i = 0; i < 10; i++)
			must(aiomsg_add_fd(m, 0));
		for (int i = 0; i < 4; i++)
			ck_assert_int_eq(pthread_create(&thread[i], NULL, unpack_and_take, aiomsg_ref(m)), 0);
		aiomsg_free(m);
		for (int i = 0; i < 4; i++) {
			pthread_join(thread[i], &value);
			taken += (intptr_t)value;
		}
	}
	ck_assert_int_eq(taken, 200);
}
