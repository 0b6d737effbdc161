/* A connection and what carries its bytes: carriers that keep input where no descriptor shows it, or show it by an odd event. */
#include "tests/peers.h"

#include <string.h>
#include <unistd.h>

#include "ipc/conn/conn.h"

#define PIECE 3

/* What one hoarding carrier holds. There is one in each test. */
static struct {
	const struct ipc_carry *below;
	unsigned char bytes[65536];
	size_t at, have;
} hoard;

/* Empties the socket at once, and hands out a little at a time. */
static ssize_t read_hoarding(struct ipc_carrier *k, struct iovec *iov, int n, struct ipc_fdlist *fds)
{
	struct iovec room = {hoard.bytes + hoard.have, sizeof hoard.bytes - hoard.have};
	ssize_t r = hoard.below->read(k, &room, 1, fds);
	size_t len = iov->iov_len < PIECE ? iov->iov_len : PIECE;

	(void)n;
	if (r > 0)
		hoard.have += (size_t)r;
	if (hoard.at == hoard.have)
		return r;
	if (len > hoard.have - hoard.at)
		len = hoard.have - hoard.at;
	memcpy(iov->iov_base, hoard.bytes + hoard.at, len);
	hoard.at += len;
	return (ssize_t)len;
}

static bool hoards(struct ipc_carrier *k, enum ipc_carry_wait what)
{
	(void)k;
	return what == IPC_CARRY_IN && hoard.at < hoard.have;
}

static void make_hoard(struct aioconn *c)
{
	static struct ipc_carry how;

	hoard.below = c->carrier.how;
	how = *hoard.below;
	how.read = read_hoarding;
	how.at_hand = hoards;
	c->carrier.how = &how;
}

static struct aioconn *hoarding_pair(struct event_base *base, struct aioconn **peer)
{
	struct aioend *a, *b;
	struct aioconn *c;

	make_ends(PAIR, &a, &b);
	*peer = open_end(a, NULL);
	c = open_end(b, base);
	make_hoard(c);
	return c;
}

static void say_ten(struct aioconn *c)
{
	for (int i = 0; i < 10; i++)
		send_text(c, "well hidden");
}

static void expect_ten(struct aioconn *c)
{
	for (int i = 0; i < 10; i++)
		expect_text(c, "well hidden");
}

TEST(calls_that_block_find_input_that_no_descriptor_shows)
{
	struct aioconn *peer, *c = hoarding_pair(NULL, &peer);

	say_ten(peer);
	expect_ten(c);
	must(aioconn_write_eof(peer));
	expect_end(c, 0);
	aioconn_abort(c);
	aioconn_abort(peer);
}

TEST(a_loop_finds_input_that_no_descriptor_shows)
{
	struct event_base *base = new_base();
	struct aioconn *peer, *c = hoarding_pair(base, &peer);
	struct seen s = {.stay = true};

	see(c, &s);
	say_ten(peer);
	run_until(base, &s.msgs, 10);
	must(aioconn_write_eof(peer));
	run_until(base, &s.closes, 1);
	ck_assert_uint_eq(s.msgs, 10);
	ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
	aioconn_abort(c);
	aioconn_abort(peer);
	event_base_free(base);
}

static void receive_in_task(void *arg)
{
	expect_ten(arg);
	aioconn_abort(arg);
}

TEST(a_task_finds_input_that_no_descriptor_shows)
{
	struct event_base *base = new_base();
	struct aioconn *peer, *c = hoarding_pair(base, &peer);
	struct aiotask *t = must(aiotask_spawn(base, receive_in_task, c));

	say_ten(peer);
	must(aiotask_join(t, soon()));
	aioconn_abort(peer);
	event_base_free(base);
}

TEST(input_that_no_descriptor_shows_waits_while_paused)
{
	struct event_base *base = new_base();
	struct aioconn *peer, *c = hoarding_pair(base, &peer);
	struct seen s = {.stay = true};

	see(c, &s);
	send_text(peer, "now");
	run_until(base, &s.msgs, 1);
	aioconn_pause(c);
	say_ten(peer);
	run_now(base);
	ck_assert_uint_eq(s.msgs, 1);
	aioconn_resume(c);
	run_until(base, &s.msgs, 11);
	aioconn_abort(c);
	aioconn_abort(peer);
	event_base_free(base);
}

/* As where a read can't go on before something was written. */
static short shown_crosswise(const struct ipc_carrier *k, enum ipc_carry_wait what)
{
	(void)k;
	return what == IPC_CARRY_IN ? EV_WRITE : EV_READ;
}

TEST(input_may_be_shown_by_room)
{
	struct event_base *base = new_base();
	static struct ipc_carry how;

	for (int i = 0; i < 2; i++) {
		struct seen s = {.stay = true};
		struct aioconn *c;
		int fd = raw_peer(PAIR, i ? base : NULL, &c);

		how = *c->carrier.how;
		how.shown_by = shown_crosswise;
		c->carrier.how = &how;
		put(fd, PREFACE, PREFACE_LEN);
		put_frame(fd, BYTES, 0, "across", 6);
		if (i) {
			see(c, &s);
			run_until(base, &s.msgs, 1);
			ck_assert_str_eq(s.text, "across ");
		} else {
			expect_text(c, "across");
		}
		aioconn_abort(c);
		close(fd);
	}
	event_base_free(base);
}
