/*
 * The server of PySockLib's README: sends what a generator makes to its client, and to the next one when that has gone. Lines
 * that end in CRLF, so that a client of theirs can be the other side. Ctrl-C ends it. demos/pysock_client is ours.
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

/* Ten a second, for as long as it is called. */
static int generate(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	unsigned *count = arg;
	char text[32];
	int r, len = snprintf(text, sizeof text, "message %u", (*count)++);

	m = aiomsg_new_bytes(text, (size_t)len);
	if (!m)
		return -1;
	r = aioqueue_put(out, m, AIOIPC_FOREVER);
	aiomsg_free(m);
	return r == -1 ? -1 : aioservice_sleep(aioipc_after(100));
}

int main(int argc, char **argv)
{
	const struct aiolink_options link_options = {
		.size = sizeof link_options,
		.role = AIOLINK_LISTEN,
		.address = argc > 1 ? argv[1] : "tcp://localhost:12345",
		.direction = AIOLINK_SEND,
		.framing = AIOCONN_LINES,
		.delimiter = "\r\n",
		.reconnect_first = 500,
		.reconnect_most = 500,
	};
	struct aioservice_options options = {.size = sizeof options, .handle = generate};
	struct aioservice *generator;
	struct aiolink *server;
	unsigned count = 0;
	sigset_t stop;
	int sig;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);

	server = aiolink_new(&link_options);
	if (!server || aiolink_start(server, NULL) == -1)
		die(link_options.address);
	options.out = aiolink_outbox(server);
	options.arg = &count;
	generator = aioservice_new(&options);
	if (!generator || aioservice_start(generator) == -1)
		die("generator");
	printf("[%d] listens at %s\n", (int)getpid(), aiolink_address(server));

	sigwait(&stop, &sig);
	aioservice_stop(generator);
	if (aiolink_close(server, aioipc_after(5000)) == -1)
		fprintf(stderr, "[%d] not all messages were delivered: %s\n", (int)getpid(), strerror(errno));
	aioservice_close(generator, AIOIPC_FOREVER);
	return 0;
}
