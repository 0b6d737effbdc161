/* How far a long input is, on a terminal: a line that is written over, and goes away. Nothing where the output is on the same terminal. */
#include "tool/tool.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#define EVERY_US 500000
#define MIB (1024.0 * 1024)

static uint64_t size_of_input(void)
{
	struct stat st;

	return fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 ? (uint64_t)st.st_size
										      : 0;
}

/* The second tick is the first that tells: short inputs have no line. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct tool_progress *p = arg;
	uint64_t now = atomic_load(&p->in->read), size = size_of_input();
	char percent[16] = "";

	(void)fd, (void)what;
	if (size > 0)
		snprintf(percent, sizeof percent, " (%.0f%%)", 100.0 * (double)now / (double)size);
	if (p->ticks++ > 0 && now != p->before)
		say_progress("%.1f MiB read%s, %.1f MiB/s", (double)now / MIB, percent,
			     (double)(now - p->before) / MIB * 1e6 / EVERY_US);
	else
		say_progress(NULL);
	p->before = now;
}

int progress_start(struct tool_progress *p, struct tool_input *in, struct event_base *base,
		   const struct tool_options *o)
{
	const struct timeval every = {0, EVERY_US};

	p->in = in;
	if (o->quiet || !isatty(STDERR_FILENO) || isatty(STDIN_FILENO) || (o->print && isatty(STDOUT_FILENO)))
		return 0;
	p->tick = event_new(base, -1, EV_PERSIST, on_tick, p);
	return p->tick ? event_add(p->tick, &every) : -1;
}

void progress_end(struct tool_progress *p)
{
	if (!p->tick)
		return;
	event_free(p->tick);
	say_progress(NULL);
}
