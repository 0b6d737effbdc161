/* Channels: the order of events, both directions, batches, and that nobody is left waiting. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc/chan.h>
#include <aioipc/task.h>

#include "tests/harness.h"

/* What happened, in order. */
static char story[4096];

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
	size_t n = strlen(story);
	va_list args;

	va_start(args, format);
	vsnprintf(story + n, sizeof story - n, format, args);
	va_end(args);
}

/* Runs two tasks on a base of their own until both have ended. */
static void run_two(void (*one)(void *), void (*other)(void *), void *arg)
{
	struct event_base *base = must(event_base_new());
	struct aiotask *a = must(aiotask_spawn(base, one, arg)), *b = must(aiotask_spawn(base, other, arg));

	must(aiotask_join(a, AIOIPC_FOREVER));
	must(aiotask_join(b, AIOIPC_FOREVER));
	event_base_free(base);
}

static void produce_three(void *ch)
{
	static int items[3] = {0, 1, 2};

	must(aiochan_serve(ch, AIOIPC_FOREVER));
	note("enter ");
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(aiochan_send(ch, &items[i], NULL, AIOIPC_FOREVER), 1);
		note("sent%d ", i);
	}
	aiochan_close(ch, 0);
	note("exit ");
}

static void consume_three(void *ch)
{
	note("start ");
	aiochan_each(ch, item)
	{
		note("got%d ", *(int *)item);
		note("done%d ", *(int *)item);
	}
	note("end");
}

TEST(events_come_in_the_order_of_a_generator)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(consume_three, produce_three, ch);
	ck_assert_str_eq(story, "start enter got0 done0 sent0 got1 done1 sent1 got2 done2 sent2 exit end");
	story[0] = '\0';
	aiochan_free(ch);
	ch = must(aiochan_new());
	run_two(produce_three, consume_three, ch);
	ck_assert_str_eq(story, "start enter got0 done0 sent0 got1 done1 sent1 got2 done2 sent2 exit end");
	aiochan_free(ch);
	aiochan_free(NULL);
	aiochan_close(NULL, 0);
}

static void letters(void *ch)
{
	void *n;

	for (char c = 'A'; c <= 'C'; c++) {
		char item = c; /* lives on this stack */

		ck_assert_int_eq(aiochan_send(ch, &item, &n, AIOIPC_FOREVER), 1);
		note("%d ", *(int *)n);
		item = '?';
	}
	aiochan_close(ch, 0);
}

static void numbers(void *ch)
{
	void *letter = NULL;

	ck_assert_int_eq(aiochan_next(ch, NULL, &letter, AIOIPC_FOREVER), 1);
	for (int i = 0;; i++) {
		int number = i;

		note("%c ", *(char *)letter);
		if (aiochan_next(ch, &number, &letter, AIOIPC_FOREVER) != 1)
			break;
	}
}

TEST(items_go_both_ways)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(letters, numbers, ch);
	ck_assert_str_eq(story, "A 0 B 1 C 2 ");
	aiochan_free(ch);
}

static void send_nothing(void *ch)
{
	void *reply = ch;

	ck_assert_int_eq(aiochan_send(ch, NULL, &reply, AIOIPC_FOREVER), 1);
	ck_assert_ptr_null(reply);
	ck_assert_int_eq(aiochan_send(ch, "", &reply, AIOIPC_FOREVER), 1);
	ck_assert_str_eq(reply, "");
	ck_assert_int_eq(aiochan_send_all(ch, NULL, 0, AIOIPC_FOREVER), 0);
	aiochan_close(ch, 0);
}

static void take_nothing(void *ch)
{
	void *got = ch;

	must_fail(aiochan_next(ch, "nobody hears this", &got, AIOIPC_FOREVER), EINVAL);
	ck_assert_int_eq(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER), 1);
	ck_assert_ptr_null(got);
	ck_assert_int_eq(aiochan_next_all(ch, NULL, 0, AIOIPC_FOREVER), 0);
	ck_assert_int_eq(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER), 1);
	ck_assert_str_eq(got, "");
	ck_assert_int_eq(aiochan_next(ch, "", &got, AIOIPC_FOREVER), 0);
	ck_assert_int_eq(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER), 0);
	ck_assert_str_eq(got, "");
}

TEST(no_item_is_special)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(send_nothing, take_nothing, ch);
	aiochan_free(ch);
}

static void send_batches(void *ch)
{
	void *items[10];

	for (int i = 0; i < 10; i++)
		items[i] = &items[i];
	ck_assert_int_eq(aiochan_send_all(ch, items, 10, AIOIPC_FOREVER), 10);
	note("ten ");
	ck_assert_int_eq(aiochan_send_all(ch, items, 10, AIOIPC_FOREVER), 10);
	note("twenty ");
	ck_assert_int_eq(aiochan_send_all(ch, items, 10, AIOIPC_FOREVER), 4);
	note("24 ");
}

static void take_batches(void *ch)
{
	void *items[20] = {NULL}, *one;

	ck_assert_int_eq(aiochan_next(ch, NULL, &one, AIOIPC_FOREVER), 1);
	ck_assert_int_eq(aiochan_next_once(ch, items, 20, AIOIPC_FOREVER), 9);
	ck_assert_ptr_eq(items[0], (void **)one + 1);
	ck_assert_ptr_eq(items[8], (void **)one + 9);
	note("taken ");
	ck_assert_int_eq(aiochan_next_all(ch, items, 14, AIOIPC_FOREVER), 14);
	ck_assert_ptr_eq(items[10], one);
	aiochan_close(ch, 0);
}

TEST(batches_need_no_switch_for_each_item)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(send_batches, take_batches, ch);
	ck_assert_str_eq(story, "taken ten twenty 24 ");
	aiochan_free(ch);
}

static void send_five(void *ch)
{
	void *items[5] = {ch, ch, ch, ch, ch};

	ck_assert_int_eq(aiochan_send_all(ch, items, 5, AIOIPC_FOREVER), 5);
	aiochan_close(ch, EIO);
}

static void take_eight(void *ch)
{
	void *items[8];

	ck_assert_int_eq(aiochan_next_all(ch, items, 8, AIOIPC_FOREVER), 5);
	must_fail(aiochan_next_all(ch, items, 8, AIOIPC_FOREVER), EIO);
}

TEST(a_batch_that_ends_early_is_told_so_later)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(send_five, take_eight, ch);
	aiochan_free(ch);
}

/*
 * Nobody is left waiting. One side does one thing, the other one waits for it: in send, in serve, in next.
 */
static struct {
	int result, error;
} heard;

static void hear(int result)
{
	heard.error = errno;
	heard.result = result;
}

static void client_waits(void *ch)
{
	void *got;

	do
		errno = 0;
	while (aiochan_next(ch, NULL, &got, AIOIPC_FOREVER) == 1);
	errno = 0;
	hear(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER));
}

static void client_waits_once(void *ch)
{
	void *got;

	hear(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER));
}

static void server_waits(void *ch)
{
	while (aiochan_send(ch, ch, NULL, AIOIPC_FOREVER) == 1)
		;
	errno = 0;
	hear(aiochan_send(ch, ch, NULL, AIOIPC_FOREVER));
}

static void server_waits_to_begin(void *ch)
{
	hear(aiochan_serve(ch, AIOIPC_FOREVER));
}

static void just_close(void *ch)
{
	aiotask_sleep(AIOIPC_NOW);
	aiochan_close(ch, 0);
}

static void take_one_and_close(void *ch)
{
	void *got;

	ck_assert_int_eq(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER), 1);
	aiochan_close(ch, 0);
	must_fail(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER), EPIPE);
}

static void take_one_and_fail(void *ch)
{
	void *got;

	ck_assert_int_eq(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER), 1);
	aiochan_close(ch, EBADMSG);
}

static void take_one_and_break(void *ch)
{
	aiochan_each(ch, item) break;
}

static void send_one_and_fail(void *ch)
{
	ck_assert_int_eq(aiochan_send(ch, ch, NULL, AIOIPC_FOREVER), 1);
	aiochan_close(ch, ENOSPC);
	must_fail(aiochan_send(ch, ch, NULL, AIOIPC_FOREVER), EPIPE);
	must_fail(aiochan_serve(ch, AIOIPC_FOREVER), EPIPE);
}

static void send_one_and_leave(void *ch)
{
	ck_assert_int_eq(aiochan_send(ch, ch, NULL, AIOIPC_FOREVER), 1);
}

static void hears(void (*one)(void *), void (*other)(void *), int result, int error)
{
	for (int i = 0; i < 2; i++) {
		struct aiochan *ch = must(aiochan_new());

		run_two(i ? one : other, i ? other : one, ch);
		ck_assert_int_eq(heard.result, result);
		if (result == -1)
			ck_assert_int_eq(heard.error, error);
		aiochan_free(ch);
	}
}

TEST(the_server_hears_of_the_client_s_end)
{
	hears(server_waits, take_one_and_close, 0, 0);
	hears(server_waits, just_close, 0, 0);
	hears(server_waits, take_one_and_fail, -1, EBADMSG);
	hears(server_waits, take_one_and_break, -1, ECONNRESET);
	hears(server_waits_to_begin, just_close, -1, EPIPE);
}

TEST(the_client_hears_of_the_server_s_end)
{
	hears(client_waits, send_one_and_fail, -1, ENOSPC);
	hears(client_waits, send_one_and_leave, -1, ECONNRESET);
	hears(client_waits_once, just_close, 0, 0);
}

/* The first task spawned is cancelled while it waits; the other one is to hear of it. */
static void is_cancelled(void (*victim)(void *), void (*other)(void *))
{
	struct event_base *base = must(event_base_new());
	struct aiochan *ch = must(aiochan_new());
	struct aiotask *a = must(aiotask_spawn(base, victim, ch)), *b;

	event_base_loop(base, EVLOOP_NONBLOCK);
	must(aiotask_cancel(a));
	b = must(aiotask_spawn(base, other, ch));
	must(aiotask_join(a, AIOIPC_FOREVER));
	must(aiotask_join(b, AIOIPC_FOREVER));
	ck_assert_int_eq(heard.result, -1);
	ck_assert_int_eq(heard.error, ECANCELED);
	aiochan_free(ch);
	event_base_free(base);
}

static void serve_until_cancelled(void *ch)
{
	must_fail(aiochan_serve(ch, AIOIPC_FOREVER), ECANCELED);
}

static void send_until_cancelled(void *ch)
{
	must_fail(aiochan_send(ch, ch, NULL, AIOIPC_FOREVER), ECANCELED);
}

static void ask_until_cancelled(void *ch)
{
	void *got;

	must_fail(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER), ECANCELED);
}

TEST(who_is_cancelled_is_heard_of)
{
	is_cancelled(serve_until_cancelled, client_waits_once);
	is_cancelled(send_until_cancelled, client_waits_once);
	is_cancelled(ask_until_cancelled, server_waits);
	is_cancelled(ask_until_cancelled, server_waits_to_begin);
}

/* A cancel that comes when there is something to tell is told by the next wait. */
static struct aiotask *victim;

static void send_and_be_cancelled(void *ch)
{
	void *items[5] = {ch, ch, ch, ch, ch}, *reply;

	victim = aiotask_self();
	ck_assert_int_eq(aiochan_send(ch, ch, &reply, AIOIPC_FOREVER), 1);
	ck_assert_str_eq(reply, "back");
	must_fail(aiotask_sleep(AIOIPC_FOREVER), ECANCELED);
	ck_assert_int_eq(aiochan_send_all(ch, items, 5, AIOIPC_FOREVER), 2);
	must_fail(aiotask_sleep(AIOIPC_FOREVER), ECANCELED);
	aiochan_close(ch, 0);
}

static void take_and_cancel(void *ch)
{
	void *items[2];

	ck_assert_int_eq(aiochan_next(ch, NULL, items, AIOIPC_FOREVER), 1);
	must(aiotask_cancel(victim));
	ck_assert_int_eq(aiochan_next(ch, "back", items, AIOIPC_FOREVER), 1);
	ck_assert_int_eq(aiochan_next(ch, NULL, items, AIOIPC_FOREVER), 1);
	must(aiotask_cancel(victim));
	must(aiotask_sleep(AIOIPC_NOW));
	ck_assert_int_eq(aiochan_next(ch, NULL, items, AIOIPC_FOREVER), 0);
}

static void take_three_and_be_cancelled(void *ch)
{
	void *items[8];

	victim = aiotask_self();
	ck_assert_int_eq(aiochan_next_all(ch, items, 8, AIOIPC_FOREVER), 3);
	must_fail(aiochan_next_all(ch, items, 8, AIOIPC_FOREVER), ECANCELED);
}

static void send_three_and_cancel(void *ch)
{
	void *items[3] = {ch, ch, ch};

	ck_assert_int_eq(aiochan_send_all(ch, items, 3, AIOIPC_FOREVER), 3);
	must(aiotask_cancel(victim));
	must(aiotask_sleep(AIOIPC_NOW));
	aiochan_close(ch, 0);
}

TEST(a_cancel_that_comes_with_items_is_told_by_the_next_wait)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(send_and_be_cancelled, take_and_cancel, ch);
	aiochan_free(ch);
	ch = must(aiochan_new());
	run_two(take_three_and_be_cancelled, send_three_and_cancel, ch);
	aiochan_free(ch);
}

static void come_second(void *ch)
{
	void *got;

	aiotask_sleep(AIOIPC_NOW);
	must_fail(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER), EBUSY);
	must_fail(aiochan_next_all(ch, &got, 1, AIOIPC_NOW), EBUSY);
	must_fail(aiochan_send(ch, ch, NULL, AIOIPC_FOREVER), ECONNRESET);
}

TEST(a_second_caller_is_refused_and_the_first_unharmed)
{
	hears(client_waits_once, come_second, 1, 0);
}

static void serve_busy(void *ch)
{
	aiotask_sleep(AIOIPC_NOW);
	must_fail(aiochan_serve(ch, AIOIPC_FOREVER), EBUSY);
	must_fail(aiochan_send(ch, ch, NULL, AIOIPC_FOREVER), EBUSY);
	must_fail(aiochan_send_all(ch, (void *[]){ch}, 1, AIOIPC_FOREVER), EBUSY);
	aiochan_close(ch, EIO);
}

TEST(a_second_server_is_refused)
{
	hears(server_waits, serve_busy, -1, EIO);
}

/* What one task waits for in the other, without a look at the clock. */
static bool taken, gave_up;

static void await(const bool *what)
{
	while (!*what)
		must(aiotask_sleep(AIOIPC_NOW));
}

static void send_in_vain(void *ch)
{
	void *reply;

	must_fail(aiochan_serve(ch, aioipc_after(5)), ETIMEDOUT);
	must_fail(aiochan_send(ch, ch, &reply, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aiochan_send(ch, ch, &reply, aioipc_after(5)), ETIMEDOUT);
	must_fail(aiochan_send(ch, ch, &reply, 5000), EINVAL);
	must_fail(aiochan_send_all(ch, (void *[]){ch}, 1, aioipc_after(5)), ETIMEDOUT);
	gave_up = true;
}

static void ask_too_late(void *ch)
{
	void *got;

	await(&gave_up);
	must_fail(aiochan_next(ch, NULL, &got, AIOIPC_NOW), ECONNRESET);
}

TEST(deadlines_of_the_server)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(send_in_vain, ask_too_late, ch);
	aiochan_free(ch);
}

static void hand_over_slowly(void *ch)
{
	void *reply = NULL;

	do
		must_fail(aiochan_send(ch, "one", &reply, aioipc_after(5)), ETIMEDOUT);
	while (!taken);
	ck_assert_ptr_null(reply);
	gave_up = true;
	must(aiochan_serve(ch, AIOIPC_FOREVER));
	ck_assert_int_eq(aiochan_send(ch, "two", &reply, AIOIPC_FOREVER), 1);
	ck_assert_str_eq(reply, "to two");
	aiochan_close(ch, 0);
}

static void work_slowly(void *ch)
{
	void *got;

	must_fail(aiochan_next(ch, NULL, &got, AIOIPC_NOW), ETIMEDOUT);
	ck_assert_int_eq(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER), 1);
	ck_assert_str_eq(got, "one");
	taken = true;
	await(&gave_up);
	ck_assert_int_eq(aiochan_next(ch, "to one", &got, AIOIPC_FOREVER), 1);
	ck_assert_str_eq(got, "two");
	ck_assert_int_eq(aiochan_next(ch, "to two", &got, AIOIPC_FOREVER), 0);
}

TEST(a_send_that_timed_out_can_be_waited_for)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(work_slowly, hand_over_slowly, ch);
	aiochan_free(ch);
}

/* Helpers may be handed an end: as functions, and as tasks that are joined. */
static void send_two(void *ch)
{
	ck_assert_int_eq(aiochan_send(ch, "Two", NULL, AIOIPC_FOREVER), 1);
}

static int produce_by_helpers(struct aiochan *ch, void *arg)
{
	(void)arg;
	aiochan_send(ch, "One", NULL, AIOIPC_FOREVER);
	send_two(ch);
	aiochan_send(ch, "Three", NULL, AIOIPC_FOREVER);
	return 0;
}

struct pipeline {
	struct event_base *base;
	struct aiochan *in;
};

static void consume_words(void *arg)
{
	struct pipeline *p = arg;

	p->in = must(aiochan_produce(p->base, produce_by_helpers, NULL));
	aiochan_each(p->in, word) note("%s ", (char *)word);
	aiochan_free(p->in);
}

TEST(a_generator)
{
	struct pipeline p = {.base = must(event_base_new())};

	must(aiotask_run(p.base, consume_words, &p));
	ck_assert_str_eq(story, "One Two Three ");
	event_base_free(p.base);
}

static int count_up(struct aiochan *ch, void *arg)
{
	int i = 0, result;

	do
		result = aiochan_send(ch, &i, NULL, AIOIPC_FOREVER);
	while (result == 1 && ++i < 10);
	*(int *)arg = result;
	return ERANGE;
}

static void consume_some(void *arg)
{
	struct pipeline *p = arg;
	int result = 5;
	struct aiochan *ch = must(aiochan_produce(p->base, count_up, &result));
	void *got;

	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER), 1);
		ck_assert_int_eq(*(int *)got, i);
	}
	aiochan_free(ch);
	must(aiotask_sleep(AIOIPC_NOW));
	ck_assert_int_eq(result, 0);

	ch = must(aiochan_produce(p->base, count_up, &result));
	aiochan_each(ch, item) ck_assert_int_lt(*(int *)item, 10);
	must_fail(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER), ERANGE);
	ck_assert_int_eq(result, 1);
	aiochan_free(ch);

	aiochan_free(must(aiochan_produce(p->base, count_up, NULL)));
}

TEST(a_generator_that_is_left_early_and_one_that_fails)
{
	struct pipeline p = {.base = must(event_base_new())};

	must(aiotask_run(p.base, consume_some, &p));
	event_base_loop(p.base, EVLOOP_NONBLOCK);
	event_base_free(p.base);
}

static void free_it(void *ch)
{
	aiotask_sleep(AIOIPC_NOW);
	aiochan_free(ch);
}

TEST(freeing_wakes_who_waits)
{
	run_two(client_waits_once, free_it, must(aiochan_new()));
	ck_assert_int_eq(heard.result, 0);
	run_two(server_waits_to_begin, free_it, must(aiochan_new()));
	ck_assert_int_eq(heard.result, -1);
	ck_assert_int_eq(heard.error, EPIPE);
}

TEST(outside_of_tasks_nobody_waits)
{
	struct aiochan *ch = must(aiochan_new());
	void *got;

	must_fail(aiochan_serve(ch, AIOIPC_FOREVER), EPERM);
	must_fail(aiochan_send(ch, ch, NULL, AIOIPC_FOREVER), EPERM);
	must_fail(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER), EPERM);
	aiochan_close(ch, 0);
	aiochan_free(ch);
}

TEST(a_forked_child_may_free_it)
{
	struct aiochan *ch = must(aiochan_new());
	pid_t pid = must(fork());
	int status;

	if (pid == 0) {
		void *got;

		must_fail(aiochan_next(ch, NULL, &got, AIOIPC_FOREVER), ECHILD);
		aiochan_free(ch);
		_exit(0);
	}
	ck_assert_int_eq(must(waitpid(pid, &status, 0)), pid);
	ck_assert_int_eq(status, 0);
	aiochan_free(ch);
}
