/*
 * A thousand children, or as many as the first argument says, and for each a task that talks to it over a pair of
 * its own. Each task reads as if its child were the only one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <event2/event.h>
#include <aioipc.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

#define QUESTIONS 10

static struct event_base *base;
static int children = 1000;
static unsigned answers, ended;

static int square(void *arg)
{
	struct aioconn *c = aioend_open(arg, NULL);
	struct aiomsg *m;
	int32_t n;
	int got;

	if (!c)
		die("open");
	while ((got = aioconn_recv(c, &m, AIOIPC_FOREVER)) == 1) {
		if (aiomsg_unpack(m, "i", &n) == -1 || aioconn_send(c, "i", n * n) == -1)
			die("answer");
		aiomsg_free(m);
	}
	if (got == -1)
		die("recv");
	return aioconn_close(c, AIOIPC_FOREVER);
}

static int ask(struct aioconn *c, int32_t n)
{
	struct aiomsg *m;
	int32_t squared;

	if (aioconn_send(c, "i", n) == -1 || aioconn_recv(c, &m, AIOIPC_FOREVER) != 1)
		die("ask");
	if (aiomsg_unpack(m, "i", &squared) == -1)
		die("unpack");
	aiomsg_free(m);
	return squared == n * n;
}

/* All of what one child's life takes, from top to bottom. */
static void talk(void *arg)
{
	struct aioend *ours, *theirs;
	struct aioproc *child;
	struct aioconn *c;
	int status;

	(void)arg;
	if (aiosockpair(&ours, &theirs) == -1)
		die("aiosockpair");
	child = aioproc_start_with(square, theirs, &theirs, 1);
	c = child ? aioend_open(ours, base) : NULL;
	if (!c)
		die("start");
	aioend_free(theirs);
	for (int32_t n = 0; n < QUESTIONS; n++)
		answers += (unsigned)ask(c, n);
	if (aioconn_close(c, AIOIPC_FOREVER) == -1)
		die("close");
	if (aioproc_join(child, &status, AIOIPC_FOREVER) == -1)
		die("join");
	aioproc_free(child);
	ended += status == 0;
	if (ended % 100 == 0 && ended < (unsigned)children)
		fprintf(stderr, "%u of %d children have ended\n", ended, children);
}

static void all(void *arg)
{
	struct aiotask **task = calloc((size_t)children, sizeof(struct aiotask *));

	(void)arg;
	if (!task)
		die("calloc");
	for (int i = 0; i < children; i++)
		if (!(task[i] = aiotask_spawn(base, talk, NULL)))
			die("spawn");
	for (int i = 0; i < children; i++)
		if (aiotask_join(task[i], AIOIPC_FOREVER) == -1)
			die("join");
	free(task);
}

int main(int argc, char **argv)
{
	struct rlimit files;

	if (argc > 1)
		children = atoi(argv[1]);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	base = event_base_new();
	if (!base || aiotask_run(base, all, NULL) == -1)
		die("run");
	event_base_free(base);
	printf("a task for each of %d children: %u right answers, %u ended well\n", children, answers, ended);
	return 0;
}
