/* What the peers of a listener hold in all: it is bounded, whoever means well is served, and one large message gets through. */
#include "tests/peers.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PEERS = 8, MESSAGE = 512 * 1024, HALF = 300 * 1024, TOTAL = 1 << 20 };

struct server {
	struct event_base *base;
	struct aiolistener *l;
	unsigned came, went, msgs;
	size_t bytes;
	char why[128];
};

static void on_msg(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct server *s = arg;
	size_t len;

	aiomsg_bytes(m, &len);
	s->bytes += len;
	s->msgs++;
	if (len < 100)
		must(aioconn_send_msg(c, m));
}

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct server *s = arg;

	(void)cause;
	s->went++;
	snprintf(s->why, sizeof s->why, "%s", aioconn_why(c));
	aioconn_abort(c);
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct server *s = arg;

	(void)l;
	s->came++;
	must(aioconn_set_callbacks(c, on_msg, NULL, on_close, s));
}

static void serve(struct server *s, size_t total)
{
	struct aiolistener_options o = {.size = sizeof o, .total = total, .peers = 64};
	char address[64];

	snprintf(address, sizeof address, "unix:@aioipc-test-%ld", (long)getpid());
	*s = (struct server){.base = new_base()};
	s->l = must(aiolistener_new(address, s->base, &o, on_peer, s));
}

static void stop(struct server *s)
{
	run_until(s->base, &s->went, s->came);
	aiolistener_free(s->l);
	event_base_free(s->base);
}

static struct aiolistener_stats stats_of(const struct server *s)
{
	struct aiolistener_stats stats = {.size = sizeof stats};

	must(aiolistener_stats(s->l, &stats));
	return stats;
}

static int join_by_hand(struct server *s)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	const char *name = aiolistener_address(s->l) + strlen("unix:@");
	int fd = must(socket(AF_UNIX, SOCK_STREAM, 0));

	memcpy(un.sun_path + 1, name, strlen(name));
	must(connect(fd, (struct sockaddr *)&un,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))));
	put(fd, PREFACE, PREFACE_LEN);
	run_until(s->base, &s->came, s->came + 1);
	return fd;
}

/* As much of a message of MESSAGE bytes as is read, up to @most. */
static size_t push(int fd, size_t at, size_t most)
{
	static unsigned char frame[HEADER_LEN + MESSAGE] = {0, 0, MESSAGE >> 16, 0, BYTES};
	ssize_t n = send(fd, frame + at, most - at, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n > 0 ? at + (size_t)n : at;
}

static void expect_answer(struct server *s, int fd)
{
	unsigned before = s->msgs;
	char back[PREFACE_LEN + HEADER_LEN + 4];

	put_frame(fd, BYTES, 0, "word", 4);
	run_until(s->base, &s->msgs, before + 1);
	ck_assert_uint_eq(get(fd, back, sizeof back), sizeof back);
}

TEST_WITHIN(half_messages_are_bounded_and_shed, 40)
{
	int fd[PEERS], good;
	size_t at[PEERS] = {0};
	struct server s;

	serve(&s, TOTAL);
	good = join_by_hand(&s);
	for (int i = 0; i < PEERS; i++)
		fd[i] = join_by_hand(&s);
	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < PEERS; i++)
			at[i] = push(fd[i], at[i], HALF);
		run_now(s.base);
	}
	ck_assert_uint_gt(stats_of(&s).held, TOTAL);
	expect_answer(&s, good);
	run_until(s.base, &s.went, 1);
	ck_assert_ptr_nonnull(strstr(s.why, "half of a large message"));
	ck_assert_uint_ge(stats_of(&s).closed_large, 1);
	ck_assert_uint_lt(stats_of(&s).closed_large, PEERS);
	ck_assert_uint_le(stats_of(&s).peak, 2 * TOTAL);
	for (int i = 0; i < PEERS; i++)
		close(fd[i]);
	close(good);
	stop(&s);
}

/* What waits for those before it is read when these are through. */
TEST_WITHIN(who_ends_a_message_makes_room, 40)
{
	int fd[PEERS];
	size_t at[PEERS] = {0};
	struct server s;

	serve(&s, TOTAL);
	for (int i = 0; i < PEERS; i++)
		fd[i] = join_by_hand(&s);
	for (int i = 0; i < PEERS; i++)
		while (at[i] < HEADER_LEN + MESSAGE) {
			at[i] = push(fd[i], at[i], HEADER_LEN + MESSAGE);
			run_now(s.base);
		}
	run_until(s.base, &s.msgs, PEERS);
	ck_assert_uint_eq(s.bytes, (size_t)PEERS * MESSAGE);
	ck_assert_uint_eq(stats_of(&s).closed_large, 0);
	ck_assert_uint_eq(stats_of(&s).accepted, PEERS);
	for (int i = 0; i < PEERS; i++)
		close(fd[i]);
	stop(&s);
	ck_assert_uint_eq(s.went, PEERS);
}

TEST_WITHIN(one_message_larger_than_all_gets_through, 40)
{
	struct server s;
	size_t at = 0;
	int fd;

	serve(&s, 100 * 1024);
	fd = join_by_hand(&s);
	while (at < HEADER_LEN + MESSAGE) {
		at = push(fd, at, HEADER_LEN + MESSAGE);
		run_now(s.base);
	}
	run_until(s.base, &s.msgs, 1);
	ck_assert_uint_eq(s.bytes, MESSAGE);
	run_now(s.base);
	ck_assert_uint_eq(stats_of(&s).held, 0);
	close(fd);
	stop(&s);
}

/* A byte costs little, and what was announced nothing. */
TEST(memory_grows_with_what_has_arrived)
{
	static const unsigned char much[HEADER_LEN] = {0, 0, 0, 1, BYTES};
	struct server s;
	int fd[32];

	serve(&s, 0);
	for (int i = 0; i < 32; i++) {
		fd[i] = join_by_hand(&s);
		put(fd[i], much, i % 2 ? 1 : sizeof much);
	}
	run_now(s.base);
	run_now(s.base);
	ck_assert_uint_eq(stats_of(&s).peers, 32);
	ck_assert_uint_gt(stats_of(&s).held, 0);
	ck_assert_uint_le(stats_of(&s).held, 16 * 1024 + 16 * 70 * 1024);
	for (int i = 0; i < 32; i++)
		close(fd[i]);
	stop(&s);
}
