/* Those who wait, and their line: see place.h. */
#include "ipc/flow/line.h"

#include <errno.h>
#include <stddef.h>

#include "ipc/end/wait.h"
#include "ipc/os/sleep.h"

enum state { AWAKE, ASLEEP, WOKEN };

void ipc_line_join(struct ipc_line *l, struct ipc_place *p)
{
	p->next = NULL;
	p->prev = l->last;
	if (l->last)
		l->last->next = p;
	else
		l->first = p;
	l->last = p;
	p->in_line = true;
}

void ipc_line_leave(struct ipc_line *l, struct ipc_place *p)
{
	if (p->prev)
		p->prev->next = p->next;
	else
		l->first = p->next;
	if (p->next)
		p->next->prev = p->prev;
	else
		l->last = p->prev;
	p->in_line = false;
}

int ipc_place_wait(struct ipc_place *p, int64_t deadline)
{
	unsigned state = AWAKE;

	atomic_compare_exchange_strong(&p->state, &state, ASLEEP);
	while (atomic_load_explicit(&p->state, memory_order_acquire) != WOKEN) {
		int64_t left = ipc_deadline_left(deadline);

		if (left == 0)
			errno = ETIMEDOUT;
		if (left == 0 || ipc_os_sleep(&p->state, ASLEEP, left) == -1)
			return -1;
	}
	return 0;
}

void ipc_line_wake(struct ipc_line *l)
{
	struct ipc_place *p = l->first, *next;

	for (; p; p = next) {
		next = p->next;
		if (atomic_exchange(&p->state, WOKEN) == ASLEEP)
			ipc_os_wake(&p->state);
	}
}
