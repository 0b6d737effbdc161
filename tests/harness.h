/*
 * What every test program is built with: it brings main(), and makes a test of each TEST() in the file.
 *
 *	#include "tests/harness.h"
 *
 *	TEST(pair_carries_bytes)
 *	{
 *		struct aioend *rx, *tx;
 *
 *		must(aiopipe(&rx, &tx));
 *		ck_assert_int_eq(aioend_detach(NULL), -1);
 *		...
 *	}
 *
 * Each test runs in a process of its own (Check's fork mode), for 10 seconds at most (TEST_WITHIN says
 * otherwise). After it, these are failures too: a descriptor that was not open before, or that was and is gone;
 * a child or grandchild that still runs. A child forked by hand must end with _exit(): one that returns
 * from the test is a failure. Assertions in such a child count, its memory is its own. What Check offers, ck_assert_*(), is there.
 *
 * By hand: "tests/test_pool" runs all, "tests/test_pool NAME..." these, CK_FORK=no keeps them in one process
 * for a debugger; CK_TIMEOUT_MULTIPLIER stretches every limit. In "make check" each program runs
 * under tests/wrap, which catches what outlives it.
 */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <check.h>

#define TEST(name) TEST_WITHIN(name, 10)

#define TEST_WITHIN(name, seconds)                                                                           \
	static void name(int);                                                                               \
	__attribute__((constructor)) static void name##_enlist(void)                                         \
	{                                                                                                    \
		static struct harness_test t = {{#name, name, __FILE__, __LINE__}, seconds, 0};              \
		harness_enlist(&t);                                                                          \
	}                                                                                                    \
	static void name(int harness_unused __attribute__((unused)))

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

/* How much longer than usual things may take here, 1 or more: sanitizers and valgrind. */
double harness_slowness(void);

#define harness_failed(value)                                                                                \
	_Generic((value), int: (intptr_t)(value) == -1, long: (intptr_t)(value) == -1, default: (intptr_t)(value) == 0)

struct harness_test {
	TTest check;
	double seconds;
	struct harness_test *next;
};

void harness_enlist(struct harness_test *t);

#endif
