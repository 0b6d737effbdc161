/*
 * A bad way between a link that connects and one that listens: a thread that passes bytes on and breaks each connection after so many of them,
 * by a close or a reset, on whatever side, in pieces and late.
 */
#ifndef TESTS_PROXY_H
#define TESTS_PROXY_H

#include <stddef.h>

struct proxy;

/* How much passes over connection @n, both ways together, before it breaks. The function may be called in the thread. */
typedef size_t proxy_budget(unsigned n, void *arg);

/* Listens at @from, connects to @to: addresses as those of tests/links.h. */
struct proxy *start_proxy(const char *from, const char *to, proxy_budget *budget, void *arg);

/* How many connections there were. stop: also ends the thread, and what is open breaks. */
unsigned proxy_connections(const struct proxy *p);
void stop_proxy(struct proxy *p);

#endif
