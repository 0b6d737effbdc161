/*
 * The log: see log.h. A callback and its argument must be read together, and without a lock: a thread of the parent may hold any lock when
 * another thread forks. So each pair is a node that never changes and is never freed. A pair that was set before is used again, so the
 * list of nodes grows only by pairs that are new.
 */
#include "ipc/os/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <aioipc/base.h>

#include "ipc/os/text.h"

struct listener {
	struct listener *next;
	aioipc_log_cb *cb;
	void *arg;
};

static _Atomic(struct listener *) all;     /* all that were ever set, the last one first */
static _Atomic(struct listener *) current; /* NULL: no log is wanted */

static struct listener *find(aioipc_log_cb *cb, const void *arg)
{
	struct listener *l = atomic_load(&all);

	while (l && (l->cb != cb || l->arg != arg))
		l = l->next;
	return l;
}

/* Two threads that set the same pair at once may add it twice, which does no harm. */
static struct listener *add(aioipc_log_cb *cb, void *arg)
{
	struct listener *l = malloc(sizeof *l);

	if (!l)
		return NULL;
	*l = (struct listener){atomic_load(&all), cb, arg};
	while (!atomic_compare_exchange_weak(&all, &l->next, l))
		;
	return l;
}

void aioipc_set_log(aioipc_log_cb *cb, void *arg)
{
	struct listener *l = NULL;

	if (cb && !(l = find(cb, arg)) && !(l = add(cb, arg)))
		return;
	atomic_store(&current, l);
}

void ipc_log(const char *format, ...)
{
	const struct listener *l = atomic_load(&current);
	char text[512];
	int error = errno;
	va_list ap;

	if (!l)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	ipc_text_tame(text);
	l->cb(text, l->arg);
	errno = error;
}
