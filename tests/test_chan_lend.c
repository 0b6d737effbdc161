/* Channels: items that are made on demand, and sides that are lent to helpers. */
#include "tests/harness.h"

#include <stdarg.h>
#include <stdio.h>

#include <event2/event.h>

#include <aioipc.h>

/* What happened, in order. */
static char story[4096];

/* The base of the tasks. */
static struct event_base *here;

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
	size_t n = strlen(story);
	va_list args;

	va_start(args, format);
	vsnprintf(story + n, sizeof story - n, format, args);
	va_end(args);
}

/* Runs two tasks on a base of their own until both have ended. */
static void run_two(void (*one)(void *), void (*other)(void *), struct aiochan *ch)
{
	struct aiotask *a, *b;

	here = must(event_base_new());
	a = must(aiotask_spawn(here, one, ch));
	b = must(aiotask_spawn(here, other, ch));
	must(aiotask_join(a, AIOIPC_FOREVER));
	must(aiotask_join(b, AIOIPC_FOREVER));
	aiochan_free(ch);
	event_base_free(here);
}

/* Items on demand. */

static bool make_three(void *arg, void **item)
{
	static int number[3];
	int *n = arg;

	if (*n == 3)
		return false;
	note("made%d ", *n);
	number[*n] = *n;
	*item = &number[(*n)++];
	return true;
}

static bool make_none(void *arg, void **item)
{
	(void)item;
	(*(int *)arg)++;
	return false;
}

static void send_each(void *ch)
{
	static int n; /* the last item outlives this task */
	int asked = 0;

	ck_assert_int_eq(aiochan_send_each(ch, make_none, &asked, AIOIPC_FOREVER), 0);
	ck_assert_int_eq(asked, 1);
	ck_assert_int_eq(aiochan_send_each(ch, make_three, &n, AIOIPC_FOREVER), 3);
	note("all ");
	ck_assert_int_eq(aiochan_send(ch, &n, NULL, AIOIPC_FOREVER), 1);
	must_fail(aiochan_send_each(ch, NULL, NULL, AIOIPC_FOREVER), EINVAL);
	aiochan_close(ch, 0);
}

static void take_each(void *ch)
{
	aiochan_each(ch, item) note("got%d ", *(int *)item);
}

TEST(items_are_made_when_they_are_asked_for)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(take_each, send_each, ch);
	ck_assert_str_eq(story, "made0 got0 made1 got1 made2 got2 all got3 ");
}

static void take_two_of_each(void *ch)
{
	void *item[8];

	ck_assert_int_eq(aiochan_next_once(ch, item, 2, AIOIPC_FOREVER), 2);
	ck_assert_int_eq(*(int *)item[1], 1);
	ck_assert_int_eq(aiochan_next_all(ch, item, 8, AIOIPC_FOREVER), 2);
	ck_assert_int_eq(*(int *)item[0], 2);
	ck_assert_int_eq(*(int *)item[1], 3);
}

TEST(no_more_is_made_than_is_taken)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(send_each, take_two_of_each, ch);
	ck_assert_str_eq(story, "made0 made1 made2 all ");
}

static void send_each_for_a_while(void *ch)
{
	int n = 0;

	ck_assert_int_eq(aiochan_send_each(ch, make_three, &n, aioipc_after(200)), 2);
	n = 0;
	ck_assert_int_eq(aiochan_send_each(ch, make_three, &n, AIOIPC_FOREVER), 1);
	ck_assert_int_eq(aiochan_send_each(ch, make_three, &n, AIOIPC_FOREVER), 0);
}

static void take_slowly_and_close(void *ch)
{
	void *item[2];

	ck_assert_int_eq(aiochan_next_once(ch, item, 2, AIOIPC_FOREVER), 2);
	must(aiotask_sleep(aioipc_after(400)));
	ck_assert_int_eq(aiochan_next(ch, NULL, item, AIOIPC_FOREVER), 1);
	aiochan_close(ch, 0);
}

TEST(making_ends_with_the_deadline_and_with_the_client)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(send_each_for_a_while, take_slowly_and_close, ch);
	ck_assert_str_eq(story, "made0 made1 made0 ");
}

static bool make_wrongly(void *ch, void **item)
{
	must_fail(aiochan_next(ch, NULL, item, AIOIPC_NOW), EBUSY);
	must_fail(aiochan_lend(ch, aiotask_self()), EBUSY);
	aiochan_close(ch, ENOSPC);
	*item = NULL;
	return true;
}

static void send_wrongly(void *ch)
{
	must_fail(aiochan_send_each(ch, make_wrongly, ch, AIOIPC_FOREVER), ENOSPC);
}

static void take_wrongly(void *ch)
{
	void *item;

	must_fail(aiochan_next(ch, NULL, &item, AIOIPC_FOREVER), EPIPE);
}

TEST(who_makes_an_item_may_close_the_channel_and_not_use_it)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(send_wrongly, take_wrongly, ch);
}

/* Sides that are lent. */

static void send_word(void *ch)
{
	ck_assert_int_eq(aiochan_send(ch, "Two", NULL, AIOIPC_FOREVER), 1);
}

static void fail_to_send(void *ch)
{
	must_fail(aiochan_send(ch, "lost", NULL, AIOIPC_FOREVER), ECANCELED);
}

static void lend_on(void *ch)
{
	struct aiotask *t;

	send_word(ch);
	t = must(aiotask_spawn(here, send_word, ch));
	must(aiochan_lend(ch, t));
	must_fail(aiochan_send(ch, "", NULL, AIOIPC_FOREVER), EBUSY);
	must(aiotask_join(t, AIOIPC_FOREVER));
	send_word(ch);
}

static void lend_to(struct aiochan *ch, void (*helper)(void *), bool cancel)
{
	struct aiotask *t = must(aiotask_spawn(here, helper, ch));

	must(aiochan_lend(ch, t));
	must_fail(aiochan_serve(ch, AIOIPC_FOREVER), EBUSY);
	if (cancel)
		must(aiotask_sleep(AIOIPC_NOW));
	if (cancel)
		must(aiotask_cancel(t));
	must(aiotask_join(t, AIOIPC_FOREVER));
}

static void nothing(void *ch)
{
	(void)ch;
}

static void produce_by_tasks(void *ch)
{
	struct aiotask *over = must(aiotask_spawn(here, nothing, NULL));

	must_fail(aiochan_lend(ch, over), EPERM);
	must(aiochan_serve(ch, AIOIPC_FOREVER));
	must(aiotask_sleep(AIOIPC_NOW));
	must_fail(aiochan_lend(ch, over), ESRCH);
	must(aiotask_join(over, AIOIPC_FOREVER));
	must_fail(aiochan_lend(ch, aiotask_self()), EINVAL);
	ck_assert_int_eq(aiochan_send(ch, "One", NULL, AIOIPC_FOREVER), 1);
	lend_to(ch, send_word, false);
	lend_to(ch, nothing, false);
	lend_to(ch, lend_on, false);
	ck_assert_int_eq(aiochan_send(ch, "Three", NULL, AIOIPC_FOREVER), 1);
	aiochan_close(ch, 0);
}

static void hear_words(void *ch)
{
	aiochan_each(ch, word) note("%s ", (char *)word);
}

TEST(a_side_is_lent_and_comes_back)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(hear_words, produce_by_tasks, ch);
	ck_assert_str_eq(story, "One Two Two Two Two Three ");
}

static void produce_by_a_victim(void *ch)
{
	must(aiochan_serve(ch, AIOIPC_FOREVER));
	lend_to(ch, fail_to_send, true);
	ck_assert_int_eq(aiochan_serve(ch, AIOIPC_FOREVER), 0);
	ck_assert_int_eq(aiochan_send(ch, "Three", NULL, AIOIPC_FOREVER), 1);
	aiochan_close(ch, 0);
}

static void hear_words_slowly(void *ch)
{
	aiochan_each(ch, word)
	{
		note("%s ", (char *)word);
		must(aiotask_sleep(aioipc_after(20)));
	}
}

TEST(a_helper_that_was_cancelled_gives_it_back)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(hear_words_slowly, produce_by_a_victim, ch);
	ck_assert_str_eq(story, "lost Three ");
}

static void send_word_later(void *ch)
{
	must(aiotask_sleep(aioipc_after(5)));
	send_word(ch);
}

static void lend_and_leave(void *ch)
{
	struct aiotask *t = must(aiotask_spawn(here, send_word_later, ch));

	must(aiochan_serve(ch, AIOIPC_FOREVER));
	must(aiochan_lend(ch, t));
	aiotask_free(t);
}

static void hear_until_lost(void *ch)
{
	void *word;

	ck_assert_int_eq(aiochan_next(ch, NULL, &word, AIOIPC_FOREVER), 1);
	must_fail(aiochan_next(ch, NULL, &word, AIOIPC_FOREVER), ECONNRESET);
}

TEST(a_side_whose_lender_left_ends_with_the_helper)
{
	struct aiochan *ch = must(aiochan_new());

	run_two(hear_until_lost, lend_and_leave, ch);
}

static void wait_to_send(void *ch)
{
	ck_assert_int_eq(aiochan_send(ch, "Two", NULL, AIOIPC_FOREVER), 0);
}

static void free_a_lent_one(void *ch)
{
	struct aiotask *t = must(aiotask_spawn(here, wait_to_send, ch));

	must_fail(aiochan_serve(ch, AIOIPC_NOW), ETIMEDOUT);
	must(aiochan_lend(ch, t));
	must(aiotask_sleep(AIOIPC_NOW));
	aiochan_free(ch);
	must(aiotask_join(t, AIOIPC_FOREVER));
}

TEST(a_lent_side_may_be_freed)
{
	struct aiochan *ch = must(aiochan_new());

	here = must(event_base_new());
	must(aiotask_run(here, free_a_lent_one, ch));
	event_base_free(here);
}
