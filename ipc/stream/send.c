/*
 * Sending: one transaction at a time, of all that waits. With it a mark is set to its number, so that after a break the server can tell whether
 * it was taken. EXEC does not undo what came before an error, so the mark counts only where the stream is one.
 *
 * After a break, a transaction may still lie unread at the server, or on its way there. So each one watches a fence: when the next connection
 * has touched that, the old transaction fails whenever it is read, and the mark is final. A transaction leaves only when its watch is confirmed.
 * The fence is there at all times: in a cluster whose slot moves, the server that is asked for a key that is not there sends to the other one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <aioipc/msg.h>

#include "ipc/flow/queue.h"
#include "ipc/flow/watch.h"
#include "ipc/msg/msg.h"
#include "ipc/os/log.h"
#include "ipc/stream/stream.h"

#define MARK_SECONDS "86400"
#define FENCE_NS (INT64_C(3600) * 1000 * IPC_STREAM_MS) /* it is renewed after so long */
#define LEND 64

bool ipc_send_is_done(const struct aiostream *s)
{
	return s->send.n == 0 && aioqueue_count(s->queue) == 0;
}

/* The messages from the queue. */

/* The @n messages, of which none is to come back. */
static void gone(struct aiostream *s, struct aiomsg *const *m, size_t n)
{
	for (size_t i = 0; i < n; i++)
		aiomsg_free(m[i]);
	ipc_queue_gone(s->queue, n);
}

static const char *why_not(const struct aiomsg *m)
{
	if (m->fds)
		return "descriptors do not travel through a server";
	if (m->role == IPC_ASK)
		return "it is a call";
	return m->len > IPC_WIRE_MOST ? "it is larger than 64 MiB" : NULL;
}

/* How many of these belong to this transaction; the others go back. */
static size_t pick(struct aiostream *s, struct aiomsg **m, size_t n, size_t *bytes)
{
	size_t kept = 0, i;

	for (i = 0; i < n && (*bytes < IPC_STREAM_BYTES || kept + s->send.n == 0); i++) {
		const char *why = why_not(m[i]);

		if (why) {
			ipc_log("stream %s: a message can't be sent, and is dropped: %s", s->o.stream, why);
			ipc_counter_add(&s->unsendable, 1);
			gone(s, &m[i], 1);
			continue;
		}
		*bytes += m[i]->len;
		s->send.m[s->send.n + kept++] = m[i];
	}
	ipc_queue_unget(s->queue, m + i, n - i);
	for (; i < n; i++)
		aiomsg_free(m[i]);
	return kept;
}

/* Takes what waits, as much as goes into one transaction. */
static void fetch(struct aiostream *s)
{
	struct aiomsg *m[LEND];
	size_t bytes = 0;
	ssize_t n;

	while (s->send.n + LEND <= IPC_STREAM_BATCH && bytes < IPC_STREAM_BYTES) {
		n = ipc_queue_lend(s->queue, m, LEND);
		if (n <= 0)
			break;
		s->send.n += pick(s, m, (size_t)n, &bytes);
	}
	s->send.again = false;
}

/* A transaction. */

static void add(struct aiostream *s, const struct aiomsg *m)
{
	struct ipc_resp_out *o = &s->one.out;
	bool typed = m->kind == IPC_KIND_TPL;

	ipc_resp_begin(o, typed ? 7 : 5);
	ipc_resp_arg(o, "XADD", 4);
	ipc_resp_str(o, s->o.stream);
	ipc_resp_arg(o, "*", 1);
	ipc_resp_arg(o, "m", 1);
	ipc_resp_arg(o, m->data, m->len);
	if (!typed)
		return;
	ipc_resp_arg(o, "k", 1);
	ipc_resp_arg(o, "tpl", 3);
}

static void on_queued(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type != '-' || s->send.bad)
		return;
	s->send.bad = true;
	ipc_stream_refused(s, w, &s->send.pause, &i);
}

/* The first error of those in the answer to EXEC is told. What was appended is confirmed, what was not stays. False: confused. */
static bool confirm(struct aiostream *s, struct ipc_resp_walk *walk)
{
	struct aiomsg *appended[IPC_STREAM_BATCH];
	size_t n = s->send.n, left = 0, k;
	struct ipc_resp_item i;

	for (k = 0; k < n; k++) {
		if (!ipc_resp_get(walk, &i) || (i.type != '$' && i.type != '-'))
			break;
		if (i.type == '$') {
			appended[k - left] = s->send.m[k];
			continue;
		}
		s->send.m[left++] = s->send.m[k];
		if (!s->send.bad)
			ipc_stream_refused(s, &s->one, &s->send.pause, &i);
		s->send.bad = true;
	}
	gone(s, appended, k - left);
	ipc_counter_add(&s->sent, k - left);
	memmove(&s->send.m[left], &s->send.m[k], (n - k) * sizeof s->send.m[0]);
	s->send.n = left + n - k;
	s->send.again = s->send.n > 0;
	return k == n;
}

static void mind_length(struct aiostream *s, int64_t length)
{
	char why[64];

	s->send.full = (uint64_t)length >= s->o.most;
	if (!s->send.full) {
		ipc_stream_passed(s, &s->send.pause);
		return;
	}
	snprintf(why, sizeof why, "the stream holds %" PRId64 " messages", length);
	ipc_stream_pause(s, &s->send.pause, ENOSPC, why);
}

static void on_exec(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_item i;
	int64_t length;

	s->send.asked = false;
	ipc_resp_get(walk, &i);
	if (i.type != '*' || i.n < 0)
		s->send.fence_due = 0;
	if (i.type == '-') {
		ipc_refusal_unwrap(&i);
		if (!s->send.bad)
			ipc_stream_refused(s, w, &s->send.pause, &i);
		s->send.again = true;
		return;
	}
	if (i.type == '*' && i.n == -1) { /* the fence was touched: by time, say */
		s->send.again = true;
		return;
	}
	if (i.type != '*' || i.n != (int64_t)s->send.n + 2 + s->send.with_fence || !confirm(s, walk)) {
		s->send.asked = true; /* what became of it is not known */
		ipc_wire_confused(w);
		return;
	}
	for (int k = 0; k < 1 + s->send.with_fence; k++)
		ipc_resp_skip(walk); /* of SET */
	if (!s->send.bad && ipc_resp_number(walk, &length))
		mind_length(s, length);
}

/* To MULTI: without it, what comes behind is not queued but done. So only the mark knows then what became of it. */
static void on_taken(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type == '-')
		ipc_wire_refused(w, &i);
}

/* Who may not watch goes without: then it may be appended twice. */
static void on_watched(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (ipc_refusal_is(&i, "NOPERM")) {
		s->send.no_fence = true;
		ipc_log("stream %s: its user may not WATCH, so a break may append some messages twice",
			s->o.stream);
	} else if (i.type == '-') {
		ipc_wire_refused(w, &i);
	} else if (i.type != '+') {
		ipc_wire_confused(w);
	}
}

static void watch(struct aiostream *s)
{
	if (s->send.no_fence)
		return;
	ipc_wire_begin(&s->one);
	ipc_resp_command(&s->one.out, "WATCH", s->o.fence, NULL);
	ipc_wire_expect(&s->one, on_watched, 1, s->o.reply_limit);
}

static void touch_fence(struct aiostream *s)
{
	ipc_resp_command(&s->one.out, "SET", s->o.fence, "x", "EX", MARK_SECONDS, NULL);
	s->send.fence_due = ipc_os_now() + FENCE_NS;
}

static void send_transaction(struct aiostream *s)
{
	struct ipc_wire *w = &s->one;
	char number[24];

	s->send.with_fence = !s->send.no_fence && ipc_os_now() >= s->send.fence_due;
	snprintf(number, sizeof number, "%" PRIu64, ++s->send.number);
	ipc_wire_begin(w);
	ipc_resp_command(&w->out, "MULTI", NULL);
	for (size_t k = 0; k < s->send.n; k++)
		add(s, s->send.m[k]);
	ipc_resp_command(&w->out, "SET", s->o.mark, number, "EX", MARK_SECONDS, NULL);
	if (s->send.with_fence)
		touch_fence(s);
	ipc_resp_command(&w->out, "XLEN", s->o.stream, NULL);
	ipc_resp_command(&w->out, "EXEC", NULL);
	ipc_wire_expect(w, on_taken, 1, s->o.reply_limit);
	ipc_wire_expect(w, on_queued, s->send.n + 2 + s->send.with_fence, s->o.reply_limit);
	ipc_wire_expect(w, on_exec, 1, s->o.reply_limit);
	watch(s);
	if (s->send.again)
		ipc_counter_add(&s->resent, s->send.n);
	s->send.asked = true;
	s->send.bad = false;
	ipc_wire_send(w);
}

/* The stream was full: is it still? */

static void on_length(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type == '-')
		ipc_stream_refused(s, w, &s->send.pause, &i);
	else if (i.type == ':')
		mind_length(s, i.n);
	else
		ipc_wire_confused(w);
}

static void ask_length(struct aiostream *s)
{
	ipc_wire_begin(&s->one);
	ipc_resp_command(&s->one.out, "XLEN", s->o.stream, NULL);
	ipc_wire_expect(&s->one, on_length, 1, s->o.reply_limit);
	ipc_wire_send(&s->one);
}

/* A new connection: was the last transaction taken? */

static void on_mark(struct aiostream *s, const struct ipc_resp_item *i)
{
	int64_t n;

	s->send.again = !(i->s && ipc_resp_decimal(i->s, i->len, &n) == 0 && (uint64_t)n == s->send.number);
}

static void take_place(struct aiostream *s, int64_t length)
{
	if (s->send.doubt && !s->send.again) {
		ipc_counter_add(&s->sent, s->send.n);
		gone(s, s->send.m, s->send.n);
		s->send.n = 0;
	}
	s->send.doubt = false;
	s->knows_place = true;
	mind_length(s, length);
}

/* The answers to SET, GET and XLEN, as far as these were asked. An error of any of them: another connection. */
static void on_place(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type == '*')
		while (ipc_resp_get(walk, &i) && (i.type == '+' || i.type == '$'))
			if (i.type == '$')
				on_mark(s, &i);
	if (i.type == '-') {
		ipc_refusal_unwrap(&i);
		ipc_wire_refused(w, &i);
		return;
	}
	if (i.type == ':')
		take_place(s, i.n);
	else
		ipc_wire_confused(w);
}

/*
 * One transaction: while a cluster moves the slot from one server to another, neither answers before it has all of the keys. A mark that is still
 * at the other one would look like none.
 */
void ipc_send_begin(struct aiostream *s)
{
	struct ipc_wire *w = &s->one;
	size_t n = 2;

	ipc_wire_begin(w);
	ipc_resp_command(&w->out, "MULTI", NULL);
	if (s->send.doubt && !s->send.no_fence) {
		touch_fence(s);
		n++;
	}
	if (s->send.doubt) {
		ipc_resp_command(&w->out, "GET", s->o.mark, NULL);
		n++;
	}
	ipc_resp_command(&w->out, "XLEN", s->o.stream, NULL);
	ipc_resp_command(&w->out, "EXEC", NULL);
	ipc_wire_expect(w, on_taken, n, s->o.reply_limit);
	ipc_wire_expect(w, on_place, 1, s->o.reply_limit);
	watch(s);
	ipc_wire_send(w);
}

void ipc_send_lost(struct aiostream *s)
{
	s->send.doubt = s->send.doubt || s->send.asked;
	s->send.fence_due = 0;
	s->send.asked = false;
	s->send.full = false;
	s->send.pause = (struct ipc_stream_pause){.delay = 0};
}

/* While a transaction is out, and in a pause, the queue fills. */
void ipc_send_pump(struct aiostream *s)
{
	if (!s->knows_place || !ipc_wire_is_idle(&s->one) || ipc_stream_is_paused(s, &s->send.pause)) {
		ipc_flow_watch_want(s->watch, false, true);
		return;
	}
	if (s->send.full) {
		ask_length(s);
		return;
	}
	if (s->send.n == 0)
		fetch(s);
	if (s->send.n > 0)
		send_transaction(s);
	ipc_flow_watch_want(s->watch, s->send.n == 0, true);
}

void ipc_send_end(struct aiostream *s)
{
	ipc_queue_unget(s->queue, s->send.m, s->send.n);
	while (s->send.n > 0)
		aiomsg_free(s->send.m[--s->send.n]);
}
