/*
 * What the tests of whole connections share: pairs on every transport, a raw peer that writes and reads bytes by
 * hand, callbacks that remember what they saw, children. It knows the library by its public headers alone.
 */
#ifndef TESTS_PEERS_H
#define TESTS_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <event2/event.h>

#include <aioipc.h>

#include "tests/harness.h"
#include "tests/over.h"

/* With TEST_PAIR=ring in the environment, PAIR is a ring, but for raw peers: see tests/test_over_rings.sh. */
enum transport { PIPE, DUPLEX, PAIR, RING };

bool are_pairs_rings(void);

#define PREFACE "AIPC\1\0\0\0"
#define PREFACE_LEN 8
#define HEADER_LEN 8
enum { TPL = 1, BYTES = 2, GOODBYE = 3 };

/* A deadline within every test's limit: what is due comes long before. */
int64_t soon(void);

/* A container may have no IPv6, and no /etc/hosts that tells what localhost is. */
bool is_known_here(const char *host);

struct event_base *new_base(void);

/* Under PIPE @a only writes and @b only reads. */
void make_ends(enum transport t, struct aioend **a, struct aioend **b);
struct aioconn *open_end(struct aioend *end, struct event_base *base);
void open_pair(enum transport t, struct event_base *base, struct aioconn **a, struct aioconn **b);

/* A connection whose peer is the test itself, by blocking descriptors: a socket, or (PIPE) what feeds a reader. */
int raw_peer(enum transport t, struct event_base *base, struct aioconn **c);

/* A connection whose peer reads by hand from the descriptor returned. */
int raw_reader(enum transport t, struct event_base *base, struct aioconn **c);

/* Everything, never SIGPIPE. put_try says whether the other side still took it. */
bool put_try(int fd, const void *data, size_t len);
void put(int fd, const void *data, size_t len);
void put_frame(int fd, unsigned kind, unsigned nfds, const void *payload, size_t len);
void put_fds(int fd, const void *data, size_t len, const int *fds, unsigned n);
size_t make_frame(unsigned char *to, unsigned kind, unsigned nfds, const void *payload, size_t len);

/* Up to @len bytes, fewer at the end only. */
size_t get(int fd, void *buf, size_t len);

/* Whether something can be read without waiting. */
bool is_readable(int fd);

/* The next frame's payload into @buf, its length returned; -1 at the end of the stream. */
ssize_t get_frame(int fd, unsigned *kind, void *buf, size_t room);
void get_preface(int fd);
void expect_frame(int fd, unsigned kind, const char *payload);

/* What no two offsets near each other share. */
void fill(void *to, size_t len, unsigned seed);
bool is_filled(const void *data, size_t len, unsigned seed);

void send_text(struct aioconn *c, const char *text);
bool is_text(const struct aiomsg *m, const char *text);
void expect_text(struct aioconn *c, const char *text);
void send_fill(struct aioconn *c, size_t len, unsigned seed);
void expect_fill(struct aioconn *c, size_t len, unsigned seed);

/* The next thing is the end: CLEAN when @error is 0, else -1 with it. */
void expect_end(struct aioconn *c, int error);

/* Callbacks that remember. on_close aborts the connection unless @stay. */
struct seen {
	unsigned msgs, writable, closes;
	size_t bytes;
	enum aioconn_cause cause;
	unsigned msgs_at_close;
	char text[256]; /* of the messages, each with a space behind */
	char why[128];
	bool stay;
};

void see(struct aioconn *c, struct seen *s);
void see_end_only(struct aioconn *c, struct seen *s);

/* Turns of the loop until *@n is at least @least; a loop with nothing to wait for fails. */
void run_until(struct event_base *base, const unsigned *n, unsigned least);

/* Turns of the loop while there is something due now. */
void run_now(struct event_base *base);

/* A child that takes @end along and ends with 0 when @body returns; @end's handle is freed here. */
pid_t start_child(void (*body)(struct aioend *end, void *arg), struct aioend *end, void *arg);
void expect_exit(pid_t pid, int status);
void expect_killed(pid_t pid, int sig);

/* A child's body: numbers for ever, "Us" with some text each, and an answer awaited for each window of them. */
enum { CHATTER_WINDOW = 16 };
void chatter(struct aioend *end, void *arg);

/* Bytes in use by malloc. */
size_t heap_in_use(void);

/* Until *@flag is set by another thread or a signal handler. */
void spin_until(const volatile int *flag);

#endif
