/* A score of hope rises with each spin that succeeds soon, and falls with each other one. See spin.h. */
#include "ipc/flow/spin.h"

#include "ipc/os/sleep.h"

#define HOPE_FIRST 4
#define HOPE_MOST 8
#define SOON_NS 10000
#define TRIES 16 /* without hope, one wait of so many spins all the same: the load may have changed */

static uint8_t get(const _Atomic(uint8_t) *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

static void set(_Atomic(uint8_t) *n, int value)
{
	if (get(n) != value)
		atomic_store_explicit(n, (uint8_t)value, memory_order_relaxed);
}

void ipc_spin_init(struct ipc_spin *l)
{
	set(&l->hope, HOPE_FIRST);
	set(&l->skipped, 0);
}

void ipc_spin_wakes(void)
{
	ipc_os_parallel();
}

bool ipc_spin_pays(struct ipc_spin *l)
{
	int skipped = get(&l->skipped) + 1;

	if (!ipc_os_parallel())
		return false;
	if (get(&l->hope) == 0 && skipped < TRIES) {
		set(&l->skipped, skipped);
		return false;
	}
	set(&l->skipped, 0);
	return true;
}

void ipc_spin_took(struct ipc_spin *l, int64_t ns, bool found)
{
	int hope = get(&l->hope);

	if (found && ns < SOON_NS)
		set(&l->hope, hope < HOPE_MOST - 1 ? hope + 2 : HOPE_MOST);
	else if (found && hope == 0)
		set(&l->hope, 1);
	else if (hope > 0)
		set(&l->hope, hope - 1);
}
