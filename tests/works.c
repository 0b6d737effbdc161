/* See works.h. */
#include "tests/works.h"

#include <string.h>

#include "tests/peers.h"

struct aioservice_options works_options(struct works *w, size_t room, unsigned workers,
					aioservice_handle *handle)
{
	w->in = must(aioqueue_new(room, 0));
	w->out = must(aioqueue_new(room, 0));
	return (struct aioservice_options){
		.size = sizeof(struct aioservice_options),
		.in = w->in,
		.out = w->out,
		.kind = AIOSERVICE_FORKED,
		.workers = workers,
		.handle = handle,
	};
}

void works_begin(struct works *w, const struct aioservice_options *o)
{
	w->s = must(aioservice_new(o));
	must(aioservice_start(w->s));
}

void works_end(struct works *w)
{
	must(aioservice_close(w->s, soon()));
	aioqueue_free(w->in);
	aioqueue_free(w->out);
}

struct aioservice_stats works_stats(const struct works *w)
{
	struct aioservice_stats stats = {.size = sizeof stats};

	must(aioservice_stats(w->s, &stats));
	return stats;
}

struct aiomsg *number(uint32_t n)
{
	return must(aiomsg_new_bytes(&n, sizeof n));
}

uint32_t number_in(const struct aiomsg *m)
{
	uint32_t n;

	memcpy(&n, aiomsg_bytes(m, NULL), sizeof n);
	return n;
}

int put_number(struct aioqueue *q, uint32_t n)
{
	struct aiomsg *m = number(n);
	int r = aioqueue_put(q, m, soon());

	aiomsg_free(m);
	return r;
}

void put_up_to(struct aioqueue *q, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		must(put_number(q, i));
}
