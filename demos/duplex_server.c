/*
 * A link that listens, in a thread of its own: whatever is found in its inbox is printed and put into its outbox. It ends
 * when its peer has said goodbye. Argument: another address. Start this, then demos/duplex_client.
 */
#include <errno.h>
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

static void answer(struct aioqueue *inbox, struct aioqueue *outbox)
{
	struct aiomsg *m;
	const char *text;
	int got;

	while ((got = aioqueue_get(inbox, &m, AIOIPC_FOREVER)) == 1) {
		if (aiomsg_unpack(m, "s", &text) == 0)
			printf("[%d] server: got \"%s\"\n", (int)getpid(), text);
		if (aioqueue_put(outbox, m, AIOIPC_FOREVER) == -1)
			die("put");
		aiomsg_free(m);
	}
	if (got == -1)
		die("get");
}

int main(int argc, char **argv)
{
	struct aiolink_options o = {
		.size = sizeof o,
		.role = AIOLINK_LISTEN,
		.address = argc > 1 ? argv[1] : "tcp://localhost:8888",
		.half_open = true, /* answers even after the peer's goodbye */
	};
	struct aiolink *l = aiolink_new(&o);
	char peer[128];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!l || aiolink_start(l, NULL) == -1)
		die(o.address);
	printf("[%d] server: listening at %s\n", (int)getpid(), aiolink_address(l));
	if (aiolink_wait_connected(l, AIOIPC_FOREVER) == -1 || aiolink_peer(l, peer, sizeof peer) == -1)
		die("connect");
	printf("[%d] server: incoming connection from %s\n", (int)getpid(), peer);
	answer(aiolink_inbox(l), aiolink_outbox(l));
	if (aiolink_close(l, aioipc_after(5000)) == -1)
		die("close");
	printf("[%d] server: disconnected\n", (int)getpid());
	return 0;
}
