/*
 * A calculator in a child, and calls to it: all in flight at once, one of them refused, one cancelled. With an address, the calculator
 * listens there instead: try "demos/call unix:@sums", and "aioipc call unix:@sums sii add 40 2".
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

/* The calculator. */

static struct aiomsg *calculate(const struct aiomsg *call)
{
	const char *what;
	int32_t a, b;

	if (aiomsg_unpack(call, "sii", &what, &a, &b) == -1)
		return aiomsg_answer_error(call, EBADMSG, "a word and two numbers, please");
	if (strcmp(what, "add") == 0)
		return aiomsg_answer(call, "i", a + b);
	if (strcmp(what, "divide") == 0 && b != 0)
		return aiomsg_answer(call, "i", a / b);
	if (strcmp(what, "divide") == 0)
		return aiomsg_answer_error(call, EDOM, "by zero?");
	return aiomsg_answer_error(call, ENOSYS, "I can add and divide");
}

static struct aiomsg *pondered; /* a call that takes long */

static void on_call(struct aioconn *c, struct aiomsg *m, void *arg)
{
	const char *what;
	int32_t a, b;
	struct aiomsg *answer;

	(void)arg;
	if (!aiomsg_is_call(m))
		return;
	if (!pondered && aiomsg_unpack(m, "sii", &what, &a, &b) == 0 && strcmp(what, "ponder") == 0) {
		pondered = aiomsg_ref(m); /* to be answered some day, or freed */
		return;
	}
	answer = calculate(m);
	if (!answer || aioconn_send_msg(c, answer) == -1)
		perror("answer");
	aiomsg_free(answer);
}

static void on_end(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	(void)cause;
	(void)arg;
	aiomsg_free(pondered);
	pondered = NULL;
	aioconn_abort(c);
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	(void)l;
	(void)arg;
	aioconn_set_callbacks(c, on_call, NULL, on_end, NULL);
}

static int child(void *end)
{
	struct event_base *base = event_base_new();
	struct aioconn *c = aioend_open(end, base);

	if (!c || aioconn_set_callbacks(c, on_call, NULL, on_end, NULL) == -1)
		die("child");
	event_base_dispatch(base);
	event_base_free(base);
	return 0;
}

/* Who calls. */

struct sum {
	const char *what;
	int32_t a, b;
	unsigned *left;
	struct aiocall *call;
};

static void on_answer(struct aiomsg *answer, int error, void *arg)
{
	struct sum *s = arg;
	const char *words = "";
	int32_t result;

	--*s->left;
	if (answer && aiomsg_unpack(answer, "i", &result) == 0)
		printf("%s %d %d: %d\n", s->what, s->a, s->b, result);
	else if (answer && aiomsg_error(answer, &words))
		printf("%s %d %d: refused, %s\n", s->what, s->a, s->b, words);
	else
		printf("%s %d %d: %s\n", s->what, s->a, s->b, strerror(error));
}

static void call(struct aioconn *c, struct sum *s)
{
	struct aiomsg *m = aiomsg_new("sii", s->what, s->a, s->b);

	s->call = m ? aioconn_call_later(c, m, on_answer, s, aioipc_after(5000)) : NULL;
	if (!s->call)
		die("call");
	aiomsg_free(m);
}

static int serve(const char *address)
{
	struct event_base *base = event_base_new();
	struct aiolistener *l = aiolistener_new(address, base, NULL, on_peer, NULL);

	if (!l)
		die(address);
	printf("calculating at %s\n", aiolistener_address(l));
	fflush(stdout);
	return event_base_dispatch(base);
}

int main(int argc, char **argv)
{
	unsigned left = 4;
	struct sum sums[] = {{"ponder", 6, 7, &left, NULL},
			     {"add", 40, 2, &left, NULL},
			     {"divide", 1, 0, &left, NULL},
			     {"divide", 84, 2, &left, NULL}};
	struct event_base *base;
	struct aioend *ours, *theirs;
	struct aioproc *proc;
	struct aioconn *c;
	int status;

	if (argc > 1)
		return serve(argv[1]);
	if (aiosockpair(&ours, &theirs) == -1 || !(proc = aioproc_start_with(child, theirs, &theirs, 1)))
		die("start");
	aioend_free(theirs);
	base = event_base_new();
	c = aioend_open(ours, base);
	if (!c)
		die("open");
	for (int i = 0; i < 4; i++)
		call(c, &sums[i]);
	while (left > 1 && event_base_loop(base, EVLOOP_ONCE) == 0)
		;
	aiocall_cancel(sums[0].call); /* it is told at once, and the calculator soon */
	if (aioconn_close(c, aioipc_after(5000)) == -1 || aioproc_join(proc, &status, AIOIPC_FOREVER) == -1)
		die("end");
	aioproc_free(proc);
	event_base_free(base);
	return status;
}
