/* call: sends one call, and prints the answer. */
#include "tool/tool.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define FDS_MOST 253

static int64_t limit(const struct tool_options *o)
{
	return o->timeout ? aioipc_after(o->timeout) : AIOIPC_FOREVER;
}

static int show(const struct aiomsg *answer, const struct tool_options *o)
{
	show_message(stdout, answer, NULL, o);
	if (fflush(stdout) != EOF && !ferror(stdout))
		return TOOL_CLEAN;
	say_error("standard output: %s", strerror(errno));
	return TOOL_FAILED;
}

static int refused(const struct aiomsg *answer, const struct tool_options *o)
{
	const char *words = "";
	int error = aiomsg_error(answer, &words);

	say_error("%s: the peer refuses: %s%s%s", o->address, strerror(error), *words ? ": " : "", words);
	return TOOL_FAILED;
}

/* Who does not know calls ends the connection at the first. */
static int failed(const struct aioconn *c, const struct tool_options *o, int error)
{
	if (error == ETIMEDOUT)
		say_error("%s: no answer in time", o->address);
	else if (error == ECONNRESET || error == EPIPE)
		say_error("%s: no answer: %s; does it know calls?", o->address,
			  *aioconn_why(c) ? aioconn_why(c) : strerror(error));
	else
		say_error("%s: no answer: %s", o->address,
			  *aioconn_why(c) ? aioconn_why(c) : strerror(error));
	return TOOL_FAILED;
}

static int call_on(struct aioconn *c, const struct tool_options *o, int64_t deadline)
{
	struct aiomsg *answer = NULL;
	int got, status;

	if (aioconn_allow_fds(c, FDS_MOST) == -1 && errno != EOPNOTSUPP)
		return failed(c, o, errno);
	got = aioconn_call_msg(c, o->send[0], &answer, deadline);
	if (got == -1)
		return failed(c, o, errno);
	status = got == 1 ? show(answer, o) : refused(answer, o);
	aiomsg_free(answer);
	return status;
}

int call(const struct tool_options *o)
{
	int64_t deadline = limit(o);
	struct aioconn *c = tls_connect(o, o->address, NULL, deadline);
	int status;

	if (!c) {
		say_why(o, o->address, errno);
		return TOOL_FAILED;
	}
	status = call_on(c, o, deadline);
	aioconn_close(c, aioipc_after(1000));
	return status;
}
