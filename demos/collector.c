/*
 * Collects what demos/shipper ships, into a file. A line is confirmed when its message is freed: after it was written. So a collector that is
 * killed, and started again, has every line; those that it had written and not confirmed yet it writes again.
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

#define BATCH 64

static struct aiolink *collect_at(const char *address)
{
	const struct aiolink_options o = {.size = sizeof o,
					  .role = AIOLINK_LISTEN,
					  .address = address,
					  .direction = AIOLINK_RECV,
					  .confirm = true,
					  .reconnect_first = 10,
					  .reconnect_most = 10};
	struct aiolink *l = aiolink_new(&o);

	if (!l || aiolink_start(l, NULL) == -1)
		die(address);
	return l;
}

static void write_line(FILE *file, struct aiomsg *m)
{
	size_t len;
	const char *line = aiomsg_bytes(m, &len);

	fwrite(line, 1, len, file);
}

int main(int argc, char **argv)
{
	struct aiomsg *m[BATCH];
	struct aiolink *l;
	FILE *file;
	ssize_t n;

	if (argc != 3) {
		fprintf(stderr, "usage: collector ADDRESS FILE\n");
		return 2;
	}
	file = fopen(argv[2], "ae");
	if (!file)
		die(argv[2]);
	l = collect_at(argv[1]);
	while ((n = aioqueue_get_all(aiolink_inbox(l), m, BATCH, AIOIPC_FOREVER)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			write_line(file, m[i]);
		if (fflush(file) != 0) /* and fdatasync(), if the machine may fail too */
			die(argv[2]);
		for (ssize_t i = 0; i < n; i++)
			aiomsg_free(m[i]);
	}
	aiolink_abort(l);
	return fclose(file) == 0 ? 0 : 1;
}
