/* Streams and a server: what is put into a queue is appended and confirmed; what is got from one was read, and is acknowledged. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <aioipc.h>

#include "bench/bench.h"
#include "bench/server.h"

#define BATCH 64
#define MESSAGES 200000 /* so many, whatever time that takes: transactions grow first */

static struct aiostream *open_stream(const struct server *s, const char *group)
{
	struct aiostream_options o = {
		.size = sizeof o, .stream = "s", .group = group, .from_start = group, .keep = group};
	struct aiostream *stream;
	char address[96];

	snprintf(address, sizeof address, "redis+unix://%s", s->path);
	o.address = address;
	o.prefetch = group ? 1024 : 0;
	o.queue = must_have(aioqueue_new(4096, (size_t)8 << 20), "aioqueue_new");
	stream = must_have(aiostream_new(&o), "aiostream_new");
	aioqueue_free(o.queue);
	must(aiostream_start(stream, NULL), "aiostream_start");
	must(aiostream_wait_connected(stream, AIOIPC_FOREVER), "aiostream_wait_connected");
	return stream;
}

static void put_batch(struct aiostream *s)
{
	static const char data[SMALL];
	struct aiomsg *m[BATCH];

	for (int i = 0; i < BATCH; i++)
		m[i] = must_have(aiomsg_new_bytes(data, SMALL), "aiomsg_new_bytes");
	aioqueue_put_all(aiostream_queue(s), m, BATCH, AIOIPC_FOREVER);
	for (int i = 0; i < BATCH; i++)
		aiomsg_free(m[i]);
}

/* The figure: by the clock, or what this process took of processors since @from. */
static void end(struct bench *b, bool by_clock, int64_t from)
{
	if (by_clock)
		bench_end(b);
	else
		bench_end_time(b, from);
}

static void send_all(struct bench *b, bool by_clock)
{
	struct server server;
	struct aiostream *s;
	int64_t from;

	server_start(&server);
	s = open_stream(&server, NULL);
	bench_start(b);
	from = bench_processor_time();
	for (int i = 0; i < MESSAGES; i += BATCH) {
		put_batch(s);
		bench_add(b, BATCH);
	}
	must(aiostream_close(s, AIOIPC_FOREVER), "aiostream_close");
	end(b, by_clock, from);
	server_stop(&server);
}

static void receive_all(struct bench *b, bool by_clock)
{
	struct aiomsg *m[BATCH];
	struct server server;
	struct aiostream *s;
	int64_t from;

	server_start(&server);
	s = open_stream(&server, NULL);
	for (int i = 0; i < MESSAGES; i += BATCH)
		put_batch(s);
	must(aiostream_close(s, AIOIPC_FOREVER), "aiostream_close");
	s = open_stream(&server, "g");
	bench_start(b);
	from = bench_processor_time();
	for (int got = 0; got < MESSAGES;) {
		ssize_t n = aioqueue_get_all(aiostream_queue(s), m, BATCH, AIOIPC_FOREVER);

		for (ssize_t i = 0; i < n; i++) {
			aiomsg_ack(m[i]);
			aiomsg_free(m[i]);
		}
		got += (int)n;
		bench_add(b, (uint64_t)n);
	}
	must(aiostream_close(s, AIOIPC_FOREVER), "aiostream_close");
	end(b, by_clock, from);
	server_stop(&server);
}

static void send_by_clock(struct bench *b)
{
	send_all(b, true);
}

static void send_time(struct bench *b)
{
	send_all(b, false);
}

static void receive_by_clock(struct bench *b)
{
	receive_all(b, true);
}

static void receive_time(struct bench *b)
{
	receive_all(b, false);
}

/* One connection that has 256 of them under way, as the program that comes with the server does it. */
static void redis_benchmark(struct bench *b)
{
	struct server server;
	char data[SMALL + 1];
	char number[16];
	int status = 0;
	pid_t pid;

	memset(data, 'x', SMALL);
	data[SMALL] = '\0';
	snprintf(number, sizeof number, "%d", MESSAGES);
	server_start(&server);
	bench_start(b);
	pid = must(fork(), "fork");
	if (pid == 0) {
		dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
		execlp("redis-benchmark", "redis-benchmark", "-s", server.path, "-n", number, "-c", "1", "-P",
		       "256", "-q", "xadd", "s", "*", "m", data, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	must(status ? -1 : 0, "redis-benchmark");
	bench_add(b, MESSAGES);
	bench_end(b);
	server_stop(&server);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"send", send_by_clock},
		{"send-time", send_time},
		{"receive", receive_by_clock},
		{"receive-time", receive_time},
		{"redis-benchmark", redis_benchmark},
		{NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
