/* Every wrong argument is told to the log in words: which one it is, and what would be right. */
#include "tests/peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <aioipc/tpl.h>

static char logged[2048];

static void on_log(const char *text, void *arg)
{
	size_t len = strlen(logged);

	(void)arg;
	snprintf(logged + len, sizeof logged - len, "%s\n", text);
}

static void begin(void)
{
	logged[0] = '\0';
	aioipc_set_log(on_log, NULL);
}

/* @call fails so, and all of @words are in the log. */
#define TELLS(call, error, words)                                                                            \
	do {                                                                                                 \
		begin();                                                                                     \
		must_fail(call, error);                                                                      \
		if (!strstr(logged, words))                                                                  \
			ck_abort_msg("%s: \"%s\" in the log, \"%s\" was due", #call, logged, words);         \
	} while (0)

struct pair {
	struct aioconn *a, *b;
};

static struct pair pair(void)
{
	struct pair p;

	open_pair(PAIR, NULL, &p.a, &p.b);
	return p;
}

static void close_pair(struct pair p)
{
	aioconn_abort(p.a);
	aioconn_abort(p.b);
}

TEST(formats)
{
	TELLS(aiomsg_new("iz"), EINVAL,
	      "\"iz\" is not a format, see aiomsg(3): at character 2, this is no letter");
	TELLS(aiomsg_new("A(i"), EINVAL, "at character 4, a ) is missing");
	TELLS(aiomsg_new("i)"), EINVAL, "at character 2, no ( belongs to this )");
	TELLS(aiomsg_new("i)#"), EINVAL, "at character 2, no ( belongs to this )");
	TELLS(aiomsg_new("A()"), EINVAL, "at character 1, brackets are not empty");
	TELLS(aiomsg_new("Si"), EINVAL, "at character 1, a ( is missing behind this");
	TELLS(aiomsg_new("(i)"), EINVAL, "at character 1, A or S is missing");
	TELLS(aiomsg_new("S(iS(i))"), EINVAL, "at character 4, no brackets stand in S(..)");
	TELLS(aiomsg_new("S(iB)"), EINVAL, "at character 4, B does not stand in S(..)");
	TELLS(aiomsg_new("iA(i)#"), EINVAL, "at character 6, a # stands behind a letter or S(..) only");
	TELLS(aiomsg_new("i###########"), EINVAL, "at character 1, more than 10 # stand in a row");
	TELLS(aiowriter_new("$(i)"), EINVAL, "\"$(i)\" is not a format");
}

TEST(values)
{
	struct {
		int32_t i;
		char c;
	} s = {0};
	int32_t v[3] = {0};

	TELLS(aiomsg_new("i#", v, (size_t)0), EINVAL,
	      "the count of a # is 0: it must be a size_t, 1 or more");
	TELLS(aiomsg_new("i#", NULL, (size_t)3), EINVAL, "the address of the values of i# is NULL");
	TELLS(aiomsg_new("B", NULL, (size_t)3), EINVAL, "the address of B is NULL, but its length 3");
	TELLS(aiomsg_new("S(ic)", &s, (size_t)5), EINVAL,
	      "the size of a struct of S(..) is 5, but its letters say 8 bytes");
	TELLS(aiomsg_new("S(ic)", NULL, sizeof s), EINVAL, "the address of S(..) is NULL");
	TELLS(aiomsg_new("A(ic)", &s, (size_t)1, (size_t)4), EINVAL, "the size of a struct of A(..) is 4");
	TELLS(aiomsg_new("A(A(i))", &s, (size_t)1, (size_t)4), EINVAL,
	      "A in an A(..) is for aiowriter_put()");
}

TEST(reading)
{
	struct aiomsg *m = must(aiomsg_new("i#", ((int32_t[]){1, 2}), (size_t)2)),
		      *bytes = must(aiomsg_new_bytes("x", 1));
	struct aioreader r;
	int32_t v[3];

	TELLS(aiomsg_unpack(m, "is", &v[0], &v[1]), EBADMSG,
	      "the message is \"i#\", not \"is\" as it is asked for");
	TELLS(aiomsg_unpack(bytes, "is", &v[0], &v[1]), EBADMSG, "the message is plain bytes, not \"is\"");
	TELLS(aiomsg_unpack(m, "z", v), EINVAL, "\"z\" is not a format");
	TELLS(aiomsg_unpack(m, "i#", v, (size_t)3), EBADMSG,
	      "the count of a # is 3, but it is 2 in the message");
	TELLS(aiomsg_unpack(m, "i#", NULL, (size_t)2), EINVAL, "the pointer for the values of i# is NULL");
	must(aioreader_init(&r, m, "i#"));
	TELLS(aioreader_get(&r, "i", v), EINVAL,
	      "the piece \"i\" is no stretch of the format, of which \"i#\" is next");
	TELLS(aiomsg_tpl(bytes, "i", v), EBADMSG, "the message is plain bytes");
	aiomsg_free(m);
	aiomsg_free(bytes);
}

TEST(writing)
{
	struct aiowriter *w = must(aiowriter_new("iA(s)"));

	TELLS(aiowriter_put(w, "s", "x"), EINVAL,
	      "the piece \"s\" is no stretch of the format, of which \"iA(s)\" is next");
	aiowriter_free(w);
	w = must(aiowriter_new("iA(s)"));
	TELLS(aiowriter_put(w, ")"), EINVAL, "a ) in front of a piece closes an array");
	aiowriter_free(w);
	w = must(aiowriter_new("iA(s)"));
	TELLS(aiowriter_finish(w), EINVAL, "the message is not at the end of its format: \"iA(s)\" is left");
	TELLS(aiowriter_put(NULL, "i", 1), EINVAL, "the writer is NULL");
	TELLS(aiowriter_finish(NULL), EINVAL, "the writer is NULL");
	w = must(aiowriter_new("A(i#)"));
	must(aiowriter_put(w, "A("));
	must(aiowriter_put(w, "i#", ((int32_t[]){1, 2}), (size_t)2));
	TELLS(aiowriter_put(w, "i#", ((int32_t[]){1, 2}), (size_t)1), EINVAL,
	      "the count of a # is 1, but it is 2 in the elements before");
	aiowriter_free(w);
}

TEST(deadlines)
{
	struct pair p = pair();
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct aiomsg *m;

	TELLS(aioconn_recv(p.a, &m, 5000), EINVAL,
	      "the deadline 5000 is neither AIOIPC_NOW nor AIOIPC_FOREVER");
	TELLS(aioconn_close(p.a, 5000), EINVAL, "use aioipc_after()");
	TELLS(aioqueue_get(q, &m, -2), EINVAL, "the deadline -2 is neither");
	aioqueue_free(q);
	close_pair(p);
}

TEST(connections)
{
	struct pair p = pair();
	struct aioconn_limits l = {.size = 3};
	struct aioconn_stats stats = {.size = 100000};
	struct aiomsg *all;
	const char *data;

	TELLS(aioconn_set_limits(p.a, &l), EINVAL, "the member size of a struct is 3, it must be from 8 to ");
	TELLS(aioconn_stats(p.a, &stats), EINVAL, "the member size of a struct is 100000");
	l = (struct aioconn_limits){.size = sizeof l, .message = (size_t)1 << 40};
	TELLS(aioconn_set_limits(p.a, &l), EINVAL, "the limits are 1099511627776 for a message");
	TELLS(aioconn_set_framing(p.a, (enum aioconn_framing)9, NULL), EINVAL,
	      "aioconn_set_framing: 9 is none");
	TELLS(aioconn_set_framing(p.a, AIOCONN_LINES, ""), EINVAL, "the delimiter has 0 bytes");
	TELLS(aioconn_allow_fds(p.a, 254), EINVAL, "aioconn_allow_fds: 254 descriptors, 253 is the most");
	TELLS(aioconn_set_send_wait(p.a, -2), EINVAL, "aioconn_set_send_wait: -2: it takes milliseconds");
	TELLS(aioconn_set_spin(p.a, 1001), EINVAL, "aioconn_set_spin: 1001 microseconds, 1000 is the most");
	TELLS(aioconn_finish(p.a, AIOIPC_NOW), EINVAL,
	      "aioconn_finish: the connection was opened without an event base");
	TELLS(aioconn_read_all(p.a, &all, 0, AIOIPC_NOW), EINVAL,
	      "the framing AIOCONN_BYTES or AIOCONN_LINES");
	must(aioconn_set_framing(p.a, AIOCONN_LINES, NULL));
	TELLS(aioconn_send(p.a, "i", 1), EINVAL,
	      "typed values need the framing AIOCONN_MESSAGES, this connection has AIOCONN_LINES");
	TELLS(aioconn_send_bytes(p.a, "a\nb", 3), EINVAL, "the line has its delimiter in it");
	TELLS(aioconn_read_until(p.a, "", 0, 0, &data, AIOIPC_NOW), EINVAL,
	      "aioconn_read_until: a mark of 0 bytes");
	TELLS(aioconn_read_all(p.a, &all, (size_t)1 << 40, AIOIPC_NOW), EINVAL,
	      "aioconn_read_all: a limit of 1099511627776");
	close_pair(p);
}

TEST(ends)
{
	struct aioend *rx, *tx;
	char *argv[] = {"true", NULL};
	int fd = must(socket(AF_INET, SOCK_STREAM, 0));

	TELLS(aioend_from_fds(-1, -1), EINVAL, "aioend_from_fds: both descriptors are -1");
	must(listen(fd, 1));
	TELLS(aioend_from_fds(fd, fd), EINVAL, "it is a socket that listens");
	must(close(fd));
	must(aiopipe(&rx, &tx));
	TELLS(aioend_set_name(rx, "a b"), EINVAL, "aioend_set_name: \"a b\": a name has 1 to 63 letters");
	TELLS(aioend_set_stdio(rx, 1, -1), EINVAL,
	      "aioend_set_stdio: 1 and -1: they must be 0 or -1 to read");
	TELLS(aioend_reclaim(rx), EINVAL, "aioend_reclaim: this end is not detached");
	must(aioend_detach(rx));
	TELLS(aioproc_exec("/bin/true", argv, NULL, NULL), EINVAL,
	      "an end that is detached has no place in the program: call aioend_set_name() or "
	      "aioend_set_stdio()");
	must(aioend_set_name(rx, "one"));
	must(aioend_set_name(tx, "one"));
	must(aioend_detach(tx));
	TELLS(aioproc_exec("/bin/true", argv, NULL, NULL), EINVAL,
	      "two ends are detached with the same name (\"one\")");
	aioend_free(rx);
	aioend_free(tx);
}

static bool make_none(void *arg, void **item)
{
	(void)arg, (void)item;
	return false;
}

static void in_task(void *arg)
{
	struct aiochan *ch = arg;
	void *got;

	TELLS(aiochan_send_each(ch, NULL, NULL, AIOIPC_NOW), EINVAL, "aiochan_send_each: make is NULL");
	TELLS(aiochan_lend(ch, aiotask_self()), EPERM, "this task has no side of the channel yet");
	TELLS(aiochan_next(ch, ch, &got, AIOIPC_NOW), EINVAL, "aiochan_next: nobody would hear the item");
	TELLS(aiochan_lend(ch, aiotask_self()), EINVAL, "helper is this task itself");
}

TEST(tasks_and_channels)
{
	struct event_base *base = new_base();
	struct aiochan *ch = must(aiochan_new());

	TELLS(aiochan_send_each(ch, make_none, NULL, AIOIPC_NOW), EPERM,
	      "a channel is for tasks, and this call is made outside one");
	must(aiotask_run(base, in_task, ch));
	TELLS(aiotask_set_stack_size(1), EINVAL, "aiotask_set_stack_size: 1 bytes: they must be from 16384");
	TELLS(aiotask_spawn(NULL, in_task, NULL), EINVAL, "aiotask_spawn: the event base is NULL");
	TELLS(aiotask_spawn(base, NULL, NULL), EINVAL, "aiotask_spawn: the function is NULL");
	aiochan_free(ch);
	event_base_free(base);
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	(void)l, (void)arg;
	aioconn_abort(c);
}

TEST(queues_services_links_and_addresses)
{
	struct event_base *base = new_base();
	struct aioservice_options service = {.size = sizeof service};
	struct aiolink_options link = {.size = sizeof link};

	TELLS(aioqueue_new(0, 0), EINVAL, "aioqueue_new: most and most_bytes are both 0");
	TELLS(aioservice_new(&service), EINVAL, "service: no handler");
	TELLS(aiolink_new(&link), EINVAL, "an address or an end is needed");
	TELLS(aioconn_connect("localhost:1", NULL, AIOIPC_NOW), EINVAL,
	      "neither tcp://host:port nor unix:///path");
	TELLS(aioconn_connect(NULL, NULL, AIOIPC_NOW), EINVAL, "no address");
	TELLS(aiolistener_new("tcp://*:0", base, NULL, NULL, NULL), EINVAL, "no base or no callback");
	TELLS(aiolistener_new("tcp://", base, NULL, on_peer, NULL), EINVAL, "listen on tcp://: ");
	event_base_free(base);
}

/* In a child of its own, since the environment is read once: all that it writes to stderr. */
static void child_says(const char *set, const char *value, void (*body)(void), char *text, size_t size)
{
	int fd[2];
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	must(pipe(fd));
	pid = must(fork());
	if (pid == 0) {
		must(dup2(fd[1], 2));
		must(close(fd[0]));
		must(setenv(set, value, 1));
		body();
		_exit(0);
	}
	must(close(fd[1]));
	while (len < size - 1 && (n = must(read(fd[0], text + len, size - 1 - len))) > 0)
		len += (size_t)n;
	text[len] = '\0';
	must(close(fd[0]));
	expect_exit(pid, 0);
}

static void be_wrong(void)
{
	aioqueue_new(0, 0);
}

static void be_wrong_with_a_log(void)
{
	aioipc_set_log(on_log, NULL);
	aioqueue_new(0, 0);
	ck_assert(logged[0] != '\0');
}

TEST(the_log_goes_to_stderr_if_it_is_asked_for)
{
	char text[1000], due[200];

	child_says("AIOIPC_LOG", "1", be_wrong, text, sizeof text);
	snprintf(due, sizeof due,
		 ": aioqueue_new: most and most_bytes are both 0: one must bound the queue\n");
	ck_assert_int_eq(strncmp(text, "aioipc ", 7), 0);
	ck_assert_ptr_nonnull(strstr(text, due));
	ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
	child_says("AIOIPC_LOG", "1", be_wrong_with_a_log, text, sizeof text);
	ck_assert_str_eq(text, "");
	child_says("AIOIPC_LOG", "0", be_wrong, text, sizeof text);
	ck_assert_str_eq(text, "");
	child_says("OTHER", "1", be_wrong, text, sizeof text);
	ck_assert_str_eq(text, "");
}

static void be_wrong_without_a_reader(void)
{
	int fd[2];

	must(pipe(fd));
	must(close(fd[0]));
	must(dup2(fd[1], 2));
	aioqueue_new(0, 0);
}

TEST(a_log_that_nobody_reads_is_no_reason_to_die)
{
	char text[100];

	child_says("AIOIPC_LOG", "1", be_wrong_without_a_reader, text, sizeof text);
}

static void talk_a_little(void)
{
	struct pair p = pair();
	struct aiomsg *m;
	static char large[5000];

	memset(large, 'x', sizeof large);
	must(aioconn_send(p.a, "siA(i)", "the \033 answer", 42, (int32_t[]){1, 2}, (size_t)2));
	must(aioconn_send_bytes(p.a, large, sizeof large));
	must(aioconn_recv(p.b, &m, AIOIPC_FOREVER));
	aiomsg_free(m);
	must(aioconn_close(p.a, AIOIPC_FOREVER));
	aioconn_abort(p.b);
}

/* Of a unix socket the peer is a process: here the same one. */
TEST(the_trace_of_level_2_has_values_time_and_peer)
{
	char text[8000], line[200];
	unsigned h, m, s, us, pid, fd, peer;
	const char *more;

	child_says("AIOIPC_TRACE", "2", talk_a_little, text, sizeof text);
	ck_assert_int_eq(sscanf(text, "aioipc %u %2u:%2u:%2u.%6uZ: fd %u (process %u) %199[^\n]", &pid, &h,
				&m, &s, &us, &fd, &peer, line),
			 8);
	ck_assert_str_eq(line, "> siA(i) \"the \\x1b answer\" 42 [ 1 2 ], 47 bytes, 0 descriptors");
	ck_assert_ptr_nonnull(
		strstr(text, ") < siA(i) \"the \\x1b answer\" 42 [ 1 2 ], 47 bytes, 0 descriptors\n"));
	more = strstr(text, "> \"xxxx");
	ck_assert_ptr_nonnull(more);
	ck_assert_ptr_nonnull(strstr(more, "xxx..., 5000 bytes, 0 descriptors\n"));
	ck_assert_ptr_nonnull(strstr(text, "> goodbye, 0 bytes"));
	child_says("AIOIPC_TRACE", "3", talk_a_little, text, sizeof text);
	ck_assert_str_eq(text, "");
}
