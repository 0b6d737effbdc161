/* Messages as text and as JSON, and back: each kind of value, any message, any double, parts of a text, and what is no such text. */
#include "tests/harness.h"

#include <errno.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <aioipc/text.h>

#include "ipc/msg/image.h"
#include "ipc/msg/msg.h"
#include "ipc/msg/show.h"
#include "ipc/msg/walk.h"

typedef size_t writer(const struct aiomsg *m, char *text, size_t size);

static char *whole(writer *write, const struct aiomsg *m)
{
	size_t len = write(m, NULL, 0);
	char *text = must((char *)malloc(len + 1));

	ck_assert_uint_eq(write(m, text, len + 1), len);
	ck_assert_uint_eq(strlen(text), len);
	return text;
}

static void same_message(const struct aiomsg *m, const struct aiomsg *back)
{
	ck_assert_int_eq(m->kind, back->kind);
	ck_assert_uint_eq(m->len, back->len);
	ck_assert_mem_eq(m->data, back->data, m->len);
}

static void expect(const struct aiomsg *m, const char *text, const char *json)
{
	char *got = whole(aiomsg_text, m), *got_json = whole(aiomsg_json, m);

	ck_assert_str_eq(got, text);
	ck_assert_str_eq(got_json, json);
	free(got);
	free(got_json);
}

static void comes_back(const struct aiomsg *m)
{
	char *text = whole(aiomsg_text, m), *json = whole(aiomsg_json, m);
	struct aiomsg *one = must(aiomsg_from_text(text, strlen(text)));
	struct aiomsg *other = must(aiomsg_from_json(json, strlen(json)));

	same_message(m, one);
	same_message(m, other);
	expect(one, text, json);
	aiomsg_free(one);
	aiomsg_free(other);
	free(text);
	free(json);
}

/* Takes @m. */
static void check(struct aiomsg *m, const char *text, const char *json)
{
	must(m);
	expect(m, text, json);
	comes_back(m);
	aiomsg_free(m);
}

TEST(every_letter)
{
	check(aiomsg_new("c", 'x'), "c \"x\"", "{\"format\": \"c\", \"values\": [\"x\"]}");
	check(aiomsg_new("c", 255), "c \"\\xff\"", "{\"format\": \"c\", \"values\": [{\"hex\": \"ff\"}]}");
	check(aiomsg_new("c", 0), "c \"\\x00\"", "{\"format\": \"c\", \"values\": [\"\\u0000\"]}");
	check(aiomsg_new("jv", INT16_MIN, UINT16_MAX), "jv -32768 65535",
	      "{\"format\": \"jv\", \"values\": [-32768, 65535]}");
	check(aiomsg_new("iu", INT32_MIN, UINT32_MAX), "iu -2147483648 4294967295",
	      "{\"format\": \"iu\", \"values\": [-2147483648, 4294967295]}");
	check(aiomsg_new("IU", INT64_MIN, UINT64_MAX), "IU -9223372036854775808 18446744073709551615",
	      "{\"format\": \"IU\", \"values\": [-9223372036854775808, 18446744073709551615]}");
	check(aiomsg_new("sss", "a \"b\" \\", NULL, "\\N"), "sss \"a \\\"b\\\" \\\\\" \\N \"\\\\N\"",
	      "{\"format\": \"sss\", \"values\": [\"a \\\"b\\\" \\\\\", null, \"\\\\N\"]}");
	check(aiomsg_new("BB", "a\0\xfe", (size_t)3, NULL, (size_t)0), "BB \"a\\x00\\xfe\" \"\"",
	      "{\"format\": \"BB\", \"values\": [{\"hex\": \"6100fe\"}, \"\"]}");
	check(aiomsg_new(""), "", "{\"format\": \"\", \"values\": []}");
}

/* Nothing that a peer chooses plays with a terminal, or begins a line. */
TEST(strings_are_tame)
{
	check(aiomsg_new("s", "caf\303\251 \033[31m\n\r\t\177"), "s \"café \\x1b[31m\\n\\r\\t\\x7f\"",
	      "{\"format\": \"s\", \"values\": [\"café \\u001b[31m\\n\\r\\t\\u007f\"]}");
	check(aiomsg_new("s", "\342\200\256 \363\240\200\201 \360\237\230\200"),
	      "s \"\\xe2\\x80\\xae \\xf3\\xa0\\x80\\x81 😀\"",
	      "{\"format\": \"s\", \"values\": [\"\\u202e \\udb40\\udc01 😀\"]}");
	check(aiomsg_new("s", "cut \342\202"), "s \"cut \\xe2\\x82\"",
	      "{\"format\": \"s\", \"values\": [{\"hex\": \"63757420e282\"}]}");
}

TEST(plain_bytes)
{
	check(aiomsg_new_bytes("hello", 5), "\"hello\"", "{\"bytes\": \"hello\"}");
	check(aiomsg_new_bytes("", 0), "\"\"", "{\"bytes\": \"\"}");
	check(aiomsg_new_bytes("[", 1), "\"\\[\"", "{\"bytes\": \"[\"}");
	check(aiomsg_new_bytes("\0\377", 2), "\"\\x00\\xff\"", "{\"bytes\": {\"hex\": \"00ff\"}}");
}

TEST(arrays_rows_and_structs)
{
	struct {
		int32_t i;
		char c[3];
	} s[2] = {{1, "ab"}, {-2, "]]"}};
	const int32_t rows[2][3] = {{1, 2, 3}, {4, 5, 6}};
	const char *names[] = {"[", NULL, "]"};
	struct aiowriter *w;

	s[1].c[2] = 'x';
	check(aiomsg_new("S(ic#)#", s, sizeof *s, (size_t)3, (size_t)2),
	      "S(ic#)# [ 1 \"ab\\x00\" -2 \"]]x\" ]",
	      "{\"format\": \"S(ic#)#\", \"values\": [[[1, \"ab\\u0000\"], [-2, \"]]x\"]]]}");
	check(aiomsg_new("i##", rows, (size_t)2, (size_t)3), "i## [ [ 1 2 3 ] [ 4 5 6 ] ]",
	      "{\"format\": \"i##\", \"values\": [[[1, 2, 3], [4, 5, 6]]]}");
	check(aiomsg_new("s#i", names, (size_t)3, 7), "s#i [ \"\\[\" \\N \"\\]\" ] 7",
	      "{\"format\": \"s#i\", \"values\": [[\"[\", null, \"]\"], 7]}");
	w = must(aiowriter_new("sA(iA(s))A(j#)"));
	aiowriter_put(w, "sA(", "t");
	aiowriter_put(w, "iA(", 1);
	aiowriter_put(w, "s", "a");
	aiowriter_put(w, ")iA(", 2);
	aiowriter_put(w, "))A(");
	aiowriter_put(w, ")");
	check(aiowriter_finish(w), "sA(iA(s))A(j#) \"t\" [ 1 [ \"a\" ] 2 [ ] ] [ ]",
	      "{\"format\": \"sA(iA(s))A(j#)\", \"values\": [\"t\", [[1, [\"a\"]], [2, []]], []]}");
}

static struct aiomsg *real(double d)
{
	return must(aiomsg_new("f", d));
}

static double from_bits(uint64_t bits)
{
	double d;

	memcpy(&d, &bits, sizeof d);
	return d;
}

TEST(doubles_are_short_and_come_back)
{
	static const struct {
		double d;
		const char *text;
	} due[] = {
		{0.0, "f 0"},
		{-0.0, "f -0"},
		{0.1, "f 0.1"},
		{1.0 / 3, "f 0.3333333333333333"},
		{0.1 + 0.2, "f 0.30000000000000004"},
		{1e300, "f 1e+300"},
		{123456789, "f 123456789"},
		{5e-324, "f 5e-324"},
		{2.5e-310, "f 2.5e-310"},
		{DBL_MAX, "f 1.7976931348623157e+308"},
		{DBL_MIN, "f 2.2250738585072014e-308"},
		{INFINITY, "f inf"},
		{-INFINITY, "f -inf"},
	};

	for (size_t i = 0; i < sizeof due / sizeof due[0]; i++) {
		struct aiomsg *m = real(due[i].d);
		char *text = whole(aiomsg_text, m);

		ck_assert_str_eq(text, due[i].text);
		comes_back(m);
		free(text);
		aiomsg_free(m);
	}
	check(real(from_bits(0x7ff8000000000000)), "f nan", "{\"format\": \"f\", \"values\": [\"nan\"]}");
	check(real(from_bits(0xfff8000000000000)), "f -nan", "{\"format\": \"f\", \"values\": [\"-nan\"]}");
	check(real(from_bits(0x7ff0000000000001)), "f nan(0x1)",
	      "{\"format\": \"f\", \"values\": [\"nan(0x1)\"]}");
	check(real(from_bits(0xfff800000000001f)), "f -nan(0x800000000001f)",
	      "{\"format\": \"f\", \"values\": [\"-nan(0x800000000001f)\"]}");
}

/* A row of numbers that looks random, the same each time. */
static uint64_t state = 88172645463325252u;

static uint64_t random_bits(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)(random_bits() >> 32) % n;
}

TEST(any_double_comes_back)
{
	for (int i = 0; i < 5000; i++) {
		uint64_t bits = random_bits() & random_bits() & random_bits();
		struct aiomsg *m = real(from_bits(i % 2 ? random_bits() : bits << below(13)));

		comes_back(m);
		aiomsg_free(m);
	}
}

/* Makes this locale for this process alone, where the system has what it takes, and sets it. */
static void use_locale(const char *name)
{
	char folder[] = "/tmp/localeXXXXXX", command[200], text[16];

	must(mkdtemp(folder));
	snprintf(command, sizeof command, "localedef -c -i %s -f UTF-8 %s/%s 2>/dev/null", name, folder,
		 name);
	must(system(command));
	must(setenv("LOCPATH", folder, 1));
	setlocale(LC_NUMERIC, name);
	snprintf(text, sizeof text, "%.1f", 0.5);
	printf("# in the locale %s a half is %s\n", name, text);
	snprintf(command, sizeof command, "rm -r %s", folder);
	must(system(command));
}

static void check_reals(void)
{
	check(real(0.5), "f 0.5", "{\"format\": \"f\", \"values\": [0.5]}");
	check(real(-1.25e-200), "f -1.25e-200", "{\"format\": \"f\", \"values\": [-1.25e-200]}");
	must_fail(aiomsg_from_text("f 0,5", 5), EINVAL);
}

/* A program may have set a locale that writes 0,5, or a point of two bytes. */
TEST(the_comma_of_a_locale_does_not_matter)
{
	use_locale("de_DE");
	check_reals();
}

TEST(a_point_of_two_bytes_does_not_matter)
{
	use_locale("ps_AF");
	check_reals();
}

TEST(descriptors_are_counted_and_left_out)
{
	struct aiomsg *m = must(aiomsg_new("i", 1)), *bytes = must(aiomsg_new_bytes("x", 1)),
		      *empty = must(aiomsg_new(""));
	struct aiomsg *all[] = {m, bytes, empty};

	must(aiomsg_add_fd(m, 0));
	must(aiomsg_add_fd(m, 1));
	must(aiomsg_add_fd(bytes, 0));
	must(aiomsg_add_fd(empty, 0));
	expect(m, "i 1 (descriptors: 2)", "{\"format\": \"i\", \"values\": [1], \"descriptors\": 2}");
	expect(bytes, "\"x\" (descriptors: 1)", "{\"bytes\": \"x\", \"descriptors\": 1}");
	expect(empty, " (descriptors: 1)", "{\"format\": \"\", \"values\": [], \"descriptors\": 1}");
	for (int i = 0; i < 3; i++) {
		char *text = whole(aiomsg_text, all[i]), *json = whole(aiomsg_json, all[i]);
		struct aiomsg *one = must(aiomsg_from_text(text, strlen(text)));
		struct aiomsg *other = must(aiomsg_from_json(json, strlen(json)));

		same_message(all[i], one);
		same_message(all[i], other);
		ck_assert_uint_eq(aiomsg_fds(one) + aiomsg_fds(other), 0);
		aiomsg_free(one);
		aiomsg_free(other);
		aiomsg_free(all[i]);
		free(text);
		free(json);
	}
}

/* As much as has a place, in whole characters and whole escapes. */
TEST(a_buffer_that_is_too_small)
{
	struct aiomsg *m = must(aiomsg_new("sf", "é\033é", 0.125));
	char text[64], all[64];
	size_t len = aiomsg_text(m, all, sizeof all);

	ck_assert_str_eq(all, "sf \"é\\x1bé\" 0.125");
	for (size_t size = 1; size <= len + 1; size++) {
		memset(text, '#', sizeof text);
		ck_assert_uint_eq(aiomsg_text(m, text, size), len);
		ck_assert_uint_lt(strlen(text), size);
		ck_assert(text[size] == '#');
		ck_assert_mem_eq(text, all, strlen(text));
		ck_assert(((unsigned char)all[strlen(text)] & 0xc0) != 0x80);
	}
	ck_assert_uint_eq(aiomsg_text(m, text, 9), len);
	ck_assert_str_eq(text, "sf \"é");
	aiomsg_free(m);
}

TEST(the_trace_has_the_front_of_a_large_one)
{
	static char large[1 << 20];
	struct aiomsg *bytes, *m, *small = must(aiomsg_new("i", 7));
	char text[24];

	memset(large, 'x', sizeof large - 1);
	bytes = must(aiomsg_new_bytes(large, sizeof large));
	m = must(aiomsg_new("is", 1, large));
	ipc_show_brief(IPC_KIND_BYTES, bytes->data, bytes->len, text, sizeof text);
	ck_assert_str_eq(text, "\"xxxxxxxxxxxxxxxxxxx...");
	ipc_show_brief(IPC_KIND_TPL, m->data, m->len, text, sizeof text);
	ck_assert_str_eq(text, "is 1 \"xxxxxxxxxxxxxx...");
	ipc_show_brief(IPC_KIND_TPL, small->data, small->len, text, sizeof text);
	ck_assert_str_eq(text, "i 7");
	aiomsg_free(bytes);
	aiomsg_free(m);
	aiomsg_free(small);
}

/* A random format. */
static char *random_items(char *p, unsigned depth, bool in_struct)
{
	static const char letters[] = "cjviuIUfs";
	unsigned items = 1 + below(3);

	for (unsigned i = 0; i < items; i++) {
		uint32_t kind = below(8);

		if (kind == 0 && depth > 0 && !in_struct) {
			memcpy(p, "A(", 2);
			p = random_items(p + 2, depth - 1, false);
			*p++ = ')';
			continue;
		}
		if (kind == 1 && !in_struct) {
			memcpy(p, "S(", 2);
			p = random_items(p + 2, depth, true);
			*p++ = ')';
		} else if (kind == 2 && !in_struct) {
			*p++ = 'B';
			continue;
		} else {
			*p++ = letters[below(sizeof letters - 1)];
		}
		while (below(4) == 0)
			*p++ = '#';
	}
	*p = '\0';
	return p;
}

/* Random values, put into an image in either byte order as the walk asks for them. */
struct filler {
	unsigned char data[1 << 16];
	size_t len, counts;
	bool big, full;
};

static int fill(struct filler *f, uint64_t n, size_t size)
{
	if (f->len + size > sizeof f->data - 64)
		f->full = true;
	for (size_t i = 0; i < size && !f->full; i++)
		f->data[f->len++] = (unsigned char)(n >> 8 * (f->big ? size - 1 - i : i));
	return f->full ? -1 : 0;
}

static int fill_random(struct filler *f, size_t size)
{
	return fill(f, below(2) ? random_bits() : below(200), size);
}

static int fill_bytes(struct filler *f, size_t n, uint32_t least)
{
	static const char some[] = "[]\\\"N \n\xc3\xa9x";

	for (size_t i = 0; i < n; i++) {
		unsigned char byte =
			below(3) ? (unsigned char)some[below(sizeof some - 1)] : (unsigned char)random_bits();

		if (fill(f, byte < least ? 'y' : byte, 1) == -1)
			return -1;
	}
	return 0;
}

static uint32_t hash_count(struct filler *f, uint32_t hash)
{
	unsigned char *at = f->data + f->counts + 4 * (size_t)hash;
	unsigned char *low = f->big ? at + 3 : at;

	if (*low == 0)
		*low = (unsigned char)(1 + below(3));
	return *low;
}

static int on_begin(void *context, struct ipc_loop *loop)
{
	loop->n = loop->array ? below(4) : hash_count(context, loop->hash);
	return loop->array ? fill(context, loop->n, 4) : 0;
}

static int on_next(void *context, struct ipc_loop *loop)
{
	(void)context;
	return loop->n-- > 0;
}

static int on_group(void *context, bool opens)
{
	(void)context, (void)opens;
	return 0;
}

static int on_value(void *context, char letter)
{
	uint32_t len = below(5);

	if (letter == 'B')
		return fill(context, len, 4) == -1 ? -1 : fill_bytes(context, len, 0);
	if (letter == 's')
		return fill(context, len, 4) == -1 ? -1 : fill_bytes(context, len > 0 ? len - 1 : 0, 1);
	return letter == 'c' ? fill_bytes(context, 1, 0) : fill_random(context, ipc_letter(letter)->wire);
}

static int on_row(void *context, uint32_t hash)
{
	return fill_bytes(context, hash_count(context, hash), 0);
}

static const struct ipc_walk_ops filling = {on_begin, on_next, on_group, on_value, on_row};

/* NULL where it would be too large. */
static struct aiomsg *random_message(bool big)
{
	static struct filler f;
	char format[4096], why[64];
	struct aiomsg *m = NULL;
	size_t hashes = 0;

	random_items(format, 4, false);
	memset(&f, 0, sizeof f);
	f.big = big;
	memcpy(f.data, "tpl", 3);
	f.data[3] = (unsigned char)(big | (strchr(format, 's') ? 2 : 0));
	f.len = 8;
	memcpy(f.data + f.len, format, strlen(format) + 1);
	f.len += strlen(format) + 1;
	f.counts = f.len;
	for (const char *p = format; *p; p++)
		hashes += *p == '#';
	f.len += 4 * hashes;
	if (strstr(format, "###########") || ipc_walk(format, &filling, &f) == -1)
		return NULL;
	for (uint32_t i = 0; i < hashes; i++) { /* nobody asked: it is in an array without elements */
		unsigned char *low = f.data + f.counts + 4 * (size_t)i + (big ? 3 : 0);

		*low = *low ? *low : 1;
	}
	for (size_t i = 0; i < 4; i++)
		f.data[4 + i] = (unsigned char)(f.len >> 8 * (big ? 3 - i : i));
	m = must(ipc_msg_alloc(IPC_KIND_TPL, f.len));
	memcpy(m->data, f.data, f.len);
	ck_assert_int_eq(ipc_msg_seal(m, why, sizeof why), 0);
	return m;
}

static bool here_is_big(void)
{
	const uint16_t one = 1;

	return *(const unsigned char *)&one == 0;
}

TEST(any_message_comes_back)
{
	unsigned made = 0;

	for (int i = 0; i < 1500; i++) {
		struct aiomsg *m = random_message(here_is_big());

		if (m)
			comes_back(m);
		made += m != NULL;
		aiomsg_free(m);
	}
	ck_assert_uint_gt(made, 1000);
}

/* From a machine of the other byte order: the same values, in ours. */
TEST(any_message_of_another_byte_order_comes_back)
{
	for (int i = 0; i < 500; i++) {
		struct aiomsg *m = random_message(!here_is_big()), *back;
		char *text, *again;

		if (!m)
			continue;
		text = whole(aiomsg_text, m);
		back = must(aiomsg_from_text(text, strlen(text)));
		again = whole(aiomsg_text, back);
		ck_assert_str_eq(text, again);
		comes_back(back);
		aiomsg_free(m);
		aiomsg_free(back);
		free(text);
		free(again);
	}
}

/* What somebody types, or another program writes. */
TEST(other_ways_to_write_it)
{
	static const struct {
		bool json;
		const char *text, *due;
	} table[] = {
		{false, " i \t 0x10\n", "i 16"},
		{false, "sB café [", "sB \"café\" \"\\[\""},
		{false, "A(i) 1 2 3", "A(i) [ 1 2 3 ]"},
		{false, "i# \"1\" 2", "i# [ 1 2 ]"},
		{false, "ff 1e3 Infinity", "ff 1000 inf"},
		{true,
		 " {\"values\":[1,\"x\\/\\u00e9\"],\n\"format\":\"is\",\"time\":{\"a\":[1.5e3,true,{}]}} ",
		 "is 1 \"x/é\""},
		{true, "{\"line\":\"\\ud83d\\ude00\"}", "\"😀\""},
		{true, "{\"format\":\"ff\",\"values\":[1E3,\"Infinity\"]}", "ff 1000 inf"},
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const char *text = table[i].text;
		struct aiomsg *m = table[i].json ? aiomsg_from_json(text, strlen(text))
						 : aiomsg_from_text(text, strlen(text));
		char *got;

		must(m);
		got = whole(aiomsg_text, m);
		ck_assert_str_eq(got, table[i].due);
		aiomsg_free(m);
		free(got);
	}
}

TEST(words_of_a_command_line)
{
	char *words[] = {"[", "1", "one", "2", "\\N", "]", "[", "--more", NULL};
	char *exact[] = {"7", NULL}, *many[] = {"7", "8", NULL};
	struct aiomsg *m;
	size_t used;
	char text[64];

	m = must(aiomsg_from_words("A(is)c", words, &used));
	ck_assert_uint_eq(used, 7);
	aiomsg_text(m, text, sizeof text);
	ck_assert_str_eq(text, "A(is)c [ 1 \"one\" 2 \\N ] \"\\[\"");
	aiomsg_free(m);
	aiomsg_free(must(aiomsg_from_words("i", exact, NULL)));
	must_fail(aiomsg_from_words("i", many, NULL), EINVAL);
}

static char logged[512];

static void on_log(const char *text, void *arg)
{
	(void)arg;
	snprintf(logged, sizeof logged, "%s", text);
}

/* Where it is wrong, and why. */
TEST(what_is_none_is_told)
{
	static const struct {
		bool json;
		const char *text, *due;
	} table[] = {
		{false, "z 1", "byte 1: \"z\" is not a format"},
		{false, "ii 1", "byte 5: the values end too early: a 32-bit integer is missing"},
		{false, "i 1 2", "byte 5: \"2\" is one word too many"},
		{false, "ij 1 32768", "byte 6: \"32768\" is not what j takes: a 16-bit integer"},
		{false, "u -1", "byte 3: \"-1\" is not what u takes: an unsigned 32-bit integer"},
		{false, "U 18446744073709551616", "byte 3: \"18446744073709551616\" is not what U takes"},
		{false, "I -9223372036854775809", "byte 3: \"-9223372036854775809\" is not what I takes"},
		{false, "f 1e999", "byte 3: \"1e999\" is not what f takes: a number"},
		{false, "f \\N", "byte 3: \"\\N\" is not what f takes: a number"},
		{false, "c \"ab\"", "byte 3: \"ab\" is not what c takes: one byte"},
		{false, "s \"a\\x00\"", "is not what s takes: a string without NUL"},
		{false, "B \"\\x4\"", "byte 3: \"\\x4\" has an escape that is none"},
		{false, "s \"abc", "byte 3: the quote that opens here is not closed"},
		{false, "s \"abc\"d", "byte 3: a space is missing behind the quote"},
		{false, "\"abc\" 1", "byte 7: \"1\" is one word too many"},
		{false, "A(i)i [ 1", "byte 10: a ] is missing"},
		{false, "A(i)i 1 2", "byte 7: the values of an array stand between the words [ and ]"},
		{false, "i## [ [ 1 2 ] [ 3 ] ]", "rows of one # have 2 and 1 values"},
		{false, "i# [ ]", "its counts are 0"},
		{false, "i 1 (descriptors: x)", "is one word too many"},
		{true, "", "byte 1: an object is missing"},
		{true, "[]", "byte 1: an object is missing"},
		{true, "{}", "either \"format\" and \"values\", or \"bytes\""},
		{true, "{\"format\": \"i\"}", "either \"format\" and \"values\", or \"bytes\""},
		{true, "{\"format\": \"i\", \"values\": [1], \"bytes\": \"\"}", "either \"format\""},
		{true, "{\"bytes\": \"\"} x", "byte 15: something follows the object"},
		{true, "{\"bytes\": \"\", \"line\": \"\"}",
		 "byte 23: this member is here for the second time"},
		{true, "{\"bytes\": \"\\ud800\"}", "byte 12: this escape is none"},
		{true, "{\"bytes\": \"\xff\"}", "byte 12: this is no UTF-8"},
		{true, "{\"bytes\": \"\n\"}", "byte 12: a control character needs an escape"},
		{true, "{\"bytes\": {\"hex\": \"0g\"}}", "byte 11: \"0g\" is not what B takes"},
		{true, "{\"bytes\": {\"x\": \"0g\"}}", "an object that is a value is {\"hex\""},
		{true, "{\"bytes\": 1}", "byte 11: \"bytes\" is a string"},
		{true, "{\"format\": \"z\", \"values\": []}", "byte 12: \"z\" is not a format"},
		{true, "{\"format\": 1, \"values\": []}", "byte 12: \"format\" is a string"},
		{true, "{\"format\": \"i\", \"values\": {}}", "\"values\" is an array"},
		{true, "{\"format\": \"i\", \"values\": []}",
		 "byte 28: the values end too early: a 32-bit integer"},
		{true, "{\"format\": \"i\", \"values\": [1, 2]}", "byte 29: the format takes no more values"},
		{true, "{\"format\": \"i\", \"values\": [1.5]}", "byte 28: \"1.5\" is not what i takes"},
		{true, "{\"format\": \"i\", \"values\": [\"1\"]}", "byte 28: \"1\" is not what i takes"},
		{true, "{\"format\": \"i\", \"values\": [01]}", "byte 28: this is not a number of JSON"},
		{true, "{\"format\": \"f\", \"values\": [\"1\"]}", "byte 28: \"1\" is not what f takes"},
		{true, "{\"format\": \"s\", \"values\": [1]}", "byte 28: \"1\" is not what s takes"},
		{true, "{\"format\": \"s\", \"values\": [true]}", "no letter takes true or false"},
		{true, "{\"format\": \"A(i)i\", \"values\": [[1, 2]]}", "the values end too early"},
		{true, "{\"format\": \"S(ic)\", \"values\": [[1, \"a\", 2]]}",
		 "the format takes no more values here"},
		{true, "{\"format\": \"A(i)\", \"values\": [1]}", "an array is missing"},
	};

	aioipc_set_log(on_log, NULL);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const char *text = table[i].text;

		logged[0] = '\0';
		if (table[i].json)
			must_fail(aiomsg_from_json(text, strlen(text)), EINVAL);
		else
			must_fail(aiomsg_from_text(text, strlen(text)), EINVAL);
		if (!strstr(logged, table[i].due))
			ck_abort_msg("%s: \"%s\", due was \"%s\"", text, logged, table[i].due);
		ck_assert_ptr_nonnull(
			strstr(logged, table[i].json ? "aiomsg_from_json: byte" : "aiomsg_from_text: byte"));
	}
}

/* A text nests as deep as its author likes. */
TEST(brackets_without_end)
{
	static char text[1 << 20];

	memset(text, '[', sizeof text);
	memcpy(text, "{\"x\": ", 6);
	must_fail(aiomsg_from_json(text, sizeof text), EINVAL);
	memset(text, '[', sizeof text);
	for (size_t i = 1; i < sizeof text; i += 2)
		text[i] = ' ';
	memcpy(text, "A(i) ", 5);
	must_fail(aiomsg_from_text(text, sizeof text), EINVAL);
}
