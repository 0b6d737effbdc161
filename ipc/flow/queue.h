/* The inside of a queue, for the files of ipc/flow. */
#ifndef IPC_FLOW_QUEUE_H
#define IPC_FLOW_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/flow/line.h"

struct aiomsg;

struct aioqueue {
	atomic_uint refs;
	uint32_t epoch;
	size_t most, most_bytes; /* 0: no limit */

	pthread_mutex_t lock; /* of all below; count and closed may be looked at without */
	atomic_size_t count;
	atomic_bool closed;
	size_t bytes;
	struct aiomsg **ring; /* NULL before the first message */
	size_t places, head;  /* places: a power of two */
	struct ipc_line getters, putters;
};

#endif
