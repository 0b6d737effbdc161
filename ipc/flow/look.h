/*
 * Whether it pays to look for a while before going to sleep: to fall asleep and be woken takes longer than many things that one
 * waits for. Each side of a queue learns it from how its last looks went. Does not look itself: queue.c does.
 */
#ifndef IPC_FLOW_LOOK_H
#define IPC_FLOW_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#define IPC_LOOK_NS                                                                                          \
	50000 /* the longest look: about what it takes to be woken on a processor that has gone idle */

/* Guarded by whom it belongs to. */
struct ipc_look {
	uint8_t hope, skipped;
};

void ipc_look_init(struct ipc_look *l);

/* Each thread that waits or wakes others has to be seen once by one of these: they may run beside each other. */
void ipc_look_wakes(void);

/* Who waits now: shall it look? */
bool ipc_look_pays(struct ipc_look *l);

/* It did, for @ns, and found something, or nothing. */
void ipc_look_took(struct ipc_look *l, int64_t ns, bool found);

#endif
