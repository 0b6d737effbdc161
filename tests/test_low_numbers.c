/* A program that was started with 0, 1 and 2 closed: what the library opens gets other numbers, so that what is printed there harms nobody. */
#include <aioipc.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "tests/harness.h"
#include "tests/links.h"

/* Nobody has them; and who prints there all the same writes to nobody. */
static void look(void)
{
	fprintf(stderr, "a harmless warning\n");
	for (int fd = 0; fd <= 2; fd++)
		must_fail(fcntl(fd, F_GETFD), EBADF);
}

static void ends(void)
{
	int (*const make[])(struct aioend **, struct aioend **) = {aiopipe, aiosockpair, aioduplex};
	struct aioend *a, *b;
	struct aioconn *in, *out;
	struct aiomsg *m;

	for (int i = 0; i < 3; i++) {
		must(make[i](&a, &b));
		must(aioend_detach(b));
		must(aioend_reclaim(b));
		in = must(aioend_open(a, NULL));
		out = must(aioend_open(b, NULL));
		look();
		must(aioconn_send(out, "s", "x"));
		ck_assert_int_eq(must(aioconn_recv(in, &m, AIOIPC_FOREVER)), 1);
		aiomsg_free(m);
		aioconn_abort(in);
		aioconn_abort(out);
	}
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void children(void)
{
	struct event_base *base;
	struct aioproc *p;
	int status, low[3];

	for (int fd = 0; fd <= 2; fd++) /* the base is ours, and needs some numbers */
		low[fd] = must(open("/", O_RDONLY | O_CLOEXEC));
	base = must(event_base_new());
	for (int fd = 0; fd <= 2; fd++)
		close(low[fd]);
	p = must(aioproc_start(nothing, NULL));
	must(aioproc_join(p, &status, AIOIPC_FOREVER));
	ck_assert_int_eq(status, 0);
	look();
	aioproc_free(p);
	event_base_free(base);
}

/* Both run in threads of their own, on bases of their own. */
static void links(void)
{
	struct aiolink *server = start_listening(path_at(0), AIOCONN_LINES, NULL);
	struct aiolink *client = start_connecting(path_at(0), AIOCONN_LINES, NULL);

	must(aiolink_wait_connected(server, AIOIPC_FOREVER));
	must(aiolink_wait_connected(client, AIOIPC_FOREVER));
	look();
	put_word(aiolink_outbox(client), "there");
	expect_word(aiolink_inbox(server), "there");
	put_word(aiolink_outbox(server), "back");
	expect_word(aiolink_inbox(client), "back");
	look();
	close_link(client);
	close_link(server);
}

static void without_stdio(void (*body)(void))
{
	pid_t pid = must(fork());
	int status;

	if (pid == 0) {
		for (int fd = 0; fd <= 2; fd++)
			close(fd);
		body();
		look();
		_exit(0);
	}
	must(waitpid(pid, &status, 0));
	ck_assert_int_eq(status, 0);
}

TEST(ends_and_connections)
{
	without_stdio(ends);
}

TEST(children_are_joined)
{
	without_stdio(children);
}

TEST(links_and_their_bases)
{
	without_stdio(links);
}

/* What the user gives stays where it is. */
TEST(adopted_ones_keep_their_numbers)
{
	struct aioend *end;
	int r, w;

	end = must(aioend_from_fds(0, -1));
	must(aioend_release(end, &r, &w));
	ck_assert_int_eq(r, 0);
}
