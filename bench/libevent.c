/* libevent's bufferevents with a 4-byte length: what our user would write otherwise. */
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "bench/bench.h"

#define AHEAD 65536 /* bytes a writer keeps queued */

struct end {
	struct bench *bench;
	struct event_base *base;
	struct bufferevent *bev;
	uint32_t len; /* of the messages it writes */
	void (*on_message)(struct end *e, const unsigned char *data, uint32_t len);
};

static void put(struct end *e, const void *message, uint32_t len)
{
	struct evbuffer *out = bufferevent_get_output(e->bev);

	must(evbuffer_add(out, &len, sizeof len), "evbuffer_add");
	must(evbuffer_add(out, message, len), "evbuffer_add");
}

static void on_write(struct bufferevent *bev, void *arg)
{
	static char message[BULK];
	struct end *e = arg;
	bool more = true;

	while (more && evbuffer_get_length(bufferevent_get_output(bev)) < AHEAD) {
		more = bench_next(e->bench, message);
		put(e, message, e->len);
	}
	if (!more)
		bufferevent_setcb(bev, NULL, NULL, NULL, NULL);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct end *e = arg;
	uint32_t len;

	while (evbuffer_copyout(in, &len, sizeof len) == sizeof len &&
	       evbuffer_get_length(in) >= sizeof len + len) {
		e->on_message(e, evbuffer_pullup(in, (ev_ssize_t)(sizeof len + len)) + sizeof len, len);
		evbuffer_drain(in, sizeof len + len);
	}
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct end *e = arg;

	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		event_base_loopexit(e->base, NULL);
}

static void count(struct end *e, const unsigned char *data, uint32_t len)
{
	if (!bench_got(e->bench, data, e->len == SMALL ? 1 : len))
		return;
	bench_end(e->bench);
	event_base_loopexit(e->base, NULL);
}

static void echo(struct end *e, const unsigned char *data, uint32_t len)
{
	put(e, data, len);
}

static void trip(struct end *e, const unsigned char *data, uint32_t len)
{
	bench_add(e->bench, 1);
	if (bench_more(e->bench)) {
		put(e, data, len);
		return;
	}
	bench_end(e->bench);
	event_base_loopexit(e->base, NULL);
}

/* Opens this process's end of a socket pair. */
static void open_end(struct end *e, int fd[2], bool child)
{
	close(fd[!child]);
	evutil_make_socket_nonblocking(fd[child]);
	e->base = must_have(event_base_new(), "event_base_new");
	e->bev = must_have(bufferevent_socket_new(e->base, fd[child], BEV_OPT_CLOSE_ON_FREE), "bufferevent");
	bufferevent_setcb(e->bev, on_read, NULL, on_event, e);
	bufferevent_enable(e->bev, EV_READ | EV_WRITE);
}

static void close_end(struct end *e)
{
	event_base_dispatch(e->base);
	bufferevent_free(e->bev);
	event_base_free(e->base);
}

static void one_way(struct bench *b, uint32_t len)
{
	struct end e = {.bench = b, .len = len, .on_message = count};
	int fd[2];
	bool child;

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), "socketpair");
	child = bench_fork(b);
	open_end(&e, fd, child);
	if (!child) {
		bufferevent_setwatermark(e.bev, EV_WRITE, AHEAD / 2, 0);
		bufferevent_setcb(e.bev, on_read, on_write, on_event, &e);
		on_write(e.bev, &e);
	}
	close_end(&e);
}

static void small(struct bench *b)
{
	one_way(b, SMALL);
}

static void bulk(struct bench *b)
{
	one_way(b, BULK);
}

static void trips(struct bench *b)
{
	struct end e = {.bench = b};
	char message[SMALL] = {0};
	int fd[2];
	bool child;

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), "socketpair");
	child = bench_fork(b);
	e.on_message = child ? echo : trip;
	open_end(&e, fd, child);
	if (!child)
		put(&e, message, SMALL);
	close_end(&e);
}

/* What a connection costs that has said something, got it back, and is silent now. */
static void idle(struct bench *b)
{
	static struct end e[IDLE + 1];
	struct event_base *base = must_have(event_base_new(), "event_base_new");
	char message[sizeof(uint32_t) + SMALL] = {SMALL};
	int64_t before = 0;
	int fd[2];

	bench_need_fds();
	for (int i = 0; i <= IDLE; i++) {
		if (i == 1)
			before = bench_heap();
		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), "socketpair");
		e[i] = (struct end){.bench = b, .on_message = echo, .base = base};
		e[i].bev = must_have(bufferevent_socket_new(base, fd[0], 0), "bufferevent");
		bufferevent_setcb(e[i].bev, on_read, NULL, on_event, &e[i]);
		bufferevent_enable(e[i].bev, EV_READ | EV_WRITE);
		must((int)write(fd[1], message, sizeof message), "write");
		while (read(fd[1], message, sizeof message) <= 0)
			event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	}
	bench_took(b, IDLE, bench_heap() - before);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"small", small}, {"bulk", bulk}, {"idle", idle}, {"trip", trips}, {NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
