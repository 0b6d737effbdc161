/*
 * The statistics that a program keeps with AIOIPC_STATS in its environment, for `aioipc top`: a file of its own in memory, with a row for
 * each connection, link, queue, service, hub, child and stream. Who makes such a thing takes a row, stores its numbers there when they have
 * changed, and gives the row back. No thread, and no lock but for the first row. Without that variable there are no rows, and nothing is
 * stored. A child has a file of its own, from the first thing that it makes; it stores nothing in rows of its parent's.
 */
#ifndef IPC_OWN_BOARD_H
#define IPC_OWN_BOARD_H

#include <stdbool.h>

#include "ipc/own/row.h"

/* NULL: no statistics are wanted, or there are no more rows. Not while the mutex of epoch.h is held. Keeps errno. */
struct ipc_row *ipc_board_take(enum ipc_row_kind kind, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* @row may be NULL, as in those below. In a forked child it does nothing for a row of the parent's. */
void ipc_board_give_back(struct ipc_row *row);

/* Adds to the name, behind a comma. */
void ipc_board_name(struct ipc_row *row, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Its number, for the names of others; 0. */
unsigned long ipc_board_id(const struct ipc_row *row);

/* Has this process the row? Not a child that inherited it. */
bool ipc_board_has(const struct ipc_row *row);

/* This process ends in order: removes its file. */
void ipc_board_end(void);

static inline void ipc_row_set(struct ipc_row *row, unsigned i, uint64_t value)
{
	atomic_store_explicit(&row->value[i], value, memory_order_relaxed);
}

#endif
