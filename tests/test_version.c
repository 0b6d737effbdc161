/* The version that the headers tell and the one that the library tells. */
#include <aioipc.h>

#include "tests/harness.h"

TEST(library_and_header_agree)
{
	ck_assert_str_eq(aioipc_version(), AIOIPC_VERSION);
}
