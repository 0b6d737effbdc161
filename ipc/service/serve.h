/* What a worker process does. */
#ifndef IPC_SERVICE_SERVE_H
#define IPC_SERVICE_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include <aioipc/service.h>

struct aioend;

/* Opens @end, and serves with the handler of @o until the service wants no more. The end is freed. 0, or -1 as aioservice_worker(). */
int ipc_serve(const struct aioservice_options *o, struct aioend *end);

/* Is this thread in a handler of a worker process? Then it sleeps so: as aioservice_sleep(). */
bool ipc_serve_is_here(void);
int ipc_serve_sleep(int64_t deadline);

#endif
