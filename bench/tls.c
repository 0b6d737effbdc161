/* Over TLS: links, and the same in the clear, each in a thread of its own; and 64 KiB after 64 KiB, whose other half is in tunnel.c. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc.h>
#include <aioipc/tls.h>

#include "bench/bench.h"
#include "bench/certs.h"

#define BATCH 64

static const char *folder; /* of certificates */

static struct aiotls *new_tls(void)
{
	char ca[100], cert[100];
	struct aiotls_options o = {.size = sizeof o, .ca = ca, .cert = cert};

	snprintf(ca, sizeof ca, "%s/ca.pem", folder);
	snprintf(cert, sizeof cert, "%s/both.pem", folder);
	return must_have(aiotls_new(&o), "aiotls_new");
}

static const char *address(void)
{
	static char text[64];

	if (!*text)
		snprintf(text, sizeof text, "tls://127.0.0.1:%d", bench_port());
	return text;
}

/* Links. */

static void put_all(struct bench *b, struct aioqueue *q)
{
	struct aiomsg *m[BATCH];
	char data[SMALL] = "";
	bool last = false;

	while (!last) {
		int n = 0;

		for (; n < BATCH && !last; n++) {
			last = !bench_next(b, data);
			m[n] = must_have(aiomsg_new_bytes(data, SMALL), "aiomsg_new_bytes");
		}
		for (ssize_t put = 0, r; put < n; put += r) {
			r = aioqueue_put_all(q, m + put, (size_t)(n - put), AIOIPC_FOREVER);
			must(r > 0 ? 0 : -1, "aioqueue_put_all");
		}
		for (int i = 0; i < n; i++)
			aiomsg_free(m[i]);
	}
}

static void get_all(struct bench *b, struct aioqueue *q)
{
	struct aiomsg *m[BATCH];
	bool last = false;

	while (!last) {
		ssize_t n = aioqueue_get_all(q, m, BATCH, AIOIPC_FOREVER);

		must(n > 0 ? 0 : -1, "aioqueue_get_all");
		for (ssize_t i = 0; i < n; i++) {
			last = bench_got(b, aiomsg_bytes(m[i], NULL), 1);
			aiomsg_free(m[i]);
		}
	}
	bench_end(b);
}

static void small(struct bench *b, const char *where, struct aiotls *tls)
{
	struct aiolink_options o = {.size = sizeof o, .address = where, .tls = tls};
	struct aiolink *l;
	bool child = bench_fork(b);

	o.role = child ? AIOLINK_LISTEN : AIOLINK_CONNECT;
	o.reconnect_first = o.reconnect_most = child ? 0 : 5;
	l = must_have(aiolink_new(&o), "aiolink_new");
	must(aiolink_start(l, NULL), "aiolink_start");
	if (child)
		get_all(b, aiolink_inbox(l));
	else
		put_all(b, aiolink_outbox(l));
	aiolink_close(l, aioipc_after(1000));
}

static void small_tls(struct bench *b)
{
	struct aiotls *t = new_tls();

	small(b, address(), t);
	aiotls_free(t);
}

static void small_clear(struct bench *b)
{
	char text[64];

	snprintf(text, sizeof text, "tcp%s", address() + 3);
	small(b, text, NULL);
}

/* A sender that blocks, and a reader that is called back. */

struct reader {
	struct bench *bench;
	struct event_base *base;
};

static void on_message(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct reader *r = arg;

	(void)c;
	if (bench_got(r->bench, aiomsg_bytes(m, NULL), BULK))
		bench_end(r->bench);
}

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct reader *r = arg;

	(void)cause;
	aioconn_close(c, AIOIPC_NOW);
	event_base_loopbreak(r->base);
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	aioconn_set_callbacks(c, on_message, NULL, on_close, arg);
	aiolistener_free(l);
}

static void read_bulk(struct bench *b, struct aiotls *tls)
{
	struct reader r = {b, must_have(event_base_new(), "event_base_new")};
	struct aiolistener_options o = {.size = sizeof o, .tls = tls};

	must_have(aiolistener_new(address(), r.base, &o, on_peer, &r), "aiolistener_new");
	event_base_dispatch(r.base);
	event_base_free(r.base);
}

static void write_bulk(struct bench *b, struct aiotls *tls)
{
	static char block[BULK];
	struct aioconn *c;
	bool more = true;

	while (!(c = aioconn_connect_tls(address(), tls, NULL, AIOIPC_FOREVER)) && errno == ECONNREFUSED)
		usleep(1000); /* the reader is about to listen */
	must_have(c, "aioconn_connect_tls");
	while (more) {
		more = bench_next(b, block);
		must(aioconn_send_bytes(c, block, sizeof block), "aioconn_send_bytes");
	}
	must(aioconn_close(c, AIOIPC_FOREVER), "aioconn_close");
}

static void bulk(struct bench *b)
{
	struct aiotls *t = new_tls();

	address();
	if (bench_fork(b))
		read_bulk(b, t);
	else
		write_bulk(b, t);
	aiotls_free(t);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"small-tls", small_tls},
		{"small-clear", small_clear},
		{"bulk", bulk},
		{NULL, NULL},
	};

	folder = certs_make();
	return bench_main(argc, argv, cases);
}
