/* aioipc: talks to a connection from the command line, shows what one says, and prints captured streams; see aioipc(1). */
#include "tool/tool.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static int run(const struct tool_options *o)
{
	switch (o->mode) {
	case TOOL_DUMP:
		return dump(o);
	case TOOL_CALL:
		return call(o);
	case TOOL_TAP:
		return tap(o);
	case TOOL_BENCH:
		return bench(o);
	case TOOL_TOP:
		return top(o);
	case TOOL_STREAM:
		return stream(o);
	default:
		return talk(o);
	}
}

/* A socket is not to become one of the standard streams because that is closed. */
static void fill_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* Of a command that has nothing to tidy up. */
static void on_interrupt(int sig)
{
	_exit(128 + sig);
}

int main(int argc, char **argv)
{
	struct tool_options o = {0};
	int status;

	(void)argc;
	fill_standard_streams();
	signal(SIGPIPE, SIG_IGN);
	catch_signal(SIGINT, on_interrupt);
	aioipc_set_log(say_log, NULL);
	options_read(&o, argv + 1);
	status = run(&o);
	options_free(&o);
	return status;
}
