/* Messages that somebody waits to be told of: done with, or to be tried again. Who that is has filled in the receipt: see msg.h. */
#include <errno.h>

#include "ipc/msg/msg.h"
#include "ipc/os/log.h"

static const struct ipc_delivery *delivery_of(const struct aiomsg *m)
{
	return m && m->receipt ? m->receipt->delivery : NULL;
}

int aiomsg_ack(struct aiomsg *m)
{
	const struct ipc_delivery *d = delivery_of(m);

	return d ? d->answer(m->receipt, true, 0) : 0;
}

int aiomsg_nack(struct aiomsg *m, int64_t after)
{
	const struct ipc_delivery *d = delivery_of(m);

	if (after < 0)
		return ipc_refuse("aiomsg_nack: a message can't be tried again %lld milliseconds ago",
				  (long long)-after);
	return d ? d->answer(m->receipt, false, after) : 0;
}

void aiomsg_hold(struct aiomsg *m)
{
	const struct ipc_delivery *d = delivery_of(m);

	if (d)
		d->hold(m->receipt);
}

const char *aiomsg_id(const struct aiomsg *m)
{
	const struct ipc_delivery *d = delivery_of(m);

	return d ? d->id(m->receipt) : NULL;
}

unsigned aiomsg_tries(const struct aiomsg *m)
{
	const struct ipc_delivery *d = delivery_of(m);

	return d ? d->tries(m->receipt) : 1;
}

void ipc_msg_settle(struct aiomsg *m, bool done)
{
	const struct ipc_delivery *d = delivery_of(m);
	int error = errno;

	if (d && !d->is_held(m->receipt))
		d->answer(m->receipt, done, 0);
	errno = error;
}
