/* Keys from the kernel, and SipHash-2-4 by Aumasson and Bernstein, of eight bytes: see random.h. */
#include "ipc/os/random.h"

#include <unistd.h>

#include "ipc/os/os.h"

void ipc_os_random_key(struct ipc_key *key)
{
	if (getentropy(key, sizeof *key) == 0)
		return;
	key->half[0] = (uint64_t)ipc_os_now() * UINT64_C(0x9e3779b97f4a7c15);
	key->half[1] = (uint64_t)(uintptr_t)key ^ (uint64_t)getpid() << 32;
}

static uint64_t turned(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void rounds(uint64_t v[4], int n)
{
	while (n--) {
		v[0] += v[1];
		v[1] = turned(v[1], 13) ^ v[0];
		v[0] = turned(v[0], 32);
		v[2] += v[3];
		v[3] = turned(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = turned(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = turned(v[1], 17) ^ v[2];
		v[2] = turned(v[2], 32);
	}
}

uint64_t ipc_key_mix(const struct ipc_key *key, uint64_t number)
{
	const uint64_t k0 = key->half[0], k1 = key->half[1], length = UINT64_C(8) << 56;
	uint64_t v[4] = {
		k0 ^ UINT64_C(0x736f6d6570736575),
		k1 ^ UINT64_C(0x646f72616e646f6d),
		k0 ^ UINT64_C(0x6c7967656e657261),
		k1 ^ UINT64_C(0x7465646279746573) ^ number,
	};

	rounds(v, 2);
	v[0] ^= number;
	v[3] ^= length;
	rounds(v, 2);
	v[0] ^= length;
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
