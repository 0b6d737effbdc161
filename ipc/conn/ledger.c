/* How much the connections of one owner hold in all: see ledger.h. */
#include "ipc/conn/ledger.h"

#include "ipc/conn/conn.h"

/* It must fall an eighth below the most before it is not over any more. So it does not change with every message. */
static void weigh(struct ipc_ledger *l)
{
	bool over = l->held > (l->over ? l->most - l->most / 8 : l->most);

	if (l->held > l->peak)
		l->peak = l->held;
	if (over == l->over)
		return;
	l->over = over;
	l->changed(l);
}

void ipc_ledger_charge(struct ipc_ledger *l, size_t more, size_t less)
{
	l->held += more - less;
	weigh(l);
}

void ipc_conn_charge(struct aioconn *c)
{
	size_t held;

	if (!c->ledger)
		return;
	held = c->inbox.bytes + ipc_in_memory(&c->in);
	if (c->carrier.how->held)
		held += c->carrier.how->held(&c->carrier);
	c->ledger->held += held - c->charged;
	c->charged = held;
	weigh(c->ledger);
}

void ipc_conn_put_on(struct aioconn *c, struct ipc_ledger *l)
{
	struct ipc_ledger *before = c->ledger;

	c->ledger = l;
	if (before) {
		before->held -= c->charged;
		weigh(before);
	}
	c->charged = 0;
	ipc_conn_charge(c);
}

bool ipc_conn_must_wait(const struct aioconn *c)
{
	const struct ipc_ledger *l = c->ledger;

	return l && l->over && !c->polled && c->charged > l->share && c->charged <= l->held / 2;
}
