/*
 * A pipe in one direction: the child writes a line, the parent reads it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <aioipc.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

static int child(void *arg)
{
	static const char line[] = "hi from the child process";
	struct aioconn *tx = aioend_open(arg, NULL);

	if (!tx || aioconn_set_framing(tx, AIOCONN_LINES, NULL) == -1)
		die("open");
	printf("[%d] child: sending a line\n", (int)getpid());
	if (aioconn_send_bytes(tx, line, sizeof line - 1) == -1)
		die("send");
	if (aioconn_close(tx, AIOIPC_FOREVER) == -1)
		die("close");
	return 0;
}

int main(void)
{
	struct aioend *rx, *tx;
	struct aioproc *proc;
	struct aioconn *c;
	const char *line;
	ssize_t len;
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (aiopipe(&rx, &tx) == -1)
		die("aiopipe");
	/* The write end moves to the child; what is freed here is only its handle. */
	proc = aioproc_start_with(child, tx, &tx, 1);
	if (!proc)
		die("start");
	aioend_free(tx);

	c = aioend_open(rx, NULL);
	if (!c || aioconn_set_framing(c, AIOCONN_LINES, NULL) == -1)
		die("open");
	while ((len = aioconn_read_line(c, &line, AIOIPC_FOREVER)) > 0)
		printf("[%d] parent: got \"%.*s\"\n", (int)getpid(), (int)len - 1, line);
	if (len == -1)
		die("read");
	aioconn_close(c, AIOIPC_NOW);

	if (aioproc_join(proc, &status, AIOIPC_FOREVER) == -1)
		die("join");
	aioproc_free(proc);
	printf("[%d] parent: the child ended with status %d\n", (int)getpid(), status);
	return status != 0;
}
