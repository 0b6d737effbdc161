/*
 * What a service and its worker processes say to each other besides the messages, in plain bytes, on one machine. The service begins with
 * a greeting. The worker answers when init has returned. Then each message of the service's is a job, and the worker sends for each, in
 * order, an answer and the results.
 */
#ifndef IPC_SERVICE_TALK_H
#define IPC_SERVICE_TALK_H

#include <stdint.h>

#define IPC_TALK_MAGIC 0x61696f73u
#define IPC_TALK_NAME "aioservice" /* of the end that an executed worker inherits */

struct ipc_greeting {
	uint32_t magic;
	uint32_t generates; /* jobs are empty, and the handler is called with NULL */
};

struct ipc_answer {
	uint32_t magic;
	uint32_t results; /* so many messages follow */
	int32_t result;   /* of the handler or of init */
	int32_t error;    /* why it is -1 */
	uint32_t took;    /* ns that the handler took, or UINT32_MAX */
	uint32_t again;   /* behind the results comes another answer, and that one counts */
};

#endif
