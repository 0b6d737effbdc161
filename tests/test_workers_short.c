/*
 * Services whose workers are processes, when something runs short: every allocation and every system call is made to fail in turn, in the
 * caller, the dispatcher, the fork server and the worker. No message is lost without a word, nothing hangs or leaks, and the next
 * service works.
 */
#include "tests/inject.h"
#include "tests/peers.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <aioipc/service.h>

#include "ipc/msg/pool.h"

#define MESSAGES 10

enum place { CALLER, DISPATCHER, SERVER, WORKER };

/* COMPLETE: all that must come came. TOLD: some call failed and said so. SILENT: neither. */
enum outcome { COMPLETE, TOLD, SILENT };

static struct shared {
	const char *failed; /* the call that was made to fail */
	char text[128];     /* and what was wrong then */
	atomic_int workers; /* that were started */
} * shared;

static struct plan {
	enum place place;
	enum inject_kind kind;
	unsigned nth; /* 0: nothing is made to fail */
	int forks;    /* this process was forked so often below the one that runs the scenario */
} plan;

static unsigned errors; /* on_error was called */

static void arm_at(enum place place)
{
	if (plan.nth && plan.place == place) {
		inject_report_to(&shared->failed);
		inject_arm(plan.nth, plan.kind);
		plan.nth = 0;
	}
}

/* The first child is the fork server, its children are workers. The first worker dies of the 7. */
static void in_child(void)
{
	if (++plan.forks == 1)
		arm_at(SERVER);
	else if (++shared->workers == 2)
		arm_at(WORKER);
}

static uint32_t number_in(const struct aiomsg *m)
{
	uint32_t n;

	memcpy(&n, aiomsg_bytes(m, NULL), sizeof n);
	return n;
}

static int handle(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)arg;
	if (number_in(m) == 7)
		raise(SIGKILL);
	return aioqueue_put(out, m, AIOIPC_NOW);
}

/* In the dispatcher's thread. */
static int on_error(struct aioservice *s, struct aiomsg *m, int error, void *arg)
{
	(void)s;
	(void)error;
	(void)arg;
	errors++;
	if (number_in(m) == 7)
		arm_at(DISPATCHER);
	return 0;
}

static struct aioqueue *queue(void)
{
	struct aioqueue *q;

	inject_pause();
	q = must(aioqueue_new(2 * MESSAGES, 0));
	inject_resume();
	return q;
}

/* The 7 comes first. */
static void put_all(struct aioqueue *q)
{
	inject_pause();
	for (uint32_t i = 0; i < MESSAGES; i++) {
		uint32_t n = (i + 7) % MESSAGES;
		struct aiomsg *m = must(aiomsg_new_bytes(&n, sizeof n));

		must(aioqueue_put(q, m, AIOIPC_NOW));
		aiomsg_free(m);
	}
	aioqueue_close(q);
	inject_resume();
}

static unsigned get_all(struct aioqueue *q)
{
	struct aiomsg *m;
	unsigned n = 0;
	int got;

	while ((got = aioqueue_get(q, &m, soon())) == 1) {
		aiomsg_free(m);
		n++;
	}
	ck_assert_int_eq(got, 0);
	return n;
}

static enum outcome serve(struct aioservice *s, struct aioqueue *out)
{
	unsigned got;
	int error;

	if (aioservice_start(s) == -1)
		return TOLD;
	inject_pause();
	got = get_all(out);
	must(aioservice_join(s, soon()));
	inject_resume();
	error = aioservice_error(s);
	if (error)
		return TOLD;
	if (got + errors != MESSAGES)
		return SILENT;
	return got == MESSAGES - 1 ? COMPLETE : TOLD;
}

static char *const work[] = {"inheritor", "work", NULL};

static enum outcome run(enum aioservice_kind kind)
{
	struct aioservice_options o = {.size = sizeof o, .kind = kind, .on_error = on_error};
	enum outcome outcome = TOLD;
	struct aioservice *s;

	o.in = queue();
	o.out = queue();
	if (kind == AIOSERVICE_FORKED)
		o.handle = handle;
	else
		o.path = "tests/inheritor", o.argv = work;
	errors = 0;
	put_all(o.in);
	s = aioservice_new(&o);
	if (s) {
		outcome = serve(s, o.out);
		must(aioservice_close(s, soon()));
	}
	aioqueue_free(o.in);
	aioqueue_free(o.out);
	return outcome;
}

enum { PASSED, NOT_REACHED = 77, FAILED };

__attribute__((noreturn)) static void give_up(const char *text)
{
	strcpy(shared->text, text);
	_exit(FAILED);
}

static void count(long *blocks, unsigned *fds)
{
	ipc_pool_drain();
	*blocks = inject_blocks();
	*fds = harness_count_fds();
}

/* In a process of its own. */
__attribute__((noreturn)) static void fail_nth(enum aioservice_kind kind, enum place place, unsigned n,
					       enum inject_kind how)
{
	long blocks, blocks_before;
	unsigned fds, fds_before;
	enum outcome outcome;

	signal(SIGALRM, SIG_DFL);
	alarm((unsigned)(30 * harness_slowness()));
	inject_setup();
	inject_in_child(in_child);
	ck_assert_int_eq(run(kind), COMPLETE);
	count(&blocks_before, &fds_before);
	plan = (struct plan){.place = place, .kind = how, .nth = n};
	shared->workers = 0;
	arm_at(CALLER);
	outcome = run(kind);
	inject_disarm();
	plan.nth = 0;
	if (outcome == SILENT)
		give_up("a message was lost without a word");
	if (!shared->failed)
		_exit(NOT_REACHED);
	if (how == INJECT_SOFT && outcome != COMPLETE)
		give_up("it was not tried again");
	if (run(kind) != COMPLETE)
		give_up("nothing works any more");
	count(&blocks, &fds);
	for (int ms = 0; ms < 500 && (blocks > blocks_before || fds != fds_before); ms++) {
		nanosleep(&(struct timespec){0, 1000000}, NULL);
		count(&blocks, &fds);
	}
	if (blocks > blocks_before)
		give_up("memory leaked");
	if (fds != fds_before)
		give_up("descriptors leaked");
	_exit(PASSED);
}

static int status_of_nth(enum aioservice_kind kind, enum place place, unsigned n, enum inject_kind how)
{
	pid_t pid;
	int status;

	shared->failed = NULL;
	strcpy(shared->text, "an assertion failed");
	pid = must(fork());
	if (pid == 0)
		fail_nth(kind, place, n, how);
	must(waitpid(pid, &status, 0));
	return status;
}

static void fail_each_call(enum aioservice_kind kind, enum place place)
{
	unsigned wrong = 0;

	shared = must(mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	for (int how = INJECT_HARD; how <= INJECT_SOFT; how++)
		for (unsigned n = 1;; n++) {
			int status = status_of_nth(kind, place, n, (enum inject_kind)how);

			if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_REACHED)
				break;
			if (status == 0)
				continue;
			if (WIFSIGNALED(status))
				strcpy(shared->text, strsignal(WTERMSIG(status)));
			printf("# %s failed, %s call %u: %s\n", shared->failed, how ? "soft" : "hard", n,
			       shared->text);
			fflush(stdout);
			ck_assert_uint_lt(++wrong, 30);
		}
	munmap(shared, sizeof *shared);
	ck_assert_uint_eq(wrong, 0);
}

TEST_WITHIN(in_the_caller, 120)
{
	fail_each_call(AIOSERVICE_FORKED, CALLER);
}

TEST_WITHIN(in_the_dispatcher, 120)
{
	fail_each_call(AIOSERVICE_FORKED, DISPATCHER);
}

TEST_WITHIN(in_the_dispatcher_that_executes, 120)
{
	fail_each_call(AIOSERVICE_EXECUTED, DISPATCHER);
}

TEST_WITHIN(in_the_fork_server, 120)
{
	fail_each_call(AIOSERVICE_FORKED, SERVER);
}

TEST_WITHIN(in_the_worker, 120)
{
	fail_each_call(AIOSERVICE_FORKED, WORKER);
}
