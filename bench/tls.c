/* Links over TLS, and the same in the clear, each in a thread of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <aioipc.h>
#include <aioipc/tls.h>

#include "bench/bench.h"

#define BATCH 64

/* An authority, and one certificate for both sides: in a folder that is removed. */
static char folder[] = "/tmp/aioipc-bench.XXXXXX";

static void make_certificates(void)
{
	char line[1200];

	must_have(mkdtemp(folder), "mkdtemp");
	snprintf(line, sizeof line,
		 "cd %s && umask 077 && k='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes' && exec "
		 "2>/dev/null && "
		 "openssl req -x509 $k -keyout ca.key -out ca.pem -days 2 -subj /CN=ca "
		 "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign && "
		 "openssl req $k -keyout key -out csr -subj /CN=both && echo subjectAltName=IP:127.0.0.1 "
		 ">san && "
		 "openssl x509 -req -in csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san "
		 "-out crt && "
		 "cat crt key >both.pem",
		 folder);
	must(system(line) == 0 ? 0 : -1, "openssl");
}

static void remove_certificates(void)
{
	char line[100];

	snprintf(line, sizeof line, "rm -rf %s", folder);
	must(system(line) == 0 ? 0 : -1, "rm");
}

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

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"small-tls", small_tls},
		{"small-clear", small_clear},
		{NULL, NULL},
	};
	int r;

	make_certificates();
	r = bench_main(argc, argv, cases);
	remove_certificates();
	return r;
}
