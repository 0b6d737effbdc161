/*
 * Makes a message from written values. The format asks for the values one by one, and each goes into the image. A source gives the values:
 * words or JSON. It knows brackets and commas, and gives each value as it is written.
 */
#ifndef IPC_MSG_BUILD_H
#define IPC_MSG_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/msg/walk.h"

struct aiomsg;
struct ipc_source;

/* A value as it is written. */
struct ipc_written {
	enum ipc_written_kind {
		IPC_WRITTEN_ANY,
		IPC_WRITTEN_NUMBER,
		IPC_WRITTEN_BYTES,
		IPC_WRITTEN_NULL
	} kind;
	const char *text;
	size_t len;
	size_t place;                                                     /* in the source */
	ssize_t (*decode)(unsigned char *to, const char *text, size_t n); /* its bytes, at most @len; -1 */
};

/* Each call returns -1 after ipc_source_fail(). Begin, next and group are those of the walk. */
struct ipc_source_ops {
	int (*begin)(struct ipc_source *s, struct ipc_loop *loop);
	int (*next)(struct ipc_source *s, struct ipc_loop *loop);
	int (*group)(struct ipc_source *s, bool opens);
	int (*value)(struct ipc_source *s, const char *due,
		     struct ipc_written *v); /* @due: what it is to be, in words */
};

/* The first member of each source. */
struct ipc_source {
	const struct ipc_source_ops *ops;
	const char *call, *unit; /* the public call, and what is counted: "byte" */
	size_t place;            /* of what was looked at last, from 1 */
	char why[200];
};

/* What is wrong at this place. -1/EINVAL. */
int ipc_source_fail(struct ipc_source *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For the log, when errno is EINVAL. Returns NULL. */
struct aiomsg *ipc_source_tell(struct ipc_source *s);

/*
 * The message of these values; @format, of @len bytes and at @place of the source, needs no NUL. NULL with ENOMEM, EINVAL or EMSGSIZE; nothing
 * is logged yet.
 */
struct aiomsg *ipc_build(const char *format, size_t len, size_t place, struct ipc_source *s);

/* A message of plain bytes. The same. */
struct aiomsg *ipc_build_bytes(struct ipc_source *s, const struct ipc_written *v);

/* So many bytes of it are shown where it is quoted in @why: as in "%.*s". */
static inline int ipc_written_shown(size_t len)
{
	return len < 60 ? (int)len : 60;
}

#endif
