/* See cutter.h. */
#include "tests/cutter.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/peers.h"

enum { PAIRS = 32, PIECE = 4096 };

struct cutter {
	pthread_t thread;
	struct sockaddr_un to;
	int listening;
	unsigned seed, most, left;
	int fd[PAIRS][2];
	size_t budget[PAIRS];
	atomic_uint cuts;
	atomic_bool over;
};

static struct sockaddr_un at(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
	return un;
}

static void break_pair(struct cutter *c, int i)
{
	close(c->fd[i][0]);
	close(c->fd[i][1]);
	c->fd[i][0] = c->fd[i][1] = -1;
}

static void welcome(struct cutter *c)
{
	int fd = accept4(c->listening, NULL, NULL, SOCK_CLOEXEC), other, i;

	if (fd == -1)
		return;
	other = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	for (i = 0; i < PAIRS && c->fd[i][0] != -1; i++)
		continue;
	if (i == PAIRS || connect(other, (struct sockaddr *)&c->to, sizeof c->to) == -1) {
		close(fd);
		close(other);
		return;
	}
	c->fd[i][0] = fd;
	c->fd[i][1] = other;
	c->budget[i] = SIZE_MAX;
	if (c->left > 0) {
		c->left--;
		c->budget[i] = (size_t)rand_r(&c->seed) % c->most;
	}
}

/* False: it is over. */
static bool pass(struct cutter *c, int i, int side)
{
	char data[PIECE];
	size_t most = 1 + (size_t)rand_r(&c->seed) % PIECE;
	ssize_t n = recv(c->fd[i][side], data, most, MSG_DONTWAIT), w;

	if (n <= 0)
		return false;
	if ((size_t)n > c->budget[i])
		n = (ssize_t)c->budget[i];
	for (ssize_t k = 0; k < n; k += w) {
		w = send(c->fd[i][!side], data + k, (size_t)(n - k), MSG_NOSIGNAL);
		if (w <= 0)
			return false;
	}
	c->budget[i] -= c->budget[i] == SIZE_MAX ? 0 : (size_t)n;
	if (c->budget[i] > 0)
		return true;
	atomic_fetch_add(&c->cuts, 1);
	return false;
}

static void *run(void *arg)
{
	struct cutter *c = arg;
	struct pollfd p[1 + 2 * PAIRS];

	while (!atomic_load(&c->over)) {
		p[0] = (struct pollfd){.fd = c->listening, .events = POLLIN};
		for (int i = 0; i < PAIRS; i++)
			for (int side = 0; side < 2; side++)
				p[1 + 2 * i + side] = (struct pollfd){.fd = c->fd[i][side], .events = POLLIN};
		if (poll(p, 1 + 2 * PAIRS, 10) <= 0)
			continue;
		for (int k = 0; k < 2 * PAIRS; k++)
			if (c->fd[k / 2][0] != -1 && p[1 + k].revents && !pass(c, k / 2, k % 2))
				break_pair(c, k / 2);
		if (p[0].revents)
			welcome(c);
	}
	for (int i = 0; i < PAIRS; i++)
		if (c->fd[i][0] != -1)
			break_pair(c, i);
	return NULL;
}

struct cutter *start_cutter(const char *from, const char *to, unsigned cuts, unsigned most, unsigned seed)
{
	struct cutter *c = must(calloc(1, sizeof *c));
	struct sockaddr_un un = at(from);

	c->to = at(to);
	c->seed = seed;
	c->most = most;
	c->left = cuts;
	for (int i = 0; i < PAIRS; i++)
		c->fd[i][0] = c->fd[i][1] = -1;
	c->listening = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	must(bind(c->listening, (struct sockaddr *)&un, sizeof un));
	must(listen(c->listening, 64));
	ck_assert_int_eq(pthread_create(&c->thread, NULL, run, c), 0);
	return c;
}

unsigned cutter_cuts(struct cutter *c)
{
	return atomic_load(&c->cuts);
}

void stop_cutter(struct cutter *c)
{
	atomic_store(&c->over, true);
	pthread_join(c->thread, NULL);
	close(c->listening);
	free(c);
}
