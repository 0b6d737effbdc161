/*
 * A chat: what one peer says, all others read, a line each. "demos/chat tcp://localhost:4711", then "nc localhost 4711",
 * "socat - tcp:localhost:4711" or "aioipc connect --lines tcp://localhost:4711" in other terminals. The first line that a peer sends is its
 * name. Who reads too slowly misses lines, and is told how many. The others do not wait for it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

static struct aiohub *hub;

struct guest {
	char name[32];
	unsigned long long missed; /* lines, as it was told */
};

/* All but this one; NULL: all. */
__attribute__((format(printf, 2, 3))) static void tell(struct aioconn *but, const char *format, ...)
{
	char line[1200];
	struct aiomsg *m;
	va_list ap;
	int len;

	va_start(ap, format);
	len = vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	m = aiomsg_new_bytes(line, (size_t)len < sizeof line ? (size_t)len : sizeof line - 1);
	if (!m || (but ? aiohub_send_others(hub, but, m) : aiohub_send(hub, m)) == -1)
		die("send");
	aiomsg_free(m);
}

static void on_line(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct guest *g = arg;
	size_t len;
	const char *text = aiomsg_bytes(m, &len);

	if (*g->name) {
		tell(c, "%s: %.*s", g->name, (int)(len < 1000 ? len : 1000), text);
	} else if (len > 0) {
		snprintf(g->name, sizeof g->name, "%.*s", (int)(len < 31 ? len : 31), text);
		tell(NULL, "* %s is here", g->name);
	}
}

/* There is room again: the guest may have missed something. */
static void on_writable(struct aioconn *c, void *arg)
{
	struct guest *g = arg;
	unsigned long long missed = aiohub_skipped(hub, c);
	char line[64];
	int len = snprintf(line, sizeof line, "* you missed %llu lines", missed - g->missed);

	if (missed > g->missed && aioconn_send_bytes(c, line, (size_t)len) == 0)
		g->missed = missed;
}

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct guest *g = arg;

	if (*g->name && cause != AIOCONN_LOCAL)
		tell(c, "* %s has left", g->name);
	free(g);
	aioconn_abort(c); /* it leaves the hub by itself */
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct aioconn_limits limits = {.size = sizeof limits, .line = 1000, .long_lines = true};
	struct guest *g = calloc(1, sizeof *g);

	(void)l, (void)arg;
	if (!g || aioconn_set_framing(c, AIOCONN_LINES, "\n") == -1 || aioconn_set_limits(c, &limits) == -1 ||
	    aioconn_set_callbacks(c, on_line, on_writable, on_close, g) == -1 || aiohub_join(hub, c) == -1)
		die("a peer");
}

int main(int argc, char **argv)
{
	struct event_base *base = event_base_new();
	struct aiohub_options o = {.size = sizeof o, .base = base, .slow = AIOHUB_SKIP};
	struct aiolistener *l;

	hub = base ? aiohub_new(&o) : NULL;
	l = hub ? aiolistener_new(argc > 1 ? argv[1] : "tcp://localhost:4711", base, NULL, on_peer, NULL)
		: NULL;
	if (!l)
		die("chat");
	printf("listening on %s\n", aiolistener_address(l));
	fflush(stdout);
	event_base_dispatch(base); /* until somebody ends the process */
	return 0;
}
