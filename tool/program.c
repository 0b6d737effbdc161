/* --exec: a program for each peer. It reads what the peer says as it would be printed, and what it prints is sent as standard input would be. */
#include "tool/tool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#define GRACE 1000 /* ms to end in, once nobody is there to talk to; and once it is asked to */

static struct aioproc *start(struct aioend *theirs, const char *program)
{
	char shell[] = "sh", option[] = "-c", *argv[] = {shell, option, NULL, NULL};
	struct aioproc *proc;

	argv[2] = (char *)(uintptr_t)program;
	if (aioend_set_stdio(theirs, 0, 1) == -1 || aioend_detach(theirs) == -1)
		return NULL;
	proc = aioproc_exec("/bin/sh", argv, NULL, NULL);
	if (!proc)
		aioend_reclaim(theirs);
	return proc;
}

int program_start(struct tool_program *p, const char *peer, struct event_base *base,
		  const struct tool_options *o)
{
	const struct aioconn_limits limits = {.size = sizeof limits, .line = TOOL_LINE_MOST};
	struct aioend *ours, *theirs;

	if (aioduplex(&ours, &theirs) == -1)
		return -1;
	setenv("AIOIPC_PEER", peer, 1);
	p->proc = start(theirs, o->program);
	aioend_free(theirs);
	p->c = p->proc ? aioend_open(ours, base) : NULL;
	if (!p->c) {
		aioend_free(ours);
		return -1;
	}
	if (aioconn_set_framing(p->c, AIOCONN_BYTES, NULL) == -1)
		return -1;
	return aioconn_set_limits(p->c, &limits);
}

/* Who reads no more is not told more. */
int program_hear(struct tool_program *p, const struct aiomsg *shown)
{
	return aioconn_send_msg(p->c, shown) == -1 && errno == ECANCELED ? -1 : 0;
}

static int read_line(struct tool_program *p, struct aiomsg **m, const struct tool_options *o)
{
	const char *line, *why = NULL;
	ssize_t n;
	int r = 0;

	while (r == 0) {
		n = aioconn_read_line(p->c, &line, AIOIPC_FOREVER);
		if (n <= 0)
			return (int)n;
		r = form_read(o, line, (size_t)n - (line[n - 1] == '\n'), m, &why);
		if (r == -1 && errno == EINVAL) {
			say_error("%s: a line was not sent: %s", o->program, why);
			r = 0;
		}
	}
	return r;
}

int program_say(struct tool_program *p, struct aiomsg **m, const struct tool_options *o)
{
	if (o->framing == AIOCONN_BYTES && form_is_plain(o))
		return aioconn_recv(p->c, m, AIOIPC_FOREVER);
	return read_line(p, m, o);
}

static int join(struct aioproc *proc, int *status)
{
	int r;

	do
		r = aioproc_join(proc, status, aioipc_after(GRACE));
	while (r == -1 && (errno == ECANCELED || errno == EINTR));
	return r;
}

/* What the program makes of its end is not its peer's business, but is told. */
void program_end(struct tool_program *p, const struct tool_options *o)
{
	int status = 0;

	aioconn_abort(p->c);
	if (!p->proc)
		return;
	if (join(p->proc, &status) == -1 && aioproc_kill(p->proc, SIGTERM) == 0 &&
	    join(p->proc, &status) == -1) {
		aioproc_kill(p->proc, SIGKILL);
		join(p->proc, &status);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		say_note(o, "%s: ended with status %d", o->program, WEXITSTATUS(status));
	aioproc_free(p->proc);
	*p = (struct tool_program){NULL, NULL};
}
