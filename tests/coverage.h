/* make coverage: every file that is compiled there begins with this, so that children which leave by _exit() count, too. */
#ifndef TESTS_COVERAGE_H
#define TESTS_COVERAGE_H

#include <unistd.h>

void __gcov_dump(void);

/* Who has given up its rights could not write, and would complain. */
__attribute__((noreturn)) static inline void coverage_exit(int status)
{
	if (access(".", W_OK) == 0)
		__gcov_dump();
	_exit(status);
}

#define _exit(status) coverage_exit(status)

#endif
