/*
 * A real server for the tests of streams, Redis or Valkey, in a folder of its own: started, asked, killed, started again, ended. It is
 * reached by a unix socket. In Debian's redis-tools alone there is one, under another name.
 */
#ifndef TESTS_ENGINE_H
#define TESTS_ENGINE_H

#include <stdbool.h>
#include <sys/types.h>

#include "tests/peers.h"

struct engine {
	char dir[64];
	char address[128]; /* as a stream takes it */
	char path[96];     /* of its socket */
	pid_t pid;
	int asks; /* a connection to it */
	const char *args[16];
};

/* Is there a server to start? If not, it says that the test is left out, which then returns. */
bool engine_is_there(void);

/* @e->args may hold more options before, and NULL. */
void engine_start(struct engine *e);
void engine_end(struct engine *e); /* and removes the folder */

/* It is killed at once; started anew with the same folder. */
void engine_kill(struct engine *e);
void engine_restart(struct engine *e);

/* Did it write this into its log? */
bool engine_logged(const struct engine *e, const char *text);

/* A command of words, and its answer as text: items with a space between, "nil" for none, "()" for an empty array. Good until the next call. */
const char *engine_ask(struct engine *e, ...) __attribute__((sentinel));
long engine_number(struct engine *e, ...) __attribute__((sentinel));

/* Asks until the answer is this. */
void engine_await(struct engine *e, const char *answer, ...) __attribute__((sentinel));

#endif
