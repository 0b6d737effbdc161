/*
 * Two pipes, crossed: the child says "hello", the parent answers "hello world", and gets that back in
 * capitals. Bytes as they come, read by count and by line.
 */
#include <ctype.h>
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

static struct aioconn *open_bytes(struct aioend *end)
{
	struct aioconn *c = aioend_open(end, NULL);

	if (!c || aioconn_set_framing(c, AIOCONN_BYTES, NULL) == -1)
		die("open");
	return c;
}

static int child(void *arg)
{
	struct aioconn *c = open_bytes(arg);
	char upper[64];
	const char *line;
	ssize_t len;

	printf("[%d] child: sending \"hello\"\n", (int)getpid());
	if (aioconn_send_bytes(c, "hello", 5) == -1)
		die("send");
	len = aioconn_read_line(c, &line, AIOIPC_FOREVER);
	if (len < 1 || (size_t)len > sizeof upper)
		die("read");
	printf("[%d] child: got \"%.*s\"\n", (int)getpid(), (int)len - 1, line);
	for (ssize_t i = 0; i < len; i++)
		upper[i] = (char)toupper((unsigned char)line[i]);
	if (aioconn_send_bytes(c, upper, (size_t)len) == -1)
		die("send");
	return aioconn_close(c, AIOIPC_FOREVER);
}

static void talk(struct aioconn *c)
{
	char reply[] = "..... world\n";
	const char *line;
	ssize_t len;

	if (aioconn_read_exactly(c, reply, 5, AIOIPC_FOREVER) != 5)
		die("read");
	printf("[%d] parent: got \"%.5s\"\n", (int)getpid(), reply);
	if (aioconn_send_bytes(c, reply, strlen(reply)) == -1)
		die("send");
	len = aioconn_read_line(c, &line, AIOIPC_FOREVER);
	if (len < 1)
		die("read");
	printf("[%d] parent: got \"%.*s\"\n", (int)getpid(), (int)len - 1, line);
}

int main(void)
{
	struct aioend *mine, *childs;
	struct aioproc *proc;
	struct aioconn *c;
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (aioduplex(&mine, &childs) == -1)
		die("aioduplex");
	proc = aioproc_start_with(child, childs, &childs, 1);
	if (!proc)
		die("start");
	aioend_free(childs);

	c = open_bytes(mine);
	talk(c);
	aioconn_close(c, AIOIPC_NOW);

	if (aioproc_join(proc, &status, AIOIPC_FOREVER) == -1)
		die("join");
	aioproc_free(proc);
	return status != 0;
}
