/*
 * What the two sides of a connection tell each other, where they confirm messages. Each says hello: who it is as a sender, and the first
 * number that it may send. The other side answers which number of this sender it had last, and up to which its program is done with all
 * of them. Then the sending begins behind that. When the program is done with more, the sender is told, and holds those no longer.
 * The numbers themselves do not travel: each message has the next one.
 *
 * The peer is told often while messages come: so it can go on. When none come, a timer tells it, and after that the book knocks.
 */
#include <errno.h>
#include <string.h>

#include "ipc/conn/output.h"
#include "ipc/conn/send.h"
#include "ipc/link/link.h"
#include "ipc/loop/knock.h"
#include "ipc/wire/frame.h"

#define TELL_NS                                                                                              \
	(INT64_C(1) * 1000 *                                                                                 \
	 1000) /* from a message to when the peer is told that it was taken, if no more come */
#define RETRY_NS (INT64_C(10) * 1000 * 1000) /* when there is no memory */
#define TELL_MESSAGES 1024
#define TELL_BYTES ((size_t)256 * 1024)

static void put_number(unsigned char *at, uint64_t n)
{
	ipc_frame_write_id(at, n);
}

static uint64_t number_at(const struct aiomsg *m, size_t at)
{
	return ipc_frame_read_id(m->data + at);
}

/* Hello: who sends, two numbers; the first that it may send; how many may be unconfirmed, 0: it does not confirm; 0. */
static int say_hello(struct aioconn *c, const struct ipc_key *id, uint64_t first, uint64_t most)
{
	unsigned char hello[IPC_HELLO_LEN];

	put_number(hello, id->half[0]);
	put_number(hello + 8, id->half[1]);
	put_number(hello + 16, first);
	put_number(hello + 24, most);
	return ipc_conn_send_confirming(c, IPC_FRAME_HELLO, hello, sizeof hello);
}

void ipc_confirm_decline(struct aioconn *c)
{
	const struct ipc_key none = {{0, 0}};

	say_hello(c, &none, 0, 0);
}

static int say_had(struct aiolink *l)
{
	unsigned char had[IPC_HAD_LEN];

	put_number(had, l->confirm.had);
	put_number(had + 8, l->confirm.taken);
	return ipc_conn_send_confirming(l->conn, IPC_FRAME_HAD, had, sizeof had);
}

static int say_taken(struct aiolink *l)
{
	unsigned char taken[IPC_TAKEN_LEN];

	put_number(taken, l->confirm.taken);
	return ipc_conn_send_confirming(l->conn, IPC_FRAME_TAKEN, taken, sizeof taken);
}

static void wait_a_little(struct aiolink *l)
{
	if (l->confirm.waits)
		return;
	l->confirm.waits = true;
	ipc_watch_later(l->confirm.timer, TELL_NS);
}

static int tell_taken(struct aiolink *l)
{
	struct ipc_link_confirm *k = &l->confirm;

	if (say_taken(l) == -1)
		return -1;
	k->told = k->taken;
	k->bytes = 0;
	if (k->told < ipc_book_had(k->book))
		wait_a_little(l);
	return 0;
}

static int say_what_is_due(struct aiolink *l)
{
	struct ipc_link_confirm *k = &l->confirm;

	if (!k->said_hello && say_hello(l->conn, &k->id, l->outgoing.first, IPC_BOOK_MOST) == -1)
		return -1;
	k->said_hello = true;
	if (k->owes_had && say_had(l) == -1)
		return -1;
	k->owes_had = false;
	return k->taken > k->told ? tell_taken(l) : 0;
}

/* Where there is no room, on_writable tells when there is. */
void ipc_confirm_flush(struct aiolink *l)
{
	if (!l->o.confirm || !l->conn || l->ours != IPC_LINK_SENDS)
		return;
	if (say_what_is_due(l) == -1 && errno != EAGAIN)
		ipc_course_after(&l->course, RETRY_NS);
}

/* While messages come. */

void ipc_confirm_mind(struct aiolink *l)
{
	struct ipc_link_confirm *k = &l->confirm;
	uint64_t taken;

	if (!k->book)
		return;
	taken = ipc_book_taken(k->book);
	if (taken - k->told >= TELL_MESSAGES || (taken > k->told && k->bytes >= TELL_BYTES)) {
		k->taken = taken;
		ipc_confirm_flush(l);
	}
	if (ipc_book_had(k->book) > k->told)
		wait_a_little(l);
}

/* Time has passed, or the program has freed something. As long as it goes on to, the timer goes on. */
void ipc_confirm_look(struct aiolink *l)
{
	struct ipc_link_confirm *k = &l->confirm;
	uint64_t taken;

	if (!k->book || l->ours != IPC_LINK_SENDS)
		return;
	ipc_book_look_away(k->book);
	taken = ipc_book_taken(k->book);
	if (taken > k->told) {
		k->taken = taken;
		ipc_confirm_flush(l);
	} else if (taken < ipc_book_had(k->book) && !ipc_book_watch(k->book, taken)) {
		wait_a_little(l);
	}
}

static void on_time(short what, void *arg)
{
	struct aiolink *l = arg;

	(void)what;
	l->confirm.waits = false;
	ipc_confirm_look(l);
}

static void on_knock(void *arg)
{
	struct aiolink *l = arg;

	if (!l->confirm.waits)
		ipc_confirm_look(l);
}

/* What the peer says. */

static const char *broken(int error, const char *why)
{
	errno = error;
	return why;
}

/* The book of a sender that is known goes on, unless the sender has been confirmed more by others: then numbers are missing here. */
static bool goes_on(struct ipc_book *b, const struct ipc_key *sender, uint64_t first)
{
	return b && ipc_book_is_of(b, sender) && first <= ipc_book_taken(b) + 1;
}

/* Finds the book of the sender, or a new one, and puts it first. -1/ENOMEM. */
static int open_book(struct ipc_link_confirm *k, const struct ipc_key *sender, uint64_t first)
{
	struct ipc_book *b;
	size_t i = 0;

	while (i < IPC_LINK_BOOKS - 1 && k->books[i] && !ipc_book_is_of(k->books[i], sender))
		i++;
	b = k->books[i];
	if (!goes_on(b, sender, first)) {
		b = ipc_book_new(sender, first - 1, k->knock);
		if (!b)
			return -1;
		ipc_book_leave(k->books[i]);
	}
	memmove(k->books + 1, k->books, i * sizeof(struct ipc_book *));
	k->books[0] = k->book = b;
	return 0;
}

static const char *heard_hello(struct aiolink *l, const struct aiomsg *m)
{
	struct ipc_link_confirm *k = &l->confirm;
	struct ipc_key sender = {{number_at(m, 0), number_at(m, 8)}};
	uint64_t first = number_at(m, 16);

	if (number_at(m, 24) == 0)
		return broken(EPROTO, "the peer does not confirm messages: both sides must ask for that");
	if (k->heard_hello || first == 0)
		return broken(EPROTO, "the peer said hello twice, or with no number");
	if (number_at(m, 24) != IPC_BOOK_MOST)
		return broken(EPROTO, "the peer holds another number of messages");
	if (l->inbox && open_book(k, &sender, first) == -1)
		return broken(ENOMEM, "there is no memory to confirm messages");
	k->heard_hello = k->owes_had = true;
	k->had = k->book ? ipc_book_had(k->book) : first - 1;
	k->taken = k->told = k->book ? ipc_book_taken(k->book) : first - 1;
	ipc_confirm_flush(l);
	ipc_confirm_mind(l);
	return NULL;
}

static const char *heard_had(struct aiolink *l, const struct aiomsg *m)
{
	if (l->confirm.begun || !l->confirm.said_hello)
		return broken(EPROTO, "the peer answered what was not asked");
	if (ipc_outgoing_resume(&l->outgoing, number_at(m, 0), number_at(m, 8)) == -1)
		return broken(EPROTO, "the peer says that it had what it can't have had");
	l->confirm.begun = true;
	return NULL;
}

const char *ipc_confirm_heard(struct aiolink *l, const struct aiomsg *m)
{
	if (m->kind == IPC_FRAME_HELLO)
		return heard_hello(l, m);
	if (m->kind == IPC_FRAME_HAD)
		return heard_had(l, m);
	if (!l->confirm.begun || ipc_outgoing_confirmed(&l->outgoing, number_at(m, 0)) == -1)
		return broken(EPROTO, "the peer confirms what was not sent");
	return NULL;
}

/* Calls end by their answers, and have no numbers. */
const char *ipc_confirm_came(struct aiolink *l, struct aiomsg *m)
{
	if (m->role != IPC_PLAIN)
		return NULL;
	if (!l->confirm.book)
		return broken(EPROTO, "the peer does not confirm messages: both sides must ask for that");
	if (ipc_book_enter(l->confirm.book, m) == -1)
		return errno == ENOMEM ? broken(ENOMEM, "there is no memory to confirm messages")
				       : broken(EPROTO, "the peer sends more than may be unconfirmed");
	l->confirm.bytes += m->len;
	return NULL;
}

/* Beginnings and ends. */

void ipc_confirm_begin(struct aiolink *l)
{
	struct ipc_link_confirm *k = &l->confirm;

	k->book = NULL;
	k->said_hello = k->heard_hello = k->owes_had = k->begun = k->looked = false;
	k->had = k->taken = k->told = 0;
	k->bytes = 0;
	if (l->o.confirm)
		ipc_confirm_flush(l);
}

void ipc_confirm_end(struct aiolink *l)
{
	if (l->confirm.book)
		ipc_book_look_away(l->confirm.book);
	l->confirm.book = NULL;
}

int ipc_confirm_equip(struct aiolink *l)
{
	if (!l->o.confirm || !l->inbox)
		return 0;
	l->confirm.knock = ipc_knock_new(l->status.base, on_knock, l);
	l->confirm.timer = ipc_watch_new(l->status.base, -1, on_time, l);
	return l->confirm.knock && l->confirm.timer ? 0 : -1;
}

void ipc_confirm_unequip(struct aiolink *l)
{
	struct ipc_link_confirm *k = &l->confirm;

	k->book = NULL;
	for (size_t i = 0; i < IPC_LINK_BOOKS; i++) {
		ipc_book_leave(k->books[i]);
		k->books[i] = NULL;
	}
	ipc_knock_free(k->knock);
	ipc_watch_free(k->timer);
	k->knock = NULL;
	k->timer = NULL;
	k->waits = false;
}
