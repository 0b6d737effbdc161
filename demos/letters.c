/*
 * A channel in both directions: one task sends letters and gets numbers back, the other one the reverse. Each item lives on
 * the stack of the task that sends it.
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

static void letters(void *ch)
{
	void *number;

	for (char letter = 'A'; letter <= 'B'; letter++)
		if (aiochan_send(ch, &letter, &number, AIOIPC_FOREVER) == 1)
			printf("%d\n", *(int *)number);
	aiochan_close(ch, 0);
}

static void numbers(void *ch)
{
	void *letter;
	int more = aiochan_next(ch, NULL, &letter, AIOIPC_FOREVER);

	for (int number = 0; more == 1; number++) {
		printf("%c\n", *(char *)letter);
		more = aiochan_next(ch, &(int){number}, &letter, AIOIPC_FOREVER);
	}
	if (more == -1)
		die("next");
}

int main(void)
{
	struct event_base *base = event_base_new();
	struct aiochan *ch = aiochan_new();
	struct aiotask *client;

	client = ch ? aiotask_spawn(base, numbers, ch) : NULL;
	if (!client || aiotask_run(base, letters, ch) == -1 || aiotask_join(client, AIOIPC_FOREVER) == -1)
		die("run");
	aiochan_free(ch);
	event_base_free(base);
	return 0;
}
