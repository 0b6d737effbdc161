/* See proxy.h. */
#include "tests/proxy.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/links.h"

struct proxy {
	pthread_t thread;
	char to[128];
	int listening;
	proxy_budget *budget;
	void *arg;
	atomic_bool over;
	atomic_uint connections;
};

/* 1 to 400 bytes at a time: what is sent in one piece arrives in several. */
static size_t piece(size_t left)
{
	size_t most = 1 + (size_t)rand() % 400;

	return left < most ? left : most;
}

/* Some bytes from one side to the other: how many; 0: its end, or the other's. */
static size_t pass(int from, int to, size_t left)
{
	char data[400];
	ssize_t n = recv(from, data, piece(left), MSG_DONTWAIT);

	if (n < 0)
		return 0;
	if (rand() % 64 == 0)
		usleep(200);
	for (ssize_t at = 0; at < n;) {
		ssize_t w = send(to, data + at, (size_t)(n - at), MSG_NOSIGNAL);

		if (w < 0)
			return 0;
		at += w;
	}
	return (size_t)n;
}

/* A reset on every other connection, where the sockets know one. */
static void break_off(int fd, bool reset)
{
	const struct linger now = {.l_onoff = 1};

	if (reset)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(fd);
}

/* What one side has to say: how much. At its end the other is told. */
static size_t turn(struct pollfd *from, int other, size_t left)
{
	size_t n;

	if (from->fd == -1 || !from->revents)
		return 0;
	n = pass(from->fd, other, left);
	if (n == 0) {
		shutdown(other, SHUT_WR);
		from->fd = -1;
	}
	return n;
}

static void serve(struct proxy *p, int a, int b)
{
	unsigned n = p->connections++;
	size_t left = p->budget(n, p->arg);
	struct pollfd w[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};

	while (left > 0 && !p->over && (w[0].fd != -1 || w[1].fd != -1)) {
		if (poll(w, 2, 20) <= 0)
			continue;
		left -= turn(&w[0], b, left);
		left -= left ? turn(&w[1], a, left) : 0;
	}
	break_off(a, left == 0 && n % 2);
	break_off(b, left == 0 && n % 3 == 1);
}

static void *run(void *arg)
{
	struct proxy *p = arg;

	while (!p->over) {
		struct pollfd w = {.fd = p->listening, .events = POLLIN};
		int a, b;

		if (poll(&w, 1, 20) <= 0 || (a = accept4(p->listening, NULL, NULL, SOCK_CLOEXEC)) == -1)
			continue;
		b = try_connect(p->to);
		if (b >= 0)
			serve(p, a, b);
		else
			close(a);
	}
	return NULL;
}

struct proxy *start_proxy(const char *from, const char *to, proxy_budget *budget, void *arg)
{
	struct proxy *p = must(calloc(1, sizeof *p));

	snprintf(p->to, sizeof p->to, "%s", to);
	p->listening = raw_listen(from, 16);
	p->budget = budget;
	p->arg = arg;
	ck_assert_int_eq(pthread_create(&p->thread, NULL, run, p), 0);
	return p;
}

unsigned proxy_connections(const struct proxy *p)
{
	return p->connections;
}

void stop_proxy(struct proxy *p)
{
	p->over = true;
	ck_assert_int_eq(pthread_join(p->thread, NULL), 0);
	close(p->listening);
	free(p);
}
