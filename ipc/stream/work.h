/*
 * What a member of a group has: the entries that were delivered to it, until the server has confirmed that they are answered. Entries are
 * found by their id. Messages are answered, or freed, by any thread: the answers collect here, and the thread of the stream is knocked at.
 *
 * All calls are made in the thread of the stream. An entry lives as long as it is in work or its message lives, and what they have in
 * common as long as one of them does.
 */
#ifndef IPC_STREAM_WORK_H
#define IPC_STREAM_WORK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/msg/msg.h"

#define IPC_ENTRY_ID 44

struct ipc_knock;
struct ipc_work;

/* "1795800707063-0" */
struct ipc_entry_id {
	uint64_t ms, seq;
};

enum ipc_entry_state {
	IPC_ENTRY_HAD,    /* nobody has answered */
	IPC_ENTRY_ACKED,  /* done with */
	IPC_ENTRY_NACKED, /* given back by its user */
	IPC_ENTRY_FREED,  /* its message was freed without an answer */
};

struct ipc_entry {
	struct ipc_receipt receipt; /* first: of its message */
	struct ipc_work *work;
	struct ipc_entry *chain; /* of those with the same hash */
	struct ipc_entry *next;  /* of those that were answered */
	struct ipc_entry_id id;
	int64_t since, given; /* its lease was renewed last; it was delivered. Of ipc_os_now() */
	int64_t after;        /* NACKED: milliseconds */
	unsigned tries;
	atomic_uint refs;
	atomic_bool held;
	enum ipc_entry_state state; /* the lock of the work guards this */
	bool shown;                 /* needs no answer: of a broadcast */
	bool untouched;             /* FREED before its user had it */
	bool asked;                 /* the server was told before, and the connection broke */
	char text[IPC_ENTRY_ID];
};

/* Entries, first in, first out. */
struct ipc_entry_list {
	struct ipc_entry *first, *last;
};

struct ipc_work {
	atomic_uint refs; /* the stream, and each entry */
	uint32_t epoch;
	pthread_mutex_t lock;    /* of these: */
	struct ipc_knock *knock; /* NULL: the stream has ended */
	struct ipc_entry_list answered;
	atomic_uint in_work; /* HAD; any thread may read it */

	size_t places, count; /* of the table: a power of two; and entries in it */
	struct ipc_entry **table;
};

/* For about @most entries at a time. NULL: ENOMEM. */
struct ipc_work *ipc_work_new(unsigned most);
void ipc_work_knock_at(struct ipc_work *w, struct ipc_knock *knock); /* or NULL: nobody listens */

/* The stream has ended: nothing can be answered any more. NULL is fine. In a forked child: memory only. */
void ipc_work_leave(struct ipc_work *w);

/* An id as text. -1: it is none. */
int ipc_entry_id_read(struct ipc_entry_id *id, const char *s, size_t len);
void ipc_entry_id_write(char to[IPC_ENTRY_ID], struct ipc_entry_id id);
static inline bool ipc_entry_id_less(struct ipc_entry_id a, struct ipc_entry_id b)
{
	return a.ms < b.ms || (a.ms == b.ms && a.seq < b.seq);
}

/* NULL: it is not here. */
struct ipc_entry *ipc_work_find(const struct ipc_work *w, struct ipc_entry_id id);

/* A new entry, which is not here yet, and has come @now; @m gets it as its receipt. -1: ENOMEM. */
int ipc_work_enter(struct ipc_work *w, struct aiomsg *m, struct ipc_entry_id id, unsigned tries, int64_t now);

/* @m has an id, and needs no answer. -1: ENOMEM. */
int ipc_work_show(struct ipc_work *w, struct aiomsg *m, struct ipc_entry_id id);

/* Is it a message of ours? Then its entry. */
struct ipc_entry *ipc_work_of(const struct ipc_work *w, const struct aiomsg *m);

/* What was answered since the last call. The entries stay in the table. */
struct ipc_entry_list ipc_work_answers(struct ipc_work *w);
void ipc_entry_append(struct ipc_entry_list *l, struct ipc_entry *e);
struct ipc_entry *ipc_entry_pop(struct ipc_entry_list *l);

/* The server has confirmed what was answered: the entry leaves the table. */
void ipc_work_done(struct ipc_work *w, struct ipc_entry *e);

/* How many nobody has answered. Any thread. */
unsigned ipc_work_count(const struct ipc_work *w);

#endif
