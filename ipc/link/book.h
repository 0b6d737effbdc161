/*
 * What came from one sender, over all its connections to this link, and which of it the program is done with. Each message of the sender has a
 * number: 1, 2, and so on. A message is done with when the last reference to it was freed, by any thread. The first number that is not yet
 * done with tells how far all is. It knows no connections.
 *
 * A book lives as long as its link, and as long as there are messages that are entered in it. All calls are made in the thread of the
 * link, but messages are freed anywhere.
 */
#ifndef IPC_LINK_BOOK_H
#define IPC_LINK_BOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/os/random.h"

#define IPC_BOOK_MOST 4096 /* messages of a sender that are not done with */

struct aiomsg;
struct ipc_book;
struct ipc_knock;

/* Everything up to @had came before. When ipc_book_watch() asks for it, @knock is knocked at. NULL with ENOMEM. */
struct ipc_book *ipc_book_new(const struct ipc_key *sender, uint64_t had, struct ipc_knock *knock);

/* The link forgets it; nobody is told any more. NULL is fine. In a forked child: frees memory only. */
void ipc_book_leave(struct ipc_book *b);

bool ipc_book_is_of(const struct ipc_book *b, const struct ipc_key *sender);

/* The number of the last message that came, and the last up to which the program is done with all. */
uint64_t ipc_book_had(const struct ipc_book *b);
uint64_t ipc_book_taken(struct ipc_book *b);

/* @m came, and is the next. -1: ENOMEM, EOVERFLOW (as many as may be are not done with). */
int ipc_book_enter(struct ipc_book *b, struct aiomsg *m);

/* @m is dropped before the program had it. It is never done with, and so nothing behind it. If it is in no book, nothing happens. */
void ipc_book_tear_out(struct aiomsg *m);

/*
 * Knocks when the next message is freed, until it looks away. False: some were freed since ipc_book_taken() returned @taken, so look
 * again.
 */
bool ipc_book_watch(struct ipc_book *b, uint64_t taken);
void ipc_book_look_away(struct ipc_book *b);

#endif
