/* The inside of an aioend, for the code that opens or moves it: ipc/conn and aioproc. */
#ifndef IPC_END_END_H
#define IPC_END_END_H

#include <aioipc/end.h>

#include "ipc/own/own.h"

#define IPC_NAME_MOST 63
#define IPC_NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

/*
 * An environment entry tells a program which ends it gets: "PID:NAME,r,w,rdev,rino,wdev,wino;NAME,...", numbers in decimal, at most so many
 * ends. The end of a ring has ",ring" behind that. exec.c writes it, inherit.c reads it.
 */
#define IPC_ENDS_ENTRY "AIOIPC_ENDS"
#define IPC_ENDS_RING ",ring"
#define IPC_ENDS_MOST 64

/* How the end of a ring gets its memory: see ipc/carry/shared.h. */
enum ipc_end_ring {
	IPC_NO_RING,
	IPC_RING_COMES, /* a hello brings it */
	IPC_RING_OFFERS /* it makes some when it is opened, and says hello */
};

struct aioend {
	struct ipc_own own; /* the first member: ipc_own_detached() finds it by that */
	enum ipc_end_ring ring;
	char *name;           /* for exec; NULL */
	int stdio_r, stdio_w; /* for exec; -1 */
};

/* Makes an end without descriptors. And frees one without closing its descriptors: somebody else owns them by now. */
struct aioend *ipc_end_new(void);
void ipc_end_dispose(struct aioend *end);

/*
 * Makes a pair. @open fills in what the first reads and writes, and what the second reads and writes. -1 stays where there is none.
 * It is called with the registry's mutex, so that no fork happens in between.
 */
typedef int ipc_end_open_fn(int fd[4], void *arg);
int ipc_end_pair(struct aioend **one, struct aioend **other, ipc_end_open_fn *open, void *arg);

/* Registers descriptors of the user, as aioend_from_fds() does. @own is fresh. */
int ipc_end_adopt(struct ipc_own *own, int rfd, int wfd);

#endif
