/* Hope rises with each look that finds something soon, and sinks with the others: see look.h. */
#include "ipc/flow/look.h"

#include "ipc/os/sleep.h"

#define HOPE_FIRST 4
#define HOPE_MOST 8
#define SOON_NS 10000
#define TRIES 16 /* without hope one of so many looks all the same: times may have changed */

void ipc_look_init(struct ipc_look *l)
{
	l->hope = HOPE_FIRST;
	l->skipped = 0;
}

void ipc_look_wakes(void)
{
	ipc_os_parallel();
}

bool ipc_look_pays(struct ipc_look *l)
{
	if (!ipc_os_parallel())
		return false;
	if (l->hope > 0 || ++l->skipped == TRIES) {
		l->skipped = 0;
		return true;
	}
	return false;
}

void ipc_look_took(struct ipc_look *l, int64_t ns, bool found)
{
	if (found && ns < SOON_NS)
		l->hope = l->hope < HOPE_MOST - 1 ? l->hope + 2 : HOPE_MOST;
	else if (found && l->hope == 0)
		l->hope = 1;
	else if (l->hope > 0)
		l->hope--;
}
