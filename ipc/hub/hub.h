/*
 * The inside of a hub. Calls go down: hub.c has the public calls, and members.c who belongs to it, and what a connection tells it.
 *
 * A member is hooked into its connection. It leaves, and is freed, when the connection is over or can send no more. That may happen
 * inside any call that writes; so nothing may be done with a member behind such a call.
 */
#ifndef IPC_HUB_HUB_H
#define IPC_HUB_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include <aioipc/hub.h>

#include "ipc/conn/hook.h"
#include "ipc/loop/watch.h"
#include "ipc/task/task.h"
#include "ipc/wire/cast.h"

/* Members whose streams look alike share the bytes of each message. */
struct ipc_hub_form {
	struct ipc_cast cast;
	unsigned members;
	struct ipc_hub_form *next;
};

struct ipc_hub_member {
	struct ipc_conn_hook hook; /* first */
	struct aiohub *hub;
	struct aioconn *conn;
	struct ipc_hub_form *form;
	size_t place;  /* in the list */
	uint64_t last; /* the number of the message that it got last */
	uint64_t skipped;
	size_t need; /* a send waits until so many bytes have room; 0 */
	bool slow;   /* it had no room */
};

struct aiohub {
	uint32_t epoch;
	struct aiohub_options o;
	struct ipc_watch *turn; /* no descriptor: fires at the end of this turn */
	bool turn_asked;

	struct ipc_hub_member **members;
	size_t n, room;
	size_t limit; /* no member takes less; it may take more */
	struct ipc_hub_form *forms;

	struct ipc_waiters waiters; /* tasks that send */
	bool refused;               /* on_writable is due when all have room */
	size_t refused_len;         /* for a message of this length */
	unsigned holds;             /* the handle, and calls that wait */
	bool freed;

	struct ipc_row *row; /* where the program keeps statistics; NULL */
	uint64_t messages, sent, skipped, closed;
};

/* members.c */

/* NULL with errno. The connection is ready for it. */
struct ipc_hub_member *ipc_hub_add(struct aiohub *h, struct aioconn *c);
struct ipc_hub_member *ipc_hub_find(const struct aiohub *h, const struct aioconn *c);

/* Takes it out of its hub and its connection, and frees it. */
void ipc_hub_remove(struct ipc_hub_member *m);

/* A member that had no room, or a send that waits for it, may go on: see hub.c. */
void ipc_hub_stir(struct aiohub *h);

/* How many are slow now: see aiohub_stats(). */
unsigned ipc_hub_count_slow(const struct aiohub *h);

/* Its numbers have changed, for the statistics that the program may keep. */
void ipc_hub_tell_row(struct aiohub *h);

/* Asks for a turn of the hub. */
void ipc_hub_soon(struct aiohub *h);

#endif
