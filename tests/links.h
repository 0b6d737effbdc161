/*
 * What the tests of links share: bodies that are run in both ways, addresses of the test's own, links, texts through their
 * queues, the states that they went through, peers by hand. It knows the library by its public headers alone.
 */
#ifndef TESTS_LINKS_H
#define TESTS_LINKS_H

#include "tests/peers.h"

/*
 * Runs @body(NULL), whose links have threads of their own and whose calls block; then @body(base) as a task, whose links are on its
 * base and whose calls let the loop run.
 */
void both_ways(void (*body)(struct event_base *base));

/* Runs @body(@arg) beside the caller: in a thread, or as a task of @base. Joined within soon(). */
struct beside;
struct beside *run_beside(struct event_base *base, void (*body)(void *arg), void *arg);
void join_beside(struct beside *b);

/* Lets others run for @ms: to look again at what nobody tells. */
void nap(int64_t ms);

/* Addresses; each text is good until the 8th next call. unix_at: the same for each @n, in children too. */
const char *unix_at(unsigned n);
const char *path_at(unsigned n);
const char *tcp_at(int port);

/* A blocking socket that listens, or is connected, there. */
int raw_listen(const char *address, int backlog);
int raw_connect(const char *address);
int try_connect(const char *address); /* -1: nobody is there */
int raw_port(int fd);
int raw_accept(int fd);
void wait_readable(int fd); /* others run meanwhile */

/* A peer of messages by hand, which others may talk to in this thread: accepts one, and both say their prefaces; */
int begin_talk(int listener);
uint64_t read_call(int fd, int32_t *n); /* reads a call with an int: the number of the call, and @n; */
void write_answer(int fd, uint64_t id, const char *text);
void expect_cancel(int fd, uint64_t id);

/* Lines end in CRLF; tries again after 1 to 20 ms. */
struct aiolink_options options_of(enum aiolink_role role, const char *address, enum aioconn_framing framing);
struct aiolink *start_link(const struct aiolink_options *o, struct event_base *base);
struct aiolink *start_listening(const char *address, enum aioconn_framing framing, struct event_base *base);
struct aiolink *start_connecting(const char *address, enum aioconn_framing framing, struct event_base *base);
void never_again(struct aiolink_options *o); /* it ends with its first connection */

/* A link over an end, started, and its peer: a blocking descriptor by hand. */
struct aiolink *start_on_end(enum aioconn_framing framing, struct event_base *base, int *peer);

/* Texts "WHAT N" through queues. */
void put_word(struct aioqueue *q, const char *text);
void put_numbers(struct aioqueue *q, const char *what, unsigned from, unsigned to);
void expect_word(struct aioqueue *q, const char *text);
void expect_numbers(struct aioqueue *q, const char *what, unsigned from, unsigned to);
void expect_queue_end(struct aioqueue *q);

/* Stops what is started, and is done with by the test: nothing may be left. */
void close_link(struct aiolink *l);

/* Until it is not connected any more, or not yet again: that may be over when somebody asks for it. */
void await_disconnect(const struct aiolink *l);

/* The states of one link, as it told them. To be set before it starts; freed when it is. */
struct states {
	struct aioqueue *queue;
	unsigned count[AIOLINK_ENDED + 1];
};
void watch_states(struct aiolink *l, struct states *s);
void await_state(struct states *s, enum aiolink_state state);
void free_states(struct states *s);

uint64_t stat_connections(const struct aiolink *l);

#endif
