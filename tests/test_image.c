/* Images: byte for byte what tpl makes, and what the checker thinks of them. */
#include <stdlib.h>

#include <aioipc/msg.h>

#include "ipc/wire/image.h"
#include "tests/harness.h"

/* Bytes from hex, spaces between them ignored. */
static size_t unhex(const char *hex, unsigned char *to)
{
	size_t n = 0;

	for (; *hex; hex += 2) {
		if (*hex == ' ') {
			hex--;
			continue;
		}
		to[n++] = (unsigned char)strtoul((char[]){hex[0], hex[1], 0}, NULL, 16);
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

	looks_like(aiomsg_new("s", "hello"), "74706c02 13000000 7300 06000000 68656c6c6f");
	looks_like(aiomsg_new("A(i)", two, (size_t)2),
		   "74706c00 19000000 4128692900 02000000 07000000 07000000");
	looks_like(aiomsg_new("iuIU", 7, 8, (int64_t)-9, (uint64_t)10),
		   "74706c00 25000000 6975495500 07000000 08000000 f7ffffffffffffff 0a00000000000000");
}

/* FACTS: what libtpl falls for. */
TEST(hostile_images_are_refused)
{
	static const char *const hostile[] = {
		"74706c00110000004128692900ffffffff",
		"74706c001400000073730001000000ff00000000",
		"74706c0020000000736941287329000100000058000000000100000000000000",
		"74706c030000000e7300ffffffff",
		"74706c020b000000732300",
		"74706c0000000000",
		"74706c00000000007300",
	};

	for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
		unsigned char image[64];
		size_t len = unhex(hostile[i], image);

		ck_assert_ptr_nonnull(ipc_image_check(image, len));
	}
}
