#!/bin/sh
# libevent: a bufferevent says that it reads up to 16384 bytes at a time. How many callbacks does a megabyte take that lies there at once?
# And what does a high mark for writing refuse?
. "$(dirname "$0")/common.sh"
packages libevent-dev=2.1.12-stable-8+deb12u1 libevent-core-2.1-7=2.1.12-stable-8+deb12u1
guess "limit 16384: about 64 callbacks, of 16384 bytes at most; over a high mark of 1000, 100000 bytes are refused"
build -levent_core <<'END'
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static size_t calls, most, total;
static char big[1 << 20];

static void on_read(struct bufferevent *b, void *base)
{
	struct evbuffer *in = bufferevent_get_input(b);
	size_t n = evbuffer_get_length(in);

	calls++;
	most = n > most ? n : most;
	total += n;
	evbuffer_drain(in, n);
	if (total == sizeof big)
		event_base_loopbreak(base);
}

int main(void)
{
	struct event_base *base = event_base_new();
	struct bufferevent *b;
	int s[2];

	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	evutil_make_socket_nonblocking(s[0]);
	b = bufferevent_socket_new(base, s[0], 0);
	bufferevent_setcb(b, on_read, NULL, NULL, base);
	bufferevent_enable(b, EV_READ);
	if (fork() == 0) {
		write(s[1], big, sizeof big);
		_exit(0);
	}
	event_base_dispatch(base);
	printf("limit %zd: about %s callbacks, of %zu bytes at most; ", bufferevent_get_max_single_read(b),
	       calls > 200 && calls < 320 ? "256" : calls < 100 ? "64" : "some other number of", most);
	bufferevent_setwatermark(b, EV_WRITE, 0, 1000);
	printf("over a high mark of 1000, 100000 bytes are %s\n", bufferevent_write(b, big, 100000) ? "refused" : "taken");
	return 0;
}
END
finding "limit 16384: about 256 callbacks, of 4096 bytes at most; over a high mark of 1000, 100000 bytes are taken" "$tmp/program"
