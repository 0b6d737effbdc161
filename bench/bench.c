/* Two processes, a clock, and the figure: see bench.h. Every measuring program is linked with it. */
#include <malloc.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"

#define HANG_LIMIT 20 /* seconds */
#define LOOK_EVERY 64 /* turns: a look at the clock costs as much as a message */

struct bench_figure {
	uint64_t count;
	int64_t ns;
};

int must(int result, const char *what)
{
	if (result == -1) {
		perror(what);
		_exit(1);
	}
	return result;
}

void bench_skip(const char *why)
{
	fprintf(stderr, "%s\n", why);
	exit(BENCH_SKIPPED);
}

void *must_have(void *p, const char *what)
{
	if (!p)
		must(-1, what);
	return p;
}

int64_t bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void pin(unsigned processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	sched_setaffinity(0, sizeof set, &set);
}

bool bench_fork(struct bench *b)
{
	bool child = must(fork(), "fork") == 0;

	alarm(HANG_LIMIT);
	if (b->pin)
		pin(child);
	b->spare = LOOK_EVERY;
	return child;
}

bool bench_more(struct bench *b)
{
	int64_t now;

	if (--b->spare > 0)
		return true;
	b->spare = LOOK_EVERY;
	now = bench_now();
	if (!b->until)
		b->until = now + b->span;
	return now < b->until;
}

void bench_start(struct bench *b)
{
	b->start = bench_now();
	b->count = 0;
}

void bench_add(struct bench *b, uint64_t n)
{
	if (b->start)
		b->count += n;
	else
		bench_start(b);
}

void bench_end(struct bench *b)
{
	b->figure->ns = bench_now() - b->start;
	b->figure->count = b->count;
}

void bench_read_bulk(struct bench *b, int fd)
{
	static char block[BULK];
	ssize_t n;

	while ((n = read(fd, block, sizeof block)) > 0)
		bench_add(b, (uint64_t)n);
	bench_end(b);
}

int bench_port(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof in;
	int fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket");

	must(bind(fd, (struct sockaddr *)&in, len), "bind");
	must(getsockname(fd, (struct sockaddr *)&in, &len), "getsockname");
	close(fd);
	return ntohs(in.sin_port);
}

void bench_need_fds(void)
{
	struct rlimit r;

	must(getrlimit(RLIMIT_NOFILE, &r), "getrlimit");
	if (r.rlim_cur < 4 * IDLE + 64)
		r.rlim_cur = 4 * IDLE + 64;
	must(setrlimit(RLIMIT_NOFILE, &r), "setrlimit");
}

int64_t bench_heap(void)
{
	struct mallinfo2 m = mallinfo2();

	return (int64_t)(m.uordblks + m.hblkhd);
}

void bench_took(struct bench *b, uint64_t n, int64_t bytes)
{
	b->figure->count = n;
	b->figure->ns = bytes;
}

int64_t bench_processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void bench_end_time(struct bench *b, int64_t from)
{
	bench_took(b, b->count, bench_processor_time() - from);
}

bool bench_got(struct bench *b, const void *data, uint64_t n)
{
	bench_add(b, n);
	return *(const unsigned char *)data;
}

bool bench_next(struct bench *b, void *message)
{
	bool more = bench_more(b);

	*(unsigned char *)message = !more;
	return more;
}

static int usage(const char *program, const struct bench_case *cases)
{
	fprintf(stderr, "usage: %s [--no-pin] [--ms N] CASE\ncases:", program);
	for (; cases->name; cases++)
		fprintf(stderr, " %s", cases->name);
	fputc('\n', stderr);
	return 2;
}

static int measure(struct bench *b, const struct bench_case *c)
{
	pid_t parent = getpid();
	int status = 0;

	b->figure = mmap(NULL, sizeof *b->figure, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (b->figure == MAP_FAILED)
		must(-1, "mmap");
	snprintf(b->address, sizeof b->address, "ipc:///tmp/aioipc-bench-%ld", (long)parent);
	c->run(b);
	if (getpid() != parent)
		_exit(0);
	while (wait(&status) > 0 && status == 0)
		;
	unlink(b->address + strlen("ipc://"));
	if (status != 0 || b->figure->count == 0 || b->figure->ns <= 0)
		return 1;
	printf("%llu %lld\n", (unsigned long long)b->figure->count, (long long)b->figure->ns);
	return 0;
}

int bench_main(int argc, char **argv, const struct bench_case *cases)
{
	struct bench b = {.pin = sysconf(_SC_NPROCESSORS_ONLN) > 1,
			  .span = 150 * INT64_C(1000000),
			  .spare = LOOK_EVERY};
	const char *name = NULL;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--no-pin") == 0)
			b.pin = false;
		else if (strcmp(argv[i], "--ms") == 0 && i + 1 < argc)
			b.span = atoi(argv[++i]) * INT64_C(1000000);
		else
			name = argv[i];
	}
	for (const struct bench_case *c = cases; name && c->name; c++)
		if (strcmp(c->name, name) == 0)
			return measure(&b, c);
	return usage(argv[0], cases);
}
