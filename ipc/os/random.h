/* Numbers that nobody guesses. */
#ifndef IPC_OS_RANDOM_H
#define IPC_OS_RANDOM_H

#include <stdint.h>

/* A key. Where the kernel has no randomness to give, it is made of what others can hardly know. */
struct ipc_key {
	uint64_t half[2];
};
void ipc_os_random_key(struct ipc_key *key);

/* SipHash-2-4 of one number: without the key nobody finds one result from others. */
uint64_t ipc_key_mix(const struct ipc_key *key, uint64_t number);

#endif
