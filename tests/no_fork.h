/* Makes fork fail for a while, as at the limit of processes. */
#ifndef TESTS_NO_FORK_H
#define TESTS_NO_FORK_H

#include <sys/resource.h>
#include <unistd.h>

#include "tests/harness.h"

/* For root only where there is someone else to become. */
static inline bool forks_can_fail(void)
{
	return geteuid() != 0 || harness_has_users();
}

/* Root has no limit: it becomes someone else, and itself again after. */
static inline void forks_fail(bool fail)
{
	static struct rlimit was;
	static bool was_root;
	struct rlimit none;

	if (fail) {
		was_root = geteuid() == 0;
		must(getrlimit(RLIMIT_NPROC, &was));
		none = was;
		none.rlim_cur = 0;
		must(setrlimit(RLIMIT_NPROC, &none));
		if (was_root)
			must(setresuid(54321, 54321, 0));
	} else {
		if (was_root)
			must(setresuid(0, 0, 0));
		must(setrlimit(RLIMIT_NPROC, &was));
	}
}

#endif
