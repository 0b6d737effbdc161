/*
 * Ships the lines of its standard input to a collector, and loses none: the link confirms. The collector may be killed and started again at
 * any time; meanwhile the lines wait.
 *
 *	demos/collector unix:///tmp/logs all.log &
 *	tail -f my.log | demos/shipper unix:///tmp/logs
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static struct aiolink *ship_to(const char *address)
{
	const struct aiolink_options o = {.size = sizeof o,
					  .address = address,
					  .direction = AIOLINK_SEND,
					  .confirm = true,
					  .reconnect_first = 10,
					  .reconnect_most = 1000};
	struct aiolink *l = aiolink_new(&o);

	if (!l || aiolink_start(l, NULL) == -1)
		die(address);
	return l;
}

static void ship(struct aioqueue *q, const char *line, size_t len)
{
	struct aiomsg *m = aiomsg_new_bytes(line, len);

	if (!m || aioqueue_put(q, m, AIOIPC_FOREVER) == -1)
		die("aioqueue_put");
	aiomsg_free(m);
}

int main(int argc, char **argv)
{
	struct aiolink_stats s = {.size = sizeof s};
	struct aiolink *l;
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	if (argc != 2) {
		fprintf(stderr, "usage: shipper ADDRESS <LINES\n");
		return 2;
	}
	l = ship_to(argv[1]);
	while ((len = getline(&line, &room, stdin)) > 0)
		ship(aiolink_outbox(l), line, (size_t)len);
	free(line);
	aioqueue_close(aiolink_outbox(l));
	if (aiolink_join(l, AIOIPC_FOREVER) == -1) /* until the last line is confirmed */
		die("aiolink_join");
	aiolink_stats(l, &s);
	printf("%ju lines, %ju confirmed, %ju sent again, %ju connections\n", (uintmax_t)s.msgs_out,
	       (uintmax_t)s.confirmed, (uintmax_t)s.resent, (uintmax_t)s.connections);
	if (aiolink_close(l, AIOIPC_FOREVER) == -1)
		die("aiolink_close");
	return 0;
}
