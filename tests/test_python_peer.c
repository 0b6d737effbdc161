/*
 * The library and its peer in Python, python/aioipc.py: what one says the other understands, and both judge alike what nobody should
 * say.
 */
#include "tests/damage.h"
#include "tests/peers.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/msg/image.h"
#include "ipc/net/address.h"

#define SCRIPT SRCDIR "/tests/peer_wire.py"

/* A process of tests/peer_wire.py, and the connection to its end named "peer". */
struct peer {
	struct aioproc *proc;
	struct aioconn *c;
};

/* The words are split at spaces. */
static struct peer start(enum transport t, struct event_base *base, const char *words)
{
	const char *python = getenv("PYTHON3");
	char text[200], *argv[16] = {(char *)(uintptr_t) "env"}, *rest = text;
	struct aioend *ours, *theirs;
	struct peer p;
	size_t n = 1;

	argv[n++] = (char *)(uintptr_t)(python && *python ? python : "python3");
	argv[n++] = (char *)(uintptr_t) "-IS";
	argv[n++] = (char *)(uintptr_t) "-B"; /* writes no file beside the source */
	argv[n++] = (char *)(uintptr_t)SCRIPT;
	snprintf(text, sizeof text, "%s", words);
	while (n < 15 && (argv[n] = strsep(&rest, " ")))
		n++;
	make_ends(t, &ours, &theirs);
	must(aioend_set_name(theirs, "peer"));
	must(aioend_detach(theirs));
	p.proc = must(aioproc_exec("/usr/bin/env", argv, NULL, NULL));
	aioend_free(theirs);
	p.c = open_end(ours, base);
	return p;
}

static int status_of(struct peer *p)
{
	int status;

	must(aioproc_join(p->proc, &status, soon()));
	aioproc_free(p->proc);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* It hears our goodbye and ends well. */
static void finish(struct peer *p)
{
	must(aioconn_close(p->c, soon()));
	ck_assert_int_eq(status_of(p), 0);
}

static struct aiomsg *next(struct aioconn *c)
{
	struct aiomsg *m;
	int got = aioconn_recv(c, &m, soon());

	if (got != 1)
		ck_abort_msg("no message: %s, %s", got == 0 ? "goodbye" : strerror(errno), aioconn_why(c));
	return m;
}

static const char *format_of(const struct aiomsg *m)
{
	return aiomsg_format(m) ? aiomsg_format(m) : "bytes";
}

static bool are_same(const struct aiomsg *a, const struct aiomsg *b)
{
	size_t n, m;
	const void *p = aiomsg_bytes(a, &n), *q = aiomsg_bytes(b, &m);

	return strcmp(format_of(a), format_of(b)) == 0 && n == m && memcmp(p, q, n) == 0;
}

/* Made anew in Python from its values, to the byte. Frees @m. */
static void echoed(struct aioconn *c, struct aiomsg *m)
{
	struct aiomsg *back;

	ck_assert_ptr_nonnull(m);
	must(aioconn_send_msg(c, m));
	back = next(c);
	ck_assert_msg(are_same(m, back), "%s came back as %s", format_of(m), format_of(back));
	aiomsg_free(back);
	aiomsg_free(m);
}

static struct aiomsg *nested(unsigned rows)
{
	struct aiowriter *w = must(aiowriter_new("sA(iA(s)BA(A(c)))U"));

	must(aiowriter_put(w, "sA(", "title"));
	for (unsigned i = 0; i < rows; i++) {
		must(aiowriter_put(w, "iA(", (int32_t)i));
		for (unsigned n = 0; n < i; n++)
			must(aiowriter_put(w, "s", n % 2 ? NULL : "one"));
		must(aiowriter_put(w, ")BA(", "bytes", (size_t)i));
		for (unsigned n = 0; n < i; n++)
			must(aiowriter_put(w, "A(c)", "chars", (size_t)n));
		must(aiowriter_put(w, ")"));
	}
	must(aiowriter_put(w, ")U", UINT64_MAX));
	return must(aiowriter_finish(w));
}

/* Every letter and bracket, at its edges. */
static void echo_all(struct aioconn *c)
{
	static const struct {
		int32_t i;
		char c[3];
		const char *s;
	} one = {-1, {'a', 0, '\xff'}, NULL}, rows[2] = {{1, "ab", "x"}, {INT32_MIN, "", ""}};
	static const char *const texts[] = {"", NULL, "\xff\xfe not UTF-8", "\xe2\x82\xac"};
	const double doubles[] = {0.0, -0.0, 1.5, INFINITY, 5e-324, NAN};

	echoed(c, aiomsg_new(""));
	echoed(c, aiomsg_new("cjviuIU", 'x', INT16_MIN, UINT16_MAX, INT32_MIN, UINT32_MAX, INT64_MIN,
			     UINT64_MAX));
	echoed(c, aiomsg_new("cjviuIU", '\xff', INT16_MAX, 0, INT32_MAX, 0u, INT64_MAX, (uint64_t)0));
	echoed(c, aiomsg_new("f#A(f)f", doubles, (size_t)6, doubles, (size_t)6, 0.1));
	echoed(c, aiomsg_new("sssA(s)s#", NULL, "", "one", texts, (size_t)4, texts, (size_t)4));
	echoed(c, aiomsg_new("BB", "", (size_t)0, "a\0b\xff", (size_t)4));
	echoed(c, aiomsg_new("c#c##c###", "abc", (size_t)3, "abcdef", (size_t)2, (size_t)3, "abcdefgh",
			     (size_t)2, (size_t)2, (size_t)2));
	echoed(c, aiomsg_new("i##", (int32_t[2][3]){{1, 2, 3}, {4, 5, 6}}, (size_t)2, (size_t)3));
	echoed(c, aiomsg_new("S(ic#s)A(ic#s)", &one, sizeof one, (size_t)3, rows, (size_t)2, sizeof *rows,
			     (size_t)3));
	echoed(c, aiomsg_new("S(ic#s)#", rows, sizeof *rows, (size_t)3, (size_t)2));
	echoed(c, aiomsg_new("A(i)A(S(i)#)", NULL, (size_t)0, NULL, (size_t)0, (size_t)4, (size_t)1));
	echoed(c, nested(0));
	echoed(c, nested(5));
	echoed(c, aiomsg_new_bytes("", 0));
	echoed(c, aiomsg_new_bytes("plain\0bytes", 11));
}

static void echo_each(const char *words)
{
	for (int t = DUPLEX; t <= PAIR; t++) {
		struct peer p = start((enum transport)t, NULL, words);

		echo_all(p.c);
		finish(&p);
	}
}

TEST_WITHIN(every_kind_of_value_there_and_back, 60)
{
	echo_each("echo");
	echo_each("asyncio echo");
}

/* Sent back as they are: the library has checked them. */
static void reflect(struct aioconn *c, unsigned n)
{
	struct aiomsg *m;

	for (; n > 0; n--) {
		m = next(c);
		must(aioconn_send_msg(c, m));
		aiomsg_free(m);
	}
	expect_end(c, 0);
}

TEST_WITHIN(random_formats_and_values, 60)
{
	unsigned seed = (unsigned)getpid();
	char words[60];
	struct peer p;

	printf("# seed %u\n", seed);
	fflush(stdout);
	snprintf(words, sizeof words, "generate %u 3000", seed);
	p = start(PAIR, NULL, words);
	reflect(p.c, 3000);
	finish(&p);
}

static void echo_big(const char *words, enum transport t)
{
	enum { MOST = 16 << 20 };
	struct peer p = start(t, NULL, words);
	char *data = must(malloc(MOST));

	fill(data, MOST, 7);
	echoed(p.c, aiomsg_new_bytes(data, MOST));
	echoed(p.c, aiomsg_new("B", data, (size_t)MOST - 14));
	memset(data, 'x', MOST);
	data[5000000] = '\0';
	echoed(p.c, aiomsg_new("sA(i)", data, data, (size_t)1000000));
	free(data);
	finish(&p);
}

TEST_WITHIN(messages_as_large_as_the_limit, 60)
{
	echo_big("echo", PAIR);
	echo_big("asyncio echo", DUPLEX);
}

/* Callbacks on a loop: far more at once than any buffer on the way takes. */
enum { MANY = 20000 };

struct stream {
	struct event_base *base;
	unsigned sent, came;
	bool ended;
};

static void send_more(struct aioconn *c, void *arg)
{
	struct stream *s = arg;

	while (s->sent < MANY) {
		if (aioconn_send(c, "us", s->sent, "a message of some words") == -1) {
			ck_assert_int_eq(errno, EAGAIN);
			return;
		}
		s->sent++;
	}
}

static void count_one(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct stream *s = arg;
	const char *text;
	uint32_t n;

	must(aiomsg_unpack(m, "us", &n, &text));
	ck_assert_uint_eq(n, s->came);
	if (++s->came == MANY)
		must(aioconn_write_eof(c));
}

static void on_end(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct stream *s = arg;

	ck_assert_int_eq(cause, AIOCONN_CLEAN);
	s->ended = true;
	aioconn_abort(c);
}

static void stream_both_ways(const char *words)
{
	struct stream s = {.base = new_base()};
	struct peer p = start(PAIR, s.base, words);

	must(aioconn_set_callbacks(p.c, count_one, send_more, on_end, &s));
	while (!s.ended)
		must(event_base_loop(s.base, EVLOOP_ONCE));
	ck_assert_uint_eq(s.came, MANY);
	ck_assert_int_eq(status_of(&p), 0);
	event_base_free(s.base);
}

TEST_WITHIN(thousands_both_ways_at_once_in_order, 60)
{
	stream_both_ways("echo");
	stream_both_ways("asyncio echo");
}

/* Sent there and back, a pipe's two ends still are one. */
static void pass_fds(const char *words)
{
	static const unsigned due[] = {0, 3, 1};
	struct peer p = start(PAIR, NULL, words);
	struct aiomsg *m = must(aiomsg_new("s", "three of them"));
	char text[8] = "";
	int fd[2], back;

	must(aioconn_allow_fds(p.c, 3));
	must(pipe2(fd, O_CLOEXEC));
	for (int i = 0; i < 3; i++)
		must(aiomsg_add_fd(m, fd[1]));
	must(aioconn_send(p.c, "s", "none"));
	must(aioconn_send_msg(p.c, m));
	must(aioconn_send_fd(p.c, fd[1], "i", 1));
	close(fd[1]);
	aiomsg_free(m);
	for (unsigned n = 0; n < 3; n++) {
		m = next(p.c);
		ck_assert_uint_eq(aiomsg_fds(m), due[n]);
		while (aiomsg_fds(m)) {
			back = must(aiomsg_take_fd(m));
			put(back, "x", 1);
			close(back);
		}
		aiomsg_free(m);
	}
	finish(&p);
	ck_assert_uint_eq(get(fd[0], text, 8), 4); /* and the end: no copy is left anywhere */
	close(fd[0]);
}

TEST_WITHIN(descriptors_there_and_back, 30)
{
	pass_fds("echo");
	pass_fds("asyncio echo");
}

/* Calls. */

static void call_number(struct aioconn *c, int32_t n, int due, const char *words)
{
	struct aiomsg *answer;
	const char *text = "";
	int32_t result = 0;
	int got = aioconn_call(c, &answer, soon(), "i", n);

	ck_assert_int_ge(must(got), 0);
	if (got == 1)
		must(aiomsg_unpack(answer, "i", &result));
	else
		result = -aiomsg_error(answer, &text);
	ck_assert_int_eq(result, due);
	ck_assert_ptr_nonnull(strstr(text, words));
	aiomsg_free(answer);
}

struct answers {
	unsigned n, right;
};

static void on_answer(struct aiomsg *answer, int error, void *arg)
{
	struct answers *a = arg;
	int32_t n;

	a->n++;
	a->right += !error && aiomsg_unpack(answer, "i", &n) == 0 && n % 2 == 0;
}

/* It is asked to call us, and says what came of it. The call that it gave up by then is not wanted any more. */
static void be_called(struct aioconn *c, int32_t n)
{
	struct aiomsg *call, *answer = NULL, *report;
	int32_t number, result;
	const char *text;

	must(aioconn_send(c, "i", n));
	call = next(c);
	ck_assert(aiomsg_is_call(call));
	must(aiomsg_unpack(call, "i", &number));
	ck_assert_int_eq(number, n);
	if (n == 1)
		answer = must(aiomsg_answer(call, "i", (int32_t)100));
	if (n == 2)
		answer = must(aiomsg_answer_error(call, EDOM, "not two"));
	if (answer)
		must(aioconn_send_msg(c, answer));
	aiomsg_free(answer);
	report = next(c);
	must(aiomsg_unpack(report, "iis", &number, &result, &text));
	ck_assert_int_eq(result, n == 1 ? 100 : n == 2 ? -EDOM : -ETIMEDOUT);
	ck_assert_str_eq(text, n == 1 ? "answer" : n == 2 ? "not two" : "too late");
	if (n < 0)
		while (aiomsg_is_wanted(call)) /* the cancel may come behind the report */
			must(aioconn_call(c, &answer, soon(), "i", (int32_t)1)), aiomsg_free(answer);
	aiomsg_free(report);
	aiomsg_free(call);
}

static void call_both_ways(const char *words, enum transport t)
{
	struct event_base *base = new_base();
	struct peer p = start(t, base, words);
	struct aiomsg *m = must(aiomsg_new("i", (int32_t)7));
	struct answers a = {.n = 0};

	call_number(p.c, 21, 42, "");
	call_number(p.c, -1, -EDOM, "below 0");
	call_number(p.c, 0, -ENOMSG, "without an answer");
	for (int i = 0; i < 500; i++)
		must(aioconn_call_later(p.c, m, on_answer, &a, soon()));
	run_until(base, &a.n, 500);
	ck_assert_uint_eq(a.right, 500);
	be_called(p.c, 1);
	be_called(p.c, 2);
	be_called(p.c, -3);
	call_number(p.c, 5, 10, "");
	aiomsg_free(m);
	finish(&p);
	event_base_free(base);
}

TEST_WITHIN(both_sides_call_and_answer, 60)
{
	call_both_ways("calls", PAIR);
	call_both_ways("calls", DUPLEX);
	call_both_ways("asyncio calls", PAIR);
}

TEST_WITHIN(a_peer_that_dies_is_lost_and_one_that_says_goodbye_is_not, 30)
{
	static const struct {
		const char *words;
		int error, status;
	} all[] = {{"die", ECONNRESET, -SIGKILL}, {"leave", ECONNRESET, 0}, {"generate 1 0", 0, 0}};

	for (int t = PIPE + 1; t <= PAIR; t++)
		for (size_t i = 0; i < 3; i++) {
			struct peer p = start((enum transport)t, NULL, all[i].words);

			if (all[i].error)
				aiomsg_free(next(p.c));
			expect_end(p.c, all[i].error);
			aioconn_abort(p.c);
			ck_assert_int_eq(status_of(&p), all[i].status);
		}
}

static void end_each(const char *words)
{
	for (int t = PIPE; t <= PAIR; t++)
		for (int well = 0; well <= 1; well++) {
			struct peer p = start((enum transport)t, NULL, words);

			must(aioconn_send(p.c, "s", "last words"));
			if (well)
				must(aioconn_close(p.c, soon()));
			else
				aioconn_abort(p.c);
			ck_assert_int_eq(status_of(&p), well ? 0 : 3);
		}
}

TEST_WITHIN(python_tells_goodbye_and_loss_apart, 60)
{
	end_each("end");
	end_each("asyncio end");
}

/* Images for Python to judge, so many in a message. */
enum { BATCH = 250 };

struct court {
	struct peer p;
	struct aiowriter *w;
	const char *verdict[BATCH];
	unsigned n, all, refused;
};

static void judge_batch(struct court *j)
{
	const char *said[BATCH];
	struct aiomsg *m = must(aiowriter_finish(j->w)), *answer;
	size_t n;

	must(aioconn_send_msg(j->p.c, m));
	answer = next(j->p.c);
	must(aiomsg_unpack(answer, "A(s)", said, (size_t)BATCH, &n));
	ck_assert_uint_eq(n, j->n);
	for (size_t i = 0; i < n; i++)
		if (strcmp(said[i], j->verdict[i]) != 0)
			ck_abort_msg("image %zu of the last %u: \"%s\", in Python \"%s\"", i, j->n,
				     j->verdict[i], said[i]);
	aiomsg_free(answer);
	aiomsg_free(m);
	j->w = NULL;
	j->n = 0;
}

static void judge(const unsigned char *image, size_t len, void *arg)
{
	struct court *j = arg;
	const char *wrong = ipc_image_check(image, len);

	if (!j->w) {
		j->w = must(aiowriter_new("A(B)"));
		must(aiowriter_put(j->w, "A("));
	}
	must(aiowriter_put(j->w, "B", image, len));
	j->verdict[j->n++] = wrong ? wrong : "";
	j->all++;
	j->refused += !!wrong;
	if (j->n == BATCH) {
		must(aiowriter_put(j->w, ")"));
		judge_batch(j);
	}
}

static void judge_damaged(struct court *j, struct aiomsg *m)
{
	size_t len;
	const void *image = aiomsg_bytes(m, &len);

	judge(image, len, j);
	damage_head(image, len, judge, j);
	damage_values(image, len, judge, j);
	damage_at_random(image, len, 1500, (uint32_t)getpid(), judge, j);
	aiomsg_free(m);
}

/* Not wrong in themselves, or wrong in ways that no damage of another makes. */
static void judge_by_hand(struct court *j)
{
	static const char formats[][32] = {"A(A(A(i)))", "A(S(ic#)#B)", "S(ss)##", "i##########",
					   "A(i#)A(i#)", "A(c)A()",     "S(A(i))", "S(B)",
					   "A(s)#",      "B#",          "ii)",     "A(",
					   "S(i",        "(i)",         "#"};
	unsigned char image[200] = "tpl";

	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
		for (uint32_t word = 0; word < 4; word++)
			for (uint32_t len = 9; len < 160; len += 7) {
				image[3] = strchr(formats[i], 's') ? 2 : 0;
				memcpy(image + 4, &len, 4);
				for (size_t at = 8; at + 4 <= len; at += 1)
					image[at] = (unsigned char)(at % 4 == 0 ? word : 0);
				memcpy(image + 8, formats[i], strlen(formats[i]) + 1);
				judge(image, len, j);
			}
}

/* Deep, and long: sixty-four arrays are a format, sixty-five are none. */
static void judge_large(struct court *j)
{
	static unsigned char image[3000];

	for (unsigned depth = 60; depth <= 66; depth++) {
		uint32_t len = 8 + 3 * depth + 1 + 1 + 4;
		unsigned char *at = image + 8;

		memset(image, 0, sizeof image);
		memcpy(image, "tpl", 4);
		memcpy(image + 4, &len, 4);
		for (unsigned i = 0; i < depth; i++, at += 2)
			memcpy(at, "A(", 2);
		*at++ = 'c';
		memset(at, ')', depth);
		judge(image, len, j);
	}
	for (unsigned hashes = 8; hashes < 13; hashes++) {
		uint32_t len = 8 + 1 + hashes + 1 + 4 * hashes + 1;

		memset(image, 0, sizeof image);
		memcpy(image, "tpl", 4);
		memcpy(image + 4, &len, 4);
		image[8] = 'c';
		memset(image + 9, '#', hashes);
		for (unsigned i = 0; i < hashes; i++)
			image[10 + hashes + 4 * i] = 1;
		judge(image, len, j);
	}
}

TEST_WITHIN(damaged_images_get_the_same_verdict_and_words, 120)
{
	struct court j = {.p = start(PAIR, NULL, "judge")};

	judge_by_hand(&j);
	judge_large(&j);
	judge_damaged(&j, aiomsg_new("ss", "", "two"));
	judge_damaged(&j, aiomsg_new("cjviuIUf", 'x', 1, 2, 3, 4u, (int64_t)5, (uint64_t)6, 7.0));
	judge_damaged(&j,
		      aiomsg_new("A(i)c#B", (int32_t[]){7, 7}, (size_t)2, "ab", (size_t)2, "one", (size_t)3));
	judge_damaged(&j, aiomsg_new("S(i##)#", (int32_t[16]){1}, sizeof(int32_t[4]), (size_t)2, (size_t)2,
				     (size_t)4));
	judge_damaged(&j, nested(3));
	if (j.n) {
		must(aiowriter_put(j.w, ")"));
		judge_batch(&j);
	}
	printf("# %u images, %u of them refused\n", j.all, j.refused);
	ck_assert_uint_gt(j.refused, 10000);
	ck_assert_uint_gt(j.all - j.refused, 500);
	finish(&j.p);
}

/* What a peer may do wrong with a whole stream. */
struct stream_of {
	const char *name;
	char bytes[200];
	size_t len, fds;
};

static void add(struct stream_of *s, const void *data, size_t len)
{
	memcpy(s->bytes + s->len, data, len);
	s->len += len;
}

static void add_frame(struct stream_of *s, unsigned kind, unsigned nfds, const char *payload)
{
	s->len += make_frame((unsigned char *)s->bytes + s->len, kind, nfds, payload, strlen(payload));
}

/* A header alone. */
static void add_header(struct stream_of *s, uint32_t len, unsigned kind, unsigned nfds, unsigned zero)
{
	const unsigned char h[HEADER_LEN] = {(unsigned char)len,         (unsigned char)(len >> 8),
					     (unsigned char)(len >> 16), (unsigned char)(len >> 24),
					     (unsigned char)kind,        (unsigned char)nfds,
					     (unsigned char)zero,        0};

	add(s, h, sizeof h);
}

static struct stream_of *begin(struct stream_of *s, const char *name)
{
	memset(s, 0, sizeof *s);
	s->name = name;
	add(s, PREFACE, PREFACE_LEN);
	return s;
}

enum { STREAMS_MOST = 300 };

static size_t make_prefaces(struct stream_of *s)
{
	size_t n = 0;

	for (unsigned i = 0; i < 8; i++) {
		begin(&s[n], "a wrong preface")->bytes[i] ^= 2;
		add_frame(&s[n++], BYTES, 0, "x");
	}
	for (unsigned i = 0; i <= 8; i++)
		begin(&s[n++], "a preface cut")->len = i;
	begin(&s[n++], "lines")->len = 0;
	add(&s[n - 1], "hello\n", 6);
	begin(&s[n++], "web")->len = 0;
	add(&s[n - 1], "GET / HTTP/1.1\r\n\r\n", 18);
	return n;
}

static size_t make_headers(struct stream_of *s)
{
	size_t n = 0;

	for (unsigned kind = 0; kind < 256; kind += kind == 25 ? 101 : kind == 129 ? 125 : 1) {
		add_header(begin(&s[n++], "a kind"), 0, kind, 0, 0);
		add_header(begin(&s[n], "a kind with a payload"), 3, kind, 0, 0);
		add(&s[n++], "abc", 3);
		add_header(begin(&s[n++], "a kind with descriptors"), 0, kind, 1, 0);
		add_header(begin(&s[n++], "a kind and flags"), 0, kind, 0, 1);
	}
	add_header(begin(&s[n++], "over the limit"), (16 << 20) + 1, BYTES, 0, 0);
	add_header(begin(&s[n++], "all of it"), UINT32_MAX, BYTES, 0, 0);
	add_header(begin(&s[n++], "a large one to skip"), UINT32_MAX, 200, 0, 0);
	add_header(begin(&s[n++], "as large as may be"), 16 << 20, BYTES, 0, 0);
	add_header(begin(&s[n++], "too many descriptors"), 1, BYTES, 9, 0);
	return n;
}

/* Each has a number of 8 bytes in front. */
static size_t make_calls(struct stream_of *s)
{
	size_t n = 0;

	add_frame(begin(&s[n], "calls"), 5, 0, "number 1content");
	add_frame(&s[n], 5, 0, "number 2");
	add_frame(&s[n++], GOODBYE, 0, "");
	add_frame(begin(&s[n], "a number twice"), 5, 0, "number 1content");
	add_frame(&s[n++], 5, 0, "number 1again");
	add_frame(begin(&s[n], "a number after a cancel"), 5, 0, "number 1content");
	add_frame(&s[n], 9, 0, "number 1");
	add_frame(&s[n], 5, 0, "number 1again");
	add_frame(&s[n++], GOODBYE, 0, "");
	add_frame(begin(&s[n], "answers to nothing"), 7, 0, "number 1content");
	add_frame(&s[n], 8, 0, "number 1\001\001\001\001words");
	add_frame(&s[n], 9, 0, "number 1");
	add_frame(&s[n++], GOODBYE, 0, "");
	add_frame(begin(&s[n++], "a refusal with an error below 0"), 8, 0, "number 1\377\377\377\377words");
	add_header(begin(&s[n], "a refusal without an error"), 12, 8, 0, 0);
	add(&s[n++], "number 1\0\0\0\0", 12);
	add_frame(begin(&s[n++], "a cancel with a payload"), 9, 0, "number 1x");
	add_frame(begin(&s[n++], "a call that is no image"), 4, 0, "number 1not one");
	add_frame(begin(&s[n++], "an answer that is no image"), 6, 0, "number 1not one");
	add_frame(begin(&s[n++], "hello"), 16, 0, "0123456789abcdef0123456789abcdef");
	return n;
}

static size_t make_ends_of_streams(struct stream_of *s)
{
	size_t n = 0, whole;

	add_frame(begin(&s[n], "goodbye"), BYTES, 0, "one");
	add_frame(&s[n++], GOODBYE, 0, "");
	add_frame(begin(&s[n], "bytes after the goodbye"), GOODBYE, 0, "");
	add(&s[n++], "x", 1);
	add_frame(begin(&s[n], "skipped ones"), 200, 0, "to be skipped");
	add_frame(&s[n], BYTES, 0, "heard");
	add_frame(&s[n], 255, 0, "");
	add_frame(&s[n++], GOODBYE, 0, "");
	add_frame(begin(&s[n], "no image"), TPL, 0, "not one");
	add_frame(&s[n++], BYTES, 0, "x");
	add_frame(begin(&s[n], "skipped and cut"), 200, 0, "to be skipped");
	s[n++].len -= 3;
	add_frame(begin(&s[n], "cut"), BYTES, 0, "one");
	whole = s[n].len;
	for (size_t len = PREFACE_LEN; len < whole; len++, n++) {
		s[n + 1] = s[n];
		s[n].len = len;
	}
	return n;
}

static size_t make_descriptors(struct stream_of *s)
{
	size_t n = 0;

	for (size_t fds = 0; fds <= 10; fds++) {
		add_frame(begin(&s[n], "three are announced"), BYTES, 3, "x");
		s[n].fds = fds;
		add_frame(&s[n++], GOODBYE, 0, "");
		add_frame(begin(&s[n], "none is announced"), BYTES, 0, "x");
		s[n].fds = fds;
		add_frame(&s[n++], GOODBYE, 0, "");
		add_frame(begin(&s[n], "two messages with two each"), BYTES, 2, "x");
		s[n].fds = fds;
		add_frame(&s[n], BYTES, 2, "y");
		add_frame(&s[n++], GOODBYE, 0, "");
	}
	return n;
}

static void say(int fd, const struct stream_of *s)
{
	int fds[10];

	for (size_t i = 0; i < s->fds; i++)
		fds[i] = STDERR_FILENO;
	if (s->fds)
		put_fds(fd, s->bytes, s->len, fds, (unsigned)s->fds);
	else
		put(fd, s->bytes, s->len);
	must(shutdown(fd, SHUT_WR));
}

/* How the library ends by this stream: its messages, each with a NUL, its errno, why. */
static int end_of(const struct stream_of *s, char *texts, size_t *len, char *why)
{
	struct aioconn *c;
	struct aiomsg *m;
	size_t n;
	int fd = raw_peer(PAIR, NULL, &c), got, error;

	must(aioconn_allow_fds(c, 8));
	say(fd, s);
	for (*len = 0; (got = aioconn_recv(c, &m, soon())) == 1; *len += n + 1, aiomsg_free(m)) {
		memcpy(texts + *len, aiomsg_bytes(m, NULL), (aiomsg_bytes(m, &n), n + 1));
		(void)aioconn_send_msg(c, m);
	}
	error = got == 0 ? 0 : errno;
	strcpy(why, aioconn_why(c));
	aioconn_abort(c);
	close(fd);
	return error;
}

static int connect_raw(const char *name)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	size_t len = (size_t)snprintf(un.sun_path, sizeof un.sun_path, "%s", name);

	un.sun_path[0] = '\0';
	must(connect(fd, (struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)));
	return fd;
}

static void judge_stream(struct peer *p, const char *name, const struct stream_of *s)
{
	char texts[200], why[200];
	const char *their_why;
	const void *theirs;
	struct aiomsg *m;
	size_t len, n;
	int32_t error;
	int due = end_of(s, texts, &len, why), fd;

	must(aioconn_send(p->c, "")); /* one comes */
	fd = connect_raw(name);
	say(fd, s);
	m = next(p->c);
	must(aiomsg_unpack(m, "Bis", &theirs, &n, &error, &their_why));
	if (error != due || strcmp(why, their_why) != 0 || n != len || (n && memcmp(theirs, texts, n) != 0))
		ck_abort_msg(
			"%s, %zu bytes, %zu descriptors: %d, \"%s\", %zu bytes; in Python: %d, \"%s\", %zu",
			s->name, s->len, s->fds, due, why, len, error, their_why, n);
	aiomsg_free(m);
	close(fd);
}

TEST_WITHIN(whatever_a_peer_says_ends_its_own_connection_as_it_does_here, 60)
{
	struct stream_of *s = must(calloc(STREAMS_MOST, sizeof *s));
	char words[100];
	const char *where;
	struct aiomsg *m;
	struct peer p;
	size_t n = make_prefaces(s);

	n += make_headers(s + n);
	n += make_calls(s + n);
	n += make_ends_of_streams(s + n);
	n += make_descriptors(s + n);
	ck_assert_uint_lt(n, STREAMS_MOST);
	snprintf(words, sizeof words, "serve unix:@aioipc-test-%d", (int)getpid());
	p = start(PAIR, NULL, words);
	m = next(p.c);
	must(aiomsg_unpack(m, "s", &where));
	ck_assert_str_eq(where, words + 6);
	for (size_t i = 0; i < n; i++)
		judge_stream(&p, where + 5, &s[i]);
	printf("# %zu streams\n", n);
	aiomsg_free(m);
	finish(&p);
	free(s);
}

/* Python listens. */
static void go_there(const char *words, const char *at)
{
	char all[150];
	const char *where;
	struct aioconn *c;
	struct aiomsg *m;
	struct peer p;

	snprintf(all, sizeof all, "%s %s", words, at);
	p = start(PAIR, NULL, all);
	m = next(p.c);
	must(aiomsg_unpack(m, "s", &where));
	c = must(aioconn_connect(where, NULL, soon()));
	aiomsg_free(m);
	echo_all(c);
	must(aioconn_close(c, soon()));
	finish(&p);
}

static void take_it(struct aiolistener *l, struct aioconn *c, void *arg)
{
	(void)l;
	*(struct aioconn **)arg = c;
}

/* Python comes. */
static void await_it(const char *words, const char *at)
{
	struct event_base *base = new_base();
	struct aioconn *c = NULL;
	struct aiolistener *l = must(aiolistener_new(at, base, NULL, take_it, &c));
	char all[150];
	struct peer p;

	snprintf(all, sizeof all, "%s %s", words, aiolistener_address(l));
	p = start(PAIR, NULL, all);
	while (!c)
		must(event_base_loop(base, EVLOOP_ONCE));
	echo_all(c);
	must(aioconn_close(c, soon()));
	aiolistener_free(l);
	finish(&p);
	event_base_free(base);
}

TEST_WITHIN(they_meet_at_addresses, 120)
{
	char path[100], name[100];

	snprintf(path, sizeof path, "unix:///tmp/aioipc-test-%d", (int)getpid());
	snprintf(name, sizeof name, "unix:@aioipc-test-%d", (int)getpid());
	go_there("listen", path);
	go_there("asyncio listen", path);
	go_there("listen", name);
	go_there("asyncio listen", "tcp://127.0.0.1:0");
	await_it("connect", path);
	await_it("asyncio connect", path);
	await_it("asyncio connect", name);
	await_it("connect", "tcp://127.0.0.1:0");
	await_it("asyncio connect", "tcp://127.0.0.1:0");
	ck_assert_int_eq(access(path + 7, F_OK), -1);
}

TEST_WITHIN(addresses_are_read_alike, 30)
{
	static char long_host[300], long_path[130], long_name[130];
	const char *const all[] = {"",
				   "tcp://",
				   "tcp://h",
				   "tcp://h:",
				   "tcp://h:1",
				   "tcp://h:0",
				   "tcp://h:65535",
				   "tcp://h:65536",
				   "tcp://h:123456",
				   "tcp://h:-1",
				   "tcp://h: 1",
				   "tcp://h:1x",
				   "tcp://:1",
				   "tcp://*:1",
				   "tcp://*:0",
				   "tcp://a:b:1",
				   "tcp://[::1]:1",
				   "tcp://[::1]",
				   "tcp://[::1]1",
				   "tcp://[::1:1",
				   "tcp://[]:1",
				   "tcp://[h]:1",
				   "tcp://[fe80::1%lo]:1",
				   "tcp://a b:1",
				   "tcp://a_b-c.d:1",
				   "tcp://\xc3\xa4:1",
				   "TCP://h:1",
				   "tcp:/h:1",
				   "unix:",
				   "unix:/x",
				   "unix://x",
				   "unix:///",
				   "unix:///x",
				   "unix:@",
				   "unix:@x",
				   "unix://@x",
				   "unix:///\xff\xc3\xa4",
				   "udp://h:1",
				   "h:1",
				   "/x",
				   "tcp://h:00001",
				   "tcp://h:000001",
				   "tcp://h:\xd9\xa3",
				   "tcp://h:1 ",
				   "tcp://[::1]:0",
				   "tcp://[::1]:",
				   "tcp://*:",
				   "tcp://[*]:1",
				   long_host,
				   long_path,
				   long_name,
				   long_path + 1};
	const size_t n = sizeof all / sizeof *all;
	struct peer p = start(PAIR, NULL, "addresses");

	snprintf(long_host, sizeof long_host, "tcp://%0256d:1", 0);
	snprintf(long_path, sizeof long_path, "unix:///%0107d", 0);
	snprintf(long_name, sizeof long_name, "unix:@%0107d", 0);
	for (int listens = 0; listens <= 1; listens++) {
		const char *said[100], *why;
		struct ipc_address a;
		struct aiomsg *m;
		size_t came;

		must(aioconn_send(p.c, "iA(s)", listens, all, n));
		m = next(p.c);
		must(aiomsg_unpack(m, "A(s)", said, (size_t)100, &came));
		ck_assert_uint_eq(came, n);
		for (size_t i = 0; i < n; i++) {
			why = "";
			if (ipc_address_read(&a, all[i], listens ? IPC_TO_LISTEN : IPC_TO_CONNECT, &why) == 0)
				why = "";
			ck_assert_msg(strcmp(why, said[i]) == 0, "%s: \"%s\", in Python \"%s\"", all[i], why,
				      said[i]);
		}
		aiomsg_free(m);
	}
	finish(&p);
}
