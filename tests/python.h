/*
 * Peers that know nothing of the library: programs in Python. What they say is read as lines, plainly or in a task.
 */
#ifndef TESTS_PYTHON_H
#define TESTS_PYTHON_H

#include "tests/peers.h"

/* A process of tests/peer_lines.py. */
struct python {
	struct aioproc *proc;
	struct aioconn *said;
};

/* The words of its command line end with NULL. Without a @base only plain code may ask it. */
void start_python(struct python *p, struct event_base *base, ...) __attribute__((sentinel));

/* It says "WORD N" next: the number. */
unsigned python_said(struct python *p, const char *word);

/* It says "done" next, and ends well. */
void expect_python_done(struct python *p);

#endif
