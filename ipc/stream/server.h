/* Where a server is, and as whom one speaks to it: "redis://user:password@host:6379/2" and its like, read. Opens nothing. */
#ifndef IPC_STREAM_SERVER_H
#define IPC_STREAM_SERVER_H

#include <stdbool.h>
#include <stddef.h>

struct ipc_server {
	char *dial;            /* "tcp://host:port", "tls://host:port" or "unix:///path" */
	char *user, *password; /* NULL: none */
	unsigned database;
	bool tls;
};

/*
 * Reads @text: redis://, rediss:// and redis+unix://, and valkey in the place of redis. -1: EINVAL and *@why, a string constant that has
 * nothing of the password in it; ENOMEM, and *@why is NULL.
 */
int ipc_server_read(struct ipc_server *s, const char *text, const char **why);

/* Another one to be, or another password, than those in the text; NULL: as it is. -1: ENOMEM. */
int ipc_server_as(struct ipc_server *s, const char *user, const char *password);

void ipc_server_free(struct ipc_server *s);

/* The last @c of the @len bytes, or NULL: memrchr, which not every system has. */
const char *ipc_server_last(const char *text, char c, size_t len);

#endif
