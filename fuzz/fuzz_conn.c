/*
 * A whole connection, fed raw over a socket pair, descriptors included, while its user receives, keeps, pauses and
 * sends: it must end exactly once, and leave no descriptor and no memory behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc.h>

#include "fuzz/stretch.h"

static struct event_base *base;

struct user {
	uint32_t x;
	unsigned closes;
	bool acts;              /* does more than looking */
	struct aiomsg *kept;    /* a call, to be answered never, or late */
	unsigned called, ended; /* calls of ours: each must end once */
};

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void look_at(const struct aiomsg *m)
{
	size_t len, sum = 0;
	const unsigned char *data = aiomsg_bytes(m, &len);
	const char *format = aiomsg_format(m);

	for (size_t i = 0; i < len; i++)
		sum += data[i];
	if (format && !strcmp(format, "s")) {
		const char *s = NULL;

		if (aiomsg_unpack(m, "s", &s) == 0 && s)
			sum += strlen(s);
	}
	(void)!sum;
}

/* A call of the peer: it is dropped, answered, refused, or kept until another one is. */
static void respond(struct aioconn *c, struct aiomsg *m, struct user *u)
{
	struct aiomsg *answer = NULL;
	uint32_t r = stretch_random(&u->x);

	if (!aiomsg_is_call(m))
		return;
	if (r % 4 == 1)
		answer = aiomsg_answer(m, "s", "answer");
	else if (r % 4 == 2)
		answer = aiomsg_answer_error(m, 1 + (int)(r >> 8 & 0xff), "refusal");
	if (answer && r & 0x10)
		(void)aioconn_send_msg(c, answer);
	else if (answer)
		must(aiomsg_send_answer(answer) == 0 || errno == EALREADY); /* a kept one comes twice */
	aiomsg_free(answer);
	if (r % 4 != 3 || !u->acts)
		return;
	aiomsg_free(u->kept);
	u->kept = aiomsg_ref(m);
}

static void on_answer(struct aiomsg *answer, int error, void *arg)
{
	struct user *u = arg;

	must(answer || error);
	must(!answer || aiomsg_error(answer, NULL) == error);
	u->ended++;
}

static void call(struct aioconn *c, struct user *u, uint32_t r)
{
	struct aiomsg *m = aiomsg_new("s", "call");
	struct aiocall *made;

	must(m != NULL);
	made = aioconn_call_later(c, m, on_answer, u, r & 1 ? AIOIPC_NOW : AIOIPC_FOREVER);
	aiomsg_free(m);
	u->called += made != NULL;
	if (made && r & 2)
		must(aiocall_cancel(made) == 0);
}

static void act(struct aioconn *c, struct user *u)
{
	uint32_t r = stretch_random(&u->x);

	if (!u->acts)
		return;
	if (r % 7 == 0)
		aioconn_pause(c);
	else if (r % 7 == 1)
		aioconn_resume(c);
	else if (r % 7 == 2)
		aioconn_keep(c);
	if (r & 0x100)
		(void)aioconn_send_bytes(c, "answer", 6);
	if (r & 0x800)
		call(c, u, r >> 12);
	if (r & 0x200)
		(void)aioconn_cork(c, r & 0x400);
}

static void on_msg(struct aioconn *c, struct aiomsg *m, void *arg)
{
	look_at(m);
	respond(c, m, arg);
	act(c, arg);
}

static void on_writable(struct aioconn *c, void *arg)
{
	act(c, arg);
}

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct user *u = arg;

	must(u->closes++ == 0);
	must(cause != AIOCONN_BAD || aioconn_why(c)[0]);
}

static void receive(struct aioconn *c, enum aioconn_framing f, struct user *u)
{
	uint32_t r = stretch_random(&u->x);
	struct aiomsg *m = NULL;
	const char *line;
	char buf[300];

	if (f != AIOCONN_MESSAGES && (r & 3) == 0)
		(void)aioconn_read(c, buf, r >> 8 & 255, AIOIPC_NOW);
	else if (f != AIOCONN_MESSAGES && (r & 3) == 1)
		(void)aioconn_read_exactly(c, buf, r >> 8 & 255, AIOIPC_NOW);
	else if (f != AIOCONN_MESSAGES && (r & 0x10003) == 0x10002)
		(void)aioconn_read_until(c, "ab", 2, 1 + (r >> 8 & 255), &line, AIOIPC_NOW);
	else if (f != AIOCONN_MESSAGES && (r & 0x30003) == 0x20002 &&
		 aioconn_read_all(c, &m, 1 + (r >> 8 & 255), AIOIPC_NOW) >= 0)
		aiomsg_free(m);
	else if (f != AIOCONN_MESSAGES && (r & 3) == 2)
		(void)aioconn_read_line(c, &line, AIOIPC_NOW);
	else if (aioconn_recv(c, &m, AIOIPC_NOW) == 1) {
		look_at(m);
		respond(c, m, u);
		aiomsg_free(m);
		if (u->acts && r & 0x40000)
			call(c, u, r >> 20);
	}
}

static void turns(int n)
{
	while (n-- > 0)
		must(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
}

/* Up to 255 descriptors travel with the first byte. False when nobody reads any more. */
static bool put(int fd, const unsigned char *data, size_t len, unsigned nfds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(253 * sizeof(int))];
	} control;
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (nfds) {
		memset(&control, 0, sizeof control);
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(nfds * sizeof(int));
		for (unsigned i = 0; i < nfds; i++)
			memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &(int){0}, sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno == EAGAIN;
}

/* What the connection sent is thrown away, so that its queue moves. */
static void drain(int fd)
{
	char buf[4096];

	while (recv(fd, buf, sizeof buf, MSG_DONTWAIT) > 0)
		continue;
}

static void feed(struct aioconn *c, int fd, const unsigned char *data, size_t len, unsigned options,
		 struct user *u)
{
	for (size_t at = 0; at < len;) {
		uint32_t r = stretch_random(&u->x);
		size_t n = 1 + (r >> 8) % ((options & 4) && (r & 96) ? 40 : 60000);
		bool with_fds = options & 8 && (r & 7) == 0;

		n = n < len - at ? n : len - at;
		if (!put(fd, data + at, n, with_fds ? 1 + (r >> 4 & 3) : 0))
			break;
		at += n;
		if (options & 16)
			turns(1);
		if (!(options & 32))
			receive(c, (enum aioconn_framing)(options % 3), u);
		if (r & 8)
			drain(fd);
	}
}

/* The stream ends, and the end is told, whatever came before. */
static void finish(struct aioconn *c, int fd, unsigned options, struct user *u)
{
	struct aiomsg *m;
	int r;

	u->acts = false;
	aiomsg_free(u->kept);
	drain(fd);
	close(fd);
	aioconn_resume(c);
	if (options & 16)
		turns(300);
	if (!(options & 32)) {
		while ((r = aioconn_recv(c, &m, AIOIPC_NOW)) == 1)
			aiomsg_free(m);
		must(r == 0 || errno != ETIMEDOUT);
		if (options & 16)
			turns(3);
	}
	if (options & 16)
		must(u->closes == 1);
	if (options & 64)
		(void)aioconn_close(c, AIOIPC_NOW);
	else
		aioconn_abort(c);
	must(u->closes == 1);
	must(u->ended == u->called);
}

static int lowest_free(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static struct aioconn *open_conn(int *fd, unsigned options, struct user *u)
{
	enum aioconn_framing f = (enum aioconn_framing)(options % 3);
	const struct aioconn_limits pieces = {.size = sizeof pieces, .line = 50, .long_lines = true};
	struct aioend *one, *other;
	struct aioconn *c;
	int wfd;

	must(aiosockpair(&one, &other) == 0);
	must(aioend_release(one, fd, &wfd) == 0);
	c = aioend_open(other, options & 16 ? base : NULL);
	must(c != NULL);
	must(aioconn_set_framing(c, f, options & 128 ? "\r\n" : NULL) == 0);
	if (options & 64)
		must(aioconn_set_limits(c, &pieces) == 0);
	if (options & 8)
		must(aioconn_allow_fds(c, 1 + options % 16) == 0);
	must(aioconn_set_send_wait(c, 0) == 0);
	must(aioconn_set_callbacks(c, options & 32 ? on_msg : NULL, on_writable, on_close, u) == 0);
	return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct user u = {.acts = true};
	unsigned options;
	struct aioconn *c;
	unsigned char *stream;
	size_t len;
	int fd, low;

	if (size < 2)
		return 0;
	if (!base)
		base = event_base_new();
	options = data[0];
	if (options & 32)
		options |= 16; /* callbacks come from a loop here */
	u.x = 1u + data[1];
	low = lowest_free();
	stream = stretch(data + 2, size - 2, &len);
	c = open_conn(&fd, options, &u);
	feed(c, fd, stream, len, options, &u);
	finish(c, fd, options, &u);
	free(stream);
	turns(1);
	must(lowest_free() == low);
	return 0;
}
