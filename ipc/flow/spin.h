/*
 * Does it pay to spin for a while before sleeping? To fall asleep and be woken takes longer than many waits last. Each side
 * of a queue learns from its last spins whether another one is worth it. This file only decides; queue.c spins.
 */
#ifndef IPC_FLOW_SPIN_H
#define IPC_FLOW_SPIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define IPC_SPIN_NS 50000 /* the longest spin: about the time to wake a thread on an idle processor */

/* Any thread may call the functions below at any time. A lost update does no harm: all of it is a guess. */
struct ipc_spin {
	_Atomic(uint8_t) hope, skipped;
};

void ipc_spin_init(struct ipc_spin *l);

/* Each thread that waits or wakes calls one of the next two at least once. They learn so whether threads run in parallel. */
void ipc_spin_wakes(void);

/* The caller has to wait: shall it spin first? */
bool ipc_spin_pays(struct ipc_spin *l);

/* The caller spun for @ns; @found: what it waited for came. */
void ipc_spin_took(struct ipc_spin *l, int64_t ns, bool found);

#endif
