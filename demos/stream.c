/*
 * A stream from one coroutine to another: the producer sends two words and lends its side to a helper, a coroutine too, that
 * sends the one between; the consumer reads it as a loop.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <aioipc.h>
#include <event2/event.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

static void produce_two(void *ch)
{
	aiochan_send(ch, "Two", NULL, AIOIPC_FOREVER);
}

static int produce(struct aiochan *ch, void *base)
{
	struct aiotask *helper;

	aiochan_send(ch, "One", NULL, AIOIPC_FOREVER);
	helper = aiotask_spawn(base, produce_two, ch);
	if (!helper || aiochan_lend(ch, helper) == -1)
		return errno;
	aiotask_join(helper, AIOIPC_FOREVER);
	aiochan_send(ch, "Three", NULL, AIOIPC_FOREVER);
	return 0;
}

static void consume(void *ch)
{
	aiochan_each(ch, word) puts(word);
}

int main(void)
{
	struct event_base *base = event_base_new();
	struct aiochan *ch = aiochan_produce(base, produce, base);

	if (!ch || aiotask_run(base, consume, ch) == -1)
		die("run");
	aiochan_free(ch);
	event_base_free(base);
	return 0;
}
