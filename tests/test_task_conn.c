/* Tasks that wait for connections and children: each call that waits parks the task, and a cancel ends it without loss. */
#include <aioipc.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "tests/harness.h"

static struct event_base *base;
static struct aioconn *near, *far;
static char trace[256];

static void note(const char *what)
{
	strcat(trace, what);
}

static struct aiotask *spawn(void (*fn)(void *), void *arg)
{
	return must(aiotask_spawn(base, fn, arg));
}

static void join(struct aiotask *t)
{
	must(aiotask_join(t, AIOIPC_FOREVER));
}

static void yield(void)
{
	must(aiotask_sleep(AIOIPC_NOW));
}

static void set_up(int (*pair)(struct aioend **, struct aioend **))
{
	struct aioend *a, *b;

	base = must(event_base_new());
	must(pair(&a, &b));
	near = must(aioend_open(a, base));
	far = must(aioend_open(b, base));
}

static void tear_down(void)
{
	aioconn_abort(near);
	aioconn_abort(far);
	event_base_free(base);
}

/* @fn as a task, beside the two ends of a pair on one base. */
static void run(void (*fn)(void *), void *arg)
{
	set_up(aiosockpair);
	must(aiotask_run(base, fn, arg));
	tear_down();
}

static int32_t next_int(struct aioconn *c)
{
	struct aiomsg *m;
	int32_t i;

	ck_assert_int_eq(must(aioconn_recv(c, &m, AIOIPC_FOREVER)), 1);
	must(aiomsg_unpack(m, "i", &i));
	aiomsg_free(m);
	return i;
}

static void echo(void *arg)
{
	struct aiomsg *m;

	while (must(aioconn_recv(arg, &m, AIOIPC_FOREVER)) == 1) {
		must(aioconn_send_msg(arg, m));
		aiomsg_free(m);
	}
}

static void talk(void *arg)
{
	struct aiotask *t = spawn(echo, far);

	(void)arg;
	for (int32_t i = 0; i < 1000; i++) {
		must(aioconn_send(near, "i", i));
		ck_assert_int_eq(next_int(near), i);
	}
	must(aioconn_write_eof(near));
	join(t);
}

TEST(two_tasks_of_a_base_talk)
{
	run(talk, NULL);
}

TEST(two_tasks_of_a_base_talk_over_pipes)
{
	set_up(aioduplex);
	must(aiotask_run(base, talk, NULL));
	tear_down();
}

static void send_many(void *arg)
{
	static const char block[10000];

	(void)arg;
	for (int i = 0; i < 1000; i++)
		must(aioconn_send_bytes(near, block, sizeof block));
	must(aioconn_flush(near, AIOIPC_FOREVER));
	note("s");
	must(aioconn_write_eof(near));
}

static void recv_many(void *arg)
{
	struct aiotask *t = spawn(send_many, NULL);
	struct aiomsg *m;
	int n = 0;

	(void)arg;
	while (must(aioconn_recv(far, &m, AIOIPC_FOREVER)) == 1) {
		aiomsg_free(m);
		n++;
	}
	ck_assert_int_eq(n, 1000);
	join(t);
	note("r");
}

TEST(a_full_queue_parks_the_sender)
{
	run(recv_many, NULL);
	ck_assert_str_eq(trace, "sr");
}

static void close_near(void *arg)
{
	static const char block[1000000];

	(void)arg;
	must(aioconn_send_bytes(near, block, sizeof block));
	must(aioconn_close(near, AIOIPC_FOREVER));
	near = NULL;
	note("c");
}

static void recv_until_closed(void *arg)
{
	struct aiotask *t = spawn(close_near, NULL);
	struct aiomsg *m;

	(void)arg;
	ck_assert_int_eq(must(aioconn_recv(far, &m, AIOIPC_FOREVER)), 1);
	aiomsg_free(m);
	ck_assert_int_eq(must(aioconn_recv(far, &m, AIOIPC_FOREVER)), 0);
	join(t);
}

TEST(close_parks_until_everything_was_delivered)
{
	run(recv_until_closed, NULL);
	ck_assert_str_eq(trace, "c");
}

/* Deadlines. */

static void recv_in_vain(void *arg)
{
	struct aiomsg *m;

	(void)arg;
	must_fail(aioconn_recv(near, &m, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aioconn_recv(near, &m, aioipc_after(5)), ETIMEDOUT);
	must(aioconn_send(far, "i", (int32_t)4));
	ck_assert_int_eq(next_int(near), 4);
}

TEST(recv_gives_up_at_its_deadline)
{
	run(recv_in_vain, NULL);
}

static void send_in_vain(void *arg)
{
	static const char block[1 << 20];

	(void)arg;
	aioconn_pause(far);
	must(aioconn_set_send_wait(near, 5));
	while (aioconn_send_bytes(near, block, sizeof block) == 0)
		;
	ck_assert_int_eq(errno, ETIMEDOUT);
	must_fail(aioconn_flush(near, aioipc_after(5)), ETIMEDOUT);
}

TEST(send_and_flush_give_up_at_their_deadlines)
{
	run(send_in_vain, NULL);
}

/* A second one who wants the same. */

static void recv_one(void *arg)
{
	ck_assert_int_eq(next_int(arg), 5);
	note("1");
}

static void recv_as_second(void *arg)
{
	struct aiotask *t = spawn(recv_one, near);
	struct aiomsg *m;

	(void)arg;
	yield();
	must_fail(aioconn_recv(near, &m, AIOIPC_FOREVER), EBUSY);
	must_fail(aioconn_recv(near, &m, AIOIPC_NOW), EBUSY);
	must(aioconn_send(far, "i", (int32_t)5));
	join(t);
}

TEST(a_second_receiver_is_refused_and_the_first_unharmed)
{
	run(recv_as_second, NULL);
	ck_assert_str_eq(trace, "1");
}

static void fill_near(void *arg)
{
	static const char block[1 << 20];

	(void)arg;
	aioconn_pause(far);
	must(aioconn_set_send_wait(near, 0));
	while (aioconn_send_bytes(near, block, sizeof block) == 0)
		;
	must(aioconn_set_send_wait(near, AIOIPC_FOREVER));
}

static void flush_near(void *arg)
{
	must_fail(aioconn_flush(near, AIOIPC_FOREVER), EPIPE);
	note(arg);
}

static void send_near(void *arg)
{
	static const char block[1 << 20];

	must_fail(aioconn_send_bytes(near, block, sizeof block), EPIPE);
	note(arg);
}

static void recv_near(void *arg)
{
	struct aiomsg *m;

	must_fail(aioconn_recv(near, &m, AIOIPC_FOREVER), EPIPE);
	note(arg);
}

static void abort_while_others_wait(void *arg)
{
	struct aiotask *t[3];

	(void)arg;
	fill_near(NULL);
	t[0] = spawn(flush_near, "f");
	t[1] = spawn(send_near, "s");
	t[2] = spawn(recv_near, "r");
	yield();
	must_fail(aioconn_flush(near, aioipc_after(1000)), EBUSY);
	aioconn_abort(near);
	near = NULL;
	for (int i = 0; i < 3; i++)
		join(t[i]);
}

TEST(who_waits_wakes_when_another_one_aborts)
{
	run(abort_while_others_wait, NULL);
	ck_assert_str_eq(trace, "fsr");
}

static void peer_goes_while_others_wait(void *arg)
{
	struct aiotask *t[2];
	struct aiomsg *m;

	(void)arg;
	fill_near(NULL);
	t[0] = spawn(flush_near, "f");
	t[1] = spawn(send_near, "s");
	yield();
	aioconn_abort(far);
	far = NULL;
	must_fail(aioconn_recv(near, &m, AIOIPC_FOREVER), ECONNRESET);
	for (int i = 0; i < 2; i++)
		join(t[i]);
}

TEST(who_waits_wakes_when_the_peer_is_gone)
{
	run(peer_goes_while_others_wait, NULL);
	ck_assert_str_eq(trace, "fs");
}

/* Cancelling. */

static void cancelled_recv(void *arg)
{
	struct aiomsg *m;

	(void)arg;
	must_fail(aioconn_recv(near, &m, AIOIPC_FOREVER), ECANCELED);
	ck_assert_int_eq(next_int(near), 6);
}

/* The message and the cancel come in the same turn. */
static void cancel_recv(void *arg)
{
	struct aiotask *t = spawn(cancelled_recv, NULL);

	(void)arg;
	yield();
	must(aiotask_cancel(t));
	must(aioconn_send(far, "i", (int32_t)6));
	join(t);
}

TEST(a_cancelled_recv_loses_no_message)
{
	run(cancel_recv, NULL);
}

static void cancelled_send(void *arg)
{
	static const char block[1 << 20];

	(void)arg;
	fill_near(NULL);
	must_fail(aioconn_send_bytes(near, block, sizeof block), ECANCELED);
	must_fail(aioconn_flush(near, AIOIPC_FOREVER), ECANCELED);
	must_fail(aioconn_close(near, AIOIPC_FOREVER), ECANCELED);
	near = NULL;
}

static void cancel_send(void *arg)
{
	struct aiotask *t = spawn(cancelled_send, NULL);

	(void)arg;
	for (int i = 0; i < 3; i++) {
		yield();
		must(aiotask_cancel(t));
	}
	join(t);
}

TEST(send_flush_and_close_can_be_cancelled)
{
	run(cancel_send, NULL);
}

static void cancelled_reads(void *arg)
{
	const char *line;
	char buf[10];

	(void)arg;
	must_fail(aioconn_read(near, buf, sizeof buf, AIOIPC_FOREVER), ECANCELED);
	must_fail(aioconn_read_line(near, &line, AIOIPC_FOREVER), ECANCELED);
	must_fail(aioconn_read_exactly(near, buf, 4, AIOIPC_FOREVER), ECANCELED);
	ck_assert_int_eq(must(aioconn_read_exactly(near, buf, 4, AIOIPC_FOREVER)), 4);
	ck_assert_int_eq(memcmp(buf, "abcd", 4), 0);
}

static void cancel_reads(void *arg)
{
	struct aiotask *t;

	(void)arg;
	must(aioconn_set_framing(near, AIOCONN_BYTES, NULL));
	must(aioconn_set_framing(far, AIOCONN_BYTES, NULL));
	t = spawn(cancelled_reads, NULL);
	for (int i = 0; i < 3; i++) {
		yield();
		must(aiotask_cancel(t));
		if (i == 0)
			must(aioconn_send_bytes(far, "ab", 2));
		must(aiotask_sleep(aioipc_after(2)));
	}
	must(aioconn_send_bytes(far, "cd", 2));
	join(t);
}

TEST(reads_can_be_cancelled_and_consume_nothing)
{
	run(cancel_reads, NULL);
}

static int sleep_for_ever(void *arg)
{
	(void)arg;
	pause();
	return 0;
}

static void cancelled_proc_join(void *arg)
{
	int status;

	must_fail(aioproc_join(arg, &status, AIOIPC_FOREVER), ECANCELED);
	must_fail(aioproc_join(arg, &status, aioipc_after(2)), ETIMEDOUT);
	must(aioproc_kill(arg, SIGKILL));
	must(aioproc_join(arg, &status, AIOIPC_FOREVER));
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}

static void cancel_proc_join(void *arg)
{
	struct aioproc *p = must(aioproc_start(sleep_for_ever, NULL));
	struct aiotask *t = spawn(cancelled_proc_join, p);

	(void)arg;
	yield();
	must(aiotask_cancel(t));
	join(t);
	aioproc_free(p);
}

TEST(joining_a_child_parks_and_can_be_cancelled)
{
	run(cancel_proc_join, NULL);
}

static void on_exit_too(struct aioproc *p, int status, void *arg)
{
	(void)p, (void)status;
	note(arg);
}

static void join_proc(void *arg)
{
	must(aioproc_join(arg, NULL, AIOIPC_FOREVER));
	note("j");
}

static void join_proc_by_many(void *arg)
{
	struct aioproc *p = must(aioproc_start(sleep_for_ever, NULL));
	struct aiotask *t[] = {spawn(join_proc, p), spawn(join_proc, p)};

	(void)arg;
	must(aioproc_on_exit(p, base, on_exit_too, "x"));
	yield();
	must(aioproc_kill(p, SIGKILL));
	for (int i = 0; i < 2; i++)
		join(t[i]);
	aioproc_free(p);
}

TEST(tasks_and_a_callback_learn_of_the_same_child)
{
	run(join_proc_by_many, NULL);
	ck_assert_str_eq(trace, "xjj");
}

/* Callbacks beside a task that reads. */

static void keep_each(struct aioconn *c, struct aiomsg *m, void *arg)
{
	int32_t i;

	(void)arg;
	must(aiomsg_unpack(m, "i", &i));
	note(i == 1 ? "a" : "b");
	aioconn_keep(c);
}

static void read_what_callbacks_keep(void *arg)
{
	(void)arg;
	must(aioconn_set_callbacks(near, keep_each, NULL, NULL, NULL));
	must(aioconn_send(far, "i", (int32_t)1));
	must(aioconn_send(far, "i", (int32_t)2));
	ck_assert_int_eq(next_int(near), 1);
	note("1");
	ck_assert_int_eq(next_int(near), 2);
	note("2");
}

TEST(a_callback_sees_each_message_before_the_task_does)
{
	run(read_what_callbacks_keep, NULL);
	ck_assert_str_eq(trace, "a1b2");
}

static void recv_forever_in_callback(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct aiomsg *next;

	(void)c, (void)m, (void)arg;
	must_fail(aioconn_recv(far, &next, AIOIPC_FOREVER), EDEADLK);
	must_fail(aioconn_recv(c, &next, AIOIPC_FOREVER), EDEADLK);
	note("c");
	must(aioconn_send(near, "i", (int32_t)7));
}

static void callback_while_a_task_waits(void *arg)
{
	(void)arg;
	must(aioconn_set_callbacks(near, recv_forever_in_callback, NULL, NULL, NULL));
	must(aioconn_send(far, "i", (int32_t)1));
	must(aiotask_sleep(aioipc_after(5)));
	ck_assert_int_eq(next_int(far), 7);
}

TEST(callbacks_of_the_base_still_may_not_wait_for_ever)
{
	run(callback_while_a_task_waits, NULL);
	ck_assert_str_eq(trace, "c");
}

/* A connection without a base: the task waits, not the process. */

static void tick(void *arg)
{
	struct aioconn *c = arg;

	must(aiotask_sleep(aioipc_after(5)));
	note("t");
	must(aioconn_send(c, "i", (int32_t)8));
}

static void recv_without_a_base(void *arg)
{
	struct aioend *a, *b;
	struct aioconn *plain, *peer;
	struct aiotask *t;
	struct aiomsg *m;

	(void)arg;
	must(aiosockpair(&a, &b));
	plain = must(aioend_open(a, NULL));
	peer = must(aioend_open(b, NULL));
	must_fail(aioconn_recv(plain, &m, aioipc_after(2)), ETIMEDOUT);
	t = spawn(tick, peer);
	ck_assert_int_eq(next_int(plain), 8);
	note("r");
	join(t);
	aioconn_abort(plain);
	aioconn_abort(peer);
}

TEST(a_connection_without_a_base_parks_the_task_too)
{
	run(recv_without_a_base, NULL);
	ck_assert_str_eq(trace, "tr");
}

/* Cancelled when its message is on its way: that goes on, and the next wait tells. */
static void cancelled_plain_send(void *arg)
{
	static const char block[1 << 20];

	must(aioconn_send_bytes(arg, block, sizeof block));
	note("s");
	must_fail(aiotask_sleep(AIOIPC_NOW), ECANCELED);
	must(aioconn_send(arg, "i", (int32_t)9));
	must(aioconn_flush(arg, AIOIPC_FOREVER));
}

static void cancel_plain_send(void *arg)
{
	struct aioend *a, *b;
	struct aioconn *plain, *peer;
	struct aiotask *t;
	struct aiomsg *m;
	size_t len;

	(void)arg;
	must(aiosockpair(&a, &b));
	plain = must(aioend_open(a, NULL));
	peer = must(aioend_open(b, NULL));
	t = spawn(cancelled_plain_send, plain);
	yield();
	ck_assert_str_eq(trace, "");
	must(aiotask_cancel(t));
	ck_assert_int_eq(must(aioconn_recv(peer, &m, AIOIPC_FOREVER)), 1);
	ck_assert_str_eq(trace, "s");
	aiomsg_bytes(m, &len);
	ck_assert_uint_eq(len, 1 << 20);
	aiomsg_free(m);
	ck_assert_int_eq(next_int(peer), 9);
	join(t);
	aioconn_abort(plain);
	aioconn_abort(peer);
}

TEST(a_cancelled_send_without_a_base_loses_no_message)
{
	run(cancel_plain_send, NULL);
}

/* Children. */

static int echo_child(void *arg)
{
	struct aioconn *c = must(aioend_open(arg, NULL));

	echo(c);
	return aioconn_close(c, aioipc_after(5000));
}

static void talk_to_child(void *arg)
{
	struct aioend *ours, *theirs;
	struct aioconn *c;
	struct aioproc *p;
	int status;

	(void)arg;
	must(aiosockpair(&ours, &theirs));
	p = must(aioproc_start_with(echo_child, theirs, &theirs, 1));
	aioend_free(theirs);
	c = must(aioend_open(ours, base));
	for (int32_t i = 0; i < 10; i++) {
		must(aioconn_send(c, "i", i));
		ck_assert_int_eq(next_int(c), i);
	}
	must(aioconn_close(c, AIOIPC_FOREVER));
	must(aioproc_join(p, &status, AIOIPC_FOREVER));
	ck_assert_int_eq(status, 0);
	aioproc_free(p);
}

static void talk_to_many(void *arg)
{
	struct aiotask *t[20];

	(void)arg;
	for (int i = 0; i < 20; i++)
		t[i] = spawn(talk_to_child, NULL);
	for (int i = 0; i < 20; i++)
		join(t[i]);
}

TEST(tasks_talk_to_children_side_by_side)
{
	run(talk_to_many, NULL);
}
