/* Many links at once on one base, of every framing; and descriptors in messages. */
#include "tests/links.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LINKS = 20, EACH = 500 };

static const enum aioconn_framing framings[] = {AIOCONN_MESSAGES, AIOCONN_LINES, AIOCONN_BYTES};

/* One pair: it sends from the one side, and the other side counts. All by callbacks of the one loop. */
struct pair {
	struct aiolink *from, *to;
	enum aioconn_framing framing;
	struct aiomsg *held; /* was refused for want of room */
	unsigned sent, got;
	size_t bytes_sent, bytes_got;
	unsigned *done;
};

static struct aiomsg *next_message(struct pair *p)
{
	struct aiomsg *m = p->held;
	char text[64];

	p->held = NULL;
	if (m)
		return m;
	snprintf(text, sizeof text, "message %u", p->sent);
	return must(aiomsg_new_bytes(text, strlen(text)));
}

static void send_more(struct aioqueue *q, void *arg)
{
	struct pair *p = arg;

	while (p->sent < EACH) {
		struct aiomsg *m = next_message(p);
		size_t len;

		if (aioqueue_put(q, m, AIOIPC_NOW) == -1) {
			ck_assert_int_eq(errno, ETIMEDOUT);
			p->held = m;
			return;
		}
		aiomsg_bytes(m, &len);
		p->bytes_sent += len;
		p->sent++;
		aiomsg_free(m);
	}
	aioqueue_close(q);
}

static void take(struct aioqueue *q, void *arg)
{
	struct pair *p = arg;
	struct aiomsg *m;
	char due[64];
	size_t len;

	if (must(aioqueue_get(q, &m, AIOIPC_NOW)) == 0) {
		++*p->done;
		return;
	}
	snprintf(due, sizeof due, "message %u", p->got);
	if (p->framing != AIOCONN_BYTES)
		ck_assert(is_text(m, due));
	aiomsg_bytes(m, &len);
	p->bytes_got += len;
	p->got++;
	aiomsg_free(m);
}

static void start_pair(struct pair *p, unsigned n, struct event_base *base, unsigned *done)
{
	struct aiolink_options o;

	*p = (struct pair){.framing = framings[n % 3], .done = done};
	o = options_of(AIOLINK_LISTEN, n % 2 ? tcp_at(0) : unix_at(n), p->framing);
	never_again(&o);
	o.inbox = must(aioqueue_new(30, 0));
	p->to = start_link(&o, base);
	aioqueue_free(o.inbox);
	o = options_of(AIOLINK_CONNECT, n % 2 ? tcp_at(aiolink_port(p->to)) : unix_at(n), p->framing);
	o.outbox = must(aioqueue_new(30, 0));
	p->from = start_link(&o, base);
	aioqueue_free(o.outbox);
	must(aioqueue_watch(aiolink_inbox(p->to), base, take, NULL, p));
	must(aioqueue_watch(aiolink_outbox(p->from), base, NULL, send_more, p));
}

TEST_WITHIN(ten_thousand_messages_through_twenty_links_on_one_base, 30)
{
	struct event_base *base = new_base();
	struct pair pair[LINKS];
	unsigned done = 0;

	for (unsigned n = 0; n < LINKS; n++)
		start_pair(&pair[n], n, base, &done);
	run_until(base, &done, LINKS);
	for (unsigned n = 0; n < LINKS; n++) {
		struct pair *p = &pair[n];

		ck_assert_uint_eq(p->sent, EACH);
		ck_assert_uint_eq(p->bytes_got, p->bytes_sent);
		if (p->framing != AIOCONN_BYTES)
			ck_assert_uint_eq(p->got, EACH);
		ck_assert_int_eq(aiolink_error(p->to), 0);
		close_link(p->from);
		close_link(p->to);
	}
	event_base_free(base);
}

/* The same in threads of their own: forty of them, and as many that put and get. */
static void pour(void *arg)
{
	struct aiolink *l = arg;

	put_numbers(aiolink_outbox(l), "drop", 0, EACH);
	aioqueue_close(aiolink_outbox(l));
}

static void drink(void *arg)
{
	struct aiolink *l = arg;

	expect_numbers(aiolink_inbox(l), "drop", 0, EACH);
}

static void pour_and_drink(struct event_base *base)
{
	struct aiolink *l[2 * LINKS];
	struct beside *b[2 * LINKS];

	for (unsigned n = 0; n < 2 * LINKS; n++) {
		struct aiolink_options o =
			options_of(n % 2 ? AIOLINK_LISTEN : AIOLINK_CONNECT, unix_at(n / 2),
				   n % 3 ? AIOCONN_MESSAGES : AIOCONN_LINES);

		o.framing = n / 2 % 2 ? AIOCONN_MESSAGES : AIOCONN_LINES;
		o.delimiter = n / 2 % 2 ? NULL : "\r\n";
		l[n] = start_link(&o, base);
		b[n] = run_beside(base, n % 2 ? drink : pour, l[n]);
	}
	for (unsigned n = 0; n < 2 * LINKS; n++)
		join_beside(b[n]);
	for (unsigned n = 0; n < 2 * LINKS; n++)
		close_link(l[n]);
}

TEST_WITHIN(twenty_links_whose_queues_have_readers_of_their_own, 60)
{
	both_ways(pour_and_drink);
}

/* Descriptors go along, also past a full inbox and a connection that breaks; none is left open. */
static void put_fd(struct aioqueue *q, int fd, unsigned n)
{
	struct aiomsg *m = must(aiomsg_new("u", n));

	must(aiomsg_add_fd(m, fd));
	must(aioqueue_put(q, m, soon()));
	aiomsg_free(m);
}

static void expect_fd(struct aioqueue *q, unsigned due)
{
	struct aiomsg *m;
	uint32_t n;
	char byte = 'x';
	int fd;

	ck_assert_int_eq(must(aioqueue_get(q, &m, soon())), 1);
	must(aiomsg_unpack(m, "u", &n));
	ck_assert_uint_eq(n, due);
	ck_assert_uint_eq(aiomsg_fds(m), 1);
	fd = must(aiomsg_take_fd(m));
	ck_assert_int_eq(must(fcntl(fd, F_GETFD)), FD_CLOEXEC);
	must(write(fd, &byte, 1));
	close(fd);
	aiomsg_free(m);
}

static void pass_fds(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	struct aiolink *from, *to;
	int p[2], written = 0;
	char byte;

	must(pipe2(p, O_CLOEXEC));
	o.fds = 4;
	o.inbox = must(aioqueue_new(4, 0));
	to = start_link(&o, base);
	from = start_connecting(unix_at(0), AIOCONN_MESSAGES, base);
	for (unsigned n = 0; n < 100; n++)
		put_fd(aiolink_outbox(from), p[1], n);
	for (unsigned n = 0; n < 100; n++)
		expect_fd(o.inbox, n);
	put_fd(aiolink_outbox(from), p[1], 100); /* these stay in a queue, and are closed with it */
	put_fd(aiolink_outbox(from), p[1], 101);
	aioqueue_close(aiolink_outbox(from));
	must(aiolink_join(from, soon()));
	close_link(from);
	close_link(to);
	aioqueue_free(o.inbox);
	close(p[1]);
	while (must(read(p[0], &byte, 1)) == 1)
		written++;
	ck_assert_int_eq(written, 100);
	close(p[0]);
}

TEST(descriptors_go_through_links)
{
	both_ways(pass_fds);
}
