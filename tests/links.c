/* See links.h. */
#include "tests/links.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct way {
	void (*body)(struct event_base *base);
	struct event_base *base;
};

static void go_way(void *arg)
{
	const struct way *w = arg;

	w->body(w->base);
}

void both_ways(void (*body)(struct event_base *base))
{
	struct way w = {body, new_base()};

	body(NULL);
	must(aiotask_run(w.base, go_way, &w));
	event_base_free(w.base);
}

struct beside {
	void (*body)(void *arg);
	void *arg;
	struct aiotask *task; /* or a thread, which posts when it is done */
	pthread_t thread;
	struct aioqueue *done;
};

static void *run_thread(void *arg)
{
	struct beside *b = arg;

	b->body(b->arg);
	aioqueue_close(b->done);
	return NULL;
}

struct beside *run_beside(struct event_base *base, void (*body)(void *arg), void *arg)
{
	struct beside *b = must(calloc(1, sizeof *b));

	*b = (struct beside){.body = body, .arg = arg};
	if (base) {
		b->task = must(aiotask_spawn(base, body, arg));
	} else {
		b->done = must(aioqueue_new(1, 0));
		ck_assert_int_eq(pthread_create(&b->thread, NULL, run_thread, b), 0);
	}
	return b;
}

void join_beside(struct beside *b)
{
	struct aiomsg *m;

	if (b->task) {
		must(aiotask_join(b->task, soon()));
	} else {
		ck_assert_int_eq(must(aioqueue_get(b->done, &m, soon())), 0);
		ck_assert_int_eq(pthread_join(b->thread, NULL), 0);
		aioqueue_free(b->done);
	}
	free(b);
}

void nap(int64_t ms)
{
	must(aiotask_sleep(aioipc_after(ms)));
}

static char *text_room(void)
{
	static _Thread_local char room[8][128];
	static _Thread_local unsigned n;

	return room[n++ % 8];
}

static long test_id(void)
{
	static long id;

	return id ? id : (id = (long)getpid());
}

const char *unix_at(unsigned n)
{
	char *text = text_room();

	snprintf(text, 128, "unix:@aioipc-link-%ld-%u", test_id(), n);
	return text;
}

const char *path_at(unsigned n)
{
	char *text = text_room();

	snprintf(text, 128, "unix:///tmp/aioipc-link-%ld-%u", test_id(), n);
	return text;
}

const char *tcp_at(int port)
{
	char *text = text_room();

	snprintf(text, 128, "tcp://127.0.0.1:%d", port);
	return text;
}

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_un un;
};

static socklen_t read_address(const char *text, union address *a)
{
	int port;

	memset(a, 0, sizeof *a);
	if (sscanf(text, "tcp://127.0.0.1:%d", &port) == 1) {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons((uint16_t)port);
		a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof a->in;
	}
	ck_assert_int_eq(strncmp(text, "unix:@", 6), 0);
	a->un.sun_family = AF_UNIX;
	memcpy(a->un.sun_path + 1, text + 6, strlen(text + 6));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(text + 6));
}

int raw_listen(const char *address, int backlog)
{
	union address a;
	socklen_t len = read_address(address, &a);
	int on = 1, fd = must(socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));

	no_raw_peer_over_tls();
	must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
	must(bind(fd, &a.any, len));
	must(listen(fd, backlog));
	return fd;
}

int try_connect(const char *address)
{
	union address a;
	socklen_t len = read_address(address, &a);
	int fd = must(socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));

	no_raw_peer_over_tls();
	if (connect(fd, &a.any, len) == 0)
		return fd;
	close(fd);
	return -1;
}

int raw_connect(const char *address)
{
	return must(try_connect(address));
}

int raw_port(int fd)
{
	union address a;
	socklen_t len = sizeof a;

	must(getsockname(fd, &a.any, &len));
	return ntohs(a.in.sin_port);
}

/* Blocks nobody but the caller: in a task the link that is to come has to run meanwhile. */
void wait_readable(int fd)
{
	while (!is_readable(fd))
		nap(1);
}

int raw_accept(int fd)
{
	wait_readable(fd);
	return must(accept4(fd, NULL, NULL, SOCK_CLOEXEC));
}

enum { CALL = 4, ANSWER_BYTES = 7, CANCEL = 9 };

int begin_talk(int listener)
{
	int fd = raw_accept(listener);

	put(fd, PREFACE, PREFACE_LEN);
	wait_readable(fd);
	get_preface(fd);
	return fd;
}

uint64_t read_call(int fd, int32_t *n)
{
	unsigned char frame[64];
	unsigned kind;
	uint64_t id;

	wait_readable(fd);
	ck_assert_int_ge(get_frame(fd, &kind, frame, sizeof frame), 8);
	ck_assert_uint_eq(kind, CALL);
	memcpy(&id, frame, 8);
	memcpy(n, frame + 8 + 10, 4);
	return id;
}

void write_answer(int fd, uint64_t id, const char *text)
{
	unsigned char frame[64];

	memcpy(frame, &id, 8);
	memcpy(frame + 8, text, strlen(text));
	put_frame(fd, ANSWER_BYTES, 0, frame, 8 + strlen(text));
}

void expect_cancel(int fd, uint64_t id)
{
	unsigned char frame[64];
	unsigned kind;

	wait_readable(fd);
	ck_assert_int_eq(get_frame(fd, &kind, frame, sizeof frame), 8);
	ck_assert_uint_eq(kind, CANCEL);
	ck_assert_int_eq(memcmp(frame, &id, 8), 0);
}

struct aiolink_options options_of(enum aiolink_role role, const char *address, enum aioconn_framing framing)
{
	return (struct aiolink_options){
		.size = sizeof(struct aiolink_options),
		.role = role,
		.address = address,
		.framing = framing,
		.delimiter = framing == AIOCONN_LINES ? "\r\n" : NULL,
		.reconnect_first = 1,
		.reconnect_most = 20,
	};
}

void never_again(struct aiolink_options *o)
{
	o->reconnect_first = o->reconnect_most = 0;
}

struct aiolink *start_link(const struct aiolink_options *o, struct event_base *base)
{
	struct aiolink *l = must(aiolink_new(o));

	must(aiolink_start(l, base));
	return l;
}

struct aiolink *start_listening(const char *address, enum aioconn_framing framing, struct event_base *base)
{
	const struct aiolink_options o = options_of(AIOLINK_LISTEN, address, framing);

	return start_link(&o, base);
}

struct aiolink *start_connecting(const char *address, enum aioconn_framing framing, struct event_base *base)
{
	const struct aiolink_options o = options_of(AIOLINK_CONNECT, address, framing);

	return start_link(&o, base);
}

struct aiolink *start_on_end(enum aioconn_framing framing, struct event_base *base, int *peer)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, NULL, framing);
	struct aioend *other;
	int same;

	make_ends(PAIR, &o.end, &other);
	must(aioend_release(other, peer, &same));
	never_again(&o);
	return start_link(&o, base);
}

void put_word(struct aioqueue *q, const char *text)
{
	struct aiomsg *m = must(aiomsg_new_bytes(text, strlen(text)));

	must(aioqueue_put(q, m, soon()));
	aiomsg_free(m);
}

void put_numbers(struct aioqueue *q, const char *what, unsigned from, unsigned to)
{
	char text[64];

	for (unsigned n = from; n < to; n++) {
		snprintf(text, sizeof text, "%s %u", what, n);
		put_word(q, text);
	}
}

void expect_word(struct aioqueue *q, const char *text)
{
	struct aiomsg *m;
	const char *data;
	size_t len;
	int r = must(aioqueue_get(q, &m, soon()));

	if (r == 0)
		ck_abort_msg("the end, \"%s\" was due", text);
	data = aiomsg_bytes(m, &len);
	if (!is_text(m, text))
		ck_abort_msg("got \"%.*s\", \"%s\" was due", (int)len, data, text);
	aiomsg_free(m);
}

void expect_numbers(struct aioqueue *q, const char *what, unsigned from, unsigned to)
{
	char text[64];

	for (unsigned n = from; n < to; n++) {
		snprintf(text, sizeof text, "%s %u", what, n);
		expect_word(q, text);
	}
}

void expect_queue_end(struct aioqueue *q)
{
	struct aiomsg *m;

	for (int again = 0; again < 3; again++)
		ck_assert_int_eq(must(aioqueue_get(q, &m, soon())), 0);
}

void close_link(struct aiolink *l)
{
	must(aiolink_close(l, soon()));
}

void await_disconnect(const struct aiolink *l)
{
	while (aiolink_state(l) == AIOLINK_CONNECTED)
		nap(1);
}

static void on_state(struct aiolink *l, enum aiolink_state state, void *arg)
{
	struct states *s = arg;
	struct aiomsg *m = must(aiomsg_new("i", (int32_t)state));

	(void)l;
	must(aioqueue_put(s->queue, m, AIOIPC_NOW));
	aiomsg_free(m);
	if (state == AIOLINK_ENDED)
		aioqueue_close(s->queue);
}

void watch_states(struct aiolink *l, struct states *s)
{
	*s = (struct states){.queue = must(aioqueue_new(100000, 0))};
	must(aiolink_on_state(l, on_state, s));
}

static enum aiolink_state next_state(struct states *s)
{
	struct aiomsg *m;
	int32_t state;

	ck_assert_int_eq(must(aioqueue_get(s->queue, &m, soon())), 1);
	must(aiomsg_unpack(m, "i", &state));
	aiomsg_free(m);
	s->count[state]++;
	return (enum aiolink_state)state;
}

void await_state(struct states *s, enum aiolink_state state)
{
	while (next_state(s) != state)
		;
}

void free_states(struct states *s)
{
	aioqueue_free(s->queue);
}

uint64_t stat_connections(const struct aiolink *l)
{
	struct aiolink_stats s = {.size = sizeof s};

	must(aiolink_stats(l, &s));
	return s.connections;
}
