/*
 * A stream from one coroutine to another: the producer sends two words and has a helper send the one between; the
 * consumer reads it as a loop.
 */
#include <aioipc.h>
#include <event2/event.h>

#include "demos/demo.h"

static int produce_two(struct aiochan *ch)
{
	return aiochan_send(ch, "Two", NULL, AIOIPC_FOREVER);
}

static int produce(struct aiochan *ch, void *arg)
{
	(void)arg;
	aiochan_send(ch, "One", NULL, AIOIPC_FOREVER);
	produce_two(ch);
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
	struct aiochan *ch = aiochan_produce(base, produce, NULL);

	if (!ch || aiotask_run(base, consume, ch) == -1)
		die("run");
	aiochan_free(ch);
	event_base_free(base);
	return 0;
}
