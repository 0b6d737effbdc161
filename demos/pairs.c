/*
 * A pipeline: words come out of one generator, a second one joins each two of them, and the reader of that sees pairs. None
 * knows what is in front of it or behind.
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

static int produce(struct aiochan *out, void *arg)
{
	static void *const words[] = {"The", "quick", "brown", "fox", "jumps"};

	(void)arg;
	return aiochan_send_all(out, words, 5, AIOIPC_FOREVER) == -1 ? errno : 0;
}

static int join_pairs(struct aiochan *out, void *arg)
{
	struct aiochan *in = arg;
	void *two[2];
	char pair[32];
	ssize_t n;

	while ((n = aiochan_next_all(in, two, 2, AIOIPC_FOREVER)) > 0) {
		snprintf(pair, sizeof pair, n == 2 ? "%s %s" : "%s", (char *)two[0], (char *)two[1]);
		if (aiochan_send(out, pair, NULL, AIOIPC_FOREVER) != 1)
			break;
	}
	return n == -1 ? errno : 0;
}

static void consume(void *pairs)
{
	void *pair;
	int more;

	while ((more = aiochan_next(pairs, NULL, &pair, AIOIPC_FOREVER)) == 1)
		puts(pair);
	if (more == -1)
		die("next");
}

int main(void)
{
	struct event_base *base = event_base_new();
	struct aiochan *words, *pairs;

	words = aiochan_produce(base, produce, NULL);
	pairs = words ? aiochan_produce(base, join_pairs, words) : NULL;
	if (!pairs || aiotask_run(base, consume, pairs) == -1)
		die("run");
	aiochan_free(pairs);
	aiochan_free(words);
	event_base_free(base);
	return 0;
}
