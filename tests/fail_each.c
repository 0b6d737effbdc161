/* See fail_each.h. Each call fails in a process of its own. */
#include "tests/fail_each.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/inject.h"
#include "tests/peers.h"

#include "ipc/msg/pool.h"

static struct shared {
	const char *failed; /* the call that was made to fail */
	char text[128];     /* and what was wrong then */
	long blocks;
	unsigned fds;
} * shared;

struct event_base *quiet_base(void)
{
	struct event_base *base;

	inject_pause();
	base = new_base();
	inject_resume();
	return base;
}

void quiet_free(struct event_base *base)
{
	inject_pause();
	event_base_free(base);
	inject_resume();
}

/* Frees what is of this process alone, and counts what is left. */
static void count(long *blocks, unsigned *fds)
{
	ipc_pool_drain();
	*blocks = inject_blocks();
	*fds = harness_count_fds();
}

/* What a process has left that ran the scenario twice and met no failure. */
static void measure(scenario *run)
{
	pid_t pid = must(fork());

	if (pid == 0) {
		inject_setup();
		ck_assert_int_eq(run(), COMPLETE);
		ck_assert_int_eq(run(), COMPLETE);
		count(&shared->blocks, &shared->fds);
		_exit(0);
	}
	expect_exit(pid, 0);
}

enum { PASSED, NOT_REACHED = 77, FAILED };

__attribute__((format(printf, 1, 2), noreturn)) static void give_up(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(shared->text, sizeof shared->text, format, ap);
	va_end(ap);
	_exit(FAILED);
}

/* In a process of its own, in which nothing has been made yet. */
__attribute__((noreturn)) static void fail_nth(scenario *run, unsigned n, enum inject_kind kind)
{
	enum outcome outcome;
	unsigned fds;
	long blocks;

	signal(SIGALRM, SIG_DFL);
	alarm((unsigned)(30 * harness_slowness())); /* sooner than soon() */
	inject_setup();
	inject_report_to(&shared->failed);
	inject_arm(n, kind);
	outcome = run();
	inject_disarm();
	if (!shared->failed)
		_exit(outcome == COMPLETE ? NOT_REACHED : FAILED);
	if (outcome == SILENT)
		give_up("nobody was told");
	if (kind == INJECT_SOFT && outcome != COMPLETE)
		give_up("it was not tried again");
	if (run() != COMPLETE)
		give_up("nothing works any more");
	count(&blocks, &fds);
	/* A thread of the library may be on its way out. */
	for (int ms = 0; ms < 500 && (blocks > shared->blocks || fds != shared->fds); ms++) {
		nanosleep(&(struct timespec){0, 1000000}, NULL);
		count(&blocks, &fds);
	}
	if (blocks > shared->blocks)
		give_up("%ld blocks of memory leaked", blocks - shared->blocks);
	if (fds != shared->fds)
		give_up("%u descriptors open instead of %u", fds, shared->fds);
	_exit(PASSED);
}

static int status_of_nth(scenario *run, unsigned n, enum inject_kind kind)
{
	pid_t pid;
	int status;

	shared->failed = NULL;
	strcpy(shared->text, "an assertion failed");
	pid = must(fork());
	if (pid == 0)
		fail_nth(run, n, kind);
	must(waitpid(pid, &status, 0));
	return status;
}

void fail_each(scenario *run)
{
	unsigned wrong = 0;

	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	measure(run);
	for (int kind = INJECT_HARD; kind <= INJECT_SOFT; kind++)
		for (unsigned n = 1;; n++) {
			int status = status_of_nth(run, n, (enum inject_kind)kind);

			if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_REACHED)
				break;
			if (status == 0)
				continue;
			if (WIFSIGNALED(status))
				strcpy(shared->text, strsignal(WTERMSIG(status)));
			printf("# %s failed, %s call %u: %s\n", shared->failed, kind ? "soft" : "hard", n,
			       shared->text);
			fflush(stdout);
			ck_assert_uint_lt(++wrong, 30);
		}
	munmap(shared, sizeof *shared);
	ck_assert_uint_eq(wrong, 0);
}
