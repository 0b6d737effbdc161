/*
 * A link that connects, on an event base: one task prints what is found in its inbox, another one puts messages into its
 * outbox, with a random pause before each. Arguments: how many, and another address. See demos/duplex_server.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <aioipc.h>
#include <event2/event.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

static struct event_base *base;
static int messages = 100;

/* The inbox ends with the link. */
static void get_and_print(void *inbox)
{
	struct aiomsg *m;
	const char *text;
	int got;

	while ((got = aioqueue_get(inbox, &m, AIOIPC_FOREVER)) == 1) {
		if (aiomsg_unpack(m, "s", &text) == 0)
			printf("[%d] client: got \"%s\"\n", (int)getpid(), text);
		aiomsg_free(m);
	}
	if (got == -1)
		die("get");
}

/* Closing the outbox ends the link in good order: when the other side is through, too. */
static void random_send(void *outbox)
{
	struct aiomsg *m;
	char text[32];

	for (int i = 0; i < messages; i++) {
		aiotask_sleep(aioipc_after(rand() % 100));
		snprintf(text, sizeof text, "Hello #%d", i);
		m = aiomsg_new("s", text);
		if (!m || aioqueue_put(outbox, m, AIOIPC_FOREVER) == -1)
			die("put");
		aiomsg_free(m);
	}
	aioqueue_close(outbox);
}

static void talk(void *arg)
{
	struct aiolink *l = arg;
	struct aiotask *getter, *sender;

	if (aiolink_wait_connected(l, AIOIPC_FOREVER) == -1) {
		errno = aiolink_error(l);
		die(aiolink_address(l));
	}
	printf("[%d] client: connected to %s\n", (int)getpid(), aiolink_address(l));
	getter = aiotask_spawn(base, get_and_print, aiolink_inbox(l));
	sender = aiotask_spawn(base, random_send, aiolink_outbox(l));
	if (!getter || !sender || aiolink_wait_disconnected(l, AIOIPC_FOREVER) == -1)
		die("talk");
	if (aiotask_join(getter, AIOIPC_FOREVER) == -1 || aiotask_join(sender, AIOIPC_FOREVER) == -1)
		die("join");
	printf("[%d] client: disconnected\n", (int)getpid());
}

int main(int argc, char **argv)
{
	struct aiolink_options o = {
		.size = sizeof o,
		.address = argc > 2 ? argv[2] : "tcp://localhost:8888",
	};
	struct aiolink *l = aiolink_new(&o);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1)
		messages = atoi(argv[1]);
	base = event_base_new();
	if (!l || !base || aiolink_start(l, base) == -1 || aiotask_run(base, talk, l) == -1)
		die(o.address);
	if (aiolink_close(l, AIOIPC_NOW) == -1)
		die("close");
	event_base_free(base);
	return 0;
}
