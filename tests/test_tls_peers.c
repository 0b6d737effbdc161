/*
 * TLS with peers that know nothing of the library: openssl's s_client and s_server, Python's ssl, stunnel, and those that speak no TLS at all.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sides.h"

/* A program, whose standard input and output are lines. */
struct program {
	struct aioproc *proc;
	struct aioconn *io;
};

static bool has(const char *program)
{
	char line[200];

	snprintf(line, sizeof line, "command -v %s >/dev/null", program);
	if (system(line) == 0)
		return true;
	printf("# SKIP no %s here\n", program);
	return false;
}

/* @format: a line of the shell. What it says as an error is said there, too. */
__attribute__((format(printf, 3, 4))) static void start(struct program *p, struct event_base *base,
							const char *format, ...)
{
	char line[4000] = "exec 2>&1; exec ";
	char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", line, NULL};
	struct aioend *ours, *theirs;
	va_list ap;

	va_start(ap, format);
	vsnprintf(line + strlen(line), sizeof line - strlen(line), format, ap);
	va_end(ap);
	must(aiosockpair(&ours, &theirs));
	must(aioend_set_stdio(theirs, 0, 1));
	must(aioend_detach(theirs));
	p->proc = must(aioproc_exec("/bin/sh", argv, NULL, NULL));
	aioend_free(theirs);
	p->io = open_end(ours, base);
	must(aioconn_set_framing(p->io, AIOCONN_LINES, NULL));
}

/* Until it says a line that has @text; what is behind that, to @rest. */
static void await_line(struct program *p, const char *text, char *rest, size_t size)
{
	struct aiomsg *m;
	const char *at = NULL;

	while (!at) {
		if (must(aioconn_recv(p->io, &m, soon())) == 0)
			ck_abort_msg("the program ended, \"%s\" was due", text);
		at = strstr(aiomsg_bytes(m, NULL), text);
		if (at && rest)
			snprintf(rest, size, "%s", at + strlen(text));
		aiomsg_free(m);
	}
}

static void drain(struct program *p)
{
	struct aiomsg *m;

	while (aioconn_recv(p->io, &m, soon()) == 1)
		aiomsg_free(m);
}

static void finish(struct program *p, int sig)
{
	if (sig)
		must(aioproc_kill(p->proc, sig));
	drain(p);
	aioconn_abort(p->io);
	must(aioproc_join(p->proc, NULL, soon()));
	aioproc_free(p->proc);
}

/* openssl s_client, as @name. */
static void start_client(struct program *p, const struct side *s, const char *name, const char *more)
{
	char cert[300] = "";

	if (name) {
		char file[64];

		snprintf(file, sizeof file, "%s.pem", name);
		snprintf(cert, sizeof cert, "-cert %s", cert_path(file));
		snprintf(file, sizeof file, "%s.key", name);
		snprintf(cert + strlen(cert), sizeof cert - strlen(cert), " -key %s", cert_path(file));
	}
	start(p, s->base, "openssl s_client -connect 127.0.0.1:%d -CAfile %s -verify_return_error %s %s",
	      aiolistener_port(s->listener), cert_path("ca.pem"), cert, more);
}

/* The program at the other side says hello, shows the certificate of "client", and hears us. */
static struct aioconn *meet(struct side *s, struct program *p)
{
	struct aioconn *c;
	char name[64];

	send_text(p->io, "hello");
	c = next_peer(s);
	expect_text(c, "hello");
	must(aioconn_peer_certificate(c, AIOTLS_COMMON_NAME, name, sizeof name));
	ck_assert_str_eq(name, "client");
	send_text(c, "good day");
	await_line(p, "good day", NULL, 0);
	return c;
}

static void s_client(void *base)
{
	struct program p;
	struct side s;
	struct aioconn *c;

	listen_as(&s, base, "server");
	s.framing = AIOCONN_LINES;
	start_client(&p, &s, "client", "-no_ign_eof");
	c = meet(&s, &p);
	/* new keys, and ours are asked for, too; and again the other way */
	send_text(p.io, "K");
	await_line(&p, "KEYUPDATE", NULL, 0);
	send_text(p.io, "with new keys");
	expect_text(c, "with new keys");
	send_text(c, "here too");
	await_line(&p, "here too", NULL, 0);
	must(aioconn_write_eof(p.io)); /* it says its end */
	expect_end(c, 0);
	must(aioconn_close(c, soon()));
	finish(&p, 0);

	/* and one that is killed says nothing */
	start_client(&p, &s, "client", "-no_ign_eof");
	send_text(p.io, "hello");
	c = next_peer(&s);
	expect_text(c, "hello");
	finish(&p, SIGKILL);
	expect_end(c, ECONNRESET);
	aioconn_abort(c);
	stop(&s);
}

TEST_WITHIN(openssl_s_client_is_a_peer, 30)
{
	if (has("openssl"))
		in_tls_task(s_client);
}

static void bad_clients(void *base)
{
	static const struct {
		const char *name, *more, *words;
	} all[] = {
		{NULL, "", "shows no certificate"},
		{"stranger", "", "no authority"},
		{"old", "", "has expired"},
		{"young", "", "not valid yet"},
		{"for_servers", "", "another purpose"},
		{"client", "-tls1_2", "does not speak TLS 1.3"},
	};
	struct program p;
	struct side s;

	make_cert(&(struct cert){.name = "other", .ca = "self", .authority = true});
	make_cert(&(struct cert){.name = "stranger", .ca = "other"});
	make_cert(&(struct cert){.name = "old", .from = -7200, .to = -3600});
	make_cert(&(struct cert){.name = "young", .from = 3600});
	make_cert(&(struct cert){.name = "for_servers", .use = "serverAuth"});
	listen_as(&s, base, "server");
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		start_client(&p, &s, all[i].name, all[i].more);
		await_refusals(&s, i + 1);
		expect_logged(all[i].words);
		finish(&p, 0);
	}
	ck_assert_uint_eq(aioqueue_count(s.come), 0);
	stop(&s);
}

TEST_WITHIN(clients_of_openssl_that_are_no_good_are_refused, 30)
{
	if (has("openssl"))
		in_tls_task(bad_clients);
}

/* openssl s_server, as @name: its port. */
static int start_server(struct program *p, struct event_base *base, const char *name, const char *more)
{
	char port[32], pem[64], key[64];

	snprintf(pem, sizeof pem, "%s.pem", name);
	snprintf(key, sizeof key, "%s.key", name);
	start(p, base,
	      "openssl s_server -accept 127.0.0.1:0 -cert %s -key %s -CAfile %s -Verify 3 "
	      "-verify_return_error %s",
	      cert_path(pem), cert_path(key), cert_path("ca.pem"), more);
	await_line(p, "ACCEPT 127.0.0.1:", port, sizeof port);
	return atoi(port);
}

static void s_server(void *base)
{
	struct aiotls *t = new_tls("client");
	struct program p;
	struct aioconn *c;
	int port = start_server(&p, base, "server", "-rev");

	c = must(aioconn_connect_tls(tls_at(port), t, base, soon()));
	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	send_text(c, "desserts");
	expect_text(c, "stressed");
	must(aioconn_close(c, soon()));
	finish(&p, SIGTERM);
	aiotls_free(t);
}

TEST_WITHIN(openssl_s_server_is_a_peer, 30)
{
	if (has("openssl"))
		in_tls_task(s_server);
}

static void close_well(void *arg)
{
	must(aioconn_close(arg, soon()));
}

/* Its tickets, which nobody reads, cost nothing that was sent before a close. */
static void only_writes(void *base)
{
	enum { LINES = 400 };
	static char line[1000];
	struct aiotls *t = new_tls("client");
	struct program p;
	struct beside *closer;
	struct aioconn *c;
	int port = start_server(&p, base, "server", "-naccept 1");

	memset(line, 'x', sizeof line - 1);
	c = must(aioconn_connect_tls(tls_at(port), t, base, soon()));
	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	for (int i = 0; i < LINES; i++)
		send_text(c, line);
	send_text(c, "the last");
	closer = run_beside(base, close_well, c);
	await_line(&p, "the last", NULL, 0);
	drain(&p);
	join_beside(closer);
	finish(&p, 0);
	aiotls_free(t);
}

TEST_WITHIN(who_only_writes_loses_nothing_to_tickets, 30)
{
	if (has("openssl"))
		in_tls_task(only_writes);
}

static void bad_servers(void *base)
{
	static const struct {
		const char *name, *more;
		int error;
		const char *words;
	} all[] = {
		{"old", "", EACCES, "has expired"},
		{"young", "", EACCES, "not valid yet"},
		{"elsewhere", "", EACCES, "another name"},
		{"server", "-tls1_2", EPROTO, "does not speak TLS 1.3"},
	};
	struct aiotls *t = new_tls("client");
	struct program p;

	remember_log();
	make_cert(&(struct cert){.name = "old", .names = "IP:127.0.0.1", .from = -7200, .to = -3600});
	make_cert(&(struct cert){.name = "young", .names = "IP:127.0.0.1", .from = 3600});
	make_cert(&(struct cert){.name = "elsewhere", .names = "DNS:localhost"});
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		int port = start_server(&p, base, all[i].name, all[i].more);

		must_fail(aioconn_connect_tls(tls_at(port), t, base, soon()), all[i].error);
		expect_logged(all[i].words);
		finish(&p, SIGTERM);
	}
	aiotls_free(t);
}

TEST_WITHIN(servers_of_openssl_that_are_no_good_are_refused, 30)
{
	if (has("openssl"))
		in_tls_task(bad_servers);
}

static const char python_client[] = "import ssl, socket, sys\n"
				    "c = ssl.create_default_context(cafile=sys.argv[2])\n"
				    "c.load_cert_chain(sys.argv[3], sys.argv[4])\n"
				    "s = c.wrap_socket(socket.create_connection((\"127.0.0.1\", "
				    "int(sys.argv[1]))), server_hostname=\"localhost\")\n"
				    "s.sendall(b\"x\" * 1000000 + b\"\\n\")\n"
				    "print(s.version(), s.makefile().readline(), flush=True)\n"
				    "s = s.unwrap()\n" /* says its end, and waits for ours */
				    "print(\"unwrapped\", flush=True)\n";

static const char python_server[] =
	"import ssl, socket, sys\n"
	"c = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=sys.argv[2])\n"
	"c.verify_mode = ssl.CERT_REQUIRED\n"
	"c.load_cert_chain(sys.argv[3], sys.argv[4])\n"
	"l = socket.create_server((\"127.0.0.1\", 0))\n"
	"print(\"port\", l.getsockname()[1], flush=True)\n"
	"s = c.wrap_socket(l.accept()[0], server_side=True)\n"
	"f = s.makefile(\"rw\")\n"
	"print(\"heard\", len(f.readline()), flush=True)\n"
	"f.write(\"from Python\\n\")\n"
	"f.flush()\n"
	"s.unwrap()\n"
	"print(\"unwrapped\", flush=True)\n";

static void start_python_tls(struct program *p, struct event_base *base, const char *text, int port,
			     const char *name)
{
	const char *python = getenv("PYTHON3");
	char pem[64], key[64];

	snprintf(pem, sizeof pem, "%s.pem", name);
	snprintf(key, sizeof key, "%s.key", name);
	start(p, base, "%s -IS -c '%s' %d %s %s %s", python && *python ? python : "python3", text, port,
	      cert_path("ca.pem"), cert_path(pem), cert_path(key));
}

static void python(void *base)
{
	static char line[1000000];
	struct program p;
	struct aiomsg *m;
	struct side s;
	struct aioconn *c;
	char port[32];
	size_t len;

	listen_as(&s, base, "server");
	s.framing = AIOCONN_LINES;
	start_python_tls(&p, base, python_client, aiolistener_port(s.listener), "client");
	c = next_peer(&s);
	must(aioconn_set_limits(
		c, &(struct aioconn_limits){.size = sizeof(struct aioconn_limits), .line = 2000000}));
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	aiomsg_bytes(m, &len);
	ck_assert_uint_eq(len, 1000000);
	aiomsg_free(m);
	send_text(c, "from here");
	await_line(&p, "TLSv1.3 from here", NULL, 0);
	expect_end(c, 0);
	must(aioconn_close(c, soon()));
	await_line(&p, "unwrapped", NULL, 0);
	finish(&p, 0);

	start_python_tls(&p, base, python_server, 0, "server");
	await_line(&p, "port ", port, sizeof port);
	struct aiotls *t = new_tls("client");
	c = must(aioconn_connect_tls(tls_at(atoi(port)), t, base, soon()));
	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	must(aioconn_set_limits(
		c, &(struct aioconn_limits){.size = sizeof(struct aioconn_limits), .line = 2000000}));
	memset(line, 'y', sizeof line);
	must(aioconn_send_bytes(c, line, sizeof line));
	await_line(&p, "heard 1000001", NULL, 0);
	expect_text(c, "from Python");
	expect_end(c, 0);
	must(aioconn_close(c, soon()));
	await_line(&p, "unwrapped", NULL, 0);
	finish(&p, 0);
	aiotls_free(t);
	stop(&s);
}

TEST_WITHIN(python_is_a_peer, 30)
{
	if (has("python3"))
		in_tls_task(python);
}

/* A stunnel for who is @name; @more are its other settings, each with its end of line. */
static void start_stunnel(struct program *p, struct event_base *base, const char *name, const char *more)
{
	char pem[64], key[64];
	FILE *f = must(fopen(cert_path("stunnel.conf"), "w"));

	snprintf(pem, sizeof pem, "%s.pem", name);
	snprintf(key, sizeof key, "%s.key", name);
	fprintf(f, "foreground = yes\npid =\nsyslog = no\ndebug = 6\n%s", more);
	fprintf(f, "cert = %s\nkey = %s\nCAfile = %s\nverifyChain = yes\n", cert_path(pem), cert_path(key),
		cert_path("ca.pem"));
	must(fclose(f));
	start(p, base, "stunnel %s", cert_path("stunnel.conf"));
}

/* Before a program that speaks on its standard input and output; and before one that it starts, which says again what it hears. */
static void stunnel(void *base)
{
	struct aiotls *t = new_tls("client");
	char text[200], port[32];
	struct program p;
	struct side s;
	struct aioconn *c;

	listen_as(&s, base, "server");
	s.framing = AIOCONN_LINES;
	snprintf(text, sizeof text, "client = yes\nconnect = 127.0.0.1:%d\ncheckHost = localhost\n",
		 aiolistener_port(s.listener));
	start_stunnel(&p, base, "client", text);
	c = meet(&s, &p);
	must(aioconn_write_eof(p.io));
	expect_end(c, 0);
	must(aioconn_close(c, soon()));
	finish(&p, 0);

	start_stunnel(&p, base, "server", "[it]\naccept = 127.0.0.1:0\nexec = /bin/cat\n");
	await_line(&p, "bound to 127.0.0.1:", port, sizeof port);
	c = must(aioconn_connect_tls(tls_at(atoi(port)), t, base, soon()));
	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	send_text(c, "again");
	expect_text(c, "again");
	must(aioconn_write_eof(c));
	expect_end(c, 0);
	must(aioconn_close(c, soon()));
	finish(&p, SIGTERM);
	aiotls_free(t);
	stop(&s);
}

TEST_WITHIN(stunnel_is_a_peer, 30)
{
	if (has("stunnel"))
		in_tls_task(stunnel);
}

/* Peers that speak no TLS. */

struct attempt {
	struct event_base *base;
	struct aiotls *tls;
	const char *address;
	int error;
};

static void connect_in_vain(void *arg)
{
	struct attempt *k = arg;
	struct aioconn *c = aioconn_connect_tls(k->address, k->tls, k->base, soon());

	k->error = c ? 0 : errno;
	aioconn_abort(c);
}

static void plain(void *base)
{
	struct aiotls *t = new_tls("client");
	struct side s;
	struct attempt k = {.base = base, .tls = t};
	struct beside *connecting;
	struct aioconn *c;
	struct aiomsg *m;
	int l, fd;

	listen_as(&s, base, "server");
	fd = raw_connect_to(&s);
	put(fd, "GET / HTTP/1.1\r\n\r\n", 18);
	await_refusals(&s, 1);
	expect_logged("does not speak TLS");
	must(close(fd));

	/* one of ours, in the clear */
	c = must(aioconn_connect(tcp_at(aiolistener_port(s.listener)), base, soon()));
	send_text(c, "in the clear");
	await_refusals(&s, 2);
	ck_assert_int_eq(aioconn_recv(c, &m, soon()), -1);
	aioconn_abort(c);
	stop(&s);

	l = raw_listen("tcp://127.0.0.1:0", 5);
	k.address = tls_at(raw_port(l));
	connecting = run_beside(base, connect_in_vain, &k);
	while (!is_readable(l))
		nap(1);
	fd = raw_accept(l);
	put(fd, "220 ready\r\n", 11);
	join_beside(connecting);
	ck_assert_int_eq(k.error, EPROTO);
	expect_logged("does not speak TLS");
	must(close(fd));
	must(close(l));
	aiotls_free(t);
}

TEST(peers_that_speak_no_tls_are_refused)
{
	in_tls_task(plain);
}
