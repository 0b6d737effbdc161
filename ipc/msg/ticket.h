/*
 * The way back of a call: what the message of a call, and every answer that was made to it, hold together. What it leads to is the business of
 * who made it, on a floor above: it is told when the last of these messages is gone.
 */
#ifndef IPC_MSG_TICKET_H
#define IPC_MSG_TICKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/msg/msg.h"

struct ipc_ticket;

struct ipc_ticket_ops {
	int (*check)(const struct ipc_ticket *t);   /* may it be answered in this process? -1/ECHILD */
	bool (*wanted)(const struct ipc_ticket *t); /* does anybody wait for the answer? Any thread */
	void (*dropped)(struct ipc_ticket *t);      /* no message is left. Any thread, any process */
	/* Sends an answer by the way that its call came, and takes a reference. As aiomsg_send_answer(). */
	int (*send)(struct ipc_ticket *t, struct aiomsg *answer);
};

struct ipc_ticket {
	atomic_uint holders; /* messages */
	const struct ipc_ticket_ops *ops;
};

/* @m, which nobody else has, becomes one of those that hold @t. */
static inline void ipc_ticket_give(struct ipc_ticket *t, struct aiomsg *m, enum ipc_role role)
{
	atomic_fetch_add_explicit(&t->holders, 1, memory_order_relaxed);
	m->role = role & 7U;
	m->ticket = t;
}

/* One that held it is gone. */
static inline void ipc_ticket_drop(struct ipc_ticket *t)
{
	if (atomic_fetch_sub_explicit(&t->holders, 1, memory_order_acq_rel) == 1)
		t->ops->dropped(t);
}

/* A message with the same payload, and duplicates of the descriptors, and nothing else. NULL: ENOMEM, EMFILE. */
struct aiomsg *ipc_msg_copy(const struct aiomsg *m);

/* A message of these words that has an error, which is no 0. NULL with ENOMEM, EMSGSIZE. */
struct aiomsg *ipc_msg_refusal(uint32_t error, const char *text);

/* @m came with the error, little-endian, in front of the words: makes a refusal of it. -1: the error is none. */
int ipc_msg_split_refusal(struct aiomsg *m);

/* The error of a refusal. */
uint32_t ipc_msg_refusal_error(const struct aiomsg *m);

#endif
