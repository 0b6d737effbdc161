/*
 * RESP 2, the protocol of Redis and Valkey, as far as a client of streams needs it. Commands are written into a buffer. Replies are split off
 * a buffer, each whole, and are then walked through item by item. It knows no descriptor and no clock, and has a limit for everything that a
 * server could make grow, so it can be fuzzed as it is.
 */
#ifndef IPC_STREAM_RESP_H
#define IPC_STREAM_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IPC_RESP_DEPTH 8             /* arrays in arrays */
#define IPC_RESP_LINE 65536          /* bytes of a line */
#define IPC_RESP_ITEMS (1 << 20)     /* of an array */
#define IPC_RESP_BULK ((size_t)1024) /* beside the limit of a reply: what frames a string */

/* What each item is checked for. */
struct ipc_resp_check {
	size_t most;     /* bytes of one string, and of one reply with a little more */
	const char *why; /* the last -1 */
};

/* Replies that come in. */
struct ipc_resp_in {
	char *buf;
	size_t room, start, end;      /* of the buffer, start to end is held */
	size_t at;                    /* from start on, so much was looked at, and these arrays are open: */
	int64_t left[IPC_RESP_DEPTH]; /* items that each one still misses */
	unsigned depth;
	struct ipc_resp_check check;
};

/* One item of a reply: '+', '-' with a text; ':' with n; '$' with bytes (s is NULL: nil); '*' with n items that follow (-1: nil). */
struct ipc_resp_item {
	char type;
	int64_t n;
	const char *s;
	size_t len;
};

/* A whole reply that is being read. It lies in the buffer, and is good until the next call of ipc_resp_room(). */
struct ipc_resp_walk {
	const char *at, *end;
};

void ipc_resp_init(struct ipc_resp_in *in, size_t most);
void ipc_resp_free(struct ipc_resp_in *in);

/* Where to put at least @least bytes that came; NULL: ENOMEM. Then how many came. */
char *ipc_resp_room(struct ipc_resp_in *in, size_t least);
void ipc_resp_filled(struct ipc_resp_in *in, size_t len);

/* 1: @w is the next whole reply. 0: there is none yet. -1, and in->check.why in words: EPROTO, EMSGSIZE. */
int ipc_resp_next(struct ipc_resp_in *in, struct ipc_resp_walk *w);

/* The next item; false at the end. */
bool ipc_resp_get(struct ipc_resp_walk *w, struct ipc_resp_item *i);

/* The next item, with all that is in it, is left out. */
void ipc_resp_skip(struct ipc_resp_walk *w);

/* The next item if it is of this kind: an array, which may be nil (0 items); a string that is not nil; a number. Else false. */
bool ipc_resp_array(struct ipc_resp_walk *w, int64_t *n);
bool ipc_resp_string(struct ipc_resp_walk *w, struct ipc_resp_item *i);
bool ipc_resp_number(struct ipc_resp_walk *w, int64_t *n);

/* Is it this text? */
bool ipc_resp_is(const struct ipc_resp_item *i, const char *text);

/* A decimal number that fills the text. -1: it is none. */
int ipc_resp_decimal(const char *s, size_t len, int64_t *n);

/* Writes that number, and no NUL; how long that is, 20 at most. */
size_t ipc_resp_digits(char *to, uint64_t n);

/* Commands that go out. */
struct ipc_resp_out {
	char *buf;
	size_t len, room;
	bool failed; /* ENOMEM */
};

void ipc_resp_begin(struct ipc_resp_out *o, size_t args);
void ipc_resp_arg(struct ipc_resp_out *o, const void *data, size_t len);
void ipc_resp_str(struct ipc_resp_out *o, const char *s);
void ipc_resp_int(struct ipc_resp_out *o, int64_t n);

/* A whole command of texts; NULL ends the list. */
void ipc_resp_command(struct ipc_resp_out *o, const char *first, ...) __attribute__((sentinel));

/* Nothing is left to be sent; a large buffer is given back. */
void ipc_resp_sent(struct ipc_resp_out *o);

#endif
