/* Both sides of connections over TLS in one thread: a listener on a base, and the test in a task of it. */
#ifndef TESTS_SIDES_H
#define TESTS_SIDES_H

#include "tests/certs.h"
#include "tests/links.h"

struct side {
	struct event_base *base;
	struct aiolistener *listener;
	struct aiotls *tls;
	struct aioqueue *come; /* peers, as pointers in bytes */
	char address[300];
	enum aioconn_framing framing; /* of those who come */
};

/* Runs @body(base) in a task of a base of its own, where the usual certificates are. */
void in_tls_task(void (*body)(void *arg));

/* Listens; from then on the log is remembered. And the end of it. */
void listen_with(struct side *s, struct event_base *base, const struct aiotls_options *o);
void listen_limited(struct side *s, struct event_base *base, const struct aiotls_options *o,
		    const struct aiolistener_options *limits);
void listen_as(struct side *s, struct event_base *base, const char *name);
void stop(struct side *s);

/* Connects to it as whom; NULL with errno. And what was accepted next. */
struct aioconn *connect_as(const struct side *s, const char *name);
struct aioconn *next_peer(struct side *s);
void open_both(struct side *s, struct aioconn **a, struct aioconn **b);
int raw_connect_to(const struct side *s); /* a socket, which says nothing */
const char *tls_at(int port);

/* How many it has refused; waits until they are so many. */
uint64_t refusals_of(const struct side *s);
void await_refusals(const struct side *s, uint64_t n);

/* One of the last lines of the log has @words; @why has them. */
void remember_log(void);
void expect_logged(const char *words);
void expect_words(const char *why, const char *words);

#endif
