/* What the demos share: how they give up. */
#ifndef DEMO_H
#define DEMO_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

#endif
