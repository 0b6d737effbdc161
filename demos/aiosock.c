/*
 * Two processes and a socket pair. The io process runs an event loop: a callback sees each message as it
 * comes and keeps it, so that the reading half, a task, gets it too; three seconds later it writes. The main
 * process writes first, then waits for the answer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <aioipc.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

struct io {
	struct event_base *base;
	struct aioconn *sock;
	struct event *later; /* time to write */
};

static void print_text(const char *prefix, const struct aiomsg *m)
{
	const char *text;

	if (aiomsg_unpack(m, "s", &text) == -1)
		die("unpack");
	printf("%s%s\n", prefix, text);
}

static void send_text(struct aioconn *sock, const char *who)
{
	char text[64];

	snprintf(text, sizeof text, "[%s write] PID: %d", who, (int)getpid());
	if (aioconn_send(sock, "s", text) == -1)
		die("send");
}

static void on_msg(struct aioconn *sock, struct aiomsg *m, void *arg)
{
	(void)arg;
	print_text("", m);
	printf("[io on_read] PID: %d\n", (int)getpid());
	aioconn_keep(sock);
}

/* The other side closes in the end: then there is nothing left to wait for. */
static void read_all(void *arg)
{
	struct io *io = arg;
	struct aiomsg *m;
	int got;

	while ((got = aioconn_recv(io->sock, &m, AIOIPC_FOREVER)) == 1) {
		print_text("[io await read]", m);
		printf("[io await read] PID: %d\n", (int)getpid());
		aiomsg_free(m);
	}
	if (got == -1)
		die("recv");
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	struct io *io = arg;

	(void)fd, (void)what;
	send_text(io->sock, "sock2");
}

static int io_process(void *arg)
{
	struct timeval three_seconds = {.tv_sec = 3};
	struct io io = {.base = event_base_new()};

	printf("IO Process PID: %d\n", (int)getpid());
	if (!io.base || !(io.sock = aioend_open(arg, io.base)))
		die("open");
	aioconn_set_callbacks(io.sock, on_msg, NULL, NULL, &io);
	io.later = evtimer_new(io.base, on_later, &io);
	if (!io.later || evtimer_add(io.later, &three_seconds) == -1)
		die("event");
	if (aiotask_run(io.base, read_all, &io) == -1)
		die("run");
	aioconn_close(io.sock, AIOIPC_NOW);
	event_free(io.later);
	event_base_free(io.base);
	return 0;
}

static void main_process(struct aioend *end)
{
	struct aioconn *sock = aioend_open(end, NULL);
	struct aiomsg *m;

	if (!sock)
		die("open");
	send_text(sock, "sock1");
	if (aioconn_recv(sock, &m, AIOIPC_FOREVER) != 1)
		die("recv");
	print_text("", m);
	printf("[main await read] PID: %d\n", (int)getpid());
	aiomsg_free(m);
	if (aioconn_close(sock, AIOIPC_FOREVER) == -1)
		die("close");
}

int main(void)
{
	struct aioend *sock1, *sock2;
	struct aioproc *io;
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("Main Process PID: %d\n", (int)getpid());
	if (aiosockpair(&sock1, &sock2) == -1)
		die("aiosockpair");
	io = aioproc_start_with(io_process, sock2, &sock2, 1);
	if (!io)
		die("start");
	aioend_free(sock2);

	main_process(sock1);

	if (aioproc_join(io, &status, AIOIPC_FOREVER) == -1)
		die("join");
	aioproc_free(io);
	return status != 0;
}
