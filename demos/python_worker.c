/*
 * The worker of python_parent.py: a program in C that another one starts with an end named "jobs". It takes rows of numbers from
 * it, and answers each with the sum of their squares, until the parent says goodbye.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <aioipc.h>

#define MOST 1000

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] worker, C: %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

static void answer(struct aioconn *jobs, const struct aiomsg *m)
{
	const char *what;
	double row[MOST], sum = 0;
	size_t n;

	if (aiomsg_unpack(m, "sA(f)", &what, row, (size_t)MOST, &n) == -1)
		die("unpack");
	for (size_t i = 0; i < n; i++)
		sum += row[i] * row[i];
	printf("[%d] worker, C: %s of %zu numbers\n", (int)getpid(), what, n);
	fflush(stdout);
	if (aioconn_send(jobs, "sf", what, sum) == -1)
		die("send");
}

int main(void)
{
	struct aioend *end = aioend_inherited("jobs");
	struct aioconn *jobs = end ? aioend_open(end, NULL) : NULL;
	struct aiomsg *m;
	int got;

	if (!jobs)
		die("jobs");
	while ((got = aioconn_recv(jobs, &m, AIOIPC_FOREVER)) == 1) {
		answer(jobs, m);
		aiomsg_free(m);
	}
	if (got == -1) /* 0 is the goodbye */
		die("receive");
	if (aioconn_close(jobs, AIOIPC_FOREVER) == -1)
		die("close");
	return 0;
}
