/* A score of hope rises with each spin that succeeds soon, and falls with each other one. See spin.h. */
#include "ipc/flow/spin.h"

#include "ipc/os/sleep.h"

#define HOPE_FIRST 4
#define HOPE_MOST 8
#define SOON_NS 10000
#define TRIES 16 /* without hope, one wait of so many spins all the same: the load may have changed */

void ipc_spin_init(struct ipc_spin *l)
{
	l->hope = HOPE_FIRST;
	l->skipped = 0;
}

void ipc_spin_wakes(void)
{
	ipc_os_parallel();
}

bool ipc_spin_pays(struct ipc_spin *l)
{
	if (!ipc_os_parallel())
		return false;
	if (l->hope > 0 || ++l->skipped == TRIES) {
		l->skipped = 0;
		return true;
	}
	return false;
}

void ipc_spin_took(struct ipc_spin *l, int64_t ns, bool found)
{
	if (found && ns < SOON_NS)
		l->hope = l->hope < HOPE_MOST - 1 ? l->hope + 2 : HOPE_MOST;
	else if (found && l->hope == 0)
		l->hope = 1;
	else if (l->hope > 0)
		l->hope--;
}
