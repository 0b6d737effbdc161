/*
 * The longest that a peer of a busy listener waits for an answer: beside others that send as much as they can, and alone. The
 * server works for two microseconds on each message.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc.h>

#include "bench/bench.h"

#define FLOODERS 500
#define TRIPS 100
#define WARM_NS (INT64_C(500) * 1000 * 1000)
#define WORK_NS 2000  /* that a message is worth */
#define HANG_LIMIT 20 /* seconds */
#define FRAMES 1000   /* that are written at a time */

static char name[40];

static int join_by_hand(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = must(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");

	memcpy(un.sun_path + 1, name, strlen(name));
	must(connect(fd, (struct sockaddr *)&un,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))),
	     "connect");
	must((int)write(fd, "AIPC\1\0\0\0", 8), "write");
	return fd;
}

/* Each gets whole bursts: what one leaves of its burst it goes on with. */
static void flood(void)
{
	static char frame[8 + SMALL] = "\100\0\0\0\2\0\0", burst[FRAMES * sizeof frame];
	static size_t at[FLOODERS];
	static struct pollfd p[FLOODERS];

	for (size_t i = 0; i < FRAMES; i++)
		memcpy(burst + i * sizeof frame, frame, sizeof frame);
	for (int i = 0; i < FLOODERS; i++)
		p[i] = (struct pollfd){.fd = join_by_hand(), .events = POLLOUT};
	while (poll(p, FLOODERS, -1) > 0)
		for (int i = 0; i < FLOODERS; i++) {
			ssize_t n = 0;

			if (p[i].revents)
				n = send(p[i].fd, burst + at[i], sizeof burst - at[i],
					 MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n == -1 && p[i].revents & (POLLERR | POLLHUP))
				return;
			at[i] = n > 0 ? (at[i] + (size_t)n) % sizeof burst : at[i];
		}
}

/* Round trips, first until the flood is at its height, and then those that count. */
static void make_trips(struct bench *b)
{
	int64_t worst = 0, begin = bench_now() + WARM_NS;
	char address[64], text[SMALL] = "me";
	struct aioconn *c;
	struct aiomsg *m;

	snprintf(address, sizeof address, "unix:@%s", name);
	while (!(c = aioconn_connect(address, NULL, AIOIPC_FOREVER)))
		poll(NULL, 0, 10);
	for (int i = 0; i < TRIPS;) {
		int64_t start = bench_now(), took;

		must(aioconn_send_bytes(c, text, sizeof text), "aioconn_send_bytes");
		must(aioconn_recv(c, &m, AIOIPC_FOREVER), "aioconn_recv");
		aiomsg_free(m);
		took = bench_now() - start;
		if (start < begin)
			continue;
		worst = took > worst ? took : worst;
		i++;
	}
	bench_took(b, 1, worst);
	must(aioconn_close(c, AIOIPC_FOREVER), "aioconn_close");
}

static void work(int64_t ns)
{
	int64_t until = bench_now() + ns;

	while (bench_now() < until)
		;
}

static void on_msg(struct aioconn *c, struct aiomsg *m, void *arg)
{
	const char *text = aiomsg_bytes(m, NULL);

	(void)arg;
	work(WORK_NS);
	if (*text)
		aioconn_send_msg(c, m);
}

/* Who asked is through. */
static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	if (cause == AIOCONN_CLEAN)
		event_base_loopbreak(arg);
	aioconn_abort(c);
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	(void)l;
	must(aioconn_set_callbacks(c, on_msg, NULL, on_close, arg), "aioconn_set_callbacks");
}

static bool in_child(void)
{
	bool child = must(fork(), "fork") == 0;

	if (child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(HANG_LIMIT);
	return child;
}

/* The flood ends with the server. */
static void serve(bool flooded)
{
	struct event_base *base = must_have(event_base_new(), "event_base_new");
	char address[64];

	bench_need_fds();
	snprintf(address, sizeof address, "unix:@%s", name);
	must_have(aiolistener_new(address, base, NULL, on_peer, base), "aiolistener_new");
	if (flooded && in_child()) {
		flood();
		_exit(0);
	}
	event_base_dispatch(base);
	_exit(0);
}

static void run(struct bench *b, bool flooded)
{
	snprintf(name, sizeof name, "aioipc-bench-%ld", (long)getpid());
	if (in_child())
		serve(flooded);
	make_trips(b);
}

static void beside_floods(struct bench *b)
{
	run(b, true);
}

static void alone(struct bench *b)
{
	run(b, false);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {{"beside", beside_floods}, {"alone", alone}, {NULL, NULL}};

	return bench_main(argc, argv, cases);
}
