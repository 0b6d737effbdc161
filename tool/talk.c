/*
 * listen and connect: one peer at a time, or many. A task of each receives and hands on to the output; another one sends what the input has.
 * Both wait where they stand, so that a full pipe on either side is felt on the other.
 */
#include "tool/tool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#define FDS_MOST 253
#define GRACE 1000 /* ms for the peer to take what is left, and for the output, when we end by our own wish */
#define SIGNALS 3
#define STEPS 4         /* in which the end of --timeout is approached, as it is looked what left meanwhile */
#define RETRY_FIRST 100 /* ms */
#define RETRY_MOST 2000
#define OWN_MOST 1024 /* messages, and bytes, that --fan-out gives a peer before it takes them */
#define OWN_BYTES ((size_t)1 << 20)
#define LEFT_MOST 65536 /* messages: one a peer */

struct talk {
	const struct tool_options *o;
	struct event_base *base;
	struct aiotask *task;
	struct event *signals[SIGNALS];
	struct tool_input in;
	struct tool_output out;
	struct tool_progress progress;
	struct aioqueue *left;    /* read, but not taken by a connection */
	struct aioconn *peer;     /* has come, and waits for its turn */
	struct session *all;      /* at once, with --keep */
	struct aiotask *spreader; /* gives the input to all of them, with --fan-out */
	uint64_t round;           /* messages that it has given */
	bool spread;              /* it has nothing more to give */
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
	struct aiomsg *pending; /* read, but not taken by the connection yet */
	struct tool_program program;
	struct session *next; /* of all */
	struct aiotask *task;
	struct aioqueue *own; /* what --fan-out gives it */
	uint64_t round;
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

/* Who its certificate says it is goes in front. */
static void add_certificate(struct session *s)
{
	char where[sizeof s->name], names[sizeof s->name / 2];

	if (aioconn_peer_certificate(s->c, AIOTLS_NAMES, names, sizeof names) == -1 || !*names)
		return;
	memcpy(where, s->name, sizeof where);
	snprintf(s->name, sizeof s->name, "%s at %.*s", names, (int)sizeof where / 2 - 8, where);
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
	else
		add_certificate(s);
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

	if (aioconn_send_msg(s->c, s->pending) == -1) {
		if (errno != EINVAL && errno != EMSGSIZE)
			return -1;
		say_error("%s: a line was not sent: %s", t->o->program ? t->o->program : "standard input",
			  errno == EINVAL ? "the delimiter is in it" : "it is too long");
		t->status = TOOL_FAILED;
	}
	aiomsg_free(s->pending);
	s->pending = NULL;
	return 0;
}

/* As aioqueue_get(): from a program, from what is for this peer, or from what is for any. */
static int next_input(struct session *s)
{
	struct talk *t = s->t;

	if (s->pending)
		return 1;
	if (t->o->program)
		return program_say(&s->program, &s->pending, t->o);
	if (s->own)
		return aioqueue_get(s->own, &s->pending, AIOIPC_FOREVER);
	if (aioqueue_get(t->left, &s->pending, AIOIPC_NOW) == 1)
		return 1;
	return aioqueue_get(t->in.queue, &s->pending, AIOIPC_FOREVER);
}

/* Goodbye follows, but where there was nothing to say at all. */
static void send_input(void *arg)
{
	struct session *s = arg;
	struct talk *t = s->t;
	int got;

	while ((got = next_input(s)) == 1)
		if (send_one(s) == -1)
			return;
	if (got == 0 && t->in.failed)
		t->status = TOOL_FAILED;
	if (got == 0 && (t->in.spoke || t->o->program))
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

static void join_task(struct aiotask *task)
{
	aiotask_cancel(task);
	while (aiotask_join(task, AIOIPC_FOREVER) == -1 && errno == ECANCELED)
		;
}

static void stop_sending(struct session *s)
{
	if (!s->sender)
		return;
	join_task(s->sender);
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

/* Who says it is told when many do. */
static const char *label(const struct session *s)
{
	const struct tool_options *o = s->t->o;

	if (o->raw || o->program)
		return NULL;
	return o->keep ? s->name : NULL;
}

static int hand_on(struct session *s, struct aiomsg *m)
{
	struct talk *t = s->t;
	bool wanted = t->out.queue || t->o->program;
	struct aiomsg *shown = wanted ? show_text(m, label(s), t->o) : NULL;
	int r = wanted ? -1 : 0;

	aiomsg_free(m);
	if (shown && t->o->program)
		r = program_hear(&s->program, shown);
	else if (shown)
		r = aioqueue_put(t->out.queue, shown, AIOIPC_FOREVER);
	aiomsg_free(shown);
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
		if (hand_on(s, m) == -1)
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
	else if (error == EACCES && *why)
		say_error("%s: refused: %s", s->name, why);
	else
		say_why(s->t->o, s->name, error);
	return lost ? END_LOST : END_FAILED;
}

/* The peer has said goodbye. Who types sees that; a file or a pipe is sent to its end. */
static enum end answer(struct session *s)
{
	const struct talk *t = s->t;
	struct aioconn *c = s->c;

	if (s->program.c)
		aioconn_write_eof(s->program.c);
	if ((t->o->program || !isatty(STDIN_FILENO)) && finish_sending(s) == -1)
		return t->stopped ? END_WISH : failed(s, errno);
	stop_sending(s);
	s->c = NULL;
	if (aioconn_close(c, limit(t->o)) == 0 && (!s->pending || t->o->mode == TOOL_LISTEN))
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

	if (is_done(t))
		return END_WISH;
	if (t->o->program && program_start(&s->program, s->name, t->base, t->o) == -1) {
		say_error("%s: %s", t->o->program, strerror(errno));
		return END_FAILED;
	}
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

/* What the peer did not take is for the next. */
static void leave_input(struct session *s)
{
	if (s->pending && !s->own)
		aioqueue_put(s->t->left, s->pending, AIOIPC_NOW);
	aiomsg_free(s->pending);
	aioqueue_discard(s->own);
}

/* Speaks with a peer until one of the two ends. Takes its connection over. */
static enum end run_session(struct session *s)
{
	struct talk *t = s->t;
	bool tells = t->o->mode == TOOL_LISTEN || t->told; /* who connects knows, unless it took a while */
	enum end end;

	name_peer(s);
	say_note(t->o, "%s: connected", s->name);
	end = converse(s);
	stop_sending(s);
	if (end == END_WISH) {
		aiotask_sleep(AIOIPC_NOW); /* the cancel may still be to come */
		aioconn_close(s->c, aioipc_after(GRACE));
	} else {
		aioconn_abort(s->c);
	}
	program_end(&s->program, t->o);
	leave_input(s);
	if (end == END_GOODBYE && tells)
		say_note(t->o, "%s: goodbye", s->name);
	return end;
}

static enum end session(struct talk *t, struct aioconn *c)
{
	struct session s = {.t = t, .c = c};

	return run_session(&s);
}

/* With --keep, beside the others. */
static void session_of_many(void *arg)
{
	struct session *s = arg, **at = &s->t->all;

	s->task = aiotask_self();
	run_session(s);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	aioqueue_free(s->own);
	aiotask_wake(s->t->task);
	free(s);
}

static bool may_retry(int error)
{
	return error == ECONNREFUSED || error == ENOENT || error == EHOSTUNREACH || error == ENETUNREACH ||
	       error == ETIMEDOUT || error == ECONNRESET;
}

static int64_t now_ms(void)
{
	return now_ns() / 1000000;
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
		c = tls_connect(o, o->address, t->base, deadline);
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

static int add_session(struct talk *t, struct aioconn *c)
{
	struct session *s = calloc(1, sizeof *s);
	struct aiotask *task;

	if (!s)
		return -1;
	*s = (struct session){.t = t, .c = c, .next = t->all, .round = t->round};
	if (t->o->fan_out && !(s->own = aioqueue_new(OWN_MOST, OWN_BYTES)))
		goto fail;
	if (t->spread)
		aioqueue_close(s->own);
	t->all = s;
	task = aiotask_spawn(t->base, session_of_many, s);
	if (!task) {
		t->all = s->next;
		goto fail;
	}
	aiotask_free(task);
	if (t->spreader)
		aiotask_wake(t->spreader);
	return 0;
fail:
	aioqueue_free(s->own);
	free(s);
	return -1;
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct talk *t = arg;

	if (prepare(c, t->o) == -1) {
		say_error("%s: %s", aiolistener_address(l), strerror(errno));
		aioconn_abort(c);
		return;
	}
	if (t->o->keep && add_session(t, c) == -1) {
		say_error("%s: %s", aiolistener_address(l), strerror(errno));
		aioconn_abort(c);
	} else if (!t->o->keep) {
		t->peer = c;
	}
	aiotask_wake(t->task);
}

static void silence(const struct talk *t)
{
	say_error("nobody came for %g seconds", (double)t->o->timeout / 1000);
}

/* NULL when none came in time, or we were stopped. */
static struct aioconn *await_peer(struct talk *t)
{
	struct aioconn *c;

	while (!t->peer) {
		if (aiotask_park(limit(t->o)) == 0)
			continue;
		if (errno == ETIMEDOUT) {
			silence(t);
			t->status = TOOL_FAILED;
		}
		return NULL;
	}
	c = t->peer;
	t->peer = NULL;
	return c;
}

static struct session *next_to_give(const struct talk *t)
{
	struct session *s = t->all;

	while (s && s->round == t->round)
		s = s->next;
	return s;
}

/* To each peer that is there, at the pace of the slowest; when none is there, to the first that comes. */
static int give_to_all(struct talk *t, struct aiomsg *m)
{
	struct session *s;
	int r = 0;

	while (!t->all)
		if (aiotask_park(AIOIPC_FOREVER) == -1)
			return -1;
	t->round++;
	while (r == 0 && (s = next_to_give(t))) {
		struct aioqueue *own = aioqueue_ref(s->own);

		s->round = t->round;
		r = aioqueue_put(own, m, AIOIPC_FOREVER) == -1 && errno == ECANCELED ? -1 : 0;
		aioqueue_free(own);
	}
	return r;
}

static void spread(void *arg)
{
	struct talk *t = arg;
	struct aiomsg *m;
	int r = 0;

	while (r == 0 && aioqueue_get(t->in.queue, &m, AIOIPC_FOREVER) == 1) {
		r = give_to_all(t, m);
		aiomsg_free(m);
	}
	t->spread = true;
	for (struct session *s = t->all; s; s = s->next)
		aioqueue_close(s->own);
}

/* The sessions run by themselves. */
static void serve_all(struct talk *t)
{
	const struct tool_options *o = t->o;

	if (o->fan_out && !(t->spreader = aiotask_spawn(t->base, spread, t)))
		say_error("%s", strerror(errno));
	while (!is_done(t) && !(o->fan_out && !t->spreader)) {
		if (aiotask_park(t->all ? AIOIPC_FOREVER : limit(o)) == 0 || errno != ETIMEDOUT || t->all)
			continue;
		silence(t);
		t->status = TOOL_FAILED;
		break;
	}
	for (struct session *s = t->all; s; s = s->next)
		if (s->task)
			aiotask_cancel(s->task);
	while (t->all)
		aiotask_park(AIOIPC_FOREVER);
	if (t->spreader)
		join_task(t->spreader);
	t->spreader = NULL;
}

static void talk_as_server(struct talk *t)
{
	const struct tool_options *o = t->o;
	const struct aiolistener_options lo = {.size = sizeof lo,
					       .peers = o->keep ? 0 : 1,
					       .mode = o->file_mode,
					       .tls = tls_for(o, o->address)};
	struct aiolistener *l = aiolistener_new(o->address, t->base, &lo, on_peer, t);
	struct aioconn *c;
	enum end end;

	if (!l) {
		give_up(t, errno);
		return;
	}
	say_note(o, "listening on %s", aiolistener_address(l));
	if (o->keep)
		serve_all(t);
	while (!o->keep && !is_done(t) && (c = await_peer(t))) {
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
	if (t->o->print && output_start(&t->out) == -1)
		return -1;
	t->left = aioqueue_new(LEFT_MOST, 0);
	if (!t->left)
		return -1;
	if (t->o->send || t->o->program)
		return 0;
	return progress_start(&t->progress, &t->in, t->base, t->o) == -1 ? -1 : input_start(&t->in, t->o);
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
	progress_end(&t.progress);
	aioqueue_free(t.left);
	for (int i = 0; i < SIGNALS; i++)
		event_free(t.signals[i]);
	event_base_free(t.base);
	return t.interrupted ? TOOL_INTERRUPTED : t.status;
}
