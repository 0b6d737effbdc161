/* The inside of an aioend, for who opens or moves it: ipc/conn and aioproc. */
#ifndef IPC_END_END_H
#define IPC_END_END_H

#include <aioipc/end.h>

#include "ipc/own/own.h"

#define IPC_NAME_MOST 63
#define IPC_NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

/*
 * How a program is told of the ends it gets: an environment entry "PID:NAME,r,w,rdev,rino,wdev,wino;NAME,...", in
 * decimal, no more than so many. Written in exec.c, read in inherit.c.
 */
#define IPC_ENDS_ENTRY "AIOIPC_ENDS"
#define IPC_ENDS_MOST 64

struct aioend {
	struct ipc_own own;   /* the first member: ipc_own_detached() finds it by that */
	char *name;           /* for exec; NULL */
	int stdio_r, stdio_w; /* for exec; -1 */
};

/* An end without descriptors; and the end of one, whose descriptors are someone else's by now. */
struct aioend *ipc_end_new(void);
void ipc_end_dispose(struct aioend *end);

/* What aioend_from_fds() does to a fresh registration. */
int ipc_end_adopt(struct ipc_own *own, int rfd, int wfd);

#endif
