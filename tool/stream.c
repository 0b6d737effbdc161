/*
 * stream: appends standard input to a stream of Redis or Valkey, a message a line; or prints, as a member of a group, what is in one, and
 * acknowledges each message when it was printed.
 */
#include "tool/tool.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define LOOK 200   /* ms: so often it is looked what is wrong */
#define LEAVE 2000 /* ms to give back what was not printed */

static volatile sig_atomic_t signalled;

static void on_signal(int sig)
{
	signalled = sig;
}

static void catch_signals(void)
{
	catch_signal(SIGINT, on_signal);
	catch_signal(SIGTERM, on_signal);
	catch_signal(SIGHUP, on_signal);
}

/* What is wrong, once. */
static void tell(const struct tool_options *o, const struct aiostream *s, char *told, size_t size)
{
	char why[128];

	aiostream_why(s, why, sizeof why);
	if (strcmp(why, told) != 0 && *why)
		say_error("%s: %s", o->address, why);
	else if (*told && !*why)
		say_note(o, "%s: it goes on", o->address);
	snprintf(told, size, "%s", why);
}

static int interrupted(void)
{
	return signalled == SIGINT ? TOOL_INTERRUPTED : TOOL_FAILED;
}

static int append(const struct tool_options *o, struct aiostream *s)
{
	struct aiostream_stats stats = {.size = sizeof stats};
	char told[128] = "";
	int64_t quiet = 0;
	uint64_t sent = 0;

	while (aiostream_join(s, aioipc_after(LOOK)) == -1 && !signalled) {
		tell(o, s, told, sizeof told);
		aiostream_stats(s, &stats);
		quiet = stats.sent == sent && aiostream_error(s) ? quiet + LOOK : 0;
		sent = stats.sent;
		if (o->timeout && quiet >= o->timeout) {
			say_error("%s: nothing was taken for %g seconds", o->address,
				  (double)o->timeout / 1000);
			return TOOL_FAILED;
		}
	}
	aiostream_stats(s, &stats);
	if (signalled)
		return interrupted();
	return aiostream_error(s) || stats.refused ? TOOL_FAILED : TOOL_CLEAN;
}

/* It is acknowledged when it was printed. False: it could not be. */
static bool print(const struct tool_options *o, struct aiomsg *m)
{
	bool printed;

	show_message(stdout, m, NULL, o);
	printed = fflush(stdout) != EOF && !ferror(stdout);
	if (printed)
		aiomsg_ack(m);
	else
		say_error("standard output: %s", strerror(errno));
	return printed;
}

static int receive(const struct tool_options *o, struct aiostream *s)
{
	char told[128] = "";
	uint64_t n = 0;
	int64_t quiet = 0;
	struct aiomsg *m;
	bool printed;
	int got;

	while (!signalled && (o->count == 0 || n < o->count)) {
		got = aioqueue_get(aiostream_queue(s), &m, aioipc_after(LOOK));
		if (got == 0)
			return TOOL_FAILED;
		tell(o, s, told, sizeof told);
		quiet = got == 1 ? 0 : quiet + LOOK;
		if (o->timeout && quiet >= o->timeout) {
			say_error("%s: nothing came for %g seconds", o->address, (double)o->timeout / 1000);
			return TOOL_FAILED;
		}
		if (got != 1)
			continue;
		printed = print(o, m);
		aiomsg_free(m);
		if (!printed)
			return TOOL_FAILED;
		n++;
	}
	return signalled ? interrupted() : TOOL_CLEAN;
}

int stream(const struct tool_options *o)
{
	struct aiostream_options so = {.size = sizeof so,
				       .address = o->address,
				       .stream = o->other,
				       .group = o->group,
				       .from_start = o->from_start,
				       .tls = tls_for(o, o->address)};
	static struct tool_input in;
	static bool hushed = true;
	struct aiostream *s;
	int status;

	if (!o->group && input_start(&in, o) == -1) {
		say_error("standard input: %s", strerror(errno));
		return TOOL_FAILED;
	}
	so.queue = in.queue;
	if (o->group && o->count && o->count < 256)
		so.prefetch = (unsigned)o->count;
	why_begin();
	s = aiostream_new(&so);
	if (!s || aiostream_start(s, NULL) == -1) {
		say_error("%s: %s", o->address, why_behind(why_end(errno)));
		aiostream_abort(s);
		return TOOL_USAGE;
	}
	why_end(0);
	aioipc_set_log(say_log, &hushed); /* tell() says it once */
	catch_signals();
	status = o->group ? receive(o, s) : append(o, s);
	if (o->group && aiostream_close(s, aioipc_after(LEAVE)) == -1 && status == TOOL_CLEAN)
		status = TOOL_FAILED;
	else if (!o->group)
		aiostream_abort(s);
	return status == TOOL_CLEAN && in.failed ? TOOL_FAILED : status;
}
