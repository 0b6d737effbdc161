/*
 * A message as bytes of a stream, made once for many streams that look alike: with the same framing, and the same delimiter. The
 * queues of all these streams refer to the same memory (ipc_out_share()). Small messages lie one behind the other in a block,
 * so that a queue needs one reference for many of them. Bytes only. The hub calls it, and hands the result to connections.
 */
#ifndef IPC_WIRE_CAST_H
#define IPC_WIRE_CAST_H

#include "ipc/wire/in.h"

/* Bytes in a row, and the message that holds their memory. */
struct ipc_cast_part {
	struct aiomsg *owner;
	const unsigned char *at;
	size_t n;
};

enum { IPC_CAST_PARTS = 3 };

struct ipc_cast {
	enum aioconn_framing framing;
	char delimiter[IPC_DELIMITER_MOST];
	size_t delimiter_len;

	struct aiomsg *block; /* that small messages are built in; NULL */
	unsigned char *next;  /* its unused part */
	size_t spare;

	/* The message that was cast last. Valid until the next one, and as long as the message. */
	const struct aiomsg *msg;
	struct ipc_cast_part part[IPC_CAST_PARTS];
	unsigned parts;
	size_t size; /* of all parts */
};

/* For streams like @in. */
void ipc_cast_init(struct ipc_cast *k, const struct ipc_in *in);
void ipc_cast_free(struct ipc_cast *k);
bool ipc_cast_fits(const struct ipc_cast *k, const struct ipc_in *in);

/* Can @m be sent in such a stream? -1/EINVAL: typed values where there are no frames, or a delimiter inside a line. */
int ipc_cast_check(const struct ipc_cast *k, const struct aiomsg *m);

/* How many bytes it will have there. */
size_t ipc_cast_size(const struct ipc_cast *k, size_t len);

/* Makes the bytes of @m, which was checked. -1/ENOMEM. */
int ipc_cast_make(struct ipc_cast *k, const struct aiomsg *m);

/* Gives the block back if no queue refers to it any more. */
void ipc_cast_rest(struct ipc_cast *k);

/* Would a reader find a delimiter before the line's end? It may be inside, or begin with the line's last bytes. */
bool ipc_line_ends_early(const char *delimiter, size_t delimiter_len, const unsigned char *data, size_t len);

#endif
