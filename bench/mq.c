/* POSIX message queues of the kernel: no descriptors in messages, no end told, ten messages at most unless root allows more. */
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"

/* The name goes at once: the child inherits the queue. */
static mqd_t open_queue(size_t len)
{
	struct mq_attr attr = {.mq_maxmsg = 10, .mq_msgsize = (long)len};
	char name[32];
	mqd_t q;

	snprintf(name, sizeof name, "/aioipc-bench-%ld", (long)getpid());
	q = must(mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr), "mq_open");
	mq_unlink(name);
	return q;
}

static void small(struct bench *b)
{
	char message[SMALL] = {0};
	mqd_t q = open_queue(SMALL);
	bool more = true;

	if (bench_fork(b)) {
		do
			must((int)mq_receive(q, message, SMALL, NULL), "mq_receive");
		while (!bench_got(b, message, 1));
		bench_end(b);
		return;
	}
	while (more) {
		more = bench_next(b, message);
		must(mq_send(q, message, SMALL, 0), "mq_send");
	}
}

static void trips(struct bench *b)
{
	char message[SMALL] = {0};
	mqd_t there = open_queue(SMALL), back = open_queue(SMALL);

	if (bench_fork(b)) {
		while (mq_receive(there, message, SMALL, NULL) == SMALL && message[0] == 0)
			must(mq_send(back, message, SMALL, 0), "mq_send");
		return;
	}
	while (bench_more(b)) {
		must(mq_send(there, message, SMALL, 0), "mq_send");
		must((int)mq_receive(back, message, SMALL, NULL), "mq_receive");
		bench_add(b, 1);
	}
	bench_end(b);
	message[0] = 1;
	must(mq_send(there, message, SMALL, 0), "mq_send");
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"small", small},
		{"trip", trips},
		{NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
