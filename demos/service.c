/*
 * Three services, chained by queues: a generator, one that writes in capitals, and a logger. The one in the middle is in a
 * process of its own, behind a link over a socket pair, which it does not know. The generator ends by itself, and
 * its end runs through all of them.
 */
#include <ctype.h>
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

static int put(struct aioqueue *out, const char *text)
{
	struct aiomsg *m = aiomsg_new("s", text);
	int r = m ? aioqueue_put(out, m, AIOIPC_FOREVER) : -1;

	aiomsg_free(m);
	return r;
}

/* Called again and again, until it returns 1. */
static int generate(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	static const char *const text[] = {"apple", "banana", "cherry", NULL};
	int *next = arg;

	(void)m;
	if (!text[*next])
		return 1;
	printf("[%d] generator: %s\n", (int)getpid(), text[*next]);
	return put(out, text[(*next)++]);
}

static int to_upper(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	const char *text;
	char *upper;
	int r;

	(void)arg;
	if (aiomsg_unpack(m, "s", &text) == -1)
		return -1;
	upper = strdup(text);
	if (!upper)
		return -1;
	for (char *c = upper; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	printf("[%d] to upper: %s\n", (int)getpid(), upper);
	r = put(out, upper);
	free(upper);
	return r;
}

static int log_it(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	const char *text;

	(void)out, (void)arg;
	if (aiomsg_unpack(m, "s", &text) == -1)
		return -1;
	printf("[%d] logger: %s\n", (int)getpid(), text);
	return 0;
}

static struct aioservice *start(aioservice_handle *handle, struct aioqueue *in, struct aioqueue *out,
				void *arg)
{
	struct aioservice *s =
		aioservice_new(&(struct aioservice_options){.size = sizeof(struct aioservice_options),
							    .in = in,
							    .out = out,
							    .handle = handle,
							    .arg = arg});

	if (!s || aioservice_start(s) == -1)
		die("service");
	return s;
}

/* Until it has come to its end by itself. */
static void finish(struct aioservice *s)
{
	aioservice_join(s, AIOIPC_FOREVER);
	if ((errno = aioservice_error(s)))
		die("service");
	aioservice_close(s, AIOIPC_FOREVER);
}

/* @half_open: answers still leave when the other side has nothing more to say. */
static struct aiolink *start_link(struct aioend *end, bool half_open)
{
	struct aiolink *l = aiolink_new(&(struct aiolink_options){
		.size = sizeof(struct aiolink_options), .end = end, .half_open = half_open});

	if (!l || aiolink_start(l, NULL) == -1)
		die("link");
	return l;
}

static int child(void *end)
{
	struct aiolink *link = start_link(end, true);

	finish(start(to_upper, aiolink_inbox(link), aiolink_outbox(link), NULL));
	return aiolink_close(link, AIOIPC_FOREVER);
}

int main(void)
{
	struct aioservice *generator, *logger;
	struct aioend *ours, *theirs;
	struct aioproc *p;
	struct aiolink *link;
	int next = 0, status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (aiosockpair(&ours, &theirs) == -1)
		die("aiosockpair");
	p = aioproc_start_with(child, theirs, &theirs, 1);
	if (!p)
		die("start");
	aioend_free(theirs);

	link = start_link(ours, false);
	generator = start(generate, NULL, aiolink_outbox(link), &next);
	logger = start(log_it, aiolink_inbox(link), NULL, NULL);
	finish(generator);
	finish(logger);
	if (aiolink_close(link, AIOIPC_FOREVER) == -1 || aioproc_join(p, &status, AIOIPC_FOREVER) == -1)
		die("end");
	aioproc_free(p);
	printf("[%d] all have ended, the child with status %d\n", (int)getpid(), status);
	return status != 0;
}
