/* TLS: who is taken and who is not, what a connection over it promises, and how it ends. Its peers here are ours; others are in test_tls_peers.c. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/sides.h"
#include "tls/tls.h"

struct closing {
	struct aioconn *c;
	int r;
};

static void close_it(void *arg)
{
	struct closing *k = arg;

	k->r = aioconn_close(k->c, soon());
}

/* The first closes, which waits for the second. */
static void close_both(struct side *s, struct aioconn *a, struct aioconn *b)
{
	struct closing k = {.c = a};
	struct beside *closer = run_beside(s->base, close_it, &k);

	expect_end(b, 0);
	must(aioconn_close(b, soon()));
	join_beside(closer);
	ck_assert_int_eq(k.r, 0);
}

/* Messages, of all sizes, and what both certificates say. */
static void talk(void *base)
{
	char text[100];
	struct side s;
	struct aioconn *a, *b;

	listen_as(&s, base, "server");
	ck_assert_int_eq(strncmp(s.address, "tls://127.0.0.1:", 16), 0);
	open_both(&s, &a, &b);
	send_text(a, "to the server");
	send_text(b, "to the client");
	expect_text(b, "to the server");
	expect_text(a, "to the client");
	must(aioconn_peer_certificate(b, AIOTLS_COMMON_NAME, text, sizeof text));
	ck_assert_str_eq(text, "client");
	must(aioconn_peer_certificate(b, AIOTLS_NAMES, text, sizeof text));
	ck_assert_str_eq(text, "client.example.org,urn:aio:worker");
	must(aioconn_peer_certificate(a, AIOTLS_NAMES, text, sizeof text));
	ck_assert_str_eq(text, "localhost,127.0.0.1");
	must(aioconn_peer_certificate(a, AIOTLS_SHA256, text, sizeof text));
	ck_assert_uint_eq(strlen(text), 64);
	must(aioconn_peer_certificate(a, AIOTLS_SHA256, text, 9));
	ck_assert_uint_eq(strlen(text), 8);
	close_both(&s, a, b);
	stop(&s);
}

TEST(messages_go_both_ways_and_certificates_are_told)
{
	in_tls_task(talk);
}

struct big {
	struct aioconn *c;
	size_t len;
};

static void send_big(void *arg)
{
	const struct big *b = arg;

	send_fill(b->c, b->len, 7);
}

static void all_sizes(void *base)
{
	static const size_t sizes[] = {0,     1,     64,    4095,  4096,    16375,
				       16376, 16384, 16385, 65536, 1 << 20, 16 << 20};
	struct side s;
	struct aioconn *a, *b;

	listen_as(&s, base, "server");
	open_both(&s, &a, &b);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct big big = {i % 2 ? a : b, sizes[i]};
		struct beside *sender = run_beside(base, send_big, &big);

		expect_fill(i % 2 ? b : a, sizes[i], 7);
		join_beside(sender);
	}
	aioconn_abort(a);
	expect_end(b, ECONNRESET);
	aioconn_abort(b);
	stop(&s);
}

TEST_WITHIN(messages_of_all_sizes_arrive_whole, 30)
{
	in_tls_task(all_sizes);
}

/* A peer that dies, or cuts the stream, is lost under every framing: nobody can forge an end. */
static void cut(void *base)
{
	struct side s;
	struct aioconn *a, *b;

	listen_as(&s, base, "server");
	for (int framing = AIOCONN_MESSAGES; framing <= AIOCONN_BYTES; framing++) {
		open_both(&s, &a, &b);
		must(aioconn_set_framing(a, framing, NULL));
		must(aioconn_set_framing(b, framing, NULL));
		must(aioconn_send_bytes(a, "x", 1));
		must(aioconn_flush(a, soon()));
		expect_text(b, "x");
		must(shutdown(aioconn_fd(a), SHUT_WR)); /* as a man in the middle would */
		expect_end(b, ECONNRESET);
		expect_words(aioconn_why(b), "without saying its end");
		aioconn_abort(a);
		aioconn_abort(b);
	}
	stop(&s);
}

TEST(an_end_that_nobody_said_is_a_loss_under_every_framing)
{
	in_tls_task(cut);
}

static void half_close(void *base)
{
	struct side s;
	struct aioconn *a, *b;
	char buf[10];

	listen_as(&s, base, "server");
	open_both(&s, &a, &b);
	must(aioconn_set_framing(a, AIOCONN_BYTES, NULL));
	must(aioconn_set_framing(b, AIOCONN_BYTES, NULL));
	must(aioconn_send_bytes(a, "ask", 3));
	must(aioconn_write_eof(a));
	ck_assert_int_eq(must(aioconn_read_exactly(b, buf, 3, soon())), 3);
	ck_assert_int_eq(must(aioconn_read(b, buf, 1, soon())), 0);
	must(aioconn_send_bytes(b, "answer", 6));
	must(aioconn_close(b, soon()));
	ck_assert_int_eq(must(aioconn_read_exactly(a, buf, 6, soon())), 6);
	ck_assert_int_eq(must(aioconn_read(a, buf, 1, soon())), 0);
	must(aioconn_close(a, soon()));
	stop(&s);
}

TEST(one_way_can_end_before_the_other)
{
	in_tls_task(half_close);
}

/* Who is refused, by whom, and what each side is told. */
struct refusal {
	struct cert cert;
	bool is_server;
	const char *words;
};

static void refuse_one(struct event_base *base, const struct refusal *r)
{
	struct side s;
	struct aioconn *c;
	struct aiomsg *m;

	make_cert(&r->cert);
	listen_as(&s, base, r->is_server ? r->cert.name : "server");
	c = connect_as(&s, r->is_server ? "client" : r->cert.name);
	if (r->is_server) {
		ck_assert_int_eq(errno, EACCES);
		ck_assert(!c);
		expect_logged(r->words);
		await_refusals(&s, 1);
	} else {
		must(c);
		await_refusals(&s, 1);
		expect_logged(r->words);
		must_fail(aioconn_recv(c, &m, soon()), EACCES);
		expect_words(aioconn_why(c), "our certificate");
		aioconn_abort(c);
	}
	ck_assert_uint_eq(aioqueue_count(s.come), 0);
	stop(&s);
}

static void refusals(void *base)
{
	static const struct refusal all[] = {
		{{.name = "elsewhere", .names = "DNS:elsewhere.example.org"}, true, "another name"},
		{{.name = "localhost"}, true, "another name"}, /* the common name does not count */
		{{.name = "127.0.0.1", .names = "DNS:127.0.0.1"},
		 true,
		 "another name"}, /* no name is a number */
		{{.name = "stranger", .ca = "other", .names = "IP:127.0.0.1"}, true, "no authority"},
		{{.name = "self", .ca = "self", .names = "IP:127.0.0.1"}, true, "itself"},
		{{.name = "for_clients", .names = "IP:127.0.0.1", .use = "clientAuth"},
		 true,
		 "another purpose"},
		{{.name = "by_leaf", .ca = "client", .names = "IP:127.0.0.1"}, true, ""},
		{{.name = "stranger", .ca = "other"}, false, "no authority"},
		{{.name = "self", .ca = "self"}, false, "itself"},
		{{.name = "for_servers", .use = "serverAuth"}, false, "another purpose"},
		{{.name = "by_leaf", .ca = "client"}, false, ""},
	};

	make_cert(&(struct cert){.name = "other", .ca = "self", .authority = true});
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		refuse_one(base, &all[i]);
}

TEST_WITHIN(certificates_that_are_no_good_are_refused, 30)
{
	in_tls_task(refusals);
}

static void no_certificate(void *base)
{
	struct aiotls_options o = tls_options("server");
	struct side s;
	struct aioconn *c;
	struct aiomsg *m;
	char text[10];

	listen_with(&s, base, &o);
	c = must(connect_as(&s, NULL));
	must_fail(aioconn_recv(c, &m, soon()), EACCES);
	expect_words(aioconn_why(c), "asks for a certificate");
	await_refusals(&s, 1);
	expect_logged("shows no certificate");
	aioconn_abort(c);
	stop(&s);

	o.anonymous = true;
	listen_with(&s, base, &o);
	c = must(connect_as(&s, NULL));
	send_text(c, "from nobody");
	struct aioconn *b = next_peer(&s);
	expect_text(b, "from nobody");
	must_fail(aioconn_peer_certificate(b, AIOTLS_NAMES, text, sizeof text), ENOENT);
	aioconn_abort(c);
	aioconn_abort(b);
	stop(&s);
}

TEST(who_shows_no_certificate_is_refused_unless_that_is_allowed)
{
	in_tls_task(no_certificate);
}

/* The names that are looked for, in place of the host, and by who listens. */
static void names(void *base)
{
	static const char *const good[] = {"nobody.example.org", "*.example.org"},
				 *const uri[] = {"urn:aio:worker"},
				 *const bad[] = {"example.org", "urn:aio:work", "*.org", "x@example.org"};
	struct aiotls_options o = tls_options("server");
	struct side s;
	struct aioconn *a;

	for (int i = 0; i < 3; i++) {
		o.names = i == 0 ? good : i == 1 ? uri : bad;
		o.n_names = i == 0 ? 2 : i == 1 ? 1 : 4;
		listen_with(&s, base, &o);
		a = must(connect_as(&s, "client"));
		if (i < 2) {
			aioconn_abort(next_peer(&s));
		} else {
			await_refusals(&s, 1);
			expect_logged("another name");
		}
		aioconn_abort(a);
		stop(&s);
	}
}

TEST(names_are_looked_for)
{
	in_tls_task(names);
}

static void by_name(void *base)
{
	struct aiotls *t = new_tls("client");
	struct side s;
	struct aioconn *c;
	char address[100];

	listen_as(&s, base, "server");
	snprintf(address, sizeof address, "tls://localhost:%d", aiolistener_port(s.listener));
	c = must(aioconn_connect_tls(address, t, base, soon()));
	aioconn_abort(next_peer(&s));
	aioconn_abort(c);
	aiotls_free(t);
	stop(&s);
}

TEST(the_host_of_the_address_is_looked_for)
{
	if (is_known_here("localhost"))
		in_tls_task(by_name);
}

/* What is wrong with options and files. */

static void refuse_files(struct aiotls_options o, const char *cert, const char *key, int error,
			 const char *words)
{
	o.cert = cert ? cert_path(cert) : NULL;
	o.key = key ? cert_path(key) : NULL;
	must_fail(aiotls_new(&o), error);
	expect_logged(words);
}

static void write_file(const char *name, const char *text)
{
	FILE *f = must(fopen(cert_path(name), "we"));

	fputs(text, f);
	fclose(f);
}

TEST(files_that_are_no_good_are_refused_with_words)
{
	struct aiotls_options o;

	make_usual_certs();
	make_cert(&(struct cert){.name = "rsa", .rsa = true});
	make_cert(&(struct cert){.name = "old", .from = -7200, .to = -3600});
	make_cert(&(struct cert){.name = "young", .from = 3600});
	write_file("empty", "");
	write_file("text", "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n");
	remember_log();
	o = tls_options(NULL);
	refuse_files(o, "server.pem", "client.key", EINVAL, "another certificate");
	refuse_files(o, "rsa.pem", "client.key", EINVAL, "another certificate");
	must(chmod(cert_path("server.pem"), 0600));
	refuse_files(o, "server.pem", NULL, EINVAL, "no key");
	refuse_files(o, "server.key", "server.key", EINVAL, "no certificate");
	refuse_files(o, "old.pem", "old.key", EINVAL, "expired");
	refuse_files(o, "young.pem", "young.key", EINVAL, "not valid yet");
	refuse_files(o, "text", "server.key", EINVAL, "no certificate");
	refuse_files(o, "missing", "server.key", ENOENT, "missing");
	refuse_files(o, NULL, "server.key", EINVAL, "without a certificate");
	must(chmod(cert_path("server.key"), 0644));
	refuse_files(o, "server.pem", "server.key", EPERM, "everybody may read");
	o.ca = cert_path("empty");
	refuse_files(o, NULL, NULL, EINVAL, "no certificate of an authority");
	o.ca = NULL;
	refuse_files(o, NULL, NULL, EINVAL, "ca is missing");
	o = tls_options("client");
	o.size++;
	must_fail(aiotls_new(&o), EINVAL);
	remove_certs();
}

static void never(struct aiolistener *l, struct aioconn *c, void *arg)
{
	(void)l;
	(void)arg;
	aioconn_abort(c);
}

/* Where a struct aiotls is wanted, and where not. */
TEST(an_address_and_its_tls_go_together)
{
	struct event_base *base = new_base();
	struct aiolistener_options lo = {.size = sizeof lo};
	struct aiolink_options o;
	struct aiotls *t;

	make_usual_certs();
	remember_log();
	must_fail(aioconn_connect("tls://127.0.0.1:1", NULL, soon()), EPROTONOSUPPORT);
	expect_logged("-laioipc-tls");
	must_fail(aiolistener_new("tls://127.0.0.1:0", base, NULL, never, NULL), EPROTONOSUPPORT);
	expect_logged("-laioipc-tls");
	o = options_of(AIOLINK_CONNECT, "tls://127.0.0.1:1", AIOCONN_MESSAGES);
	must_fail(aiolink_new(&o), EPROTONOSUPPORT);
	expect_logged("-laioipc-tls");
	t = new_tls("client");
	must_fail(aioconn_connect_tls("tcp://127.0.0.1:1", t, NULL, soon()), EINVAL);
	lo.tls = t;
	must_fail(aiolistener_new("tcp://127.0.0.1:0", base, &lo, never, NULL), EINVAL);
	o = options_of(AIOLINK_CONNECT, "tcp://127.0.0.1:1", AIOCONN_MESSAGES);
	o.tls = t;
	must_fail(aiolink_new(&o), EINVAL);
	aiotls_free(t);
	lo.tls = new_tls(NULL);
	must_fail(aiolistener_new("tls://127.0.0.1:0", base, &lo, never, NULL), EINVAL);
	expect_logged("needs a certificate");
	aiotls_free(lo.tls);
	event_base_free(base);
	remove_certs();
}

static void no_fds(void *base)
{
	struct side s;
	struct aioconn *a, *b;

	listen_as(&s, base, "server");
	open_both(&s, &a, &b);
	must_fail(aioconn_allow_fds(b, 1), EOPNOTSUPP);
	must_fail(aioconn_send_fd(a, 0, "s", "x"), EOPNOTSUPP);
	send_text(a, "still there");
	expect_text(b, "still there");
	aioconn_abort(a);
	aioconn_abort(b);
	stop(&s);
}

TEST(descriptors_do_not_travel)
{
	in_tls_task(no_fds);
}

/* Certificates are renewed under load: who is connected goes on, who comes later sees the new ones. */

struct load {
	struct side *s;
	struct aioconn *a, *b;
	bool over;
	unsigned sent;
};

static void keep_talking(void *arg)
{
	struct load *l = arg;

	while (!l->over) {
		send_fill(l->a, 5000, l->sent);
		expect_fill(l->b, 5000, l->sent++);
		nap(0);
	}
}

static void serial_of(struct side *s, char digest[65])
{
	struct aioconn *c = must(connect_as(s, "client"));

	must(aioconn_peer_certificate(c, AIOTLS_SHA256, digest, 65));
	aioconn_abort(next_peer(s));
	aioconn_abort(c);
}

static void reload(void *base)
{
	char before[65], after[65];
	struct side s;
	struct load l = {.s = &s};
	struct beside *talker;

	listen_as(&s, base, "server");
	open_both(&s, &l.a, &l.b);
	talker = run_beside(base, keep_talking, &l);
	serial_of(&s, before);
	for (int i = 0; i < 20; i++) {
		make_cert(&(struct cert){.name = "server", .names = "IP:127.0.0.1"});
		must(aiotls_reload(s.tls));
		serial_of(&s, after);
		ck_assert_str_ne(before, after);
		memcpy(before, after, sizeof before);
	}
	must(rename(cert_path("client.key"), cert_path("server.key")));
	must_fail(aiotls_reload(s.tls), EINVAL);
	make_cert(&(struct cert){.name = "client"});
	serial_of(&s, after);
	ck_assert_str_eq(before, after);
	l.over = true;
	join_beside(talker);
	ck_assert_uint_gt(l.sent, 1);
	close_both(&s, l.a, l.b);
	stop(&s);
}

TEST_WITHIN(certificates_are_reloaded_under_load, 30)
{
	in_tls_task(reload);
}

/* Peers that are silent in the handshake. */

static struct aiolistener_stats stats_of(const struct side *s)
{
	struct aiolistener_stats st = {.size = sizeof st};

	must(aiolistener_stats(s->listener, &st));
	return st;
}

static void silent_ones(void *base)
{
	enum { MANY = 300 };
	struct aiotls_options o = tls_options("server");
	struct side s;
	struct aioconn *a, *b;
	int fd[MANY];

	o.handshake = 60000;
	listen_with(&s, base, &o);
	for (int i = 0; i < MANY; i++)
		fd[i] = raw_connect_to(&s);
	while (stats_of(&s).shaking < 256)
		nap(5);
	ck_assert_uint_gt(stats_of(&s).held, 256 * 4096); /* their memory counts */
	open_both(&s, &a, &b);                            /* the eldest of them make room, after a second */
	send_text(a, "let in");
	expect_text(b, "let in");
	ck_assert_uint_ge(refusals_of(&s), 45);
	aioconn_abort(a);
	aioconn_abort(b);
	for (int i = 0; i < MANY; i++)
		must(close(fd[i]));
	while (stats_of(&s).held)
		nap(5);
	ck_assert_uint_eq(stats_of(&s).shaking, 0);
	stop(&s);
}

TEST_WITHIN(many_that_are_silent_in_the_handshake_keep_nobody_out, 30)
{
	if (harness_has_fds(700))
		in_tls_task(silent_ones);
}

/* Who is over the limit, or comes while the listener is paused, has shaken hands and waits. */
static void they_wait(void *base)
{
	struct aiolistener_options lo = {.size = sizeof lo, .peers = 1};
	struct aiotls_options o = tls_options("server");
	struct side s;
	struct aioconn *a, *b, *first;
	struct aiomsg *m;

	listen_limited(&s, base, &o, &lo);
	open_both(&s, &a, &first);
	b = must(connect_as(&s, "client"));
	send_text(b, "from the second");
	must_fail(aioqueue_get(s.come, &m, aioipc_after(50)), ETIMEDOUT);
	aioconn_abort(first);
	first = next_peer(&s);
	expect_text(first, "from the second");
	aiolistener_pause(s.listener);
	aioconn_abort(a);
	aioconn_abort(first);
	a = must(connect_as(&s, "client"));
	send_text(a, "from the third");
	must_fail(aioqueue_get(s.come, &m, aioipc_after(50)), ETIMEDOUT);
	aiolistener_resume(s.listener);
	first = next_peer(&s);
	expect_text(first, "from the third");
	aioconn_abort(first);
	aioconn_abort(a);
	aioconn_abort(b);
	stop(&s);
}

TEST(peers_over_the_limit_or_of_a_paused_listener_wait)
{
	in_tls_task(they_wait);
}

/* New keys after some records: nobody notices. */
static void many_records(void *base)
{
	const uint64_t was = ipc_tls_records_most;
	struct side s;
	struct aioconn *a, *b;

	ipc_tls_records_most = 3;
	listen_as(&s, base, "server");
	open_both(&s, &a, &b);
	for (unsigned n = 0; n < 50; n++) {
		send_fill(n % 2 ? a : b, 1000 * n, n);
		expect_fill(n % 2 ? b : a, 1000 * n, n);
	}
	close_both(&s, a, b);
	stop(&s);
	ipc_tls_records_most = was;
}

TEST(keys_are_made_anew)
{
	in_tls_task(many_records);
}

static void handshake_has_a_deadline(void *base)
{
	struct aiotls_options o = tls_options("server");
	struct side s;
	int fd, l;
	char c;

	o.handshake = 100;
	listen_with(&s, base, &o);
	fd = raw_connect_to(&s);
	await_refusals(&s, 1);
	expect_logged("silent in the handshake");
	ck_assert_int_le(recv(fd, &c, 1, 0), 0);
	must(close(fd));
	stop(&s);

	/* and who connects does not wait for ever either */
	o = tls_options("client");
	o.handshake = 100;
	s.tls = must(aiotls_new(&o));
	l = raw_listen("tcp://127.0.0.1:0", 5);
	must_fail(aioconn_connect_tls(tls_at(raw_port(l)), s.tls, base, AIOIPC_FOREVER), ETIMEDOUT);
	expect_logged("silent in the handshake");
	must(close(l));
	aiotls_free(s.tls);
}

TEST(a_handshake_has_a_deadline)
{
	in_tls_task(handshake_has_a_deadline);
}

/* Closing in the middle of a handshake does not wait for it. */
static void in_the_middle(void *base)
{
	struct aiolink_options o;
	struct aiolink *l;
	struct side s;
	int fd, listening, peer;

	listen_as(&s, base, "server");
	fd = raw_connect_to(&s);
	while (stats_of(&s).shaking < 1)
		nap(1);
	stop(&s);
	must(close(fd));

	listening = raw_listen("tcp://127.0.0.1:0", 5);
	o = options_of(AIOLINK_CONNECT, tls_at(raw_port(listening)), AIOCONN_MESSAGES);
	o.tls = new_tls("client");
	l = must(aiolink_new(&o));
	aiotls_free(o.tls);
	must(aiolink_start(l, base));
	while (!is_readable(listening))
		nap(1);
	peer = raw_accept(listening);
	while (!is_readable(peer))
		nap(1);
	aioqueue_close(aiolink_outbox(l));
	must(aiolink_close(l, aioipc_after(5000)));
	must(close(peer));
	must(close(listening));
}

TEST(closing_in_the_middle_of_a_handshake_is_prompt)
{
	in_tls_task(in_the_middle);
}

/* A goodbye is never lost: whoever closes first, and however much waits, all arrives, and both ends are clean. */

static void goodbyes(void *base)
{
	struct side s;

	listen_as(&s, base, "server");
	for (int i = 0; i < 60; i++) {
		struct closing k = {.r = -1};
		struct aioconn *a, *b;
		struct beside *closer;
		unsigned n = i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : 20;

		open_both(&s, &a, &b);
		k.c = i % 2 ? a : b;
		for (unsigned m = 0; m < n; m++)
			send_fill(k.c, 30000, m);
		if (i % 4 == 0) /* both at once */
			must(aioconn_write_eof(i % 2 ? b : a));
		closer = run_beside(base, close_it, &k);
		for (unsigned m = 0; m < n; m++)
			expect_fill(i % 2 ? b : a, 30000, m);
		expect_end(i % 2 ? b : a, 0);
		must(aioconn_close(i % 2 ? b : a, soon()));
		join_beside(closer);
		ck_assert_int_eq(k.r, 0);
	}
	stop(&s);
}

TEST_WITHIN(a_goodbye_is_never_lost, 30)
{
	in_tls_task(goodbyes);
}

/* Part of a record keeps memory for many. The listener's total counts that. */
static void half_a_record(void *base)
{
	static const unsigned char part[100] = {23, 3, 3, 64, 17}; /* of 16401 bytes */
	struct side s;
	struct aioconn *a, *b;

	listen_as(&s, base, "server");
	open_both(&s, &a, &b);
	send_text(a, "whole");
	expect_text(b, "whole");
	ck_assert_uint_lt(stats_of(&s).held, 4096);
	ck_assert_int_eq(must(write(aioconn_fd(a), part, sizeof part)), sizeof part);
	while (stats_of(&s).held < IPC_ENGINE_AHEAD)
		nap(1);
	aioconn_abort(a);
	expect_end(b, ECONNRESET);
	aioconn_abort(b);
	ck_assert_uint_eq(stats_of(&s).held, 0);
	stop(&s);
}

TEST(part_of_a_record_counts_with_its_memory)
{
	in_tls_task(half_a_record);
}

/* In a forked child the parent's connection can't be used, and is not disturbed. */
static void forked(void *base)
{
	struct side s;
	struct aioconn *a, *b;
	struct aiomsg *m;
	char text[10];
	pid_t pid;

	listen_as(&s, base, "server");
	open_both(&s, &a, &b);
	send_text(a, "before");
	expect_text(b, "before");
	pid = must(fork());
	if (pid == 0) {
		must_fail(aioconn_send(a, "s", "x"), ECHILD);
		must_fail(aioconn_recv(b, &m, AIOIPC_NOW), ECHILD);
		must_fail(aioconn_peer_certificate(b, AIOTLS_NAMES, text, sizeof text), ECHILD);
		aioconn_abort(a);
		aioconn_abort(b);
		aiolistener_free(s.listener);
		aiotls_free(s.tls);
		_exit(0);
	}
	expect_exit(pid, 0);
	send_text(a, "after");
	expect_text(b, "after");
	close_both(&s, a, b);
	stop(&s);
}

TEST(a_child_does_not_disturb_its_parent)
{
	in_tls_task(forked);
}
