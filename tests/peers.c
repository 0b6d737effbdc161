/* See peers.h. */
#include "tests/peers.h"

#include <malloc.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int64_t soon(void)
{
	return aioipc_after((int64_t)(40000 * harness_slowness()));
}

bool is_known_here(const char *host)
{
	struct addrinfo *found;
	bool known;
	int fd;

	if (getaddrinfo(host, "0", &(struct addrinfo){.ai_socktype = SOCK_STREAM}, &found) != 0)
		return false;
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	known = fd != -1 && bind(fd, found->ai_addr, found->ai_addrlen) == 0;
	if (fd != -1)
		close(fd);
	freeaddrinfo(found);
	return known;
}

struct event_base *new_base(void)
{
	static struct event_base
		*volatile reachable[64]; /* in a forked child that ends without freeing its copy */
	static unsigned n;

	return reachable[n++ % 64] = must(event_base_new());
}

bool are_pairs_rings(void)
{
	const char *pair = getenv("TEST_PAIR");

	return pair && strcmp(pair, "ring") == 0;
}

void make_ends(enum transport t, struct aioend **a, struct aioend **b)
{
	if (t == PIPE)
		must(aiopipe(b, a));
	else if (t == DUPLEX)
		must(aioduplex(a, b));
	else if (t == RING || are_pairs_rings())
		must(aioring(a, b, 0));
	else
		must(aiosockpair(a, b));
}

struct aioconn *open_end(struct aioend *end, struct event_base *base)
{
	return must(aioend_open(end, base));
}

void open_pair(enum transport t, struct event_base *base, struct aioconn **a, struct aioconn **b)
{
	struct aioend *one, *other;

	make_ends(t, &one, &other);
	*a = open_end(one, base);
	*b = open_end(other, base);
}

/* DUPLEX has two numbers, which a raw peer here has no use for. */
static int raw_side(enum transport t, struct event_base *base, struct aioconn **c, bool reads)
{
	struct aioend *a, *b;
	int rfd, wfd;

	must(t == PIPE ? aiopipe(&b, &a) : aiosockpair(&a, &b));
	*c = open_end(reads ? a : b, base);
	must(aioend_release(reads ? b : a, &rfd, &wfd));
	return reads ? rfd : wfd;
}

int raw_peer(enum transport t, struct event_base *base, struct aioconn **c)
{
	return raw_side(t, base, c, false);
}

int raw_reader(enum transport t, struct event_base *base, struct aioconn **c)
{
	return raw_side(t, base, c, true);
}

static ssize_t put_some(int fd, const void *data, size_t len)
{
	ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

	return n == -1 && errno == ENOTSOCK ? write(fd, data, len) : n;
}

bool put_try(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = put_some(fd, at, len);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

void put(int fd, const void *data, size_t len)
{
	if (!put_try(fd, data, len))
		ck_abort_msg("writing by hand: %s", strerror(errno));
}

size_t make_frame(unsigned char *to, unsigned kind, unsigned nfds, const void *payload, size_t len)
{
	for (int i = 0; i < 4; i++)
		to[i] = (unsigned char)(len >> 8 * i);
	to[4] = (unsigned char)kind;
	to[5] = (unsigned char)nfds;
	to[6] = to[7] = 0;
	if (len > 0)
		memcpy(to + HEADER_LEN, payload, len);
	return HEADER_LEN + len;
}

void put_frame(int fd, unsigned kind, unsigned nfds, const void *payload, size_t len)
{
	unsigned char *frame = must(malloc(HEADER_LEN + len));

	put(fd, frame, make_frame(frame, kind, nfds, payload, len));
	free(frame);
}

void put_fds(int fd, const void *data, size_t len, const int *fds, unsigned n)
{
	size_t room = CMSG_SPACE(n * sizeof(int));
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_controllen = room};
	struct cmsghdr *c;

	msg.msg_control = must(calloc(1, room));
	c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	ck_assert_int_eq(must(sendmsg(fd, &msg, MSG_NOSIGNAL)), (ssize_t)len);
	free(msg.msg_control);
}

size_t get(int fd, void *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(fd, (char *)buf + got, len - got);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	return got;
}

bool is_readable(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};

	return must(poll(&p, 1, 0)) == 1;
}

ssize_t get_frame(int fd, unsigned *kind, void *buf, size_t room)
{
	unsigned char h[HEADER_LEN];
	size_t len, got = get(fd, h, sizeof h);

	if (got == 0)
		return -1;
	ck_assert_uint_eq(got, sizeof h);
	len = h[0] | (size_t)h[1] << 8 | (size_t)h[2] << 16 | (size_t)h[3] << 24;
	ck_assert_uint_le(len, room);
	ck_assert_uint_eq(get(fd, buf, len), len);
	*kind = h[4];
	return (ssize_t)len;
}

void get_preface(int fd)
{
	char buf[PREFACE_LEN];

	ck_assert_uint_eq(get(fd, buf, sizeof buf), sizeof buf);
	ck_assert_mem_eq(buf, PREFACE, PREFACE_LEN);
}

void expect_frame(int fd, unsigned kind, const char *payload)
{
	char buf[256];
	unsigned got_kind;
	ssize_t n = get_frame(fd, &got_kind, buf, sizeof buf - 1);

	ck_assert_int_ge(n, 0);
	buf[n] = '\0';
	ck_assert_uint_eq(got_kind, kind);
	ck_assert_str_eq(buf, payload);
}

static unsigned char filling(size_t i, unsigned seed)
{
	return (unsigned char)(i * 31 + i / 251 + i / 65521 + seed);
}

void fill(void *to, size_t len, unsigned seed)
{
	unsigned char *p = to;

	for (size_t i = 0; i < len; i++)
		p[i] = filling(i, seed);
}

bool is_filled(const void *data, size_t len, unsigned seed)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		if (p[i] != filling(i, seed))
			return false;
	return true;
}

void send_text(struct aioconn *c, const char *text)
{
	must(aioconn_send_bytes(c, text, strlen(text)));
}

bool is_text(const struct aiomsg *m, const char *text)
{
	size_t len;
	const void *data = aiomsg_bytes(m, &len);

	return len == strlen(text) && !memcmp(data, text, len);
}

void expect_text(struct aioconn *c, const char *text)
{
	struct aiomsg *m;
	size_t len;
	const char *data;

	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	data = aiomsg_bytes(m, &len);
	if (!is_text(m, text))
		ck_abort_msg("got \"%.*s\", \"%s\" was due", (int)len, data, text);
	aiomsg_free(m);
}

void send_fill(struct aioconn *c, size_t len, unsigned seed)
{
	void *data = must(malloc(len + 1));

	fill(data, len, seed);
	must(aioconn_send_bytes(c, data, len));
	free(data);
}

void expect_fill(struct aioconn *c, size_t len, unsigned seed)
{
	struct aiomsg *m;
	size_t got;
	const void *data;

	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	data = aiomsg_bytes(m, &got);
	ck_assert_uint_eq(got, len);
	ck_assert(is_filled(data, len, seed));
	aiomsg_free(m);
}

void expect_end(struct aioconn *c, int error)
{
	struct aiomsg *m = NULL;

	if (error)
		must_fail(aioconn_recv(c, &m, soon()), error);
	else
		ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 0);
	ck_assert_ptr_null(m);
}

static void see_msg(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct seen *s = arg;
	size_t len, at = strlen(s->text);
	const char *data = aiomsg_bytes(m, &len);

	(void)c;
	s->msgs++;
	s->bytes += len;
	if (len < sizeof s->text - at)
		snprintf(s->text + at, sizeof s->text - at, "%.*s ", (int)len, data);
}

static void see_writable(struct aioconn *c, void *arg)
{
	struct seen *s = arg;

	(void)c;
	s->writable++;
}

static void see_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct seen *s = arg;

	s->closes++;
	s->cause = cause;
	s->msgs_at_close = s->msgs;
	snprintf(s->why, sizeof s->why, "%s", aioconn_why(c));
	if (!s->stay)
		aioconn_abort(c);
}

void see(struct aioconn *c, struct seen *s)
{
	must(aioconn_set_callbacks(c, see_msg, see_writable, see_close, s));
}

void see_end_only(struct aioconn *c, struct seen *s)
{
	must(aioconn_set_callbacks(c, NULL, see_writable, see_close, s));
}

void run_until(struct event_base *base, const unsigned *n, unsigned least)
{
	while (*n < least)
		if (must(event_base_loop(base, EVLOOP_ONCE)) == 1)
			ck_abort_msg("the loop has nothing to wait for, %u of %u came", *n, least);
}

void run_now(struct event_base *base)
{
	for (int i = 0; i < 8; i++)
		must(event_base_loop(base, EVLOOP_NONBLOCK));
}

pid_t start_child(void (*body)(struct aioend *end, void *arg), struct aioend *end, void *arg)
{
	pid_t pid;

	must(aioend_detach(end));
	pid = must(fork());
	if (pid == 0) {
		body(end, arg);
		_exit(0);
	}
	aioend_free(end);
	return pid;
}

void chatter(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);
	struct aiomsg *m;

	(void)arg;
	for (uint64_t i = 0;; i++) {
		must(aioconn_send(c, "Us", i, "some text to fill the message with"));
		if (i % CHATTER_WINDOW == CHATTER_WINDOW - 1) {
			ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
			aiomsg_free(m);
		}
	}
}

void expect_exit(pid_t pid, int status)
{
	int got;

	ck_assert_int_eq(must(waitpid(pid, &got, 0)), pid);
	if (!WIFEXITED(got) || WEXITSTATUS(got) != status)
		ck_abort_msg("a child ended with 0x%x, exit status %d was due", (unsigned)got, status);
}

void expect_killed(pid_t pid, int sig)
{
	int got;

	ck_assert_int_eq(must(waitpid(pid, &got, 0)), pid);
	ck_assert(WIFSIGNALED(got));
	ck_assert_int_eq(WTERMSIG(got), sig);
}

size_t heap_in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

void spin_until(const volatile int *flag)
{
	const struct timespec nap = {0, 200000};

	while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE))
		nanosleep(&nap, NULL);
}
