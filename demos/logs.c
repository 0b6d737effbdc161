/*
 * Ships the lines of a log file to a collector by way of a server of Redis or Valkey, and loses none, whoever is killed and started again: the
 * shipper, the collector, or the server. A line may be collected twice.
 *
 *	demos/logs redis://host ship FILE       goes on behind what is confirmed, which it keeps in FILE.shipped
 *	demos/logs redis://host collect FILE    appends what it collects; any number of them share the lines
 *
 * Both end by SIGTERM or Ctrl-C.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <aioipc.h>

#define AT_ONCE 256

static volatile sig_atomic_t stopped;

static void stop(int sig)
{
	stopped = sig;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static struct aiostream *open_stream(const char *address, const char *group)
{
	struct aiostream_options o = {
		.size = sizeof o, .address = address, .stream = "logs", .group = group, .from_start = group};
	struct aiostream *s;

	if (group)
		o.lease = 2000;
	s = aiostream_new(&o);
	if (!s || aiostream_start(s, NULL) == -1)
		die(address);
	return s;
}

/* Shipping. */

static long read_place(const char *path)
{
	FILE *f = fopen(path, "r");
	long at = 0;

	if (f && fscanf(f, "%ld", &at) != 1)
		at = 0;
	if (f)
		fclose(f);
	return at;
}

/* The file is there whole, or as it was. */
static void write_place(const char *path, long at)
{
	char fresh[1024];
	FILE *f;

	snprintf(fresh, sizeof fresh, "%s.new", path);
	f = fopen(fresh, "w");
	if (!f || fprintf(f, "%ld\n", at) < 0 || fflush(f) == EOF || fsync(fileno(f)) == -1 ||
	    fclose(f) == EOF || rename(fresh, path) == -1)
		die(path);
}

/* Whole lines only, AT_ONCE at most: how many; *@at is behind them. */
static uint64_t ship_some(FILE *f, struct aiostream *s, long *at)
{
	static char *line;
	static size_t room;
	struct aiomsg *m;
	uint64_t n = 0;
	ssize_t len;

	clearerr(f);
	fseek(f, *at, SEEK_SET);
	while (n < AT_ONCE && (len = getline(&line, &room, f)) > 0 && line[len - 1] == '\n') {
		m = aiomsg_new_bytes(line, (size_t)len - 1);
		if (!m || aioqueue_put(aiostream_queue(s), m, AIOIPC_FOREVER) == -1)
			die("put");
		aiomsg_free(m);
		*at += len;
		n++;
	}
	return n;
}

static void wait_a_little(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static int ship(const char *address, const char *path)
{
	struct aiostream_stats stats = {.size = sizeof stats};
	struct aiostream *s = open_stream(address, NULL);
	uint64_t shipped = 0, n;
	FILE *f = fopen(path, "r");
	char place[1000];
	long at;

	if (!f)
		die(path);
	snprintf(place, sizeof place, "%s.shipped", path);
	at = read_place(place);
	while (!stopped) {
		n = ship_some(f, s, &at);
		shipped += n;
		while (aiostream_stats(s, &stats) == 0 && stats.sent < shipped && !stopped)
			wait_a_little();
		if (n > 0 && stats.sent == shipped)
			write_place(place, at);
		else
			wait_a_little();
	}
	fclose(f);
	return aiostream_close(s, aioipc_after(5000)) == -1;
}

/* Collecting: a line is acknowledged when it is on the disk. */

static int collect(const char *address, const char *path)
{
	struct aiostream *s = open_stream(address, "collectors");
	FILE *f = fopen(path, "a");
	struct aiomsg *m[AT_ONCE];
	const void *line;
	size_t len;
	ssize_t n;

	if (!f)
		die(path);
	while (!stopped) {
		n = aioqueue_get_all(aiostream_queue(s), m, AT_ONCE, AIOIPC_FOREVER);
		for (ssize_t i = 0; i < n; i++) {
			line = aiomsg_bytes(m[i], &len);
			fwrite(line, 1, len, f);
			putc('\n', f);
		}
		if (n > 0 && (fflush(f) == EOF || ferror(f) || fdatasync(fileno(f)) == -1))
			die(path);
		for (ssize_t i = 0; i < n; i++) {
			aiomsg_ack(m[i]);
			aiomsg_free(m[i]);
		}
	}
	fclose(f);
	return aiostream_close(s, aioipc_after(5000)) == -1;
}

int main(int argc, char **argv)
{
	struct sigaction act = {.sa_handler = stop};

	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	if (argc == 4 && strcmp(argv[2], "ship") == 0)
		return ship(argv[1], argv[3]);
	if (argc == 4 && strcmp(argv[2], "collect") == 0)
		return collect(argv[1], argv[3]);
	fprintf(stderr, "usage: %s redis://host ship|collect FILE\n", argv[0]);
	return 2;
}
