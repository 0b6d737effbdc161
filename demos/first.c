/*
 * Two processes that talk, and tell what they do: a parent starts a child, one end of a socket pair moves to it; the parent
 * asks, the child answers, the parent says goodbye. This is where to begin.
 *
 *     cc first.c $(pkg-config --cflags --libs aioipc) -o first && ./first
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <aioipc.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "process %d: %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

/* Runs in the child. Its end is the only thing that it has of its parent's. */
static int child(void *end)
{
	int me = (int)getpid(), parent = (int)getppid(), got;
	struct aioconn *c = aioend_open(end, NULL);
	struct aiomsg *m;
	const char *what;
	int32_t a, b;

	if (!c)
		die("open");
	while ((got = aioconn_recv(c, &m, AIOIPC_FOREVER)) == 1) { /* sleeps until there is a message */
		if (aiomsg_unpack(m, "sii", &what, &a, &b) == -1)
			die("unpack");
		printf("process %d, the child: process %d asks me: %s %d and %d\n", me, parent, what, a, b);
		aiomsg_free(m); /* what is now the message's */
		printf("process %d, the child: I answer process %d: %d\n", me, parent, a * b);
		if (aioconn_send(c, "i", a * b) == -1)
			die("send");
	}
	if (got == -1) /* and 0 is the goodbye: a parent that had crashed would be -1 and ECONNRESET */
		die("receive");
	printf("process %d, the child: process %d says goodbye, so I end\n", me, parent);
	return aioconn_close(c, AIOIPC_FOREVER);
}

/* "si" and the like say what a message is made of: s is a string, i an integer of 32 bits. */
static void ask(struct aioconn *c, int me, int child_pid)
{
	struct aiomsg *m;
	int32_t product;

	printf("process %d, the parent: I ask process %d: multiply 6 and 7\n", me, child_pid);
	if (aioconn_send(c, "sii", "multiply", (int32_t)6, (int32_t)7) == -1)
		die("send");
	if (aioconn_recv(c, &m, aioipc_after(10000)) != 1) /* milliseconds from now */
		die("receive");
	if (aiomsg_unpack(m, "i", &product) == -1)
		die("unpack");
	aiomsg_free(m);
	printf("process %d, the parent: process %d answers: %d\n", me, child_pid, product);
}

int main(void)
{
	struct aioend *ours, *theirs;
	struct aioproc *p;
	struct aioconn *c;
	int me = (int)getpid(), child_pid, status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (aiosockpair(&ours, &theirs) == -1)
		die("aiosockpair");
	p = aioproc_start_with(child, theirs, &theirs,
			       1); /* forks: theirs moves to the child, ours is closed there */
	if (!p)
		die("start");
	aioend_free(theirs); /* the handle: the end itself has gone */
	child_pid = (int)aioproc_pid(p);
	printf("process %d, the parent: I started process %d, which has the other end of my socket pair\n",
	       me, child_pid);

	c = aioend_open(ours, NULL);
	if (!c)
		die("open");
	ask(c, me, child_pid);
	printf("process %d, the parent: I say goodbye to process %d\n", me, child_pid);
	if (aioconn_close(c, AIOIPC_FOREVER) == -1)
		die("close");

	if (aioproc_join(p, &status, AIOIPC_FOREVER) == -1)
		die("join");
	aioproc_free(p);
	printf("process %d, the parent: process %d ended with status %d\n", me, child_pid, status);
	return status != 0;
}
