/* The process that forks the workers of a service, and how the service talks to it. */
#ifndef IPC_SERVICE_FORKSERVER_H
#define IPC_SERVICE_FORKSERVER_H

#include <aioipc/service.h>

struct aioend;

/* To it: what, to which worker, and its serial number. A worker that is to start comes with a descriptor for it, which may be of rings. */
#define IPC_WISH "iuu"
enum ipc_wish { IPC_WISH_START, IPC_WISH_START_RING, IPC_WISH_KILL };

/* From it: what, which worker, its serial number, and the status or the errno. One of them for each start. */
#define IPC_NEWS "iuui"
enum ipc_news { IPC_NEWS_GONE, IPC_NEWS_FAILED };

struct ipc_forkserver {
	const struct aioservice_options *o;
	struct aioend *end;
};

/* The body of that process. @arg is a struct ipc_forkserver. */
int ipc_forkserver_run(void *arg);

#endif
