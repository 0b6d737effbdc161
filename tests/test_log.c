/* The log that a user may set. */
#include <aioipc.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/os/child.h"
#include "ipc/os/log.h"
#include "ipc/own/own.h"
#include "tests/harness.h"

static char logged[100];

static int status_of(pid_t pid)
{
	int status;

	must(waitpid(pid, &status, 0));
	return status;
}

static void take_log(const char *text, void *arg)
{
	snprintf(logged, sizeof(logged), "%s%s", (char *)arg, text);
}

TEST(is_silent_until_set)
{
	ipc_log("lost %d", 1);
	aioipc_set_log(take_log, "> ");
	ipc_log("kept %d", 2);
	ck_assert_str_eq(logged, "> kept 2");
	aioipc_set_log(NULL, NULL);
	ipc_log("lost %d", 3);
	ck_assert_str_eq(logged, "> kept 2");
}

TEST(the_last_one_set_is_told)
{
	aioipc_set_log(take_log, "a ");
	aioipc_set_log(take_log, "b ");
	ipc_log("1");
	ck_assert_str_eq(logged, "b 1");
	aioipc_set_log(take_log, "a ");
	ipc_log("2");
	ck_assert_str_eq(logged, "a 2");
}

TEST(errno_is_kept)
{
	aioipc_set_log(take_log, "");
	errno = EXDEV;
	ipc_log("%s", strerror(ENOENT));
	ck_assert_int_eq(errno, EXDEV);
}

/* The lowest floors log too, while another floor has the registry's mutex; and so does a child that was forked meanwhile. */
TEST(takes_no_lock)
{
	pid_t pid;

	aioipc_set_log(take_log, "");
	must(ipc_own_hold());
	ipc_log("held");
	ck_assert_str_eq(logged, "held");
	pid = must(ipc_os_raw_fork());
	if (pid == 0) {
		ipc_log("child");
		_exit(strcmp(logged, "child") != 0);
	}
	ipc_own_let_go();
	ck_assert_int_eq(status_of(pid), 0);
}

static atomic_int mixed_up, told;
static atomic_bool over;

static void expect_one(const char *text, void *arg)
{
	(void)text;
	told++;
	mixed_up += strcmp(arg, "one") != 0;
}

static void expect_other(const char *text, void *arg)
{
	(void)text;
	told++;
	mixed_up += strcmp(arg, "other") != 0;
}

static void *set_and_set(void *arg)
{
	(void)arg;
	while (!over) {
		aioipc_set_log(expect_one, "one");
		aioipc_set_log(expect_other, "other");
	}
	return NULL;
}

TEST(a_callback_gets_its_own_argument)
{
	pthread_t setter;

	must(-pthread_create(&setter, NULL, set_and_set, NULL));
	while (told < 200000)
		ipc_log("x");
	over = true;
	pthread_join(setter, NULL);
	ck_assert_int_eq(mixed_up, 0);
}
