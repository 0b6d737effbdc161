/*
 * A proxy between two connections. It passes messages on, both ways, and stops reading from one
 * side while the other is full, so that it needs little memory however much passes through.
 *
 *	source (a process) -> proxy (this one) -> sink (a process, slow)
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <aioipc.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

#define MESSAGES 2048
#define MESSAGE_SIZE ((size_t)32 << 10)

static struct aioconn *source, *sink;
static size_t most_in, most_out;

static struct aioconn *other(const struct aioconn *c)
{
	return c == source ? sink : source;
}

static void on_msg(struct aioconn *c, struct aiomsg *m, void *arg)
{
	(void)arg;
	if (other(c) && aioconn_send_msg(other(c), m) == -1 && errno == EAGAIN)
		aioconn_keep(c);
}

static void on_writable(struct aioconn *c, void *arg)
{
	(void)arg;
	if (other(c))
		aioconn_resume(other(c));
}

/* When one side ends, what came from it still goes to the other, and then the other ends too. */
static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct aioconn_stats s = {.size = sizeof s};
	struct aioconn *rest = other(c);

	(void)cause, (void)arg;
	aioconn_stats(c, &s);
	most_in = s.peak_in > most_in ? s.peak_in : most_in;
	most_out = s.peak_out > most_out ? s.peak_out : most_out;
	aioconn_abort(c);
	*(c == source ? &source : &sink) = NULL;
	if (rest)
		aioconn_finish(rest, AIOIPC_FOREVER);
}

static int produce(void *arg)
{
	static unsigned char data[MESSAGE_SIZE];
	struct aioconn *c = aioend_open(arg, NULL);

	for (int i = 0; i < MESSAGES; i++)
		if (!c || aioconn_send_bytes(c, data, sizeof data) == -1)
			die("source");
	printf("[%d] source: %zu MiB sent\n", (int)getpid(), MESSAGES * sizeof data >> 20);
	return aioconn_close(c, AIOIPC_FOREVER);
}

static int consume(void *arg)
{
	const struct timespec nap = {.tv_nsec = 20 * 1000 * 1000};
	struct aioconn *c = aioend_open(arg, NULL);
	struct aiomsg *m;
	size_t len, sum = 0;
	int got;

	while (c && (got = aioconn_recv(c, &m, AIOIPC_FOREVER)) == 1) {
		aiomsg_bytes(m, &len);
		aiomsg_free(m);
		sum += len;
		if (sum % ((size_t)1 << 20) == 0)
			nanosleep(&nap, NULL);
	}
	if (!c || got == -1)
		die("sink");
	printf("[%d] sink: %zu MiB received\n", (int)getpid(), sum >> 20);
	aioconn_close(c, AIOIPC_NOW);
	return 0;
}

static struct aioproc *start(int (*body)(void *), struct event_base *base, struct aioconn **c)
{
	struct aioend *ours, *theirs;
	struct aioproc *p;

	if (aiosockpair(&ours, &theirs) == -1)
		die("aiosockpair");
	p = aioproc_start_with(body, theirs, &theirs, 1);
	if (!p)
		die("start");
	aioend_free(theirs);
	*c = aioend_open(ours, base);
	if (!*c)
		die("open");
	return p;
}

static int join(struct aioproc *p)
{
	int status;

	if (aioproc_join(p, &status, AIOIPC_FOREVER) == -1)
		die("join");
	aioproc_free(p);
	return status;
}

int main(void)
{
	struct event_base *base = event_base_new();
	struct aioproc *from, *to;
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!base)
		die("event_base_new");
	from = start(produce, base, &source);
	to = start(consume, base, &sink);
	aioconn_set_callbacks(source, on_msg, on_writable, on_close, NULL);
	aioconn_set_callbacks(sink, on_msg, on_writable, on_close, NULL);
	event_base_dispatch(base);
	event_base_free(base);
	failed = join(from) | join(to);
	printf("[%d] proxy: at most %zu KiB waited on the way in, %zu KiB on the way out\n", (int)getpid(),
	       most_in >> 10, most_out >> 10);
	return failed != 0;
}
