/*
 * tap: stands between two programs. For each that connects to the first address it connects to the second, passes on what both
 * say, byte by byte, and prints it: messages as dump does, lines and bytes as listen does.
 */
#include "tool/tool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#define CHUNK ((size_t)16 << 10)
#define SIGNALS 3
#define PATIENCE 10000 /* ms to connect in */

struct tap {
	const struct tool_options *o;
	struct event_base *base;
	struct aiotask *task;
	unsigned pairs, open;
	bool stopped, interrupted;
	int status;
};

/* One of the two directions. */
struct way {
	const struct tap *tap;
	struct aioconn *from, *to;
	char name[32]; /* who speaks */
	struct aiotask *task;
	int error; /* it did not end with a clean end */
};

struct pair {
	struct tap *tap;
	struct aioconn *client;
	unsigned number;
};

static int pass_on(struct way *w, void *data, size_t most)
{
	ssize_t n = aioconn_read(w->from, data, most, AIOIPC_FOREVER);

	if (n > 0 && aioconn_send_bytes(w->to, data, (size_t)n) == -1)
		n = -1;
	if (n == -1)
		w->error = errno;
	return (int)n;
}

/* For dump: all of it, or what there is until the end. */
static size_t read_way(void *arg, void *data, size_t n)
{
	struct way *w = arg;
	size_t got = 0;
	int r;

	while (got < n && (r = pass_on(w, (char *)data + got, n - got < CHUNK ? n - got : CHUNK)) > 0)
		got += (size_t)r;
	errno = 0;
	return got;
}

static void print(const struct way *w, const void *data, size_t n)
{
	struct aiomsg *m = aiomsg_new_bytes(data, n);

	if (m)
		show_message(stdout, m, w->name, w->tap->o);
	aiomsg_free(m);
	if (w->tap->o->framing == AIOCONN_BYTES && !w->tap->o->json)
		fputc('\n', stdout);
	fflush(stdout);
}

static void copy_bytes(struct way *w, bool prints)
{
	char data[CHUNK];
	int n;

	while ((n = pass_on(w, data, sizeof data)) > 0)
		if (prints)
			print(w, data, (size_t)n);
}

static void copy_lines(struct way *w)
{
	const char *line;
	ssize_t n;

	while ((n = aioconn_read_line(w->from, &line, AIOIPC_FOREVER)) > 0) {
		print(w, line, (size_t)n - (line[n - 1] == '\n'));
		if (aioconn_send_bytes(w->to, line, (size_t)n) == -1)
			break;
	}
	if (n != 0)
		w->error = errno;
}

/* What a bad stream has behind its fault is passed on too. */
static void run_way(void *arg)
{
	struct way *w = arg;

	if (w->tap->o->framing == AIOCONN_LINES)
		copy_lines(w);
	else if (w->tap->o->framing == AIOCONN_MESSAGES)
		dump_way(w->tap->o, w->name, read_way, w, w->tap->base);
	if (!w->error)
		copy_bytes(w, w->tap->o->framing == AIOCONN_BYTES);
	if (!w->error)
		aioconn_write_eof(w->to);
}

static void join(struct aiotask *task)
{
	while (aiotask_join(task, AIOIPC_FOREVER) == -1 && errno == ECANCELED)
		;
}

static int prepare(struct aioconn *c)
{
	const struct aioconn_limits limits = {.size = sizeof limits, .line = TOOL_LINE_MOST};

	return aioconn_set_framing(c, AIOCONN_BYTES, NULL) == -1 ? -1 : aioconn_set_limits(c, &limits);
}

/* Who loses one of the two loses the other. */
static void converse(const struct pair *p, struct aioconn *server)
{
	struct way up = {.tap = p->tap, .from = p->client, .to = server};
	struct way down = {.tap = p->tap, .from = server, .to = p->client};

	snprintf(up.name, sizeof up.name, "client %u", p->number);
	snprintf(down.name, sizeof down.name, "server %u", p->number);
	down.task = aiotask_spawn(p->tap->base, run_way, &down);
	if (down.task)
		run_way(&up);
	if (down.task && up.error)
		aiotask_cancel(down.task);
	if (down.task)
		join(down.task);
	if (up.error || down.error || !down.task)
		say_error("%s: lost: %s", up.error ? up.name : down.name,
			  strerror(up.error     ? up.error
				   : down.error ? down.error
						: ENOMEM));
	else if (aioconn_close(server, aioipc_after(PATIENCE)) == 0)
		server = NULL;
	aioconn_abort(server);
}

static void run_pair(void *arg)
{
	struct pair *p = arg;
	struct tap *t = p->tap;
	struct aioconn *server = tls_connect(t->o, t->o->other, t->base, aioipc_after(PATIENCE));

	if (!server)
		say_why(t->o, t->o->other, errno);
	else if (prepare(server) == -1)
		aioconn_abort(server);
	else
		converse(p, server);
	aioconn_abort(p->client);
	say_note(t->o, "client %u: gone", p->number);
	t->open--;
	aiotask_wake(t->task);
	free(p);
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct tap *t = arg;
	struct pair *p = malloc(sizeof *p);
	struct aiotask *task = NULL;

	(void)l;
	if (p && prepare(c) == 0) {
		*p = (struct pair){t, c, ++t->pairs};
		say_note(t->o, "client %u: connected", p->number);
		t->open++;
		task = aiotask_spawn(t->base, run_pair, p);
		t->open -= task == NULL;
	}
	if (!task) {
		say_error("%s", strerror(errno));
		aioconn_abort(c);
		free(p);
	}
	aiotask_free(task);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct tap *t = arg;

	(void)what;
	t->stopped = true;
	t->interrupted = sig == SIGINT;
	aiotask_cancel(t->task);
}

static void run(void *arg)
{
	struct tap *t = arg;
	const struct aiolistener_options lo = {.size = sizeof lo, .tls = tls_for(t->o, t->o->address)};
	struct aiolistener *l = aiolistener_new(t->o->address, t->base, &lo, on_peer, t);

	t->task = aiotask_self();
	if (!l) {
		t->status = errno == EINVAL ? TOOL_USAGE : TOOL_FAILED;
		say_why(t->o, t->o->address, errno);
		return;
	}
	say_note(t->o, "listening on %s", aiolistener_address(l));
	while (!t->stopped && !(t->o->once && t->pairs > 0 && t->open == 0))
		aiotask_park(AIOIPC_FOREVER);
	aiolistener_free(l);
	fflush(stdout);
	t->status = t->interrupted ? TOOL_INTERRUPTED : TOOL_CLEAN;
}

int tap(const struct tool_options *o)
{
	static const int signals[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
	static struct tap t;
	struct event *e;

	t = (struct tap){.o = o, .base = event_base_new(), .status = TOOL_FAILED};
	for (int i = 0; t.base && i < SIGNALS; i++)
		if (!is_ignored(signals[i]) && (e = evsignal_new(t.base, signals[i], on_signal, &t)))
			event_add(e, NULL);
	if (!t.base || aiotask_run(t.base, run, &t) == -1)
		say_error("%s", strerror(errno));
	return t.status;
}
