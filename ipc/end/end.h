/* The inside of an aioend, for who opens or moves it: ipc/conn and aioproc. */
#ifndef IPC_END_END_H
#define IPC_END_END_H

#include <aioipc/end.h>

#include "ipc/end/own.h"

struct aioend {
	struct ipc_own own;   /* the first member: ipc_own_detached() finds it by that */
	char *name;           /* for exec; NULL */
	int stdio_r, stdio_w; /* for exec; -1 */
};

/* An end without descriptors; and the end of one, whose descriptors are someone else's by now. */
struct aioend *ipc_end_new(void);
void ipc_end_dispose(struct aioend *end);

#endif
