/* Who is told to be at fault when reading or writing fails: the peer, or this process and its system, each with the kernel's errno. */
#include "tests/peers.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int reading, writing; /* the error that it gives; 0 */
static int passing;          /* what passing the descriptor @unfit gives */
static int unfit = -1;

static bool fails(int error)
{
	if (error)
		errno = error;
	return error;
}

#define WRAP(name, params, args, error)                                                                      \
	ssize_t __real_##name params;                                                                        \
	ssize_t __wrap_##name params;                                                                        \
	ssize_t __wrap_##name params                                                                         \
	{                                                                                                    \
		return fails(error) ? -1 : __real_##name args;                                               \
	}

WRAP(read, (int fd, void *buf, size_t n), (fd, buf, n), reading)
WRAP(readv, (int fd, const struct iovec *iov, int n), (fd, iov, n), reading)
WRAP(recv, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags), reading)
WRAP(recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), reading)
WRAP(writev, (int fd, const struct iovec *iov, int n), (fd, iov, n), writing)
WRAP(pwritev2, (int fd, const struct iovec *iov, int n, off_t at, int flags), (fd, iov, n, at, flags),
     writing)
WRAP(send, (int fd, const void *buf, size_t n, int flags), (fd, buf, n, flags), writing)

static bool is_unfit(const struct msghdr *m)
{
	const struct cmsghdr *cm = m->msg_controllen ? CMSG_FIRSTHDR(m) : NULL;
	struct stat one, other;
	int fd;

	if (!cm || unfit == -1)
		return false;
	memcpy(&fd, CMSG_DATA(cm), sizeof fd);
	return fstat(fd, &one) == 0 && fstat(unfit, &other) == 0 && one.st_dev == other.st_dev &&
	       one.st_ino == other.st_ino;
}

ssize_t __real_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
	if (fails(writing) || (is_unfit(m) && fails(passing)))
		return -1;
	return __real_sendmsg(fd, m, flags);
}

/* What the kernel may say, and whom it blames. */
static const struct {
	int error;
	enum aioconn_cause cause;
	const char *why;
} faults[] = {
	{ECONNRESET, AIOCONN_LOST, "reset by the peer"},
	{ETIMEDOUT, AIOCONN_LOST, "timed out"},
	{EHOSTUNREACH, AIOCONN_LOST, "no route"},
	{ENETUNREACH, AIOCONN_LOST, "no route"},
	{ENETDOWN, AIOCONN_LOST, "network is down"},
	{EIO, AIOCONN_FAILED, "failed"},
	{ENOSPC, AIOCONN_FAILED, "full"},
	{EDQUOT, AIOCONN_FAILED, "share"},
	{EFBIG, AIOCONN_FAILED, "grow"},
	{EPERM, AIOCONN_FAILED, "forbids"},
	{EBADF, AIOCONN_FAILED, "closed by somebody else"},
	{ENOTUNIQ, AIOCONN_FAILED, "failed"},
};
#define N_FAULTS (sizeof faults / sizeof *faults)

static void expect_words(const char *why, const char *words)
{
	ck_assert_msg(strstr(why, words), "\"%s\" has no \"%s\"", why, words);
}

TEST(what_reading_says_is_told_as_it_is)
{
	struct event_base *base = new_base();

	for (enum transport t = PIPE; t <= PAIR; t++)
		for (size_t i = 0; i < N_FAULTS; i++) {
			struct seen s = {.msgs = 0};
			struct aioconn *c;
			int fd = raw_peer(t, NULL, &c);

			put(fd, PREFACE, PREFACE_LEN);
			put_frame(fd, BYTES, 0, "one", 3);
			expect_text(c, "one");
			put_frame(fd, BYTES, 0, "two", 3);
			reading = faults[i].error;
			expect_end(c, faults[i].error);
			expect_end(c, faults[i].error);
			expect_words(aioconn_why(c), faults[i].why);
			reading = 0;
			if (t != PIPE)
				must_fail(aioconn_send(c, "i", 1),
					  faults[i].error == ECONNRESET ? EPIPE : faults[i].error);
			aioconn_abort(c);
			close(fd);

			fd = raw_peer(t, base, &c);
			see(c, &s);
			put(fd, PREFACE, PREFACE_LEN);
			reading = faults[i].error;
			run_until(base, &s.closes, 1);
			reading = 0;
			ck_assert_int_eq(s.cause, faults[i].cause);
			close(fd);
		}
	event_base_free(base);
}

/* Memory may be there a little later, and nothing is lost. */
TEST(a_read_that_lacks_memory_is_made_again)
{
	static const int errors[] = {ENOMEM, ENOBUFS};

	for (enum transport t = PIPE; t <= PAIR; t++)
		for (int i = 0; i < 2; i++) {
			struct aioconn *c;
			struct aiomsg *m;
			int fd = raw_peer(t, NULL, &c);

			put(fd, PREFACE, PREFACE_LEN);
			put_frame(fd, BYTES, 0, "one", 3);
			reading = errors[i];
			must_fail(aioconn_recv(c, &m, soon()), ENOMEM);
			reading = 0;
			expect_text(c, "one");
			aioconn_abort(c);
			close(fd);
		}
}

static int as_sends_say(int error)
{
	return error == ECONNRESET ? EPIPE : error;
}

TEST(what_writing_says_is_told_as_it_is)
{
	for (enum transport t = PIPE; t <= PAIR; t++)
		for (size_t i = 0; i < N_FAULTS; i++) {
			int error = as_sends_say(faults[i].error);
			struct aioconn *a, *b;

			open_pair(t, NULL, &a, &b);
			writing = faults[i].error;
			must_fail(aioconn_send(a, "i", 1), error);
			writing = 0;
			must_fail(aioconn_send(a, "i", 1), error);
			must_fail(aioconn_flush(a, soon()), error);
			expect_words(aioconn_why(a), faults[i].why);
			must_fail(aioconn_close(a, soon()), error);
			aioconn_abort(b);
		}
}

TEST(what_writing_says_is_told_on_a_loop)
{
	struct event_base *base = new_base();

	for (size_t i = 0; i < N_FAULTS; i++) {
		int error = as_sends_say(faults[i].error);
		struct seen s = {.stay = true};
		struct aioconn *a, *b;

		open_pair(PIPE, base, &a, &b);
		see(a, &s);
		must(aioconn_cork(a, true));
		must(aioconn_send(a, "i", 1));
		writing = faults[i].error;
		must_fail(aioconn_cork(a, false), error);
		run_until(base, &s.closes, 1);
		writing = 0;
		ck_assert_int_eq(s.cause, faults[i].cause);
		must_fail(aioconn_send(a, "i", 1), error);
		aioconn_abort(a);
		aioconn_abort(b);

		s = (struct seen){.stay = true};
		open_pair(PIPE, base, &a, &b);
		see(a, &s);
		must(aioconn_cork(a, true));
		must(aioconn_send(a, "i", 1));
		writing = faults[i].error;
		must(aioconn_finish(a, soon()));
		run_until(base, &s.closes, 1);
		writing = 0;
		ck_assert_int_eq(s.cause, faults[i].cause);
		aioconn_abort(b);
	}
	event_base_free(base);
}

/* The write learns of it, and the read then says "end of file": that is not the end of a stream of bytes. */
TEST(what_a_write_learned_of_a_socket_is_told_by_reads)
{
	struct aioconn *c;
	char buf[10];
	int fd = raw_peer(PAIR, NULL, &c);

	must(aioconn_set_framing(c, AIOCONN_BYTES, NULL));
	writing = EHOSTUNREACH;
	must_fail(aioconn_send_bytes(c, "x", 1), EHOSTUNREACH);
	writing = 0;
	put(fd, "last", 4);
	close(fd);
	ck_assert_int_eq(must(aioconn_read(c, buf, sizeof buf, soon())), 4);
	must_fail((int)aioconn_read(c, buf, sizeof buf, soon()), EHOSTUNREACH);
	expect_words(aioconn_why(c), "no route");
	aioconn_abort(c);
}

static struct aioconn *adopt_writer(const char *path, int flags)
{
	int fd = must(open(path, flags | O_WRONLY | O_CLOEXEC, 0600));
	struct aioend *end = must(aioend_from_fds(-1, fd));
	struct aioconn *c = must(aioend_open(end, NULL));

	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	return c;
}

TEST(a_full_device_is_told)
{
	struct aioconn *c = adopt_writer("/dev/full", 0);

	must_fail(aioconn_send_bytes(c, "x", 1), ENOSPC);
	must_fail(aioconn_flush(c, soon()), ENOSPC);
	expect_words(aioconn_why(c), "full");
	must_fail(aioconn_close(c, soon()), ENOSPC);
}

/* Its user may not make a file as large: SIGXFSZ, which would end the process, does not come. */
TEST(a_file_over_its_limit_is_told)
{
	static char line[3000];
	char path[] = "/tmp/aioipc-blame.XXXXXX";
	struct rlimit was, l;
	struct aioconn *c;
	int fd;

	fd = must(mkstemp(path));
	must(close(fd));
	c = adopt_writer(path, 0);
	must(unlink(path));
	memset(line, 'x', sizeof line);
	must(getrlimit(RLIMIT_FSIZE, &was));
	l = (struct rlimit){5000, was.rlim_max};
	must(setrlimit(RLIMIT_FSIZE, &l));
	must(aioconn_send_bytes(c, line, sizeof line));
	must_fail(aioconn_send_bytes(c, line, sizeof line), EFBIG);
	must(setrlimit(RLIMIT_FSIZE, &was));
	must_fail(aioconn_close(c, soon()), EFBIG);
}

/* A terminal whose program has ended: Linux says EIO to who reads its master. */
TEST(the_end_of_a_terminal_is_an_end)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	struct aioend *end;
	struct aioconn *c;
	char name[100];

	if (master == -1 || grantpt(master) == -1 || unlockpt(master) == -1 ||
	    ptsname_r(master, name, sizeof name)) {
		fprintf(stderr, "no terminals here: %s\n", strerror(errno));
		if (master != -1)
			close(master);
		return;
	}
	slave = must(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
	put(slave, "one\ntwo\n", 8);
	must(close(slave));
	end = must(aioend_from_fds(master, master));
	c = must(aioend_open(end, NULL));
	must(aioconn_set_framing(c, AIOCONN_LINES, "\r\n"));
	expect_text(c, "one");
	expect_text(c, "two");
	expect_end(c, 0);
	must(aioconn_close(c, soon()));
}

/* No number is left here for what the peer sent: no fault of the peer's. */
TEST(descriptors_without_a_number_here_are_no_fault_of_the_peer)
{
	struct event_base *base;

	if (harness_in_valgrind())
		return;
	base = new_base();
	for (int k = 0; k < 2; k++) {
		struct seen s = {.stay = true};
		struct rlimit was, l;
		struct aioconn *a, *b;

		open_pair(PAIR, k ? base : NULL, &a, &b);
		must(aioconn_allow_fds(b, 8));
		see_end_only(b, &s);
		send_text(a, "before");
		must(aioconn_send_fd(a, 0, "i", 1));
		if (k)
			must(aioconn_flush(a, soon()));
		must(getrlimit(RLIMIT_NOFILE, &was));
		l = was;
		l.rlim_cur = (rlim_t)must(dup(0));
		must(close((int)l.rlim_cur));
		must(setrlimit(RLIMIT_NOFILE, &l));
		if (k)
			run_until(base, &s.closes, 1);
		expect_text(b, "before");
		expect_end(b, EMFILE);
		must(setrlimit(RLIMIT_NOFILE, &was));
		ck_assert_int_eq(s.cause, AIOCONN_FAILED);
		expect_words(aioconn_why(b), "no number");
		aioconn_abort(a);
		aioconn_abort(b);
	}
	event_base_free(base);
}

/* Messages whose descriptors the kernel does not pass. */

static void refuse(int error)
{
	char path[] = "/tmp/aioipc-blame.XXXXXX";

	unfit = must(mkostemp(path, O_CLOEXEC));
	must(unlink(path));
	passing = error;
}

static void allow(void)
{
	must(close(unfit));
	unfit = -1;
}

static void remember(const char *text, void *arg)
{
	strncat(arg, text, 200 - strlen(arg));
}

static struct aiomsg *with_fd(int fd, const char *text, size_t len)
{
	struct aiomsg *m = must(aiomsg_new_bytes(text, len));

	must(aiomsg_add_fd(m, fd));
	return m;
}

static void send_one(struct aioconn *c, const char *text, size_t len, int fd)
{
	struct aiomsg *m = fd == -1 ? must(aiomsg_new_bytes(text, len)) : with_fd(fd, text, len);

	must(aioconn_send_msg(c, m));
	aiomsg_free(m);
}

static void expect_refusal(struct aioconn *c, const char *text, size_t len, int error)
{
	struct aiomsg *m = with_fd(unfit, text, len);
	int before = (int)harness_count_fds();

	must_fail(aioconn_send_msg(c, m), error);
	ck_assert_int_eq((int)harness_count_fds(), before);
	aiomsg_free(m);
}

static char large[100000];

/* What follows goes on, the descriptors of others too. */
static void expect_rest(struct aioconn *b, const char *text, unsigned fds)
{
	struct aiomsg *m;

	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	ck_assert(is_text(m, text));
	ck_assert_uint_eq(aiomsg_fds(m), fds);
	aiomsg_free(m);
}

static void refuse_one_by_one(struct event_base *base, bool first, size_t len)
{
	static const int errors[] = {EINVAL, EPERM, EBADF};

	for (int i = 0; i < 3; i++) {
		struct aioconn_stats stats = {.size = sizeof stats};
		struct aioconn *a, *b;

		open_pair(PAIR, base, &a, &b);
		must(aioconn_allow_fds(b, 8));
		refuse(errors[i]);
		if (!first)
			send_one(a, "before", 6, -1);
		expect_refusal(a, large, len, errors[i]);
		send_one(a, "after", 5, -1);
		send_one(a, "with", 4, 0);
		expect_refusal(a, large, len, errors[i]);
		allow();
		must(aioconn_flush(a, soon()));
		if (!first)
			expect_rest(b, "before", 0);
		expect_rest(b, "after", 0);
		expect_rest(b, "with", 1);
		must(aioconn_stats(a, &stats));
		ck_assert_uint_eq(stats.msgs_out, first ? 2 : 3);
		ck_assert_uint_eq(stats.refused, 2);
		ck_assert_uint_eq(stats.queued_out, 0);
		must(aioconn_close(a, base ? AIOIPC_NOW : soon()));
		expect_end(b, 0);
		aioconn_abort(b);
	}
}

TEST(a_message_that_cannot_be_passed_is_refused_alone)
{
	struct event_base *base = new_base();
	static const size_t lens[] = {0, 10, 5000, sizeof large};

	for (int i = 0; i < 4; i++)
		for (int first = 0; first < 2; first++) {
			refuse_one_by_one(NULL, first, lens[i]);
			refuse_one_by_one(base, first, lens[i]);
		}
	event_base_free(base);
}

/* It was taken, since it had to wait: then the log tells, and the statistics. */
static void refuse_later(struct event_base *base, bool first, size_t len)
{
	struct aioconn_stats stats = {.size = sizeof stats};
	struct aioconn *a, *b;
	char said[256] = "";

	open_pair(PAIR, base, &a, &b);
	must(aioconn_allow_fds(b, 8));
	refuse(EINVAL);
	must(aioconn_cork(a, true));
	if (!first)
		send_one(a, "before", 6, -1);
	send_one(a, large, len, unfit);
	send_one(a, "after", 5, -1);
	send_one(a, "with", 4, 0);
	send_one(a, large, len, unfit);
	send_one(a, large, len, unfit);
	send_one(a, "last", 4, -1);
	aioipc_set_log(remember, said);
	must(aioconn_cork(a, false));
	aioipc_set_log(NULL, NULL);
	allow();
	must(aioconn_flush(a, soon()));
	expect_words(said, "Invalid argument");
	if (!first)
		expect_rest(b, "before", 0);
	expect_rest(b, "after", 0);
	expect_rest(b, "with", 1);
	expect_rest(b, "last", 0);
	must(aioconn_stats(a, &stats));
	ck_assert_uint_eq(stats.refused, 3);
	ck_assert_uint_eq(stats.queued_out, 0);
	must(aioconn_close(a, base ? AIOIPC_NOW : soon()));
	expect_end(b, 0);
	aioconn_abort(b);
}

TEST(a_message_that_had_to_wait_and_cannot_be_passed_is_told_to_the_log)
{
	struct event_base *base = new_base();
	static const size_t lens[] = {0, 10, 5000, sizeof large};

	for (int i = 0; i < 4; i++)
		for (int first = 0; first < 2; first++) {
			refuse_later(NULL, first, lens[i]);
			refuse_later(base, first, lens[i]);
		}
	event_base_free(base);
}

static void expect_item(struct aioqueue *q, const char *text)
{
	struct aiomsg *m;

	ck_assert_int_eq(must(aioqueue_get(q, &m, soon())), 1);
	ck_assert(is_text(m, text));
	ck_assert_uint_eq(aiomsg_fds(m), 0);
	aiomsg_free(m);
}

static void put_item(struct aioqueue *q, const char *text, int fd)
{
	struct aiomsg *m =
		fd == -1 ? must(aiomsg_new_bytes(text, strlen(text))) : with_fd(fd, text, strlen(text));

	must(aioqueue_put(q, m, soon()));
	aiomsg_free(m);
}

/* It would never go, however often the link connects again. */
TEST(a_link_goes_on_behind_a_message_that_cannot_be_passed)
{
	struct aiolink_options o = {.size = sizeof o, .fds = 8, .reconnect_first = 10, .reconnect_most = 100};
	struct aiolink_stats stats = {.size = sizeof stats};
	struct aiolink *server, *client;
	char address[100];

	snprintf(address, sizeof address, "unix:@aioipc-blame-%d", (int)getpid());
	o.address = address;
	o.role = AIOLINK_LISTEN;
	server = must(aiolink_new(&o));
	o.role = AIOLINK_CONNECT;
	client = must(aiolink_new(&o));
	refuse(EINVAL);
	put_item(aiolink_outbox(client), "one", -1);
	put_item(aiolink_outbox(client), "bad", unfit);
	put_item(aiolink_outbox(client), "two", -1);
	must(aiolink_start(server, NULL));
	must(aiolink_start(client, NULL));
	expect_item(aiolink_inbox(server), "one");
	expect_item(aiolink_inbox(server), "two");
	must(aiolink_close(client, soon()));
	must(aiolink_close(server, soon()));
	allow();
}
