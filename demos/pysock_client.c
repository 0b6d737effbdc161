/*
 * The client of PySockLib's README: logs all that it receives, and connects again when its server has gone. Lines that
 * end in CRLF, so that a server of theirs can be the other side. Ctrl-C ends it. demos/pysock_server is ours.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <aioipc.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

static int log_it(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)out, (void)arg;
	printf("[%d] %s\n", (int)getpid(), (const char *)aiomsg_bytes(m, NULL));
	return 0;
}

int main(int argc, char **argv)
{
	const struct aiolink_options link_options = {
		.size = sizeof link_options,
		.role = AIOLINK_CONNECT,
		.address = argc > 1 ? argv[1] : "tcp://localhost:12345",
		.direction = AIOLINK_RECV,
		.framing = AIOCONN_LINES,
		.delimiter = "\r\n",
		.reconnect_first = 500,
		.reconnect_most = 500,
	};
	struct aioservice_options options = {.size = sizeof options, .handle = log_it};
	struct aioservice *logger;
	struct aiolink *client;
	sigset_t stop;
	int sig;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);

	client = aiolink_new(&link_options);
	if (!client || aiolink_start(client, NULL) == -1)
		die(link_options.address);
	options.in = aiolink_inbox(client);
	logger = aioservice_new(&options);
	if (!logger || aioservice_start(logger) == -1)
		die("logger");

	sigwait(&stop, &sig);
	aiolink_close(client, aioipc_after(5000));
	aioservice_close(logger, AIOIPC_FOREVER);
	return 0;
}
