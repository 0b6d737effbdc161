/* A stack of bundles for each class: see depot.h. One that is locked when the process forks stays out of use in the child. */
#include "ipc/msg/depot.h"

#include <stdatomic.h>
#include <stddef.h>

static struct shelf {
	_Alignas(64) atomic_flag locked;
	atomic_uint bundles; /* may be looked at without the lock */
	struct ipc_block *first;
} shelves[IPC_DEPOT_CLASSES];

static bool lock(struct shelf *s)
{
	return !atomic_flag_test_and_set_explicit(&s->locked, memory_order_acquire);
}

static void unlock(struct shelf *s)
{
	atomic_flag_clear_explicit(&s->locked, memory_order_release);
}

static unsigned count(const struct shelf *s)
{
	return atomic_load_explicit(&s->bundles, memory_order_relaxed);
}

static void set_count(struct shelf *s, unsigned n)
{
	atomic_store_explicit(&s->bundles, n, memory_order_relaxed);
}

bool ipc_depot_leave(unsigned k, struct ipc_block *bundle, unsigned most)
{
	struct shelf *s = &shelves[k];
	bool room;

	if (count(s) >= most || !lock(s))
		return false;
	room = count(s) < most;
	if (room) {
		bundle->bundle = s->first;
		s->first = bundle;
		set_count(s, count(s) + 1);
	}
	unlock(s);
	return room;
}

struct ipc_block *ipc_depot_fetch(unsigned k)
{
	struct shelf *s = &shelves[k];
	struct ipc_block *bundle;

	if (count(s) == 0 || !lock(s))
		return NULL;
	bundle = s->first;
	if (bundle) {
		s->first = bundle->bundle;
		set_count(s, count(s) - 1);
	}
	unlock(s);
	return bundle;
}
