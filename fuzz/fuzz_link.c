/*
 * A link over a socket pair whose peer says anything: most confirm messages. Meanwhile its user puts messages and calls, takes messages and frees
 * them late. The link must end, each call once, and leave no descriptor and no memory behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc.h>

#include "fuzz/stretch.h"

#define KEPT_MOST 8

static struct event_base *base;

struct user {
	uint32_t x;
	struct aiolink *link;
	struct aiomsg *kept[KEPT_MOST];
	unsigned n_kept;
	unsigned called, ended;
};

static void must(bool condition)
{
	if (!condition)
		abort();
}

static int lowest_free(void)
{
	int fd = fcntl(0, F_DUPFD, 0);

	must(fd >= 0);
	close(fd);
	return fd;
}

static void on_answer(struct aiomsg *answer, int error, void *arg)
{
	struct user *u = arg;

	must(answer || error);
	u->ended++;
}

static void put_something(struct user *u, bool call)
{
	struct aioqueue *out = aiolink_outbox(u->link);
	struct aiomsg *m = aiomsg_new("i", (int32_t)u->x);

	must(m != NULL);
	if (call && aiolink_call_later(u->link, m, u->x & 1024, on_answer, u, AIOIPC_FOREVER))
		u->called++;
	else if (out)
		aioqueue_put(out, m, AIOIPC_NOW);
	aiomsg_free(m);
}

static void free_kept(struct user *u)
{
	while (u->n_kept > 0)
		aiomsg_free(u->kept[--u->n_kept]);
}

/* A call is answered or dropped; the others are kept for a while, or not. */
static void take_something(struct user *u)
{
	struct aioqueue *in = aiolink_inbox(u->link);
	struct aiomsg *m, *answer;

	if (!in || aioqueue_get(in, &m, AIOIPC_NOW) != 1)
		return;
	if (aiomsg_is_call(m) && u->x & 1) {
		answer = aiomsg_answer(m, "s", "answer");
		must(answer != NULL);
		if (aiolink_outbox(u->link))
			aioqueue_put(aiolink_outbox(u->link), answer, AIOIPC_NOW);
		else
			aiomsg_send_answer(answer);
		aiomsg_free(answer);
	}
	if (u->n_kept < KEPT_MOST && u->x & 2)
		u->kept[u->n_kept++] = m;
	else
		aiomsg_free(m);
}

static void act(struct user *u)
{
	uint32_t r = stretch_random(&u->x);

	if (r % 8 < 2)
		put_something(u, r % 8 == 1);
	else if (r % 8 < 5)
		take_something(u);
	else if (r % 8 == 5)
		free_kept(u);
}

static void turns(int n)
{
	while (n-- > 0)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void drain(int fd)
{
	char bytes[4096];

	while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		continue;
}

/* In pieces, as long as the link takes them. */
static void feed(int fd, const unsigned char *data, size_t len, struct user *u)
{
	for (size_t at = 0; at < len;) {
		size_t piece = 1 + stretch_random(&u->x) % 64;
		ssize_t n =
			send(fd, data + at, piece < len - at ? piece : len - at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n == -1 && errno != EAGAIN)
			return;
		at += n > 0 ? (size_t)n : 0;
		turns(1);
		drain(fd);
		act(u);
		if (n == -1) { /* it waits for room in its inbox */
			free_kept(u);
			take_something(u);
		}
	}
}

static struct aiolink *open_link(int *fd, unsigned options)
{
	static const enum aiolink_direction directions[] = {AIOLINK_BOTH, AIOLINK_BOTH, AIOLINK_SEND,
							    AIOLINK_RECV};
	struct aiolink_options o = {.size = sizeof o, .direction = directions[options >> 1 & 3]};
	struct aioend *other;
	struct aiolink *l;
	int same;

	o.confirm = !(options & 1);
	must(aiosockpair(&o.end, &other) == 0);
	must(aioend_release(other, fd, &same) == 0);
	l = aiolink_new(&o);
	must(l && aiolink_start(l, base) == 0);
	return l;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct user u = {.n_kept = 0};
	unsigned char *stream;
	size_t len;
	int fd, low;

	if (size < 2)
		return 0;
	if (!base)
		base = event_base_new();
	u.x = 1u + data[1];
	low = lowest_free();
	stream = stretch(data + 2, size - 2, &len);
	u.link = open_link(&fd, data[0]);
	turns(2);
	feed(fd, stream, len, &u);
	close(fd);
	turns(3);
	aiolink_abort(u.link);
	must(u.ended == u.called);
	free_kept(&u);
	free(stream);
	turns(2);
	must(lowest_free() == low);
	return 0;
}
