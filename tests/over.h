/*
 * With TEST_OVER_TLS in the environment, links, listeners and connections of a test are encrypted, whatever address it gives: see
 * tests/test_over_tls.sh. It names a folder with ca.pem and with both.pem, a certificate and its key, good for "both.test".
 * TEST_TLS_LIB is the path of libaioipc-tls.
 */
#ifndef TESTS_OVER_H
#define TESTS_OVER_H

#include <aioipc.h>

bool is_over_tls(void);

struct aiolink *over_link_new(const struct aiolink_options *o);
struct aiolistener *over_listener_new(const char *address, struct event_base *base,
				      const struct aiolistener_options *o, aiolistener_cb *cb, void *arg);
struct aioconn *over_connect(const char *address, struct event_base *base, int64_t deadline);

/* A peer by hand knows no TLS: such a test does not apply, and fails with these words; so do those that need a unix socket. */
void no_raw_peer_over_tls(void);

#define aiolink_new over_link_new
#define aiolistener_new over_listener_new
#define aioconn_connect over_connect

#endif
