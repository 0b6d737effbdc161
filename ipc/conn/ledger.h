/*
 * How much the connections of one owner, a listener, hold in all: bytes that came and that nobody has taken yet. When they hold
 * too much, a connection with more than its share is not read until others hold less. But one with more than half of
 * everything is still read, so a message of any legal size always gets through.
 */
#ifndef IPC_CONN_LEDGER_H
#define IPC_CONN_LEDGER_H

#include <stdbool.h>
#include <stddef.h>

struct aioconn;

struct ipc_ledger {
	size_t held, peak, most, share;
	bool over; /* they hold too much */
	void (*changed)(
		struct ipc_ledger *l); /* @over changed; must not change a connection before it returns */
};

/* What is held for the owner and belongs to no connection: @more, and @less. */
void ipc_ledger_charge(struct ipc_ledger *l, size_t more, size_t less);

void ipc_conn_put_on(struct aioconn *c, struct ipc_ledger *l); /* NULL: takes @c off its ledger */
void ipc_conn_charge(struct aioconn *c);                       /* what @c holds may have changed */
bool ipc_conn_must_wait(const struct aioconn *c);              /* is not read until others hold less */

#endif
