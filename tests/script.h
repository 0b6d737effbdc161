/*
 * A server of streams that does what a real one never does: it knows just enough to serve one sender or one member of a group, and a test says
 * which answer comes instead, is cut, or does not come. Each connection has a thread.
 */
#ifndef TESTS_SCRIPT_H
#define TESTS_SCRIPT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { SCRIPT_ENTRIES = 16, SCRIPT_TALKS = 512 };

struct script;
struct script_talk;

/* A command has come, its words with a space between. True: the test has answered; false: it is answered as usual. */
typedef bool script_turn(struct script_talk *t, const char *line, void *arg);

struct script_talk {
	struct script *script;
	int fd;
	unsigned number;   /* of the connection */
	bool multi;        /* commands are queued */
	char queued[2048]; /* one letter for each */
	unsigned count;
	char mark[32]; /* that is to be set */
};

struct script {
	char path[108]; /* of its socket; "": it has a port */
	int port, listening;
	script_turn *turn;
	void *arg;
	pthread_t thread;
	pthread_t threads[SCRIPT_TALKS];
	struct script_talk talks[SCRIPT_TALKS];
	atomic_uint count; /* connections */
	atomic_bool over;

	/* Cuts the connections so that the @cut-th byte that is said in all is the last one of its connection. */
	atomic_ulong said, cut;

	pthread_mutex_t lock; /* of the stream: */
	char mark[32];
	unsigned appended, transactions;
	unsigned
		entries; /* that there are; those below `given` were given, and those not acked are pending */
	unsigned given;
	unsigned acked[SCRIPT_ENTRIES], tries[SCRIPT_ENTRIES];
};

/* @path NULL: a free port of 127.0.0.1. */
void start_script(struct script *s, const char *path, script_turn *turn, void *arg);
void stop_script(struct script *s);

void script_say(struct script_talk *t, const char *text); /* text is said as it is, with its CRLF */
void script_hang_up(struct script_talk *t);
bool script_is(const char *line, const char *command);

#endif
