/* Programs started with ends, by name or as standard descriptors. */
#include <aioipc.h>

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/end/end.h"
#include "tests/harness.h"
#include "tests/no_fork.h"

#define INHERITOR "tests/inheritor"

static char *const *args(const char *a, const char *b)
{
	static char *argv[4];

	argv[0] = INHERITOR;
	argv[1] = (char *)(uintptr_t)a;
	argv[2] = (char *)(uintptr_t)b;
	return argv;
}

static int finish(struct aioproc *p)
{
	int status;

	must(aioproc_join(p, &status, AIOIPC_FOREVER));
	aioproc_free(p);
	ck_assert_msg(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static int run(const char *a, const char *b)
{
	return finish(must(aioproc_exec(INHERITOR, args(a, b), NULL, NULL)));
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) != -1;
}

/* What comes until the end. */
static const char *read_all(int fd)
{
	static char text[1000];
	size_t len = 0;
	ssize_t n;

	while ((n = must(read(fd, text + len, sizeof(text) - 1 - len))) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return text;
}

/* A pair whose second end is detached under @name. */
static struct aioend *give(int (*make)(struct aioend **, struct aioend **), struct aioend **other,
			   const char *name)
{
	struct aioend *one;

	must(make(&one, other));
	must(aioend_set_name(*other, name));
	must(aioend_detach(*other));
	return one;
}

static void echoed(int (*make)(struct aioend **, struct aioend **))
{
	struct aioend *mine, *theirs;
	struct aioproc *p;
	char buf[6] = "";
	int r, w;

	mine = give(make, &theirs, "a-b_c.D9");
	p = must(aioproc_exec(INHERITOR, args("echo", "a-b_c.D9"), NULL, NULL));
	must_fail(aioend_detach(theirs), EBADF);
	aioend_free(theirs);
	must(aioend_release(mine, &r, &w));
	ck_assert_int_eq(must(write(w, "hello", 5)), 5);
	ck_assert_int_eq(must(read(r, buf, 5)), 5);
	ck_assert_str_eq(buf, "hello");
	close(w);
	if (r != w)
		close(r);
	ck_assert_int_eq(finish(p), 0);
}

TEST(end_found_by_name)
{
	echoed(aioduplex);
	echoed(aiosockpair);
}

TEST(end_found_once_and_by_its_name_only)
{
	struct aioend *a, *b, *c, *d;

	a = give(aiopipe, &b, "one");
	c = give(aiopipe, &d, "other");
	ck_assert_int_eq(run("twice", "other"), ENOENT);
	aioend_free(b);
	aioend_free(d);
	must(aiopipe(&b, &d));
	must(aioend_set_name(b, "one"));
	must(aioend_detach(b));
	ck_assert_int_eq(run("has", "two"), ENOENT);
	aioend_free(a);
	aioend_free(b);
	aioend_free(c);
	aioend_free(d);
	ck_assert_int_eq(run("has", "one"), ENOENT);
}

TEST(names_and_places_are_checked)
{
	struct aioend *rx, *tx;
	char name[65];

	must(aiopipe(&rx, &tx));
	must_fail(aioend_set_name(rx, ""), EINVAL);
	must_fail(aioend_set_name(rx, "a,b"), EINVAL);
	must_fail(aioend_set_name(rx, "a b"), EINVAL);
	memset(name, 'x', 64);
	name[64] = '\0';
	must_fail(aioend_set_name(rx, name), EINVAL);
	must(aioend_set_name(rx, name + 1));
	must_fail(aioend_set_stdio(rx, 1, -1), EINVAL);
	must_fail(aioend_set_stdio(rx, 0, 1), EBADF);
	must_fail(aioend_set_stdio(tx, -1, 3), EINVAL);
	must_fail(aioend_set_stdio(tx, 0, -1), EBADF);
	must(aioend_set_stdio(tx, -1, 2));
	aioend_free(rx);
	aioend_free(tx);
}

TEST(end_without_name_or_place_is_refused)
{
	struct aioend *a, *b;

	must(aiosockpair(&a, &b));
	must(aioend_detach(a));
	must_fail(aioproc_exec(INHERITOR, args("fds", NULL), NULL, NULL), EINVAL);
	must(aioend_set_name(a, "x"));
	must(aioend_set_name(b, "x"));
	must(aioend_detach(b));
	must_fail(aioproc_exec(INHERITOR, args("fds", NULL), NULL, NULL), EINVAL);
	must(aioend_set_name(b, "y"));
	must(aioend_set_stdio(a, 0, -1));
	must(aioend_set_stdio(b, 0, -1));
	must_fail(aioproc_exec(INHERITOR, args("fds", NULL), NULL, NULL), EINVAL);
	must(aioend_reclaim(a));
	must(aioend_reclaim(b));
	aioend_free(a);
	aioend_free(b);
}

TEST(grandchild_and_forked_child_do_not_adopt)
{
	struct aioend *mine, *theirs;
	const char *const who[] = {"grandchild", "forked", "forked-late"};

	for (int i = 0; i < 3; i++) {
		mine = give(aiosockpair, &theirs, "x");
		ck_assert_int_eq(run(who[i], "x"), ENOENT);
		aioend_free(mine);
		aioend_free(theirs);
	}
}

/* Some by name, some as standard descriptors: of the others the program sees nothing. */
TEST(named_ends_beside_standard_ones)
{
	char *const entry[] = {"sh", "-c", "echo \"$AIOIPC_ENDS\"", NULL};
	struct aioend *mine, *theirs, *rx, *tx;
	struct aioproc *p;
	const char *text;

	must(aiopipe(&rx, &tx));
	must(aioend_set_stdio(tx, -1, 1));
	must(aioend_detach(tx));
	mine = give(aiosockpair, &theirs, "x");
	p = must(aioproc_exec("/bin/sh", entry, NULL, NULL));
	text = read_all(rx->own.r.fd);
	ck_assert_ptr_nonnull(strstr(text, ":x,"));
	ck_assert_ptr_null(strchr(text, ';'));
	ck_assert_int_eq(finish(p), 0);
	aioend_free(rx);
	aioend_free(tx);
	aioend_free(mine);
	aioend_free(theirs);
}

TEST(more_names_than_can_be_handed_over_are_refused)
{
	struct aioend *a[IPC_ENDS_MOST / 2 + 1], *b[IPC_ENDS_MOST / 2 + 1];
	char name[10];

	for (int i = 0; i <= IPC_ENDS_MOST / 2; i++) {
		must(aiosockpair(&a[i], &b[i]));
		snprintf(name, sizeof(name), "a%d", i);
		must(aioend_set_name(a[i], name));
		must(aioend_detach(a[i]));
		name[0] = 'b';
		must(aioend_set_name(b[i], name));
		if (i < IPC_ENDS_MOST / 2)
			must(aioend_detach(b[i]));
	}
	must_fail(aioproc_exec(INHERITOR, args("has", "a0"), NULL, NULL), EINVAL);
	must(aioend_reclaim(a[0]));
	ck_assert_int_eq(run("has", "b0"), 0);
	for (int i = 0; i <= IPC_ENDS_MOST / 2; i++) {
		aioend_free(a[i]);
		aioend_free(b[i]);
	}
}

/* As the library would never write it. */
static void expect_no_end_in(const char *entries)
{
	char entry[200];
	pid_t pid = must(fork());
	int status;

	if (pid == 0) {
		snprintf(entry, sizeof(entry), "%d%s", getpid(), entries);
		must(setenv("AIOIPC_ENDS", entry, 1));
		must_fail(aioend_inherited("x"), ENOENT);
		_exit(0);
	}
	must(waitpid(pid, &status, 0));
	ck_assert_msg(status == 0, "%s", entries);
}

TEST(garbage_in_the_environment_is_no_end)
{
	expect_no_end_in("");
	expect_no_end_in(":");
	expect_no_end_in(";x,0,1,0,0,0,0");
	expect_no_end_in(":x");
	expect_no_end_in(":x,0,1");
	expect_no_end_in(":,0,1,0,0,0,0");
	expect_no_end_in(":x y,0,1,0,0,0,0");
	expect_no_end_in(":y,0;x,0,1,0,0,0,0");
}

TEST(stale_environment_is_not_believed)
{
	static char entry[200];
	char *const envp[] = {entry, NULL};
	int fd = must(open("/dev/null", O_RDWR));

	snprintf(entry, sizeof(entry), "AIOIPC_ENDS=%d:x,%d,-1,1,2,0,0;negative,-2,-1,0,0,0,0", getpid(), fd);
	ck_assert_int_eq(finish(must(aioproc_exec(INHERITOR, args("has", "x"), envp, NULL))), ENOENT);
	putenv(entry);
	must_fail(aioend_inherited("x"), EBADF);
	must_fail(aioend_inherited("negative"), EBADF);
	must_fail(aioend_inherited("y"), ENOENT);
	ck_assert(is_open(fd));
	close(fd);
}

TEST(program_gets_nothing_else)
{
	struct aioend *a, *b, *mine, *theirs;
	int fd, far;

	if (!harness_has_fds(1000))
		return;
	fd = must(open("/dev/null", O_RDONLY));
	far = must(fcntl(fd, F_DUPFD, 900));
	must(aiosockpair(&a, &b));
	ck_assert_int_eq(run("fds", NULL), 7);
	mine = give(aiosockpair, &theirs, "x");
	ck_assert_int_eq(theirs->own.r.fd < 900, 1);
	ck_assert_int_eq(run("fds", NULL) & 7, 7);
	aioend_free(mine);
	aioend_free(theirs);
	aioend_free(a);
	aioend_free(b);
	close(fd);
	close(far);
}

static struct aioproc *shell(const char *command)
{
	char *argv[] = {"sh", "-c", (char *)(uintptr_t)command, NULL};

	return must(aioproc_exec("/bin/sh", argv, NULL, NULL));
}

TEST(ends_as_stdio)
{
	struct aioend *in_r, *in_w, *out_r, *out_w, *err_r, *err_w;
	struct aioproc *p;

	must(aiopipe(&in_r, &in_w));
	must(aiopipe(&out_r, &out_w));
	must(aiopipe(&err_r, &err_w));
	must(aioend_set_stdio(in_r, 0, -1));
	must(aioend_set_stdio(out_w, -1, 1));
	must(aioend_set_stdio(err_w, -1, 2));
	must(aioend_detach(in_r));
	must(aioend_detach(out_w));
	must(aioend_detach(err_w));
	p = shell("echo oops >&2; tr a-z A-Z");
	must(write(in_w->own.w.fd, "hello", 5));
	aioend_free(in_w);
	ck_assert_str_eq(read_all(out_r->own.r.fd), "HELLO");
	ck_assert_str_eq(read_all(err_r->own.r.fd), "oops\n");
	ck_assert_int_eq(finish(p), 0);
	aioend_free(in_r);
	aioend_free(out_r);
	aioend_free(out_w);
	aioend_free(err_r);
	aioend_free(err_w);
}

/* With 0, 1 and 2 closed the ends get these numbers: what was 0 must become 1, what was 1 becomes 0. */
TEST(stdio_swapped)
{
	struct aioend *out_r, *out_w, *in_r, *in_w;
	struct aioproc *p;
	int keep[3], fd;

	must(aiopipe(&out_r, &out_w));
	must(aiopipe(&in_r, &in_w));
	for (int i = 0; i < 3; i++) {
		keep[i] = must(fcntl(i, F_DUPFD_CLOEXEC, 10));
		close(i);
	}
	must(aioend_release(out_w, &(int){0}, &fd));
	must(dup2(fd, 0));
	close(fd);
	out_w = must(aioend_from_fds(-1, 0));
	must(aioend_release(in_r, &fd, &(int){0}));
	must(dup2(fd, 1));
	close(fd);
	in_r = must(aioend_from_fds(1, -1));
	must(aioend_set_stdio(out_w, -1, 1));
	must(aioend_set_stdio(in_r, 0, -1));
	must(aioend_detach(out_w));
	must(aioend_detach(in_r));
	p = shell("tr a-z A-Z");
	must(write(in_w->own.w.fd, "swap", 4));
	aioend_free(in_w);
	for (int i = 0; i < 3; i++) {
		must(dup2(keep[i], i));
		close(keep[i]);
	}
	ck_assert_str_eq(read_all(out_r->own.r.fd), "SWAP");
	ck_assert_int_eq(finish(p), 0);
	aioend_free(out_r);
	aioend_free(out_w);
	aioend_free(in_r);
}

/* All of it happens on 0, 1 and 2: pairs, the pipe of detach, the one that tells a failure, the named end. */
TEST(everything_closed_before)
{
	struct aioend *mine, *theirs;
	struct aioproc *p;
	char c = 0;
	int keep[3];

	for (int i = 0; i < 3; i++) {
		keep[i] = must(fcntl(i, F_DUPFD_CLOEXEC, 10));
		close(i);
	}
	mine = give(aiosockpair, &theirs, "low");
	p = aioproc_exec(INHERITOR, args("echo", "low"), NULL, NULL);
	if (p && write(mine->own.w.fd, "x", 1) == 1)
		(void)!read(mine->own.r.fd, &c, 1);
	errno = 0;
	aioend_free(mine);
	aioend_free(theirs);
	if (!aioproc_exec("/no/such", args("", ""), NULL, NULL))
		keep[0] |= errno == ENOENT ? 0 : 1 << 20;
	for (int i = 0; i < 3; i++) {
		dup2(keep[i] & 0xfffff, i);
		close(keep[i] & 0xfffff);
	}
	ck_assert_int_lt(keep[0], 1 << 20);
	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(c, 'x');
	ck_assert_int_eq(finish(p), 0);
}

/* Closes this standard descriptor, starts the inheritor, opens it again. */
static int run_without(int fd, const char *a)
{
	int keep = must(fcntl(fd, F_DUPFD_CLOEXEC, 10)), found;

	close(fd);
	found = run(a, NULL);
	must(dup2(keep, fd));
	close(keep);
	return found;
}

TEST(a_standard_descriptor_that_is_closed_is_dev_null)
{
	int before = run("nulls", NULL);

	for (int fd = 0; fd < 3; fd++) {
		ck_assert_int_eq(run_without(fd, "fds"), 7);
		ck_assert_int_eq(run_without(fd, "nulls"), before | 1 << fd);
	}
}

/* Were it the program's, execve would close it. */
TEST(a_standard_descriptor_that_is_close_on_exec_is_dev_null)
{
	int flags = must(fcntl(0, F_GETFD)), open, null;

	must(fcntl(0, F_SETFD, FD_CLOEXEC));
	open = run("fds", NULL);
	null = run("nulls", NULL);
	must(fcntl(0, F_SETFD, flags));
	ck_assert_int_eq(open, 7);
	ck_assert_int_eq(null & 1, 1);
}

/* An end that has the number 0 here gets another one there. */
TEST(an_end_with_a_name_never_is_a_standard_descriptor)
{
	int keep = must(fcntl(0, F_DUPFD_CLOEXEC, 10)), r, w, found;
	struct aioend *a, *b;

	must(aiosockpair(&a, &b));
	must(aioend_release(b, &r, &w));
	must(dup2(r, 0));
	close(r);
	b = must(aioend_from_fds(0, 0));
	must(aioend_set_name(b, "x"));
	must(aioend_detach(b));
	found = run("high", "x");
	aioend_free(a);
	aioend_free(b);
	must(dup2(keep, 0));
	close(keep);
	ck_assert_int_lt(found, 8);
	ck_assert_int_eq(found & 1, 1);
}

/* There environ is a null pointer. */
TEST(after_clearenv)
{
	char *const argv[] = {"sh", "-c", "test -z \"$HOME$COLOUR\"", NULL};
	struct aioend *mine, *theirs;

	must(setenv("COLOUR", "red", 1));
	must(clearenv());
	ck_assert_int_eq(finish(must(aioproc_exec("/bin/sh", argv, NULL, NULL))), 0);
	mine = give(aiosockpair, &theirs, "x");
	ck_assert_int_eq(run("has", "x"), 0);
	aioend_free(mine);
	aioend_free(theirs);
}

/* A copy of the inheritor that runs as another user, whoever starts it. Only root can make one. */
TEST(a_set_user_id_program_believes_no_environment)
{
	char folder[] = "set_user_id.XXXXXX", file[40], command[100], stats[60];
	char *argv[] = {file, "secure", "x", NULL}, *envp[] = {stats, NULL};
	struct aioend *mine, *theirs;
	int found;

	if (!harness_has_users() || harness_in_valgrind())
		return;
	must(mkdtemp(folder));
	must(chmod(folder, 0777));
	snprintf(stats, sizeof(stats), "AIOIPC_STATS=%s", folder);
	snprintf(file, sizeof(file), "%s/inheritor", folder);
	snprintf(command, sizeof(command), "cp %s %s", INHERITOR, file);
	ck_assert_int_eq(system(command), 0);
	must(chown(file, 54321, 54321));
	must(chmod(file, 04755));
	mine = give(aiosockpair, &theirs, "x");
	found = finish(must(aioproc_exec(file, argv, envp, NULL)));
	unlink(file);
	if (found == 254) { /* this file system, or a filter, gives no such rights; so it keeps statistics */
		snprintf(command, sizeof(command), "rm -r %s", folder);
		ck_assert_int_eq(system(command), 0);
	} else {
		ck_assert_int_eq(found, ENOENT);
		must(rmdir(folder)); /* there is nothing else */
	}
	aioend_free(mine);
	aioend_free(theirs);
}

TEST(failed_execve_tells_why)
{
	struct aioproc_options o = {.size = sizeof(o), .cwd = "/no/such/folder"};
	struct aioend *mine, *theirs;

	mine = give(aiosockpair, &theirs, "x");
	must_fail(aioproc_exec("/no/such/program", args("", ""), NULL, NULL), ENOENT);
	must_fail(aioproc_exec("/etc/passwd", args("", ""), NULL, NULL), EACCES);
	must_fail(aioproc_exec(INHERITOR, args("", ""), NULL, &o), ENOENT);
	o.size++;
	must_fail(aioproc_exec(INHERITOR, args("", ""), NULL, &o), EINVAL);
	must_fail(waitpid(-1, NULL, 0), ECHILD);
	ck_assert_int_eq(run("twice", "x"), ENOENT);
	aioend_free(mine);
	aioend_free(theirs);
}

TEST(fork_fails)
{
	struct aioend *mine, *theirs;

	if (!forks_can_fail())
		return;
	mine = give(aiosockpair, &theirs, "x");
	forks_fail(true);
	must_fail(aioproc_exec(INHERITOR, args("", ""), NULL, NULL), EAGAIN);
	forks_fail(false);
	must(aioend_reclaim(theirs));
	aioend_free(mine);
	aioend_free(theirs);
}

TEST(no_descriptors)
{
	struct aioend *mine, *theirs;
	struct rlimit was, l;

	mine = give(aiosockpair, &theirs, "x");
	must(getrlimit(RLIMIT_NOFILE, &was));
	l = was;
	l.rlim_cur = 0;
	must(setrlimit(RLIMIT_NOFILE, &l));
	must_fail(aioproc_exec(INHERITOR, args("has", "x"), NULL, NULL), EMFILE);
	must(setrlimit(RLIMIT_NOFILE, &was));
	ck_assert_int_eq(run("has", "x"), 0);
	aioend_free(mine);
	aioend_free(theirs);
}

TEST(options)
{
	struct aioproc_options o = {.size = sizeof(o), .new_session = true};
	char *const pwd[] = {"sh", "-c", "test \"$(pwd)\" = /usr", NULL};

	ck_assert_int_eq(run("session", NULL), 0);
	ck_assert_int_eq(finish(must(aioproc_exec(INHERITOR, args("session", NULL), NULL, &o))), 1);
	o.new_group = true; /* a session is one */
	ck_assert_int_eq(finish(must(aioproc_exec(INHERITOR, args("session", NULL), NULL, &o))), 1);
	ck_assert_int_eq(run("group", NULL), 0);
	o = (struct aioproc_options){.size = sizeof(o), .new_group = true, .only_ends = true};
	ck_assert_int_eq(finish(must(aioproc_exec(INHERITOR, args("group", NULL), NULL, &o))), 1);
	ck_assert_int_eq(finish(must(aioproc_exec(INHERITOR, args("session", NULL), NULL, &o))), 0);
	o = (struct aioproc_options){.size = sizeof(o), .cwd = "/usr"};
	ck_assert_int_eq(finish(must(aioproc_exec("/bin/sh", pwd, NULL, &o))), 0);
}

TEST(other_user)
{
	struct aioproc_options o = {.size = sizeof(o), .set_ids = true, .uid = 54321, .gid = 54322};
	char *const ids[] = {"sh", "-c", "test \"$(id -u) $(id -g) $(id -G)\" = '54321 54322 54322'", NULL};

	pid_t pid = must(fork());
	int status;

	if (pid == 0) {
		if (harness_has_users())
			must(setresuid(54321, 54321, 54321));
		must_fail(aioproc_exec("/bin/sh", ids, NULL, &o), EPERM);
		_exit(0);
	}
	must(waitpid(pid, &status, 0));
	ck_assert_int_eq(status, 0);
	if (harness_has_users())
		ck_assert_int_eq(finish(must(aioproc_exec("/bin/sh", ids, NULL, &o))), 0);
}

/* The child of a child: it is killed when its parent ends, which its end of a pipe tells. */
TEST(dies_with_its_parent)
{
	struct aioproc_options o = {.size = sizeof(o), .die_with_parent = true};
	char *const argv[] = {"sleep", "1000", NULL};
	struct aioend *rx, *tx;
	pid_t pid;
	char c;

	must(aiopipe(&rx, &tx));
	must(aioend_set_name(tx, "x"));
	must(aioend_detach(tx));
	pid = must(fork());
	if (pid == 0) {
		must(aioend_detach(tx));
		must(aioproc_exec("/bin/sleep", argv, NULL, &o));
		_exit(0);
	}
	must(waitpid(pid, NULL, 0));
	ck_assert_int_eq(must(read(rx->own.r.fd, &c, 1)), 0);
	aioend_free(rx);
	aioend_free(tx);
}

/* In which our number is 0, as if nobody had made it. */
TEST(dies_with_its_parent_in_a_name_space_of_process_ids)
{
	struct aioproc_options o = {.size = sizeof(o), .die_with_parent = true};
	char *const argv[] = {"sleep", "1000", NULL};
	struct aioend *rx, *tx;
	int status;
	pid_t pid;
	char c;

	must(aiopipe(&rx, &tx));
	must(aioend_set_name(tx, "x"));
	must(aioend_detach(tx));
	pid = must(fork());
	if (pid == 0) {
		if (unshare(CLONE_NEWPID) == -1)
			_exit(77); /* not root, or not allowed here */
		must(aioend_detach(tx));
		must(aioproc_exec("/bin/sleep", argv, NULL, &o));
		_exit(0);
	}
	must(waitpid(pid, &status, 0));
	ck_assert(status == 0 || WEXITSTATUS(status) == 77);
	ck_assert_int_eq(must(read(rx->own.r.fd, &c, 1)), 0);
	aioend_free(rx);
	aioend_free(tx);
}

/* Whose struct ended with padding in which anything may be. */
TEST(options_of_the_first_release)
{
	struct aioproc_options o = {.size = offsetof(struct aioproc_options, new_group)};

	memset(o.unused, 0xff, sizeof(o) - offsetof(struct aioproc_options, unused));
	ck_assert_int_eq(finish(must(aioproc_exec(INHERITOR, args("group", NULL), NULL, &o))), 0);
}

static void caught(int sig)
{
	(void)sig;
}

TEST(signals_are_default)
{
	sigset_t mask;

	signal(SIGUSR1, caught);
	sigemptyset(&mask);
	sigaddset(&mask, SIGHUP);
	must(sigprocmask(SIG_BLOCK, &mask, NULL));
	ck_assert_int_eq(run("signals", NULL), 0);
}

TEST(environment_is_passed)
{
	char *const envp[] = {"COLOUR=red", "AIOIPC_ENDS=1:x", NULL};
	char *const argv[] = {"sh", "-c", "test \"$COLOUR.$AIOIPC_ENDS\" = red.", NULL};

	ck_assert_int_eq(finish(must(aioproc_exec("/bin/sh", argv, envp, NULL))), 0);
}

static void *churn(void *arg)
{
	atomic_bool *stop = arg;

	while (!*stop)
		free(malloc(100000));
	return NULL;
}

static void *exec_often(void *arg)
{
	char *const argv[] = {"true", NULL};
	struct aioend *rx, *tx;
	struct aioproc *p;
	char c;

	(void)arg;
	for (int i = 0; i < 30; i++) {
		must(aiopipe(&rx, &tx));
		must(aioend_set_stdio(tx, -1, 1));
		must(aioend_detach(tx));
		p = must(aioproc_exec("/bin/true", argv, NULL, NULL));
		ck_assert_int_eq(must(read(rx->own.r.fd, &c, 1)), 0);
		ck_assert_int_eq(finish(p), 0);
		aioend_free(rx);
		aioend_free(tx);
	}
	return NULL;
}

TEST_WITHIN(from_threads, 60)
{
	atomic_bool stop = false;
	pthread_t t[3];

	ck_assert_int_eq(pthread_create(&t[0], NULL, churn, &stop), 0);
	for (int i = 1; i < 3; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, exec_often, NULL), 0);
	for (int i = 1; i < 3; i++)
		pthread_join(t[i], NULL);
	stop = true;
	pthread_join(t[0], NULL);
}
