/*
 * listen and connect: one peer at a time. A task receives and hands on to the output; another one sends what the input has.
 * Both wait where they stand, so that a full pipe on either side is felt on the other.
 */
#include "tool/tool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#define FDS_MOST 253
#define GRACE 1000 /* ms for the peer to take what is left, and for the output, when we end by our own wish */
#define SIGNALS 3
#define STEPS 4         /* in which the end of --timeout is approached, as it is looked what left meanwhile */
#define RETRY_FIRST 100 /* ms */
#define RETRY_MOST 2000

struct talk {
	const struct tool_options *o;
	struct event_base *base;
	struct aiotask *task;
	struct event *signals[SIGNALS];
	struct tool_input in;
	struct tool_output out;
	struct aiomsg *pending; /* read, but not taken by a connection yet */
	struct aioconn *peer;   /* has come, and waits for its turn */
	uint64_t received;
	bool interrupted;
	bool stopped; /* by a signal, or since nobody reads our output */
	bool told;    /* why connecting fails */
	int status;
};

struct session {
	struct talk *t;
	struct aioconn *c;
	struct aiotask *sender;
	uint64_t sent;  /* bytes, when it was last looked */
	unsigned quiet; /* steps in which nothing moved */
	char name[160];
};

enum end { END_WISH, END_GOODBYE, END_LOST, END_FAILED };

static int64_t limit(const struct tool_options *o)
{
	return o->timeout ? aioipc_after(o->timeout) : AIOIPC_FOREVER;
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct talk *t = arg;

	(void)what;
	t->interrupted = sig == SIGINT;
	for (int i = 0; i < SIGNALS; i++)
		event_del(t->signals[i]); /* the next one kills */
	t->stopped = true;
	if (t->task)
		aiotask_cancel(t->task);
}

/* Nobody takes our output any more. */
static void on_output_end(struct aioqueue *q, void *arg)
{
	struct talk *t = arg;

	(void)q;
	if (!t->stopped)
		aiotask_cancel(t->task);
	t->stopped = true;
}

static bool is_done(const struct talk *t)
{
	return t->stopped || (t->o->count && t->received >= t->o->count);
}

/* Of an unnamed unix socket there is the process to tell. */
static void name_peer(struct session *s)
{
	pid_t pid;
	uid_t uid;

	if (s->t->o->mode == TOOL_CONNECT)
		snprintf(s->name, sizeof s->name, "%s", s->t->o->address);
	else if (aioconn_peer_cred(s->c, &pid, &uid, NULL) == 0)
		snprintf(s->name, sizeof s->name, "process %ld of user %lu", (long)pid, (unsigned long)uid);
	else if (aioconn_peer_address(s->c, s->name, sizeof s->name) == -1)
		snprintf(s->name, sizeof s->name, "a peer");
}

/* At once, before anything can be read. */
static int prepare(struct aioconn *c, const struct tool_options *o)
{
	struct aioconn_limits limits = {.size = sizeof limits, .line = TOOL_LINE_MOST};

	if (aioconn_set_framing(c, o->framing, o->delimiter) == -1 || aioconn_set_limits(c, &limits) == -1)
		return -1;
	if (o->framing != AIOCONN_MESSAGES || aioconn_allow_fds(c, FDS_MOST) == 0 || errno == EOPNOTSUPP)
		return 0;
	return -1;
}

static int64_t step(const struct tool_options *o)
{
	return o->timeout ? aioipc_after((o->timeout + STEPS - 1) / STEPS) : AIOIPC_FOREVER;
}

/* Nothing came for one more step. It is too long a silence when nothing of ours left either. */
static bool is_silent(struct session *s)
{
	struct aioconn_stats stats = {.size = sizeof stats};
	uint64_t before = s->sent;

	if (aioconn_stats(s->c, &stats) == 0)
		s->sent = stats.bytes_out;
	s->quiet = s->sent == before ? s->quiet + 1 : 0;
	return s->quiet >= STEPS;
}

/* What is not to be sent at all is told and left out. */
static int send_one(struct session *s)
{
	struct talk *t = s->t;

	if (aioconn_send_msg(s->c, t->pending) == -1) {
		if (errno != EINVAL && errno != EMSGSIZE)
			return -1;
		say_error("standard input: a line was not sent: %s",
			  errno == EINVAL ? "the delimiter is in it" : "it is too long");
		t->status = TOOL_FAILED;
	}
	aiomsg_free(t->pending);
	t->pending = NULL;
	return 0;
}

/* Goodbye follows, but where there was nothing to say at all. */
static void send_input(void *arg)
{
	struct session *s = arg;
	struct talk *t = s->t;
	int got = 1;

	while (got == 1) {
		if (!t->pending)
			got = aioqueue_get(t->in.queue, &t->pending, AIOIPC_FOREVER);
		if (got == 1 && send_one(s) == -1)
			return;
	}
	if (got == 0 && t->in.failed)
		t->status = TOOL_FAILED;
	if (got == 0 && t->in.spoke)
		aioconn_write_eof(s->c);
}

static int begin_sending(struct session *s)
{
	const struct tool_options *o = s->t->o;

	if (!o->send) {
		s->sender = aiotask_spawn(s->t->base, send_input, s);
		return s->sender ? 0 : -1;
	}
	for (size_t i = 0; i < o->n_send; i++)
		if (aioconn_send_msg(s->c, o->send[i]) == -1)
			return -1;
	return o->count ? 0 : aioconn_write_eof(s->c);
}

static void stop_sending(struct session *s)
{
	if (!s->sender)
		return;
	aiotask_cancel(s->sender);
	while (aiotask_join(s->sender, AIOIPC_FOREVER) == -1 && errno == ECANCELED)
		;
	s->sender = NULL;
}

/* Until all is sent. */
static int finish_sending(struct session *s)
{
	while (s->sender) {
		if (aiotask_join(s->sender, step(s->t->o)) == 0)
			s->sender = NULL;
		else if (errno != ETIMEDOUT || is_silent(s))
			return -1;
	}
	return 0;
}

static int hand_on(struct talk *t, struct aiomsg *m)
{
	int r = t->out.queue ? aioqueue_put(t->out.queue, m, AIOIPC_FOREVER) : 0;

	aiomsg_free(m);
	if (r == -1 && errno == EPIPE)
		t->stopped = true;
	return r;
}

/* 1: as many as were wanted; 0: the peer said goodbye; -1. */
static int receive(struct session *s)
{
	struct aiomsg *m;
	int got;

	for (;;) {
		got = aioconn_recv(s->c, &m, step(s->t->o));
		if (got == -1 && errno == ETIMEDOUT && !*aioconn_why(s->c) && !is_silent(s))
			continue;
		if (got != 1)
			return got;
		s->quiet = 0;
		if (hand_on(s->t, m) == -1)
			return -1;
		s->t->received++;
		if (is_done(s->t))
			return 1;
	}
}

/* It is gone, or can't be reached any more. */
static bool is_of_peer(int error)
{
	return error == ECONNRESET || error == EPIPE || error == EHOSTUNREACH || error == EHOSTDOWN ||
	       error == ENETUNREACH || error == ENETDOWN;
}

static enum end failed(struct session *s, int error)
{
	const char *why = aioconn_why(s->c);
	bool lost = is_of_peer(error) || (error == ETIMEDOUT && *why);

	if (error == ETIMEDOUT && !lost)
		say_error("%s: nothing came for %g seconds", s->name, (double)s->t->o->timeout / 1000);
	else if (error == EPROTO || error == EBADMSG || error == EMSGSIZE)
		say_error("%s: the peer is bad: %s%s", s->name, why,
			  strstr(why, "no preface") ? "; does it speak lines? try --lines" : "");
	else if (lost)
		say_error("%s: the peer is lost: %s", s->name, *why ? why : "it does not take what is sent");
	else
		say_why(s->t->o, s->name, error);
	return lost ? END_LOST : END_FAILED;
}

/* The peer has said goodbye. Who types sees that; a file or a pipe is sent to its end. */
static enum end answer(struct session *s)
{
	const struct talk *t = s->t;
	struct aioconn *c = s->c;

	if (!isatty(STDIN_FILENO) && finish_sending(s) == -1)
		return t->stopped ? END_WISH : failed(s, errno);
	stop_sending(s);
	s->c = NULL;
	if (aioconn_close(c, limit(t->o)) == 0 && (!t->pending || t->o->mode == TOOL_LISTEN))
		return END_GOODBYE;
	if (!t->stopped)
		say_error("%s: the peer ended before everything was sent", s->name);
	return t->stopped ? END_WISH : END_FAILED;
}

/* Everything was taken by the kernel, or by the system of the peer: that is enough. */
static enum end leave(struct session *s)
{
	const struct talk *t = s->t;
	struct aioconn *c = s->c;

	if (finish_sending(s) == -1)
		return t->stopped ? END_WISH : failed(s, errno);
	s->c = NULL;
	if (aioconn_close(c, limit(t->o)) == 0)
		return END_GOODBYE;
	if (!t->stopped)
		say_error("%s: the peer did not take everything: %s", s->name, strerror(errno));
	return t->stopped ? END_WISH : END_FAILED;
}

static enum end converse(struct session *s)
{
	struct talk *t = s->t;
	int got, error;

	if (t->stopped)
		return END_WISH;
	if (begin_sending(s) == -1 && errno != EPIPE)
		return failed(s, errno);
	if (t->o->no_wait)
		return leave(s);
	got = receive(s);
	error = errno;
	if (is_done(t))
		return END_WISH;
	if (got == 0)
		return answer(s);
	return failed(s, error);
}

/* Speaks with a peer until one of the two ends. Takes @c over. */
static enum end session(struct talk *t, struct aioconn *c)
{
	struct session s = {.t = t, .c = c};
	bool tells = t->o->mode == TOOL_LISTEN || t->told; /* who connects knows, unless it took a while */
	enum end end;

	name_peer(&s);
	say_note(t->o, "%s: connected", s.name);
	end = converse(&s);
	stop_sending(&s);
	if (end == END_WISH) {
		aiotask_sleep(AIOIPC_NOW); /* the cancel may still be to come */
		aioconn_close(s.c, aioipc_after(GRACE));
	} else {
		aioconn_abort(s.c);
	}
	if (end == END_GOODBYE && tells)
		say_note(t->o, "%s: goodbye", s.name);
	return end;
}

static bool may_retry(int error)
{
	return error == ECONNREFUSED || error == ENOENT || error == EHOSTUNREACH || error == ENETUNREACH ||
	       error == ETIMEDOUT || error == ECONNRESET;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void lengthen(int64_t *pause)
{
	*pause = *pause ? 2 * *pause : RETRY_FIRST;
	if (*pause > RETRY_MOST)
		*pause = RETRY_MOST;
}

/* What is wrong with an address, the log has told. */
static void give_up(struct talk *t, int error)
{
	const struct tool_options *o = t->o;

	t->status = error == EINVAL ? TOOL_USAGE : TOOL_FAILED;
	if (error == EINVAL)
		say_error("%s: not an address to %s; see aioipc --help", o->address,
			  o->mode == TOOL_LISTEN ? "listen on" : "connect to");
	else
		say_why(o, o->address, error);
}

/* Waits ever longer between attempts. NULL: it was told why, or we were stopped. */
static struct aioconn *dial(struct talk *t, int64_t *pause)
{
	const struct tool_options *o = t->o;
	int64_t deadline = limit(o), last = now_ms() + o->timeout;
	struct aioconn *c;

	for (t->told = false;; t->told = true) {
		if (*pause && aiotask_sleep(aioipc_after(*pause)) == -1)
			return NULL;
		c = aioconn_connect(o->address, t->base, deadline);
		if (t->stopped || (c && prepare(c, o) == 0))
			return c;
		aioconn_abort(c);
		if (!o->retry || !may_retry(errno) || (o->timeout && now_ms() >= last)) {
			give_up(t, errno);
			return NULL;
		}
		if (!t->told)
			say_note(o, "%s: %s: trying again", o->address, strerror(errno));
		lengthen(pause);
	}
}

static void talk_as_client(struct talk *t)
{
	struct aioconn *c;
	int64_t pause = 0;
	uint64_t before;
	enum end end;

	do {
		c = dial(t, &pause);
		if (!c)
			return;
		before = t->received;
		end = session(t, c);
		if (t->received > before)
			pause = 0;
		lengthen(&pause);
	} while (end == END_LOST && t->o->retry);
	if (end == END_LOST || end == END_FAILED)
		t->status = TOOL_FAILED;
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct talk *t = arg;

	if (prepare(c, t->o) == -1) {
		say_error("%s: %s", aiolistener_address(l), strerror(errno));
		aioconn_abort(c);
		return;
	}
	t->peer = c;
	aiotask_wake(t->task);
}

/* NULL when none came in time, or we were stopped. */
static struct aioconn *await_peer(struct talk *t)
{
	struct aioconn *c;

	while (!t->peer) {
		if (aiotask_park(limit(t->o)) == 0)
			continue;
		if (errno == ETIMEDOUT) {
			say_error("nobody came for %g seconds", (double)t->o->timeout / 1000);
			t->status = TOOL_FAILED;
		}
		return NULL;
	}
	c = t->peer;
	t->peer = NULL;
	return c;
}

static void talk_as_server(struct talk *t)
{
	const struct tool_options *o = t->o;
	const struct aiolistener_options one = {.size = sizeof one, .peers = 1, .mode = o->file_mode};
	struct aiolistener *l = aiolistener_new(o->address, t->base, &one, on_peer, t);
	struct aioconn *c;
	enum end end;

	if (!l) {
		give_up(t, errno);
		return;
	}
	say_note(o, "listening on %s", aiolistener_address(l));
	while (!is_done(t) && (c = await_peer(t))) {
		if (o->once) {
			aiolistener_free(l);
			l = NULL;
		}
		end = session(t, c);
		if (!o->once)
			continue;
		if (end == END_LOST || end == END_FAILED)
			t->status = TOOL_FAILED;
		break;
	}
	aiolistener_free(l);
	aioconn_abort(t->peer);
}

/* What was received is still printed; not for long if we were stopped. */
static void finish_output(struct talk *t)
{
	struct aiomsg *m;
	int got = -1;

	if (!t->out.queue)
		return;
	aioqueue_watch(t->out.done, t->base, NULL, NULL, NULL);
	aioqueue_close(t->out.queue);
	if (!t->stopped)
		got = aioqueue_get(t->out.done, &m, AIOIPC_FOREVER);
	if (got == -1)
		got = aioqueue_get(t->out.done, &m, aioipc_after(GRACE));
	if (got == 0 && t->out.failed)
		t->status = TOOL_FAILED;
}

static void run(void *arg)
{
	struct talk *t = arg;

	t->task = aiotask_self();
	if (t->stopped)
		return;
	if (t->out.queue && aioqueue_watch(t->out.done, t->base, on_output_end, NULL, t) == -1) {
		say_error("%s", strerror(errno));
		t->status = TOOL_FAILED;
	} else if (t->o->mode == TOOL_LISTEN) {
		talk_as_server(t);
	} else {
		talk_as_client(t);
	}
	finish_output(t);
}

static bool is_ignored(int sig)
{
	struct sigaction now;

	return sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

/* One that whoever started us wants ignored, stays so. */
static int prepare_signals(struct talk *t)
{
	static const int signals[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};

	for (int i = 0; i < SIGNALS; i++) {
		t->signals[i] = evsignal_new(t->base, signals[i], on_signal, t);
		if (!t->signals[i] || (!is_ignored(signals[i]) && event_add(t->signals[i], NULL) == -1))
			return -1;
	}
	return 0;
}

static int start(struct talk *t)
{
	t->base = event_base_new();
	if (!t->base || prepare_signals(t) == -1)
		return -1;
	if (t->o->print && output_start(&t->out, t->o) == -1)
		return -1;
	return t->o->send ? 0 : input_start(&t->in, t->o);
}

int talk(const struct tool_options *o)
{
	static struct talk t; /* the threads outlive this call */

	t.o = o;
	aioipc_set_log(say_log, &t.told);
	if (start(&t) == -1 || aiotask_run(t.base, run, &t) == -1) {
		say_error("%s", strerror(errno));
		return TOOL_FAILED;
	}
	aiomsg_free(t.pending);
	for (int i = 0; i < SIGNALS; i++)
		event_free(t.signals[i]);
	event_base_free(t.base);
	return t.interrupted ? TOOL_INTERRUPTED : t.status;
}
