/* Images: byte for byte what tpl makes, what the checker thinks of them, and that it is quick to say so. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <aioipc/msg.h>

#include "ipc/msg/image.h"
#include "ipc/msg/msg.h"
#include "tests/damage.h"
#include "tests/harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data,
			   size_t size); /* fuzz/fuzz_image.c: reads what the checker takes */

/* Bytes from hex, spaces between them ignored. */
static size_t unhex(const char *hex, unsigned char *to)
{
	size_t n = 0;

	while (*hex) {
		if (*hex == ' ') {
			hex++;
			continue;
		}
		to[n++] = (unsigned char)strtoul((char[]){hex[0], hex[1], 0}, NULL, 16);
		hex += 2;
	}
	return n;
}

static void looks_like(struct aiomsg *m, const char *hex)
{
	unsigned char expected[256];
	size_t n = unhex(hex, expected), len;
	const void *image;

	must(m);
	image = aiomsg_bytes(m, &len);
	ck_assert_uint_eq(len, n);
	ck_assert_mem_eq(image, expected, n);
	ck_assert_ptr_null(ipc_image_check(image, len));
	aiomsg_free(m);
}

TEST(known_images_byte_for_byte)
{
	int32_t two[] = {7, 7};
	struct {
		char c;
		uint16_t v[2];
		double f;
	} s = {'x', {1, 2}, 1.0};

	looks_like(aiomsg_new(""), "74706c00 09000000 00");
	looks_like(aiomsg_new("s", "hello"), "74706c02 13000000 7300 06000000 68656c6c6f");
	looks_like(aiomsg_new("ss", NULL, ""), "74706c02 13000000 737300 00000000 01000000");
	looks_like(aiomsg_new("A(i)", two, (size_t)2),
		   "74706c00 19000000 4128692900 02000000 07000000 07000000");
	looks_like(aiomsg_new("A(i)", NULL, (size_t)0), "74706c00 11000000 4128692900 00000000");
	looks_like(aiomsg_new("i#", two, (size_t)2), "74706c00 17000000 692300 02000000 07000000 07000000");
	looks_like(aiomsg_new("i##", two, (size_t)2, (size_t)1),
		   "74706c00 1c000000 69232300 02000000 01000000 07000000 07000000");
	looks_like(aiomsg_new("B", "ab", (size_t)2), "74706c00 10000000 4200 02000000 6162");
	looks_like(aiomsg_new("iuIU", 7, 8, (int64_t)-9, (uint64_t)10),
		   "74706c00 25000000 6975495500 07000000 08000000 f7ffffffffffffff 0a00000000000000");
	looks_like(aiomsg_new("cjvf", 'x', -2, 3, 1.0),
		   "74706c00 1a000000 636a766600 78 feff 0300 000000000000f03f");
	looks_like(aiomsg_new("S(cv#f)", &s, sizeof s, (size_t)2),
		   "74706c00 21000000 532863762366 2900 02000000 78 0100 0200 000000000000f03f");
}

static void is_refused(const unsigned char *image, size_t len, void *arg)
{
	if (!ipc_image_check(image, len))
		ck_abort_msg("taken, though it is damaged: %s, byte 3 is %d, %zu bytes", (const char *)arg,
			     len > 3 ? image[3] : 0, len);
}

/* A well-formed image, and what is done to it. */
static void damage_each(void (*how)(const void *image, size_t len, damage_see *see, void *arg),
			damage_see *see)
{
	static const struct {
		const char *name, *hex;
	} images[] = {
		{"nothing", "74706c00 09000000 00"},
		{"a number", "74706c00 0e000000 6900 07000000"},
		{"a number, big-endian", "74706c01 0000000e 6900 00000007"},
		{"strings", "74706c02 18000000 737300 03000000 6162 04000000 636465"},
		{"strings, big-endian", "74706c03 00000018 737300 00000003 6162 00000004 636465"},
		{"an empty array", "74706c00 11000000 4128692900 00000000"},
		{"an array", "74706c00 19000000 4128692900 02000000 07000000 07000000"},
		{"an array of strings",
		 "74706c02 21000000 73694128732900 02000000 61 07000000 01000000 02000000 62"},
		{"a vector", "74706c00 11000000 632300 02000000 6162"},
		{"vectors", "74706c00 1c000000 69232300 02000000 01000000 07000000 07000000"},
		{"bytes", "74706c00 10000000 4200 02000000 6162"},
		{"a struct", "74706c00 21000000 532863762366 2900 02000000 78 0100 0200 000000000000f03f"},
		{"an array of vectors", "74706c00 1e000000 412869232900 02000000 01000000 07000000 08000000"},
	};

	for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
		unsigned char image[128];
		size_t len = unhex(images[i].hex, image);

		ck_assert_msg(ipc_image_check(image, len) == NULL, "%s: %s", images[i].name,
			      ipc_image_check(image, len));
		how(image, len, see, (void *)(uintptr_t)images[i].name);
	}
}

TEST(images_with_a_wrong_head_and_cut_ones_are_refused)
{
	damage_each(damage_head, is_refused);
}

/* Whatever is taken can be read to its end, which ASan sees. */
static void is_safe(const unsigned char *image, size_t len, void *arg)
{
	(void)arg;
	LLVMFuzzerTestOneInput(image, len);
}

TEST_WITHIN(images_with_wrong_values_are_safe, 120)
{
	damage_each(damage_values, is_safe);
}

static void at_random(const void *image, size_t len, damage_see *see, void *arg)
{
	damage_at_random(image, len, 4000, (uint32_t)getpid(), see, arg);
}

TEST_WITHIN(images_damaged_at_random_are_safe, 120)
{
	damage_each(at_random, is_safe);
}

/* The word at @at, and no other value, is right. */
static void has_one_value(const char *hex, size_t at)
{
	unsigned char image[128];
	size_t len = unhex(hex, image);

	ck_assert_ptr_null(ipc_image_check(image, len));
	damage_word(image, len, at, is_refused, (void *)(uintptr_t)hex);
}

TEST(a_count_or_a_length_that_does_not_fit_is_refused)
{
	has_one_value("74706c00 11000000 4128692900 00000000", 13);                   /* of an A() */
	has_one_value("74706c00 19000000 4128692900 02000000 07000000 07000000", 13); /* with elements */
	has_one_value("74706c00 11000000 632300 02000000 6162", 11);                  /* of a # */
	has_one_value("74706c00 1c000000 69232300 02000000 01000000 07000000 07000000", 12);
	has_one_value("74706c00 1c000000 69232300 02000000 01000000 07000000 07000000", 16);
	has_one_value("74706c02 10000000 7300 03000000 6162", 10); /* of a string */
	has_one_value("74706c00 10000000 4200 02000000 6162", 10); /* of bytes */
}

TEST(other_formats_of_the_same_bytes_are_refused)
{
	unsigned char image[64];
	size_t len = unhex("74706c00 0e000000 6900 00000000", image);

	image[8] = 's'; /* without its flag */
	ck_assert_ptr_nonnull(ipc_image_check(image, len));
	image[8] = 'x';
	ck_assert_ptr_nonnull(ipc_image_check(image, len));
	image[8] = 'u';
	ck_assert_ptr_null(ipc_image_check(image, len));
	memset(image + 9, 'u', len - 9); /* without an end */
	ck_assert_ptr_nonnull(ipc_image_check(image, len));
}

/* In an array of no elements, @count twice: their product must not be too large, nor 0 in 32 bits. */
static const char *with_counts(uint32_t count)
{
	unsigned char image[64];
	size_t len = unhex("74706c00 1b000000 41286323232900 00010000 00010000 00000000", image);

	memcpy(image + 15, &count, sizeof count);
	memcpy(image + 19, &count, sizeof count);
	return ipc_image_check(image, len);
}

TEST(counts_of_hashes_are_checked)
{
	ck_assert_ptr_null(with_counts(0x100));
	ck_assert_ptr_nonnull(with_counts(0));
	ck_assert_ptr_nonnull(with_counts(0x10000));
	ck_assert_ptr_nonnull(with_counts(0x80000000));
	ck_assert_ptr_nonnull(with_counts(0xffffffff));
}

TEST(a_NUL_inside_a_string_is_refused)
{
	unsigned char image[64];
	size_t len = unhex("74706c02 17000000 4128732900 01000000 03000000 6162", image);

	ck_assert_ptr_null(ipc_image_check(image, len));
	image[len - 1] = 0;
	ck_assert_ptr_nonnull(ipc_image_check(image, len));
	image[len - 1] = 'b';
	image[len - 2] = 0;
	ck_assert_ptr_nonnull(ipc_image_check(image, len));
}

static bool is_format(const char *text)
{
	struct ipc_format f;

	return ipc_format_scan(text, &f) == 0;
}

TEST(formats)
{
	static const char *const good[] = {"",           "cjviuIUfsB", "i#s##",        "A(i)",
					   "S(i)",       "S(ic#)#",    "A(A(A(sB)i))", "A(S(ii)#s#)iS(s)",
					   "i##########"};
	static const char *const bad[] = {
		"x",     "#",     "A",       "A(",      "A()",      "A(i",   "i)",
		"S()",   "S(B)",  "S(A(i))", "S(S(i))", "AA(i)",    "AS(i)", "A(i)#",
		"B#",    "S(#i)", "A(#i)",   "iS#(i)",  "S(i$(i))", "(i)",   "i###########",
		"A(i))", " i",    "i ",      "\xff"};

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		ck_assert_msg(is_format(good[i]), "\"%s\" is a format", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(!is_format(bad[i]), "\"%s\" is no format", bad[i]);
}

static char *repeat(const char *text, size_t n)
{
	size_t len = strlen(text);
	char *all = must(malloc(len * n + 1));

	for (size_t i = 0; i < n; i++)
		memcpy(all + i * len, text, len);
	all[len * n] = 0;
	return all;
}

/* Bad ones, deep ones and long ones: refused, not crashed over. */
TEST(enormous_formats)
{
	static const char *const unit[] = {"A(", "S(", ")", "#", "A(i)", "i)", "(("};

	for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
		char *format = repeat(unit[i], 100000);

		must_fail(aiomsg_new(format), EINVAL);
		free(format);
	}
}

/* An image of a format and data. */
static unsigned char *image_of(const char *format, const void *data, size_t n, size_t *len)
{
	size_t head = IPC_IMAGE_FORMAT + strlen(format) + 1;
	unsigned char *image = must(malloc(head + n));
	uint32_t total = (uint32_t)(head + n);

	memcpy(image, "tpl", 4);
	memcpy(image + 4, &total, 4);
	memcpy(image + IPC_IMAGE_FORMAT, format, strlen(format) + 1);
	memcpy(image + head, data, n);
	*len = head + n;
	return image;
}

/*
 * A million elements, each an empty array with a format of half a megabyte: a checker that walked over the format for each
 * of them would be busy for hours.
 */
TEST_WITHIN(empty_arrays_with_long_formats_cost_nothing, 120)
{
	const uint32_t n = 1000000;
	char *many = repeat("i", 500000), *format = must(malloc(500020));
	uint32_t *data = calloc(2 * n + 1, sizeof *data);
	unsigned char *image;
	size_t len;

	sprintf(format, "A(A(%s)A(%s))", many + 250000, many + 250000);
	data[0] = n;
	image = image_of(format, data, 4 * (2 * (size_t)n + 1), &len);
	ck_assert_ptr_null(ipc_image_check(image, len));
	free(image);
	free(data);
	free(format);
	free(many);
}

/* Cut anywhere, with its length set right: always refused. With its length as it was: too. */
TEST(images_cut_short_are_refused)
{
	struct {
		int32_t i;
		const char *s;
	} rows[] = {{1, "one"}, {2, NULL}};
	struct aiomsg *m = must(aiomsg_new("sA(is)i#BS(cI)", "title", rows, (size_t)2, sizeof *rows,
					   (int32_t[]){1, 2, 3}, (size_t)3, "blob", (size_t)4, &(struct {
						   char c;
						   int64_t i;
					   }){'c', 5},
					   (size_t)16));
	size_t len;
	const unsigned char *whole = aiomsg_bytes(m, &len);

	ck_assert_ptr_null(ipc_image_check(whole, len));
	for (size_t cut = 0; cut < len; cut++) {
		unsigned char *image = must(malloc(cut + 1));
		uint32_t total = (uint32_t)cut;

		memcpy(image, whole, cut);
		ck_assert_ptr_nonnull(ipc_image_check(image, cut));
		if (cut >= 8)
			memcpy(image + 4, &total, 4);
		ck_assert_ptr_nonnull(ipc_image_check(image, cut));
		free(image);
	}
	aiomsg_free(m);
}

/* Every byte set to every value: refused, or safe to unpack (which ASan sees). */
TEST(images_with_one_wrong_byte_are_safe)
{
	struct aiomsg *whole =
		must(aiomsg_new("sA(i)c#s", "ab", (int32_t[]){1, 2}, (size_t)2, "xyz", (size_t)3, "end"));
	struct aiomsg *m = must(ipc_msg_alloc(IPC_KIND_TPL, whole->len));
	char why[80];

	for (size_t at = 0; at < whole->len; at++) {
		for (unsigned value = 0; value < 256; value++) {
			const char *s = "", *t = "";
			int32_t v[2];
			char c[3];
			size_t n = 0;

			memcpy(m->data, whole->data, whole->len);
			m->data[at] = (unsigned char)value;
			if (ipc_msg_seal(m, why, sizeof why) == -1)
				continue;
			if (aiomsg_unpack(m, "sA(i)c#s", &s, v, (size_t)2, &n, c, (size_t)3, &t) == -1)
				ck_assert(errno == EBADMSG || errno == EMSGSIZE);
			else
				ck_assert_uint_le((s ? strlen(s) : 0) + (t ? strlen(t) : 0) + 4 * n,
						  whole->len);
			aiomsg_free(m);
			m = must(ipc_msg_alloc(IPC_KIND_TPL, whole->len));
		}
	}
	aiomsg_free(m);
	aiomsg_free(whole);
}
