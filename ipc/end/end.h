/* The inside of an aioend, for who opens or moves it: ipc/conn and aioproc. */
#ifndef IPC_END_END_H
#define IPC_END_END_H

#include <aioipc/end.h>

#include "ipc/end/own.h"

struct aioend {
	struct ipc_own own;
	char *name;              /* for exec; NULL */
	int stdio_r, stdio_w;    /* for exec; -1 */
};

#endif
