/* A program with more thread-local data than a thread usually has stack, and the threads that the library starts in it. */
#include <aioipc.h>

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/os/thread.h"
#include "tests/harness.h"

static _Thread_local char data[9 << 20];

static void use(void)
{
	volatile char room[512 << 10];

	for (size_t i = 0; i < sizeof room; i += 512)
		room[i] = 1;
	data[0] = data[sizeof data - 1] = room[0];
}

static void *run(void *arg)
{
	use();
	return arg;
}

TEST(threads_have_a_stack_beside_the_data)
{
	pthread_t t;
	int value;
	void *got;

	must(ipc_thread_start_joinable(&t, run, &value));
	ck_assert_int_eq(pthread_join(t, &got), 0);
	ck_assert_ptr_eq(got, &value);
}

static int sleep_a_little(void *arg)
{
	(void)arg;
	return usleep(10000);
}

TEST(a_child_that_runs_on_is_waited_for)
{
	struct aioproc *p = must(aioproc_start(sleep_a_little, NULL));
	pid_t pid = aioproc_pid(p);

	aioproc_free(p);
	while (kill(pid, 0) == 0)
		usleep(1000);
	must_fail(waitpid(pid, NULL, 0), ECHILD);
}

static int pass_on(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)arg;
	use();
	return aioqueue_put(out, m, AIOIPC_FOREVER);
}

TEST(a_service_has_its_workers)
{
	struct aioqueue *in = must(aioqueue_new(10, 0)), *out = must(aioqueue_new(10, 0));
	struct aioservice_options o = {
		.size = sizeof o, .in = in, .out = out, .handle = pass_on, .workers = 2};
	struct aioservice *s = must(aioservice_new(&o));
	struct aiomsg *m = must(aiomsg_new_bytes("x", 1));

	must(aioservice_start(s));
	must(aioqueue_put(in, m, AIOIPC_FOREVER));
	aiomsg_free(m);
	ck_assert_int_eq(must(aioqueue_get(out, &m, AIOIPC_FOREVER)), 1);
	aiomsg_free(m);
	must(aioservice_close(s, AIOIPC_FOREVER));
	aioqueue_free(in);
	aioqueue_free(out);
}
