/*
 * One routine that feeds two channels: it sends even numbers into one and odd numbers into the other, from a single loop.
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

struct outlet {
	const char *name;
	struct aiochan *ch;
};

static void print(void *arg)
{
	struct outlet *o = arg;

	aiochan_each(o->ch, number) printf("%s %d\n", o->name, *(int *)number);
	printf("%s ended\n", o->name);
}

static void split(void *arg)
{
	struct outlet *o = arg;

	for (int i = 0; i < 6; i++)
		if (aiochan_send(o[i % 2].ch, &i, NULL, AIOIPC_FOREVER) != 1)
			die("send");
	aiochan_close(o[0].ch, 0);
	aiochan_close(o[1].ch, 0);
}

int main(void)
{
	struct event_base *base = event_base_new();
	struct outlet o[2] = {{"even", aiochan_new()}, {"odd", aiochan_new()}};
	struct aiotask *t[2];

	for (int i = 0; i < 2; i++) {
		t[i] = o[i].ch ? aiotask_spawn(base, print, &o[i]) : NULL;
		if (!t[i])
			die("spawn");
	}
	if (aiotask_run(base, split, o) == -1)
		die("run");
	for (int i = 0; i < 2; i++) {
		if (aiotask_join(t[i], AIOIPC_FOREVER) == -1)
			die("join");
		aiochan_free(o[i].ch);
	}
	event_base_free(base);
	return 0;
}
