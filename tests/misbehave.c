/* Tests that go wrong, each in its own way, for test_harness.sh to see that every one is reported. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness.h"

static pid_t fork_for_ever(void)
{
	pid_t pid = must(fork());

	if (pid == 0)
		for (;;)
			pause();
	return pid;
}

TEST(behaves)
{
	int fd = must(open("/dev/null", O_RDONLY | O_CLOEXEC));
	pid_t pid = fork_for_ever();

	must(close(fd));
	must(kill(pid, SIGKILL));
}

TEST(leaks_a_descriptor)
{
	must(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

TEST(closes_what_is_not_its_own)
{
	must(close(0));
}

TEST(replaces_what_is_not_its_own)
{
	must(dup2(1, 0));
}

TEST_WITHIN(hangs, 0.3)
{
	for (;;)
		pause();
}

TEST(crashes)
{
	raise(SIGTRAP);
}

TEST(exits)
{
	exit(0);
}

TEST(exits_at_once)
{
	_exit(0);
}

TEST(leaves_a_child)
{
	fork_for_ever();
}

TEST(leaves_a_grandchild)
{
	pid_t pid = must(fork());

	if (pid == 0) {
		fork_for_ever();
		_exit(0);
	}
	must(waitpid(pid, NULL, 0));
}

/* Seen by the address sanitizer and by valgrind only. */
TEST(loses_memory)
{
	char *volatile p = must(malloc(100));

	p = NULL;
	(void)p;
}

TEST(child_returns)
{
	pid_t pid = must(fork());

	if (pid > 0)
		must(waitpid(pid, NULL, 0));
}

TEST(child_asserts)
{
	pid_t pid = must(fork());

	if (pid == 0)
		ck_abort_msg("seen in a child");
	must(waitpid(pid, NULL, 0));
}

TEST(must_sees_minus_one)
{
	must(close(-1));
}

TEST(must_fail_sees_another_errno)
{
	must_fail(close(-1), EPIPE);
}

TEST(must_fail_sees_success)
{
	must_fail(getpid(), EPIPE);
}

/* The failure keeps the check for children from running, and the session of its own hides it from Check. */
TEST(leaves_a_session)
{
	pid_t pid = must(fork());

	if (pid == 0) {
		setsid();
		fork_for_ever();
		_exit(0);
	}
	must(waitpid(pid, NULL, 0));
	ck_abort_msg("on purpose");
}
