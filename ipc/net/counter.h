/* A counter that one thread adds to, and any thread may read. */
#ifndef IPC_NET_COUNTER_H
#define IPC_NET_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

struct ipc_counter {
	_Atomic(uint64_t) n;
};

static inline uint64_t ipc_counter_get(const struct ipc_counter *c)
{
	return atomic_load_explicit(&c->n, memory_order_relaxed);
}

static inline void ipc_counter_add(struct ipc_counter *c, uint64_t n)
{
	atomic_store_explicit(&c->n, ipc_counter_get(c) + n, memory_order_relaxed);
}

#endif
