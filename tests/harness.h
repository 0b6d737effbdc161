/*
 * What every test program is built with: it brings main(), and makes a test of each TEST() in the file.
 *
 *	#include "tests/harness.h"
 *
 *	TEST(pipe_ends_with_its_writer)
 *	{
 *		int fd[2];
 *		char c;
 *
 *		must(pipe(fd));
 *		must(close(fd[1]));
 *		ck_assert_int_eq(must(read(fd[0], &c, 1)), 0);
 *		must(close(fd[0]));
 *		must_fail(close(fd[0]), EBADF);
 *	}
 *
 * Each test runs in a process of its own (Check's fork mode), for 10 seconds at most (TEST_WITHIN says
 * otherwise), and six times that where others are at work too. After it, these are failures too: a descriptor that was not open before, or that was and is gone
 * or another; a child or grandchild that still runs; lost memory, with the address sanitizer or in valgrind. In a
 * child that a test forks, an assertion that fails is a failure of the test, and so is coming back from the test:
 * let it end with _exit().
 *
 * By hand: "tests/test_pool" runs all, "tests/test_pool NAME..." these; CK_FORK=no keeps them in one process,
 * for a debugger; CK_TIMEOUT_MULTIPLIER stretches every limit. In "make check" each program runs
 * under tests/wrap, which catches what outlives it.
 */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <check.h>

#define TEST(name) TEST_WITHIN(name, 10)

#define TEST_WITHIN(name, seconds)                                                                           \
	static void name(void);                                                                              \
	__attribute__((constructor)) static void name##_enlist(void)                                         \
	{                                                                                                    \
		static struct harness_test t = {{#name, 0, __FILE__, __LINE__}, name, seconds, 0};           \
		harness_enlist(&t);                                                                          \
	}                                                                                                    \
	static void name(void)

/* The value of @call, which must not fail: not -1, not NULL. */
#define must(call)                                                                                           \
	({                                                                                                   \
		__typeof__(call) must_value = (call);                                                        \
		if (harness_failed(must_value))                                                              \
			ck_abort_msg("%s: %s", #call, strerror(errno));                                      \
		must_value;                                                                                  \
	})

/* @call must fail, with -1 or NULL, and with this errno. */
#define must_fail(call, error)                                                                               \
	do {                                                                                                 \
		errno = 0;                                                                                   \
		if (!harness_failed(call))                                                                   \
			ck_abort_msg("%s did not fail, %s was due", #call, strerror(error));                 \
		if (errno != (error))                                                                        \
			ck_abort_msg("%s: %s, %s was due", #call, strerror(errno), strerror(error));         \
	} while (0)

/* Open descriptors of this process. */
unsigned harness_count_fds(void);

/* Makes room for so many open descriptors. Where that is not allowed, false: it says that the test is left out, which then returns. */
bool harness_has_fds(unsigned n);

/* Whether this is root and may become another user. If not, it says so. */
bool harness_has_users(void);

/* How much longer than usual things may take here, 1 or more: sanitizers and valgrind. */
double harness_slowness(void);

/* Valgrind keeps RLIMIT_NOFILE to itself, so descriptors that are received pass it. And it executes no program with other rights. */
bool harness_in_valgrind(void);

/* Whether a child of a process with threads may allocate memory. Those of the sanitizers may find their own locked for ever. */
bool harness_forks_with_memory(void);

#define harness_failed(value)                                                                                \
	_Generic((value), int                                                                                \
		 : (intptr_t)(value) == -1, long                                                             \
		 : (intptr_t)(value) == -1, default                                                          \
		 : (intptr_t)(value) == 0)

/* Check's own, but right in forked children too. */
#define _mark_point(file, line) harness_mark_point(file, line)
#define _ck_assert_failed(...) harness_assert_failed(__VA_ARGS__)

void harness_mark_point(const char *file, int line);
void harness_assert_failed(const char *file, int line, const char *expr, const char *format, ...)
	__attribute__((noreturn, format(printf, 4, 5)));

struct harness_test {
	TTest check;
	void (*body)(void);
	double seconds;
	struct harness_test *next;
};

void harness_enlist(struct harness_test *t);

#endif
