/*
 * Runs the tests that a program enlisted, each between two looks at what the process owns: descriptors and
 * children. It knows nothing of the library. See harness.h.
 */
#include "tests/harness.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_VALGRIND_MEMCHECK_H
#include <valgrind/memcheck.h>
#endif

#define FDS_MOST 4096
#define TRIED_MOST 512
#define GRACE_MS 2000 /* who was told to end may take so long */
#define BUSY 6        /* a limit is that much longer than what a quiet machine needs */

struct fd {
	bool open;
	char what[64]; /* "pipe:[4711]": a reused number shows */
};

/* Lies in memory that all processes share: this program, that of the test, and what that forks. */
struct shared {
	char inside[64]; /* the test that has begun and not yet ended */
	char early[512]; /* those that never came to their end, by exit() say: Check takes that for success */
	char in_child[1024]; /* what failed in a child of the test */
};

static struct harness_test *tests;
static struct shared *shared;
static struct fd before[FDS_MOST], after[FDS_MOST];
static pid_t test_pid;

/* By line: the order in which constructors run is nobody's promise. */
void harness_enlist(struct harness_test *t)
{
	struct harness_test **at = &tests;

	while (*at && (*at)->check.line < t->check.line)
		at = &(*at)->next;
	t->next = *at;
	*at = t;
}

double harness_slowness(void)
{
	const char *text = getenv("CK_TIMEOUT_MULTIPLIER");
	double factor = text ? atof(text) : 1;

	return factor > 1 ? factor : 1;
}

bool harness_in_valgrind(void)
{
#ifdef HAVE_VALGRIND_MEMCHECK_H
	return RUNNING_ON_VALGRIND;
#else
	return false;
#endif
}

bool harness_forks_with_memory(void)
{
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
	return false;
#else
	return true;
#endif
}

/* Where there is no /proc: those that can be looked at often enough. */
static unsigned try_fds(struct fd *fds)
{
	unsigned count = 0;
	struct stat st;

	for (int fd = 0; fd < TRIED_MOST; fd++) {
		if (fstat(fd, &st) == -1)
			continue;
		fds[fd].open = true;
		snprintf(fds[fd].what, sizeof fds[fd].what, "%#lx of device %#lx", (unsigned long)st.st_ino,
			 (unsigned long)st.st_dev);
		count++;
	}
	return count;
}

/* Under a low limit there is room all the same where that is allowed. */
static void make_room_for_fds(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == -1 || l.rlim_cur >= FDS_MOST)
		return;
	if (l.rlim_max < FDS_MOST && setrlimit(RLIMIT_NOFILE, &(struct rlimit){FDS_MOST, FDS_MOST}) == 0)
		return;
	if (l.rlim_cur < 1024) {
		l.rlim_cur = l.rlim_max < 1024 ? l.rlim_max : 1024;
		(void)setrlimit(RLIMIT_NOFILE, &l);
	}
}

bool harness_has_fds(unsigned n)
{
	struct rlimit l;

	must(getrlimit(RLIMIT_NOFILE, &l));
	if (l.rlim_cur >= n)
		return true;
	l.rlim_cur = n;
	if (l.rlim_max >= n && setrlimit(RLIMIT_NOFILE, &l) == 0)
		return true;
	printf("# left out, it takes %u descriptors: %s\n", n, shared->inside);
	return false;
}

bool harness_has_users(void)
{
	uid_t was = geteuid();
	bool may = was == 0 && seteuid(54321) == 0 && seteuid(was) == 0 && setegid(54322) == 0 &&
		   setegid(0) == 0;

	if (!may)
		printf("# left out in part, there is no other user to become: %s\n", shared->inside);
	return may;
}

static unsigned look_at_fds(struct fd *fds)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	unsigned count = 0;

	memset(fds, 0, FDS_MOST * sizeof *fds);
	if (!dir)
		return try_fds(fds);
	while ((entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(dir) || fd >= FDS_MOST)
			continue;
		fds[fd].open = true;
		(void)!readlinkat(dirfd(dir), entry->d_name, fds[fd].what, sizeof fds[fd].what - 1);
		count++;
	}
	closedir(dir);
	return count;
}

unsigned harness_count_fds(void)
{
	return look_at_fds(after);
}

/* What differs from before, told in @text: true when nothing does. */
static bool same_fds(char *text, size_t size)
{
	*text = '\0';
	look_at_fds(after);
	for (int i = 0; i < FDS_MOST; i++) {
		size_t n = strlen(text);
		bool same = !strcmp(before[i].what, after[i].what);

		if (after[i].open && !(before[i].open && same))
			snprintf(text + n, size - n, "; leaked descriptor %d %s", i, after[i].what);
		else if (before[i].open && !after[i].open)
			snprintf(text + n, size - n, "; closed descriptor %d %s, not its own", i,
				 before[i].what);
	}
	return !*text;
}

/* A thread of the library may be on its way out, and about to close. */
static void check_fds(void)
{
	const struct timespec nap = {0, 1000000};
	int left = (int)(GRACE_MS * harness_slowness());
	char text[512];

	while (!same_fds(text, sizeof text) && left-- > 0)
		nanosleep(&nap, NULL);
	if (*text)
		ck_abort_msg("%s", text + 2);
}

/*
 * With the address sanitizer or in valgrind: memory that the test lost. Here and not at exit, because a forked
 * child that ends without freeing what it inherited has lost nothing.
 */
#ifdef __SANITIZE_ADDRESS__
int __lsan_do_recoverable_leak_check(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
	return "leak_check_at_exit=0";
}

/* The sanitizer clones, traces, and reads /proc: not where the test gave that up, or has none. */
static void check_memory(void)
{
	struct rlimit processes;

	must(getrlimit(RLIMIT_NPROC, &processes));
	if (processes.rlim_cur == 0 || prctl(PR_GET_DUMPABLE) != 1 || access("/proc/self/task", R_OK) == -1)
		return;
	if (__lsan_do_recoverable_leak_check())
		ck_abort_msg("leaked memory");
}
#elif defined(HAVE_VALGRIND_MEMCHECK_H)
static void check_memory(void)
{
	unsigned long bytes[4] = {0}; /* lost, maybe lost, reachable, suppressed */

	VALGRIND_DO_LEAK_CHECK;
	VALGRIND_COUNT_LEAKS(bytes[0], bytes[1], bytes[2], bytes[3]);
	if (bytes[0])
		ck_abort_msg("leaked %lu bytes of memory", bytes[0]);
}
#else
static void check_memory(void)
{
}
#endif

/* Being a subreaper, this process inherits grandchildren too. */
static void check_children(void)
{
	const struct timespec nap = {0, 1000000};
	int left = (int)(GRACE_MS * harness_slowness());
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) != -1) {
		if (pid > 0)
			continue;
		if (left-- == 0)
			ck_abort_msg("a child was left running");
		nanosleep(&nap, NULL);
	}
}

void harness_mark_point(const char *file, int line)
{
	if (getpid() == test_pid)
		(_mark_point)(file, line);
}

void harness_assert_failed(const char *file, int line, const char *expr, const char *format, ...)
{
	char text[1024];
	va_list args;

	snprintf(text, sizeof text, "%s", expr);
	if (format) {
		va_start(args, format);
		vsnprintf(text, sizeof text, format, args);
		va_end(args);
	}
	if (getpid() == test_pid) {
		shared->inside[0] = '\0';
		(_ck_assert_failed)(file, line, expr, "line %d: %s", line, text);
	}
	if (!shared->in_child[0])
		snprintf(shared->in_child, sizeof shared->in_child, "in a child, line %d: %.900s", line,
			 text);
	_exit(EXIT_FAILURE);
}

static void note_early_end(void)
{
	size_t n = strlen(shared->early);

	if (shared->inside[0])
		snprintf(shared->early + n, sizeof shared->early - n, " %s", shared->inside);
	shared->inside[0] = '\0';
}

static void set_up(void)
{
	shared->in_child[0] = '\0';
	test_pid = getpid();
	must(prctl(PR_SET_CHILD_SUBREAPER, 1));
	look_at_fds(before);
}

static void tear_down(void)
{
	if (getpid() != test_pid)
		ck_abort_msg("a forked child came back from the test: let it end with _exit()");
	check_children();
	if (shared->in_child[0])
		ck_abort_msg("%s", shared->in_child);
	check_fds();
	check_memory();
	shared->inside[0] = '\0';
}

static void run_nth(int n)
{
	struct harness_test *t = tests;

	while (n--)
		t = t->next;
	note_early_end();
	snprintf(shared->inside, sizeof shared->inside, "%s", t->check.name);
	t->body();
}

static bool is_wanted(const char *name, char **names)
{
	bool any = *names;

	for (; *names; names++)
		if (!strcmp(name, *names))
			return true;
	return !any;
}

static Suite *make_suite(char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	Suite *suite = suite_create(slash ? slash + 1 : argv[0]);
	int n = 0;

	for (struct harness_test *t = tests; t; t = t->next, n++) {
		TCase *tc;

		if (!is_wanted(t->check.name, argv + 1))
			continue;
		tc = tcase_create(t->check.name);
		tcase_set_timeout(tc, t->seconds < 1 ? t->seconds : t->seconds * BUSY);
		tcase_add_checked_fixture(tc, set_up, tear_down);
		t->check.fn = run_nth;
		tcase_add_loop_test(tc, &t->check, n, n + 1);
		suite_add_tcase(suite, tc);
	}
	return suite;
}

int main(int argc, char **argv)
{
	SRunner *runner = srunner_create(make_suite(argv));
	int failed, run;

	(void)argc;
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		perror("mmap");
		return EXIT_FAILURE;
	}
	make_room_for_fds();
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	run = srunner_ntests_run(runner);
	srunner_free(runner);
	note_early_end();
	if (shared->early[0]) {
		printf("# did not come to their end:%s\n", shared->early);
		return EXIT_FAILURE;
	}
	return failed || !run ? EXIT_FAILURE : EXIT_SUCCESS;
}
