/* Errors of a server by name: what each one means to a program, and what a stream does about it. */
#ifndef IPC_STREAM_REFUSAL_H
#define IPC_STREAM_REFUSAL_H

#include <stddef.h>

struct ipc_resp_item;

enum ipc_refusal_cure {
	IPC_REFUSAL_WAIT,  /* the same is asked again after a pause */
	IPC_REFUSAL_LEAVE, /* the connection is of no use: another one, after a pause */
	IPC_REFUSAL_MOVE,  /* another server has the stream: it says where */
	IPC_REFUSAL_GROUP, /* the stream or the group is gone: it is made again */
};

struct ipc_refusal {
	int error; /* an errno */
	enum ipc_refusal_cure cure;
};

/* Of an item of the type '-'. */
struct ipc_refusal ipc_refusal_of(const struct ipc_resp_item *i);

/* "EXECABORT Transaction discarded because of: NOPERM ...": what EXEC itself was refused for becomes the item. */
void ipc_refusal_unwrap(struct ipc_resp_item *i);

/* The address in "MOVED 3999 127.0.0.1:6381" or "ASK ...", as a dial takes it. -1: there is none that could be used. */
int ipc_refusal_where(const struct ipc_resp_item *i, char *to, size_t size);

/* Does the text of the server begin with this name? */
int ipc_refusal_is(const struct ipc_resp_item *i, const char *name);

#endif
