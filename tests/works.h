/* A service of forked workers with its queues, and messages that are numbers. */
#ifndef TESTS_WORKS_H
#define TESTS_WORKS_H

#include <stddef.h>
#include <stdint.h>

#include <aioipc/service.h>

struct works {
	struct aioqueue *in, *out;
	struct aioservice *s;
};

/* Makes the queues, for so many messages each. */
struct aioservice_options works_options(struct works *w, size_t room, unsigned workers,
					aioservice_handle *handle);
void works_begin(struct works *w, const struct aioservice_options *o);
void works_end(struct works *w);
struct aioservice_stats works_stats(const struct works *w);

struct aiomsg *number(uint32_t n);
uint32_t number_in(const struct aiomsg *m);
int put_number(struct aioqueue *q, uint32_t n);
void put_up_to(struct aioqueue *q, uint32_t n); /* the numbers from 0 on, without @n */

#endif
