/*
 * Tasks of one thread share what they wait for: one closes or frees it while another one waits. That one wakes and is told, and no watch stays
 * behind on a number that somebody else gets next.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/peers.h"

static struct event_base *base;
static struct aioconn *near, *far;
static struct aioproc *child;
static struct aioqueue *queue;
static void (*ends)(void);
static unsigned woken;

static void run_two(void (*waits)(void *), void (*end)(void *))
{
	struct aiotask *t = must(aiotask_spawn(base, waits, NULL));

	woken = 0;
	must(aiotask_run(base, end, NULL));
	must(aiotask_join(t, soon()));
	ck_assert_uint_eq(woken, 1);
}

static void receive(void *arg)
{
	struct aiomsg *m;

	(void)arg;
	must_fail(aioconn_recv(near, &m, AIOIPC_FOREVER), EPIPE);
	woken++;
}

/* Larger than what the kernel takes. */
static void send_much(void *arg)
{
	static const char much[8 << 20];

	(void)arg;
	must_fail(aioconn_send_bytes(near, much, sizeof much), EPIPE);
	woken++;
}

static void let_wait(void)
{
	must(aiotask_sleep(aioipc_after(10)));
}

static void abort_it(void)
{
	aioconn_abort(near);
}

static void close_it(void)
{
	must(aioconn_close(near, AIOIPC_NOW));
}

/* Who gets the number of the one that is gone, hears. */
static void end_and_open_another(void *arg)
{
	struct aioend *a, *b;
	struct aioconn *x, *y;
	struct seen seen = {0};

	(void)arg;
	let_wait();
	ends();
	must(aiosockpair(&a, &b));
	x = open_end(a, base);
	y = open_end(b, NULL);
	see(x, &seen);
	send_text(y, "word");
	while (seen.msgs == 0)
		must(aiotask_sleep(aioipc_after(1)));
	aioconn_abort(x);
	aioconn_abort(y);
}

static void one_closes(enum transport t, void (*waits)(void *), void (*how)(void))
{
	base = new_base();
	open_pair(t, NULL, &far, &near);
	if (t == PIPE && waits == send_much) {
		struct aioconn *c = near;

		near = far;
		far = c;
	}
	ends = how;
	run_two(waits, end_and_open_another);
	aioconn_abort(far);
	event_base_free(base);
}

TEST(a_receiver_wakes_when_another_task_ends_the_connection)
{
	for (enum transport t = PIPE; t <= PAIR; t++) {
		one_closes(t, receive, abort_it);
		one_closes(t, receive, close_it);
	}
}

static char much[8 << 20];

static void close_in_time(void *arg)
{
	(void)arg;
	must(aioconn_close(near, soon()));
	woken++;
}

/* It is the first one's to free: the second has changed nothing, and all arrives. */
static void close_too(void *arg)
{
	size_t got = 0;
	char part[65536];
	ssize_t n;

	(void)arg;
	let_wait();
	must_fail(aioconn_close(near, soon()), EBUSY);
	while ((n = must(aioconn_read(far, part, sizeof part, soon()))) > 0)
		got += (size_t)n;
	ck_assert_uint_eq(got, sizeof much);
}

TEST(a_second_close_leaves_the_connection_to_the_first)
{
	base = new_base();
	open_pair(PAIR, base, &near, &far);
	must(aioconn_set_framing(near, AIOCONN_BYTES, NULL));
	must(aioconn_set_framing(far, AIOCONN_BYTES, NULL));
	must(aioconn_set_limits(near, &(struct aioconn_limits){.size = sizeof(struct aioconn_limits),
							       .outbox = sizeof much}));
	must(aioconn_send_bytes(near, much, sizeof much));
	run_two(close_in_time, close_too);
	aioconn_abort(far);
	event_base_free(base);
}

TEST(a_sender_wakes_when_another_task_ends_the_connection)
{
	for (enum transport t = PIPE; t <= PAIR; t++)
		one_closes(t, send_much, abort_it);
}

/* Children. */

static int waits_for_kill(void *arg)
{
	(void)arg;
	pause();
	return 0;
}

static void join_freed(void *arg)
{
	(void)arg;
	must_fail(aioproc_join(child, NULL, AIOIPC_FOREVER), EPIPE);
	woken++;
}

static void free_child(void)
{
	aioproc_free(child);
}

TEST(a_joiner_wakes_when_another_task_frees_the_handle)
{
	pid_t pid;

	base = new_base();
	child = must(aioproc_start(waits_for_kill, NULL));
	pid = aioproc_pid(child);
	ends = free_child;
	run_two(join_freed, end_and_open_another);
	must(kill(pid, SIGKILL));
	event_base_free(base);
}

static void join_killed(void *arg)
{
	int status;

	(void)arg;
	must(aioproc_join(child, &status, AIOIPC_FOREVER));
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	woken++;
}

static void kill_and_join(void *arg)
{
	(void)arg;
	let_wait();
	must(aioproc_kill(child, SIGKILL));
	join_killed(NULL);
	woken--;
}

TEST(two_tasks_join_one_child)
{
	base = new_base();
	child = must(aioproc_start(waits_for_kill, NULL));
	run_two(join_killed, kill_and_join);
	aioproc_free(child);
	event_base_free(base);
}

/* A base is freed under them. */

static void free_base_under(void (*waits)(void *), bool noticed)
{
	struct aiotask *t;

	base = new_base();
	t = must(aiotask_spawn(base, waits, NULL));
	run_now(base);
	event_base_free(base);
	if (noticed)
		must_fail(aiotask_join(t, AIOIPC_NOW), EDEADLK);
	if (waits == join_freed)
		aioproc_free(child);
	else
		aioconn_abort(near);
	must_fail(aiotask_join(t, AIOIPC_NOW), EDEADLK);
	aiotask_free(t);
}

TEST(who_waits_on_a_freed_base_leaves_nothing_behind)
{
	pid_t pid;

	for (int noticed = 0; noticed < 2; noticed++) {
		open_pair(PAIR, NULL, &far, &near);
		free_base_under(receive, noticed);
		aioconn_abort(far);
		open_pair(PAIR, NULL, &far, &near);
		free_base_under(send_much, noticed);
		aioconn_abort(far);
		child = must(aioproc_start(waits_for_kill, NULL));
		pid = aioproc_pid(child);
		free_base_under(join_freed, noticed);
		must(kill(pid, SIGKILL));
	}
}

/* Queues. */

static void get_freed(void *arg)
{
	struct aiomsg *m;

	(void)arg;
	ck_assert_int_eq(must(aioqueue_get(queue, &m, AIOIPC_FOREVER)), 0);
	woken++;
}

static void free_queue(void *arg)
{
	(void)arg;
	let_wait();
	aioqueue_free(queue);
}

TEST(who_waits_for_a_queue_wakes_when_it_is_freed)
{
	base = new_base();
	queue = must(aioqueue_new(1, 0));
	run_two(get_freed, free_queue);
	event_base_free(base);
}
