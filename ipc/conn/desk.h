/*
 * The desk of a connection: the calls that came from the peer and were not answered yet. The messages of calls travel, through queues and
 * threads, and with each goes its way back: a ticket (ipc/msg/ticket.h), which leads here. The desk outlives the connection as long as
 * there are tickets. One whose last message is gone is owed an answer, which the connection sends when it comes round.
 *
 * Tickets may be dropped in any thread, and in a forked child, which leaves the desk alone. All else is for the connection's own thread.
 */
#ifndef IPC_CONN_DESK_H
#define IPC_CONN_DESK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/msg/msg.h"

struct ipc_desk;
struct ipc_knock;
struct ipc_own;

/* NULL with ENOMEM. */
struct ipc_desk *ipc_desk_new(void);

/* Nothing is answered any more. strand: the connection has ended. close: it is over, too. NULL is fine. */
void ipc_desk_strand(struct ipc_desk *d);
void ipc_desk_close(struct ipc_desk *d);

/* The call @m came, with this number: gives it a ticket. -1: ENOMEM, EEXIST (there is one of this number). */
int ipc_desk_take(struct ipc_desk *d, struct aiomsg *m, uint64_t id);

/* How many are not answered. */
size_t ipc_desk_count(const struct ipc_desk *d);

/* The caller gave it up. False: there is no such call. */
bool ipc_desk_cancel(struct ipc_desk *d, uint64_t id);

/*
 * @answer is to be sent over the connection of @d: 1, and its call's number, the call counts as answered then; 0: nobody wants it any more.
 * -1: ESTALE (it is of another connection), EALREADY (it was answered). not_sent: the call was not answered after all.
 */
int ipc_desk_answer(struct ipc_desk *d, const struct aiomsg *answer, uint64_t *id);
void ipc_desk_not_sent(const struct aiomsg *answer);

/*
 * The next one that is owed something: *@answer, which somebody gave for it, or a refusal (NULL), as nobody can answer it any more. 1, 0 none.
 * paid: it is in the queue.
 */
int ipc_desk_owes(struct ipc_desk *d, uint64_t *id, struct aiomsg **answer);
void ipc_desk_paid(struct ipc_desk *d);

/*
 * Who is to be told when something becomes owed, in whatever thread: a loop, by a knock, and one that sleeps in poll, by a bell. Both belong to
 * the caller, who sets NULL before they go.
 */
void ipc_desk_set_knock(struct ipc_desk *d, struct ipc_knock *knock);
struct ipc_knock *ipc_desk_knock(const struct ipc_desk *d);
void ipc_desk_set_bell(struct ipc_desk *d, const struct ipc_own *bell);

#endif
