/*
 * Every allocation and every system call made to fail in turn, for some scenarios: no crash, no hang, no leak; what was
 * not done is told; what was made can be freed; and the library works afterwards.
 */
#include "tests/fail_each.h"
#include "tests/inject.h"
#include "tests/peers.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ipc/end/end.h"
#include "ipc/end/proc.h"

static bool make_pair(enum transport t, struct event_base *base, struct aioconn **a, struct aioconn **b)
{
	struct aioend *one, *other;
	int r = t == PIPE     ? aiopipe(&other, &one)
		: t == DUPLEX ? aioduplex(&one, &other)
			      : aiosockpair(&one, &other);

	*a = *b = NULL;
	if (r == -1)
		return false;
	*a = aioend_open(one, base);
	if (!*a)
		aioend_free(one);
	*b = aioend_open(other, base);
	if (!*b)
		aioend_free(other);
	return *a && *b;
}

static bool receive_fill(struct aioconn *c, size_t len, unsigned seed)
{
	struct aiomsg *m;
	size_t got;
	int r;

	while ((r = aioconn_recv(c, &m, soon())) == -1 && errno == EINTR)
		continue;
	if (r != 1)
		return false;
	ck_assert(is_filled(aiomsg_bytes(m, &got), len, seed));
	ck_assert_uint_eq(got, len);
	aiomsg_free(m);
	return true;
}

static bool receive_end(struct aioconn *c)
{
	struct aiomsg *m;
	int r;

	while ((r = aioconn_recv(c, &m, soon())) == -1 && errno == EINTR)
		continue;
	ck_assert_int_ne(r, 1);
	return r == 0;
}

static bool send_filled(struct aioconn *c, size_t len, unsigned seed)
{
	static char data[100000];

	fill(data, len, seed);
	return aioconn_send_bytes(c, data, len) == 0;
}

static enum outcome talk(enum transport t)
{
	struct aioconn *a, *b;
	bool done = make_pair(t, NULL, &a, &b) && send_filled(a, 10, 1) && send_filled(a, 20000, 2) &&
		    receive_fill(b, 10, 1) && receive_fill(b, 20000, 2) &&
		    (t == PIPE || (send_filled(b, 30, 3) && receive_fill(a, 30, 3))) && send_filled(a, 40, 4);

	if (done) {
		done = aioconn_close(a, soon()) == 0;
		a = NULL;
	}
	done = done && receive_fill(b, 40, 4) && receive_end(b);
	if (b)
		done = aioconn_close(b, soon()) == 0 && done;
	aioconn_abort(a);
	return done ? COMPLETE : TOLD;
}

static enum outcome talk_on_pipe(void)
{
	return talk(PIPE);
}

static enum outcome talk_on_duplex(void)
{
	return talk(DUPLEX);
}

static enum outcome talk_on_pair(void)
{
	return talk(PAIR);
}

TEST_WITHIN(blocking_talk_on_a_pipe, 60)
{
	fail_each(talk_on_pipe);
}

TEST_WITHIN(blocking_talk_on_a_duplex, 60)
{
	fail_each(talk_on_duplex);
}

TEST_WITHIN(blocking_talk_on_a_pair, 60)
{
	fail_each(talk_on_pair);
}

static bool send_shared(struct aioconn *c, size_t len, unsigned seed)
{
	struct aiomsg *m;
	void *data;
	bool sent;

	m = aiomsg_new_shared(len, &data);
	if (!m)
		return false;
	fill(data, len, seed);
	sent = aiomsg_seal(m) == 0 && aioconn_send_msg(c, m) == 0;
	aiomsg_free(m);
	return sent;
}

/* It says what it takes. */
static bool receive_nothing(struct aioconn *c)
{
	struct aiomsg *m;
	int r;

	while ((r = aioconn_recv(c, &m, AIOIPC_NOW)) == -1 && errno == EINTR)
		continue;
	return r == -1 && errno == ETIMEDOUT;
}

static enum outcome talk_in_memory(void)
{
	struct aioconn *a, *b;
	bool done = make_pair(PAIR, NULL, &a, &b) && aioconn_allow_shared(b, 2) == 0 && receive_nothing(b) &&
		    send_shared(a, 150000, 1) && receive_fill(b, 150000, 1) && send_shared(a, 140000, 2) &&
		    receive_fill(b, 140000, 2);

	aioconn_abort(a);
	aioconn_abort(b);
	return done ? COMPLETE : TOLD;
}

TEST_WITHIN(messages_in_memory, 60)
{
	fail_each(talk_in_memory);
}

/* Turns until @s has its end; false when the loop has nothing to wait for. */
static bool run_to_end(struct event_base *base, struct seen *s)
{
	while (s->closes == 0)
		if (event_base_loop(base, EVLOOP_ONCE) != 0)
			return false;
	return true;
}

static enum outcome callbacks(enum transport t)
{
	struct event_base *base = quiet_base();
	struct seen s = {.stay = true};
	enum outcome outcome = TOLD;
	struct aioconn *a, *b;

	if (make_pair(t, base, &a, &b) && aioconn_set_callbacks(a, NULL, NULL, NULL, NULL) == 0 &&
	    (see(b, &s), true) && aioconn_send(a, "is", (int32_t)1, "one") == 0 && send_filled(a, 50000, 5) &&
	    send_filled(a, 10, 5) && aioconn_write_eof(a) == 0) {
		if (!run_to_end(base, &s))
			outcome = SILENT;
		else if (s.cause == AIOCONN_CLEAN)
			outcome = s.msgs == 3 ? COMPLETE : SILENT;
	}
	aioconn_abort(a);
	aioconn_abort(b);
	quiet_free(base);
	return outcome;
}

static enum outcome callbacks_on_pipe(void)
{
	return callbacks(PIPE);
}

static enum outcome callbacks_on_duplex(void)
{
	return callbacks(DUPLEX);
}

static enum outcome callbacks_on_pair(void)
{
	return callbacks(PAIR);
}

TEST_WITHIN(callbacks_on_a_pipe, 60)
{
	fail_each(callbacks_on_pipe);
}

TEST_WITHIN(callbacks_on_a_duplex, 60)
{
	fail_each(callbacks_on_duplex);
}

TEST_WITHIN(callbacks_on_a_pair, 60)
{
	fail_each(callbacks_on_pair);
}

/* Calls: what became of each is told once, whatever fails on either side. */

static struct aiomsg *kept_call;

static void serve_calls(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct aiomsg *answer = NULL;
	int32_t n = 0;

	(void)arg;
	if (aiomsg_unpack(m, "i", &n) == -1)
		return;
	if (n == 1)
		answer = aiomsg_answer(m, "s", "one");
	else if (n == 2)
		answer = aiomsg_answer_error(m, EDOM, "two");
	else
		kept_call = aiomsg_ref(m);
	if (answer)
		aioconn_send_msg(c, answer); /* when it fails, the call is refused */
	aiomsg_free(answer);
}

struct call_outcome {
	unsigned times;
	int error;
};

static void call_ended(struct aiomsg *answer, int error, void *arg)
{
	struct call_outcome *o = arg;

	(void)answer;
	o->times++;
	o->error = error;
}

static bool call_number(struct aioconn *c, int32_t n, struct call_outcome *o)
{
	struct aiomsg *m = aiomsg_new("i", n);
	bool made = m && aioconn_call_later(c, m, call_ended, o, n == 1 ? soon() : AIOIPC_FOREVER);

	aiomsg_free(m);
	return made;
}

static enum outcome calls_in_callbacks(void)
{
	struct event_base *base = quiet_base();
	struct call_outcome o[3] = {{0, 0}};
	enum outcome outcome = TOLD;
	struct aioconn *a, *b;
	unsigned made = 0;

	if (make_pair(PAIR, base, &a, &b) && aioconn_set_callbacks(b, serve_calls, NULL, NULL, NULL) == 0)
		while (made < 3 && call_number(a, (int32_t)made + 1, &o[made]))
			made++;
	for (int ms = 0; o[0].times + o[1].times + o[2].times < made && ms < 1000; ms++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		aiomsg_free(kept_call);
		kept_call = NULL;
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	}
	aioconn_abort(a); /* what a side that can't write any more will never hear of */
	for (unsigned i = 0; i < made; i++)
		if (o[i].times != 1)
			outcome = SILENT;
	if (outcome == TOLD && made == 3 && o[0].error == 0 && o[1].error == EDOM && o[2].error == ENOMSG)
		outcome = COMPLETE;
	aioconn_abort(b);
	quiet_free(base);
	return outcome;
}

TEST_WITHIN(calls_that_are_called_back, 60)
{
	fail_each(calls_in_callbacks);
}

static int receive_again(struct aioconn *c, struct aiomsg **m)
{
	int64_t deadline = aioipc_after(5);
	int r;

	while ((r = aioconn_recv(c, m, deadline)) == -1 && errno == EINTR)
		continue;
	return r;
}

/*
 * Nobody answers in time. Then the call is received and freed. Mostly the cancel is there before the refusal leaves; a refusal that comes too
 * late is counted.
 */
static enum outcome call_in_plain_code(void)
{
	struct aioconn_stats s = {.size = sizeof s};
	struct aioconn *a, *b;
	struct aiomsg *m = NULL;
	bool done = make_pair(PAIR, NULL, &a, &b);

	done = done && aioconn_call(a, &m, aioipc_after(5), "s", "slow") == -1 && errno == ETIMEDOUT;
	done = done && receive_again(b, &m) == 1;
	aiomsg_free(m);
	done = done && receive_again(b, &m) == -1 && errno == ETIMEDOUT;
	done = done && receive_again(a, &m) == -1 && errno == ETIMEDOUT;
	if (done)
		must(aioconn_stats(a, &s));
	aioconn_abort(a);
	aioconn_abort(b);
	return done && s.strays <= 1 ? COMPLETE : TOLD;
}

TEST_WITHIN(calls_in_plain_code, 60)
{
	fail_each(call_in_plain_code);
}

static enum outcome pass_descriptors(void)
{
	struct aiomsg *got = NULL, *m = aiomsg_new_bytes("three", 5);
	struct aioconn *a = NULL, *b = NULL;
	bool done = m != NULL;
	int fd;

	for (int i = 0; i < 3 && done; i++)
		done = aiomsg_add_fd(m, 0) == 0;
	done = done && make_pair(PAIR, NULL, &a, &b) && aioconn_allow_fds(b, 8) == 0 &&
	       aioconn_send_msg(a, m) == 0 && aioconn_send_fd(a, 0, "s", "one") == 0;
	for (int i = 0; i < 2 && done; i++) {
		int r;

		while ((r = aioconn_recv(b, &got, soon())) == -1 && errno == EINTR)
			continue;
		done = r == 1;
		if (!done)
			break;
		ck_assert_uint_eq(aiomsg_fds(got), i ? 1 : 3);
		fd = aiomsg_take_fd(got);
		ck_assert_int_ge(fd, 0);
		close(fd);
		aiomsg_free(got);
	}
	aiomsg_free(m);
	aioconn_abort(a);
	aioconn_abort(b);
	return done ? COMPLETE : TOLD;
}

TEST_WITHIN(passing_descriptors, 60)
{
	fail_each(pass_descriptors);
}

static enum outcome read_lines(void)
{
	struct event_base *base = quiet_base();
	struct aioconn *a, *b;
	const char *line;
	char buf[4];
	ssize_t n = 0;
	bool done = make_pair(PAIR, base, &a, &b) && aioconn_set_framing(a, AIOCONN_LINES, "\r\n") == 0 &&
		    aioconn_set_framing(b, AIOCONN_LINES, "\r\n") == 0 &&
		    aioconn_send_bytes(a, "first", 5) == 0 && aioconn_send_bytes(a, "second", 6) == 0 &&
		    aioconn_send_bytes(a, "12", 2) == 0 && aioconn_write_eof(a) == 0 &&
		    aioconn_flush(a, soon()) == 0;

	for (int i = 0; i < 2 && done; i++) {
		while ((n = aioconn_read_line(b, &line, soon())) == -1 && errno == EINTR)
			continue;
		done = n == (i ? 8 : 7) && memcmp(line, i ? "second\r\n" : "first\r\n", (size_t)n) == 0;
		ck_assert(done || n == -1);
	}
	if (done) {
		while ((n = aioconn_read_exactly(b, buf, 4, soon())) == -1 && errno == EINTR)
			continue;
		done = n == 4;
		ck_assert(done || n == -1);
	}
	aioconn_abort(a);
	aioconn_abort(b);
	quiet_free(base);
	return done ? COMPLETE : TOLD;
}

TEST_WITHIN(reading_lines, 60)
{
	fail_each(read_lines);
}

static bool make_stream(enum aioconn_framing f, struct event_base *base, struct aioconn **a,
			struct aioconn **b)
{
	return make_pair(PAIR, base, a, b) && aioconn_set_framing(*a, f, NULL) == 0 &&
	       aioconn_set_framing(*b, f, NULL) == 0;
}

#define FIRST 5
#define SECOND 40000 /* longer than a buffer is at first */

static bool send_stream(struct aioconn *c)
{
	static char line[SECOND];

	memset(line, 'x', sizeof line);
	return aioconn_send_bytes(c, line, FIRST) == 0 && aioconn_send_bytes(c, line, SECOND) == 0;
}

static enum outcome receive_stream(enum aioconn_framing f)
{
	struct aioconn *a, *b;
	struct aiomsg *m;
	bool done = make_stream(f, NULL, &a, &b) && send_stream(a);
	size_t got = 0, len;
	int r = 1;

	while (done && r == 1 && got < FIRST + SECOND) {
		while ((r = aioconn_recv(b, &m, soon())) == -1 && errno == EINTR)
			continue;
		if (r != 1)
			break;
		aiomsg_bytes(m, &len);
		aiomsg_free(m);
		got += len;
	}
	if (done && r == 1)
		ck_assert_uint_eq(got, FIRST + SECOND);
	aioconn_abort(a);
	aioconn_abort(b);
	return done && r == 1 ? COMPLETE : TOLD;
}

static enum outcome receive_lines(void)
{
	return receive_stream(AIOCONN_LINES);
}

static enum outcome receive_chunks(void)
{
	return receive_stream(AIOCONN_BYTES);
}

TEST_WITHIN(receiving_lines, 60)
{
	fail_each(receive_lines);
}

TEST_WITHIN(receiving_chunks, 60)
{
	fail_each(receive_chunks);
}

/* It is gone then, whatever comes of it. */
static bool finish(struct aioconn **c)
{
	bool done = aioconn_finish(*c, soon()) == 0;

	*c = NULL;
	return done;
}

/* Waits for the end. All of them before a clean one? */
static enum outcome look_at_bytes(struct event_base *base, struct seen *s, size_t due)
{
	if (!run_to_end(base, s))
		return SILENT;
	if (s->cause != AIOCONN_CLEAN)
		return TOLD;
	return s->bytes == due ? COMPLETE : SILENT;
}

static void tear_down(struct event_base *base, struct aioconn *a, struct aioconn *b)
{
	aioconn_abort(a);
	aioconn_abort(b);
	while (event_base_loop(base, EVLOOP_ONCE) == 0)
		continue;
	quiet_free(base);
}

static enum outcome stream_callbacks(enum aioconn_framing f)
{
	struct event_base *base = quiet_base();
	struct seen s = {.stay = true};
	enum outcome outcome = TOLD;
	struct aioconn *a, *b;

	if (make_stream(f, base, &a, &b) && (see(b, &s), true) && send_stream(a) && finish(&a))
		outcome = look_at_bytes(base, &s, FIRST + SECOND);
	tear_down(base, a, b);
	return outcome;
}

static enum outcome callbacks_of_lines(void)
{
	return stream_callbacks(AIOCONN_LINES);
}

static enum outcome callbacks_of_chunks(void)
{
	return stream_callbacks(AIOCONN_BYTES);
}

TEST_WITHIN(lines_in_callbacks, 60)
{
	fail_each(callbacks_of_lines);
}

TEST_WITHIN(chunks_in_callbacks, 60)
{
	fail_each(callbacks_of_chunks);
}

/* Larger than what is made room for before it comes. */
static enum outcome send_a_large_one(void)
{
	struct event_base *base = quiet_base();
	struct seen s = {.stay = true};
	enum outcome outcome = TOLD;
	struct aioconn *a, *b;
	static char data[600000];

	if (make_pair(PAIR, base, &a, &b) && (see(b, &s), true) &&
	    aioconn_send_bytes(a, data, sizeof data) == 0 && finish(&a))
		outcome = look_at_bytes(base, &s, sizeof data);
	tear_down(base, a, b);
	return outcome;
}

TEST_WITHIN(a_large_message, 60)
{
	fail_each(send_a_large_one);
}

/* Nothing comes behind the last message: who could not take it tries again by itself. */
static enum outcome take_the_last(void)
{
	struct event_base *base = quiet_base();
	struct seen s = {.stay = true};
	struct aioconn *a, *b;
	bool done = make_pair(PAIR, base, &a, &b);

	if (done) {
		see(b, &s);
		done = send_filled(a, 10, 1) && send_filled(a, 20, 2) && aioconn_flush(a, soon()) == 0;
		while (done && s.msgs < 2 && s.closes == 0)
			event_base_loop(base, EVLOOP_ONCE);
	}
	aioconn_abort(a);
	aioconn_abort(b);
	quiet_free(base);
	return done && s.msgs == 2 ? COMPLETE : TOLD;
}

TEST_WITHIN(the_last_message, 60)
{
	fail_each(take_the_last);
}

/* Large enough that a message of it grows. */
static enum outcome text_and_back(void)
{
	static char blob[5000], text[40000];
	struct aiomsg *m, *back = NULL, *again = NULL;
	char *words[] = {"[", "1", "2", "]", "word", NULL};
	size_t used;

	inject_pause();
	m = aiomsg_new("sB", "text", blob, sizeof blob);
	inject_resume();
	if (m && aiomsg_text(m, text, sizeof text) < sizeof text)
		back = aiomsg_from_text(text, strlen(text));
	if (back && aiomsg_json(back, text, sizeof text) < sizeof text)
		again = aiomsg_from_json(text, strlen(text));
	if (again) {
		aiomsg_free(again);
		again = aiomsg_from_words("i#s", words, &used);
	}
	aiomsg_free(m);
	aiomsg_free(back);
	aiomsg_free(again);
	return again ? COMPLETE : TOLD;
}

TEST_WITHIN(messages_as_text, 60)
{
	fail_each(text_and_back);
}

/* Nobody takes what came: it is stowed away, and the end is told all the same. */
static enum outcome notice_the_end(bool with_fd)
{
	struct event_base *base = quiet_base();
	struct seen s = {.stay = true};
	enum outcome outcome = TOLD;
	struct aioconn *a, *b;

	if (make_pair(PAIR, base, &a, &b) && (!with_fd || aioconn_allow_fds(b, 4) == 0)) {
		see_end_only(b, &s);
		if (send_filled(a, 10, 1) && (!with_fd || aioconn_send_fd(a, 0, "s", "one") == 0) &&
		    finish(&a))
			outcome = run_to_end(base, &s) ? COMPLETE : SILENT;
		if (outcome == COMPLETE && s.cause != AIOCONN_CLEAN)
			outcome = TOLD;
	}
	tear_down(base, a, b);
	return outcome;
}

static enum outcome end_behind_a_message(void)
{
	return notice_the_end(false);
}

static enum outcome end_behind_a_descriptor(void)
{
	return notice_the_end(true);
}

TEST_WITHIN(an_end_behind_what_nobody_takes, 60)
{
	fail_each(end_behind_a_message);
}

TEST_WITHIN(an_end_behind_a_descriptor_that_nobody_takes, 60)
{
	fail_each(end_behind_a_descriptor);
}

/* One that has said nothing yet says goodbye. */
static enum outcome close_at_once(bool in_background)
{
	struct event_base *base = quiet_base();
	struct seen s = {.stay = true};
	struct aioconn *a, *b;
	bool done = make_pair(PAIR, base, &a, &b);

	if (done) {
		see(b, &s);
		done = (in_background ? aioconn_finish(a, soon()) : aioconn_close(a, soon())) == 0;
		a = NULL;
		done = run_to_end(base, &s) && done && s.cause == AIOCONN_CLEAN;
	}
	aioconn_abort(a);
	aioconn_abort(b);
	quiet_free(base);
	return done ? COMPLETE : TOLD;
}

static enum outcome close_in_silence(void)
{
	return close_at_once(false);
}

static enum outcome finish_in_silence(void)
{
	return close_at_once(true);
}

TEST_WITHIN(closing_in_silence, 60)
{
	fail_each(close_in_silence);
}

TEST_WITHIN(finishing_in_silence, 60)
{
	fail_each(finish_in_silence);
}

static enum outcome write_much(void)
{
	struct aiowriter *w = aiowriter_new("A(s)");
	static char text[3000];
	struct aiomsg *m;
	size_t len = 0;

	memset(text, 'x', sizeof text - 1);
	if (!w)
		return TOLD;
	aiowriter_put(w, "A(");
	for (int i = 0; i < 200; i++)
		aiowriter_put(w, "s", text);
	aiowriter_put(w, ")");
	m = aiowriter_finish(w);
	if (!m)
		return TOLD;
	aiomsg_bytes(m, &len);
	aiomsg_free(m);
	return len > 200 * (sizeof text - 1) ? COMPLETE : SILENT;
}

TEST_WITHIN(a_writer_that_grows, 60)
{
	fail_each(write_much);
}

static enum outcome write_and_read_nested(void)
{
	struct aiowriter *w = aiowriter_new("sA(iA(s))");
	struct aiomsg *m;
	struct aioreader r;
	const char *title, *s;
	uint32_t rows, k, n = 0;
	int32_t id;

	if (!w)
		return TOLD;
	aiowriter_put(w, "sA(", "inventory");
	for (int32_t i = 0; i < 3; i++) {
		aiowriter_put(w, "iA(", i);
		aiowriter_put(w, "s", "item");
		aiowriter_put(w, ")");
	}
	aiowriter_put(w, ")");
	m = aiowriter_finish(w);
	if (!m)
		return TOLD;
	if (aioreader_init(&r, m, "sA(iA(s))") == 0 && aioreader_get(&r, "sA(", &title, &rows) == 1)
		while (aioreader_get(&r, "iA(", &id, &k) == 1)
			while (aioreader_get(&r, "s", &s) == 1)
				n += strcmp(s, "item") == 0;
	aiomsg_free(m);
	return n == 3 ? COMPLETE : TOLD;
}

TEST_WITHIN(writing_and_reading_nested_arrays, 60)
{
	fail_each(write_and_read_nested);
}

static int echo_once(void *arg)
{
	struct aioconn *c = aioend_open(*(struct aioend **)arg, NULL);
	struct aiomsg *m;

	if (!c || aioconn_recv(c, &m, soon()) != 1)
		return 1;
	return aioconn_send_msg(c, m) == 0 && aioconn_close(c, soon()) == 0 ? 0 : 1;
}

static void on_exit_status(struct aioproc *p, int status, void *arg)
{
	(void)p;
	*(int *)arg = status;
}

static enum outcome start_one(const struct aioproc_options *o)
{
	struct event_base *base = quiet_base();
	struct aioend *mine = NULL, *theirs = NULL;
	struct aioproc *p = NULL;
	struct aioconn *c = NULL;
	int status = -1, told = -1;
	bool done = aiosockpair(&mine, &theirs) == 0;

	if (done) {
		p = aioproc_start_opts(echo_once, &theirs, &theirs, 1, o);
		done = p && aioproc_on_exit(p, base, on_exit_status, &told) == 0;
		c = aioend_open(mine, NULL);
		if (!c)
			aioend_free(mine);
		done = done && c && send_filled(c, 100, 1) && receive_fill(c, 100, 1) && receive_end(c);
	}
	aioconn_abort(c);
	aioend_free(theirs);
	while (done && told == -1)
		if (event_base_loop(base, EVLOOP_ONCE) != 0)
			break;
	if (p) {
		int r;

		while ((r = aioproc_join(p, &status, soon())) == -1 && errno == EINTR)
			continue;
		done = done && r == 0 && told == 0 && status == 0;
	}
	aioproc_free(p);
	quiet_free(base);
	return done ? COMPLETE : TOLD;
}

static enum outcome start_a_child(void)
{
	return start_one(NULL);
}

TEST_WITHIN(starting_a_child, 60)
{
	fail_each(start_a_child);
}

static enum outcome start_a_child_with_options(void)
{
	const struct aioproc_options o = {
		.size = sizeof(o), .cwd = "/", .new_group = true, .die_with_parent = true, .only_ends = true};

	return start_one(&o);
}

TEST_WITHIN(starting_a_child_with_options, 60)
{
	fail_each(start_a_child_with_options);
}

static enum outcome start_a_child_without_pidfd(void)
{
	ipc_proc_no_pidfd = true;
	return start_a_child();
}

TEST_WITHIN(starting_a_child_without_pidfd, 60)
{
	fail_each(start_a_child_without_pidfd);
}

/* Until the other side is closed. */
static int stay_a_while(void *arg)
{
	struct aioend *const *end = arg;
	char c;

	return (int)read((*end)->own.r.fd, &c, 1);
}

static int leave_at_once(void *arg)
{
	(void)arg;
	return 0;
}

/* Its handle is freed while it runs: when it ends somebody reaps it, at the latest the next start. */
static enum outcome leave_a_child(void)
{
	struct aioend *mine, *theirs;
	struct aioproc *p, *next;
	siginfo_t info;
	pid_t pid;

	if (aiopipe(&theirs, &mine) == -1)
		return TOLD;
	p = aioproc_start_with(stay_a_while, &theirs, &theirs, 1);
	pid = p ? aioproc_pid(p) : -1;
	aioend_free(theirs);
	aioproc_free(p);
	aioend_free(mine);
	if (!p)
		return TOLD;
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	next = aioproc_start(leave_at_once, NULL);
	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) == 0)
		sched_yield();
	while (next && aioproc_join(next, NULL, soon()) == -1 && errno == EINTR)
		continue;
	aioproc_free(next);
	return next ? COMPLETE : TOLD;
}

TEST_WITHIN(leaving_a_child_to_itself, 60)
{
	fail_each(leave_a_child);
}

static enum outcome exec_a_program(void)
{
	char *argv[] = {(char *)(uintptr_t) "true", NULL};
	struct aioend *mine = NULL, *theirs = NULL;
	struct aioproc *p = NULL;
	int status = -1, r = -1;
	bool done = aioduplex(&mine, &theirs) == 0;

	done = done && aioend_set_name(theirs, "up") == 0 && aioend_detach(theirs) == 0;
	if (done)
		p = aioproc_exec("/bin/true", argv, NULL, NULL);
	if (p)
		while ((r = aioproc_join(p, &status, soon())) == -1 && errno == EINTR)
			continue;
	aioproc_free(p);
	aioend_free(mine);
	aioend_free(theirs);
	return r == 0 && status == 0 ? COMPLETE : TOLD;
}

TEST_WITHIN(executing_a_program, 60)
{
	fail_each(exec_a_program);
}

/* The child makes the base its own; what fails there shows in its status. */
static enum outcome fork_with_a_base(void)
{
	struct event_base *base = quiet_base();
	struct aioend *mine = NULL, *theirs = NULL;
	struct aioconn *a, *b, *c = NULL;
	struct seen s = {.stay = true};
	bool done = make_pair(PAIR, base, &a, &b) && aioduplex(&mine, &theirs) == 0;
	pid_t pid = -1;

	if (done && aioend_detach(theirs) == 0)
		pid = fork();
	if (pid == 0) {
		bool ok = aioipc_base_reinit(base) == 0 && (c = aioend_open(theirs, base)) != NULL &&
			  send_filled(c, 10, 1) && aioconn_close(c, soon()) == 0;

		_exit(ok ? 0 : 1);
	}
	done = pid > 0;
	aioend_free(theirs);
	if (done) {
		c = aioend_open(mine, NULL);
		if (c)
			mine = NULL;
		done = c && receive_fill(c, 10, 1) && receive_end(c);
	}
	aioend_free(mine);
	aioconn_abort(c);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	if (done) {
		see(b, &s);
		done = send_filled(a, 10, 1) && aioconn_write_eof(a) == 0 && run_to_end(base, &s) &&
		       s.msgs == 1;
	}
	aioconn_abort(a);
	aioconn_abort(b);
	quiet_free(base);
	return done ? COMPLETE : TOLD;
}

TEST_WITHIN(forking_with_a_base, 60)
{
	fail_each(fork_with_a_base);
}

static enum outcome finish_in_the_background(void)
{
	struct event_base *base = quiet_base();
	struct seen s = {.stay = true}, peer = {.stay = true};
	enum outcome outcome = TOLD;
	struct aioconn *a, *b;

	if (make_pair(PAIR, base, &a, &b)) {
		bool sent;

		see(a, &s);
		see(b, &peer);
		sent = send_filled(a, 100000, 1) && send_filled(a, 100000, 2);
		if (aioconn_finish(a, soon()) == 0 && sent) {
			bool ran = run_to_end(base, &s) && run_to_end(base, &peer);

			if (!ran)
				outcome = SILENT;
			else if (s.cause == AIOCONN_LOCAL && peer.cause == AIOCONN_CLEAN)
				outcome = peer.msgs == 2 ? COMPLETE : SILENT;
		} else if (s.closes == 0) {
			run_to_end(base, &s);
		}
		a = NULL;
	}
	aioconn_abort(a);
	aioconn_abort(b);
	quiet_free(base);
	return outcome;
}

TEST_WITHIN(finishing_in_the_background, 60)
{
	fail_each(finish_in_the_background);
}

static enum outcome adopt_and_release(void)
{
	struct aioend *end;
	int p[2], r, w;
	bool done;

	inject_pause();
	must(pipe(p));
	inject_resume();
	end = aioend_from_fds(p[0], -1);
	done = end && aioend_release(end, &r, &w) == 0;
	if (end && !done)
		aioend_free(end);
	else
		close(p[0]);
	close(p[1]);
	return done ? COMPLETE : TOLD;
}

TEST_WITHIN(adopting_and_releasing, 60)
{
	fail_each(adopt_and_release);
}

static void take_one(struct aioqueue *q, void *arg)
{
	struct aiomsg *m;

	if (aioqueue_get(q, &m, AIOIPC_NOW) != 1)
		return;
	aiomsg_free(m);
	++*(int *)arg;
}

static enum outcome watch_a_queue(void)
{
	struct event_base *base = quiet_base();
	struct aioqueue *q = aioqueue_new(100, 0);
	struct aiomsg *m = aiomsg_new("i", 1);
	int put = 0, got = 0;
	bool done = q && m && aioqueue_watch(q, base, take_one, NULL, &got) == 0;

	for (int i = 0; i < 20 && done; i++) {
		done = aioqueue_put(q, m, AIOIPC_NOW) == 0;
		put += done;
	}
	for (int i = 0; i < 100 && got < put; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert(!q || got == put);
	aiomsg_free(m);
	aioqueue_free(q);
	event_base_loop(base, EVLOOP_NONBLOCK);
	quiet_free(base);
	return done ? COMPLETE : TOLD;
}

TEST_WITHIN(watching_a_queue, 60)
{
	fail_each(watch_a_queue);
}

/* A generator, whose client passes what it gets on to a task that reads a queue. */
struct pipeline {
	struct event_base *base;
	struct aioqueue *q;
	int sent, got;
	bool done;
};

static int send_three(struct aiochan *ch, void *arg)
{
	struct pipeline *p = arg;

	for (int i = 0; i < 3; i++)
		if (aiochan_send(ch, &i, NULL, AIOIPC_FOREVER) != 1)
			return errno;
	p->sent = 3;
	return 0;
}

static void read_queue(void *arg)
{
	struct pipeline *p = arg;
	struct aiomsg *m;
	int n;

	while ((n = aioqueue_get(p->q, &m, AIOIPC_FOREVER)) == 1) {
		aiomsg_free(m);
		p->got++;
	}
	p->done = p->done && n == 0;
	aioqueue_close(p->q);
}

static void pass_on(struct pipeline *p, struct aiochan *ch)
{
	struct aiomsg *m;

	aiochan_each(ch, item)
	{
		m = aiomsg_new("i", *(int *)item);
		if (!m || aioqueue_put(p->q, m, AIOIPC_FOREVER) == -1)
			p->done = false;
		aiomsg_free(m);
	}
}

static void run_pipeline(void *arg)
{
	struct pipeline *p = arg;
	struct aiotask *reader = aiotask_spawn(p->base, read_queue, p);
	struct aiochan *ch = aiochan_produce(p->base, send_three, p);

	p->done = reader && ch;
	if (ch && reader)
		pass_on(p, ch);
	aiochan_free(ch);
	aioqueue_close(p->q);
	if (reader && aiotask_join(reader, AIOIPC_FOREVER) == -1)
		p->done = false;
}

static enum outcome pass_items_from_task_to_task(void)
{
	struct pipeline p = {.base = quiet_base(), .q = aioqueue_new(1, 0)};
	bool done = p.q && aiotask_run(p.base, run_pipeline, &p) == 0 && p.done;

	event_base_loop(p.base, EVLOOP_NONBLOCK);
	aioqueue_free(p.q);
	quiet_free(p.base);
	if (done)
		return p.sent == 3 && p.got == 3 ? COMPLETE : SILENT;
	return TOLD;
}

TEST_WITHIN(tasks_queues_and_channels, 60)
{
	fail_each(pass_items_from_task_to_task);
}

static void sleep_a_bit(void *arg)
{
	*(bool *)arg = aiotask_sleep(aioipc_after(1)) == 0;
}

/* From outside: the base is run meanwhile. */
static enum outcome join_a_task(void)
{
	struct event_base *base = quiet_base();
	bool slept = false, joined = false;
	struct aiotask *t = aiotask_spawn(base, sleep_a_bit, &slept);

	if (t && !(joined = aiotask_join(t, soon()) == 0)) {
		aiotask_cancel(t);
		aiotask_free(t);
	}
	event_base_loop(base, EVLOOP_NONBLOCK);
	quiet_free(base);
	return joined && slept ? COMPLETE : TOLD;
}

TEST_WITHIN(joining_a_task, 60)
{
	fail_each(join_a_task);
}

/* One task waits, on a connection without a base, for what another one sends. */
struct plain_talk {
	struct aioconn *a, *b;
	bool done;
};

static void receive_plainly(void *arg)
{
	struct plain_talk *t = arg;

	t->done = receive_fill(t->a, 10, 1) && receive_fill(t->a, 20, 2);
}

static void send_plainly(void *arg)
{
	struct plain_talk *t = arg;

	if (send_filled(t->b, 10, 1) && aiotask_sleep(aioipc_after(1)) == 0 && send_filled(t->b, 20, 2))
		return;
	aioconn_abort(t->b);
	t->b = NULL;
}

static enum outcome wait_without_a_base(void)
{
	struct event_base *base = quiet_base();
	struct plain_talk t = {.done = false};
	struct aiotask *sender = NULL;

	if (make_pair(PAIR, NULL, &t.a, &t.b))
		sender = aiotask_spawn(base, send_plainly, &t);
	if (sender && aiotask_run(base, receive_plainly, &t) == -1)
		t.done = false;
	aiotask_free(sender);
	event_base_loop(base, EVLOOP_NONBLOCK);
	while (sender && event_base_loop(base, EVLOOP_ONCE) == 0)
		continue;
	aioconn_abort(t.a);
	aioconn_abort(t.b);
	quiet_free(base);
	return t.done ? COMPLETE : TOLD;
}

TEST_WITHIN(a_task_waits_without_a_base, 60)
{
	fail_each(wait_without_a_base);
}

static int pass_on_message(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)arg;
	return aioqueue_put(out, m, AIOIPC_FOREVER);
}

/* All of its threads, or none: then nothing was taken, and it may be tried again. */
static bool start_service(struct aioservice *s, struct aioqueue *in, size_t messages, bool *done)
{
	if (aioservice_start(s) == 0)
		return true;
	*done = false;
	ck_assert_uint_eq(aioqueue_count(in), messages);
	must_fail(aioservice_join(s, AIOIPC_NOW), ETIMEDOUT);
	return aioservice_start(s) == 0;
}

static enum outcome serve_a_queue(void)
{
	struct aioqueue *in = aioqueue_new(10, 0), *out = aioqueue_new(10, 0);
	const struct aioservice_options o = {
		.size = sizeof o, .in = in, .out = out, .workers = 3, .handle = pass_on_message};
	struct aioservice *s = in && out ? aioservice_new(&o) : NULL;
	struct aiomsg *m = aiomsg_new("i", 1);
	size_t put = 0;
	bool done = s && m;

	while (done && put < 5 && aioqueue_put(in, m, AIOIPC_NOW) == 0)
		put++;
	done = done && put == 5;
	if (s && start_service(s, in, put, &done)) {
		ck_assert_int_eq(aioservice_close(s, soon()), 0);
		ck_assert_uint_eq(aioqueue_count(out), put);
	} else {
		done = false;
		aioservice_abort(s);
	}
	aiomsg_free(m);
	aioqueue_free(in);
	aioqueue_free(out);
	return done ? COMPLETE : TOLD;
}

TEST_WITHIN(services, 60)
{
	fail_each(serve_a_queue);
}

/* A hub: two members join, get messages that are copied and referred to, and what they miss is told. */
static enum outcome send_to_many(void)
{
	struct event_base *base = quiet_base();
	struct aiohub_options o = {.size = sizeof o, .base = base};
	struct aiohub *h = aiohub_new(&o);
	struct aioconn *member[2] = {NULL, NULL}, *peer[2] = {NULL, NULL};
	struct seen s[2] = {{.msgs = 0}, {.msgs = 0}}, end = {.stay = true};
	struct aiohub_stats stats = {.size = sizeof stats};
	bool done = h, settled;
	ssize_t got = 0;

	for (int i = 0; i < 2 && done; i++) {
		done = make_pair(PAIR, base, &member[i], &peer[i]) && aiohub_join(h, member[i]) == 0;
		if (done) {
			see(peer[i], &s[i]);
			see_end_only(member[i], &end);
		}
	}
	for (int i = 0; i < 3 && done; i++) {
		struct aiomsg *m = aiomsg_new_bytes("0123456789", 10);
		ssize_t n = m ? aiohub_send(h, m) : -1;

		aiomsg_free(m);
		done = n == 2;
		got += n > 0 ? n : 0;
	}
	if (done)
		done = aiohub_leave(h, member[0]) == 0 && aiohub_join(h, member[0]) == 0;
	/* A member whose queue was lost has left: its next send, flush or close says why. */
	for (settled = false; h && !settled; settled = settled || event_base_loop(base, EVLOOP_ONCE) != 0) {
		aiohub_stats(h, &stats);
		settled = !done || stats.members < 2 || s[0].msgs + s[1].msgs == (unsigned)got;
	}
	aiohub_free(h);
	for (int i = 0; i < 2; i++) {
		aioconn_abort(member[i]);
		if (!s[i].closes)
			aioconn_abort(peer[i]);
	}
	quiet_free(base);
	return done && s[0].msgs + s[1].msgs == 6 ? COMPLETE : TOLD;
}

TEST_WITHIN(a_hub, 60)
{
	fail_each(send_to_many);
}

/* Of a listener: its peer says something and goodbye. */
static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	(void)l;
	see(c, arg);
}

/* By a name, which is looked up, or the number that it listens at. */
static struct aioconn *connect_to(const struct aiolistener *l, bool by_name, struct event_base *base)
{
	struct aioconn *c;
	char name[64];

	snprintf(name, sizeof name, "tcp://localhost:%d", aiolistener_port(l));
	do
		c = aioconn_connect(by_name ? name : aiolistener_address(l), base, soon());
	while (!c && errno == EINTR);
	return c;
}

static enum outcome serve_a_peer(const char *address, bool by_name)
{
	struct event_base *base = quiet_base();
	struct seen s = {.msgs = 0}, client = {.msgs = 0};
	struct aiolistener *l = aiolistener_new(address, base, NULL, on_peer, &s);
	struct aioconn *c = l ? connect_to(l, by_name, base) : NULL;
	enum outcome outcome = TOLD;

	if (c) {
		see(c, &client);
		if (!send_filled(c, 10, 1) || aioconn_write_eof(c) == -1)
			aioconn_abort(c);
		while (!client.closes && event_base_loop(base, EVLOOP_ONCE) == 0)
			continue;
		outcome = s.msgs == 1 && s.cause == AIOCONN_CLEAN && client.cause == AIOCONN_CLEAN ? COMPLETE
												   : TOLD;
		if (!client.closes)
			outcome = SILENT;
	}
	aiolistener_free(l);
	while (event_base_loop(base, EVLOOP_ONCE) == 0)
		continue;
	quiet_free(base);
	return outcome;
}

static enum outcome serve_over_tcp(void)
{
	return serve_a_peer("tcp://127.0.0.1:0", false);
}

TEST_WITHIN(a_peer_over_tcp, 60)
{
	fail_each(serve_over_tcp);
}

static enum outcome serve_by_name(void)
{
	return serve_a_peer("tcp://127.0.0.1:0", true);
}

TEST_WITHIN(a_peer_that_looks_the_name_up, 60)
{
	if (is_known_here("localhost"))
		fail_each(serve_by_name);
}

static enum outcome serve_at_a_path(void)
{
	char address[64];

	snprintf(address, sizeof address, "unix:///tmp/aioipc-test-path-%ld", (long)getpid());
	return serve_a_peer(address, false);
}

TEST_WITHIN(a_peer_at_a_path, 60)
{
	fail_each(serve_at_a_path);
}

static struct aiolink_options link_options(enum aiolink_role role)
{
	static char address[64];

	snprintf(address, sizeof address, "unix:@aioipc-test-inject-%ld", (long)getpid());
	return (struct aiolink_options){
		.size = sizeof(struct aiolink_options), .role = role, .address = address};
}

static struct aiolink *start_link(const struct aiolink_options *o, struct event_base *base)
{
	struct aiolink *l = aiolink_new(o);

	if (l && aiolink_start(l, base) == 0)
		return l;
	aiolink_abort(l);
	return NULL;
}

static bool put_words(struct aioqueue *q, int n)
{
	bool done = true;

	for (; n > 0 && done; n--) {
		struct aiomsg *m = aiomsg_new_bytes("word", 4);

		done = m && aioqueue_put(q, m, AIOIPC_NOW) == 0;
		aiomsg_free(m);
	}
	return done;
}

static int take_words(struct aioqueue *q)
{
	struct aiomsg *m;
	int n;

	for (n = 0; aioqueue_get(q, &m, AIOIPC_NOW) == 1; n++)
		aiomsg_free(m);
	return n;
}

/* One that has ended in good order has delivered all. */
static bool ended_well(const struct aiolink *l)
{
	return aiolink_state(l) == AIOLINK_ENDED && aiolink_error(l) == 0;
}

static enum outcome link_two(void)
{
	const struct aiolink_options connect = link_options(AIOLINK_CONNECT);
	struct aiolink_options listen = link_options(AIOLINK_LISTEN);
	struct event_base *base = quiet_base();
	struct aiolink *server, *client;
	enum outcome outcome = TOLD;
	const uid_t me = getuid();

	listen.uids = &me;
	listen.n_uids = 1;
	server = start_link(&listen, base);
	client = server ? start_link(&connect, base) : NULL;
	if (client && put_words(aiolink_outbox(client), 3)) {
		aioqueue_close(aiolink_outbox(client));
		while (aiolink_state(client) != AIOLINK_ENDED && event_base_loop(base, EVLOOP_ONCE) == 0)
			continue;
		if (ended_well(client)) {
			while (aiolink_state(server) != AIOLINK_ENDED &&
			       event_base_loop(base, EVLOOP_ONCE) == 0)
				continue;
			outcome = ended_well(server) ? SILENT : TOLD;
			if (outcome == SILENT && take_words(aiolink_inbox(server)) == 3)
				outcome = COMPLETE;
		}
	}
	aiolink_abort(client);
	aiolink_abort(server);
	event_base_loop(base, EVLOOP_NONBLOCK);
	quiet_free(base);
	return outcome;
}

TEST_WITHIN(two_links_on_a_base, 120)
{
	fail_each(link_two);
}

/* It hangs up on the first who speaks. */
static void hang_up(struct aioconn *c, struct aiomsg *m, void *arg)
{
	unsigned *msgs = arg;

	(void)m;
	if ((*msgs)++ == 0)
		aioconn_abort(c);
}

static void after_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	(void)cause;
	(void)arg;
	aioconn_abort(c);
}

static void on_linked(struct aiolistener *l, struct aioconn *c, void *arg)
{
	(void)l;
	aioconn_set_callbacks(c, hang_up, NULL, after_close, arg);
}

static enum outcome link_again(void)
{
	struct aiolink_options o = link_options(AIOLINK_CONNECT);
	struct event_base *base = quiet_base();
	enum outcome outcome = TOLD;
	struct aiolistener *listener;
	struct aiolink *l;
	unsigned msgs = 0;

	o.reconnect_first = o.reconnect_most = 1;
	o.fds = 4;
	o.spin = 1;
	o.idle_limit = o.send_limit = 60000;
	inject_pause();
	listener = must(aiolistener_new(o.address, base, NULL, on_linked, &msgs));
	inject_resume();
	l = start_link(&o, base);
	while (l && msgs == 0 && put_words(aiolink_outbox(l), 1))
		event_base_loop(base, EVLOOP_ONCE);
	if (l && msgs == 1) {
		aioqueue_close(aiolink_outbox(l));
		while (aiolink_state(l) != AIOLINK_ENDED && event_base_loop(base, EVLOOP_ONCE) == 0)
			continue;
		outcome = COMPLETE;
	}
	aiolink_abort(l);
	aiolistener_free(listener);
	event_base_loop(base, EVLOOP_NONBLOCK);
	quiet_free(base);
	return outcome;
}

TEST_WITHIN(a_link_that_connects_again, 120)
{
	fail_each(link_again);
}

static enum outcome link_in_thread(void)
{
	struct aiolink_options o = {.size = sizeof o};
	struct aioend *other = NULL;
	enum outcome outcome = TOLD;
	struct aioconn *c = NULL;
	struct aiolink *l;
	struct aiomsg *m;
	int r;

	if (aiosockpair(&o.end, &other) == -1)
		return TOLD;
	l = aiolink_new(&o);
	if (!l)
		aioend_free(o.end);
	else if (aiolink_start(l, NULL) == 0 && put_words(aiolink_outbox(l), 1))
		c = aioend_open(other, NULL);
	if (c) {
		other = NULL;
		while ((r = aioconn_recv(c, &m, soon())) == -1 && errno == EINTR)
			continue;
		if (r == 1) {
			aiomsg_free(m);
			aioconn_close(c, soon());
			c = NULL;
			outcome = aiolink_close(l, soon()) == 0 ? COMPLETE : TOLD;
			l = NULL;
		}
	}
	aioconn_abort(c);
	aiolink_abort(l);
	aioend_free(other);
	return outcome;
}

TEST_WITHIN(a_link_in_a_thread, 120)
{
	fail_each(link_in_thread);
}
