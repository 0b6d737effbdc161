/*
 * Ours against libtpl, with formats and values from a random number generator: the fuzz target without the fuzzer, so that
 * every "make check" compares some thousand images byte for byte.
 */
#include "tests/harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

TEST_WITHIN(random_formats_and_values, 60)
{
	uint64_t x = 88172645463325252u; /* the same ones each time */
	uint8_t data[600];

	for (int round = 0; round < 5000; round++) {
		for (size_t i = 0; i < sizeof data; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			data[i] = (uint8_t)(x >> 32);
		}
		LLVMFuzzerTestOneInput(data, sizeof data);
	}
}
