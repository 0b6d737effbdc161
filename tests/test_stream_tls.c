/* Streams over TLS, with a real server that has certificates, and wants one. */
#include "tests/engine.h"

#include <stdio.h>
#include <unistd.h>

#include <aioipc/stream.h>

#include "tests/certs.h"
#include "tests/links.h"

static struct engine engine;

static struct aiostream *start(struct aiostream_options *o)
{
	struct aiostream *s;

	o->size = sizeof *o;
	o->stream = "s";
	o->reconnect_first = 5;
	o->reconnect_most = 50;
	s = must(aiostream_new(o));
	must(aiostream_start(s, NULL));
	return s;
}

static int free_port(void)
{
	int fd = raw_listen("tcp://127.0.0.1:0", 1), port = raw_port(fd);

	close(fd);
	return port;
}

TEST(it_goes_over_tls)
{
	struct aiostream_options o = {.group = NULL};
	struct aiostream *s;
	struct aiotls *tls;
	char port[16], address[64];

	if (!engine_is_there())
		return;
	make_usual_certs();
	snprintf(port, sizeof port, "%d", free_port());
	snprintf(address, sizeof address, "rediss://localhost:%s", port);
	engine = (struct engine){.args = {"--tls-port", port, "--tls-cert-file", cert_path("server.pem"),
					  "--tls-key-file", cert_path("server.key"), "--tls-ca-cert-file",
					  cert_path("ca.pem")}};
	engine_start(&engine);
	tls = new_tls("client");
	o.address = address;
	o.tls = tls;
	s = start(&o);
	put_numbers(aiostream_queue(s), "n", 0, 1000);
	must(aiostream_close(s, soon()));
	aiotls_free(tls);
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 1000);
	tls = new_tls(NULL); /* the server wants a certificate */
	o.tls = tls;
	s = start(&o);
	while (aiostream_error(s) == 0)
		nap(2);
	ck_assert_int_ne(aiostream_state(s), AIOLINK_CONNECTED);
	aiostream_abort(s);
	aiotls_free(tls);
	o.tls = NULL;
	o.size = sizeof o;
	o.stream = "s";
	must_fail(aiostream_new(&o), EPROTONOSUPPORT);
	remove_certs();
	engine_end(&engine);
}
