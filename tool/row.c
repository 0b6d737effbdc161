/* What a row of a program's statistics means: its words for people, its members for JSON. */
#include "tool/board.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static uint64_t value(const struct ipc_row *row, unsigned i)
{
	return atomic_load_explicit(&row->value[i], memory_order_relaxed);
}

static int by_place(const void *a, const void *b)
{
	const struct ipc_row *x = a, *y = b;

	return (x->unused > y->unused) - (x->unused < y->unused);
}

/* The same thing the last time; NULL. The rows are in the order that they have in the file. */
static const struct ipc_row *before(const struct board *b, const struct ipc_row *row)
{
	const struct board *last = b->before;
	const struct ipc_row *was = last ? bsearch(row, last->rows, last->n, sizeof *row, by_place) : NULL;

	return was && was->id == row->id && was->kind == row->kind ? was : NULL;
}

/* What came since the last look, a second; without a last look, in all its life. A counter never falls: if one does, the file is odd. */
static double rate(const struct board *b, const struct ipc_row *row, unsigned i)
{
	const struct ipc_row *was = before(b, row);
	uint64_t now = value(row, i), then = was ? value(was, i) : 0;
	int64_t since = b->before ? b->before->at : row->since;
	double seconds = (double)(b->at - since) / 1e9;

	return seconds > 0 && now >= then ? (double)(now - then) / seconds : 0;
}

const char *brief(double x, char text[16])
{
	static const char units[] = " kMGTPE";
	unsigned i = 0;

	for (; x >= 999.5 && i < sizeof units - 2; i++)
		x /= 1000;
	snprintf(text, 16, i == 0 ? "%.0f" : x < 9.95 ? "%.1f%c" : "%.0f%c", x, units[i]);
	return text;
}

static const char *count(uint64_t n, char text[16])
{
	return brief((double)n, text);
}

__attribute__((format(printf, 3, 4))) static void append(char *text, size_t size, const char *format, ...)
{
	size_t len = strlen(text);
	va_list ap;

	if (len > 0 && len + 3 < size) {
		memcpy(text + len, ", ", 3);
		len += 2;
	}
	va_start(ap, format);
	vsnprintf(text + len, size - len, format, ap);
	va_end(ap);
}

#define STATE(...) append(t->state, sizeof t->state, __VA_ARGS__)
#define WAITS(...) append(t->waits, sizeof t->waits, __VA_ARGS__)

/* The name of a process; "" when it runs no more, or may not be seen. */
static void name_of(uint64_t pid, char *name, size_t size)
{
	char path[48];

	*name = '\0';
	if (pid == 0 || pid > INT_MAX)
		return;
	snprintf(path, sizeof path, "/proc/%u/comm", (unsigned)pid);
	read_little(path, name, size);
	name[strcspn(name, "\n")] = '\0';
}

static void who(struct row_text *t, const struct ipc_row *row)
{
	snprintf(t->who, sizeof t->who, "%s", row->name);
}

static void describe_conn(struct row_text *t, const struct board *b, const struct ipc_row *row)
{
	static const char *const ends[] = {"goodbye", "lost", "bad peer", "closed here", "failed"};
	uint64_t flags = value(row, IPC_CONN_ROW_FLAGS), end = value(row, IPC_CONN_ROW_END);
	uint64_t in = value(row, IPC_CONN_ROW_HELD_IN), out = value(row, IPC_CONN_ROW_HELD_OUT);
	uint64_t limit = value(row, IPC_CONN_ROW_LIMIT_IN), peer = value(row, IPC_CONN_ROW_PEER);
	char name[32], text[16];

	snprintf(t->who, sizeof t->who, "fd %llu %s", (unsigned long long)value(row, IPC_CONN_ROW_FD),
		 row->name);
	if (peer) {
		name_of(peer, name, sizeof name);
		snprintf(t->who + strlen(t->who), sizeof t->who - strlen(t->who), " %llu %s",
			 (unsigned long long)peer, name);
	}
	t->in = rate(b, row, IPC_CONN_ROW_MSGS_IN);
	t->out = rate(b, row, IPC_CONN_ROW_MSGS_OUT);
	t->bytes = rate(b, row, IPC_CONN_ROW_BYTES_IN) + rate(b, row, IPC_CONN_ROW_BYTES_OUT);
	if (in)
		WAITS("in %sB", count(in, text));
	if (out)
		WAITS("out %sB", count(out, text));
	STATE("%s", end == 0 ? "open" : end <= sizeof ends / sizeof ends[0] ? ends[end - 1] : "ended");
	if (flags & IPC_CONN_ROW_CLOSING && end != 4)
		STATE("closing");
	if (flags & IPC_CONN_ROW_PAUSED)
		STATE("paused");
	if (value(row, IPC_CONN_ROW_UNANSWERED))
		STATE("%s calls to answer", count(value(row, IPC_CONN_ROW_UNANSWERED), text));
	if (value(row, IPC_CONN_ROW_IN_FLIGHT))
		STATE("%s calls under way", count(value(row, IPC_CONN_ROW_IN_FLIGHT), text));
	if (value(row, IPC_CONN_ROW_REFUSED))
		STATE("%s refused", count(value(row, IPC_CONN_ROW_REFUSED), text));
	if (end == 0 && flags & IPC_CONN_ROW_BLOCKED && out)
		t->slow = "the peer does not read";
	else if (end == 0 && limit && in >= limit / 2)
		t->slow = "the program does not take what came";
}

static const char *state_name(uint64_t state)
{
	static const char *const states[] = {"new",       "connecting", "waits to try again",
					     "connected", "closing",    "ended"};

	return state < sizeof states / sizeof states[0] ? states[state] : "?";
}

static void describe_link(struct row_text *t, const struct board *b, const struct ipc_row *row)
{
	uint64_t state = value(row, IPC_LINK_ROW_STATE), error = value(row, IPC_LINK_ROW_ERROR);
	char text[16];

	who(t, row);
	t->in = rate(b, row, IPC_LINK_ROW_MSGS_IN);
	t->out = rate(b, row, IPC_LINK_ROW_MSGS_OUT);
	STATE("%s", state_name(state));
	if (state != AIOLINK_CONNECTED && error > 0 && error < 4096)
		STATE("%s", strerror((int)error));
	if (value(row, IPC_LINK_ROW_CONNECTIONS) > 1)
		STATE("connection %s", count(value(row, IPC_LINK_ROW_CONNECTIONS), text));
	if (value(row, IPC_LINK_ROW_UNSURE))
		STATE("%s unsure", count(value(row, IPC_LINK_ROW_UNSURE), text));
	if (value(row, IPC_LINK_ROW_RESENT))
		STATE("%s sent again", count(value(row, IPC_LINK_ROW_RESENT), text));
	if (value(row, IPC_LINK_ROW_DROPPED))
		STATE("%s dropped", count(value(row, IPC_LINK_ROW_DROPPED), text));
	if (state == AIOLINK_CONNECTING || state == AIOLINK_WAITING)
		t->slow = "there is no connection";
}

#define NO_LIMIT (UINT64_C(1) << 40) /* no queue comes so far */

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static void describe_queue(struct row_text *t, const struct board *b, const struct ipc_row *row)
{
	uint64_t flags = value(row, IPC_QUEUE_ROW_FLAGS), most = value(row, IPC_QUEUE_ROW_MOST);
	uint64_t n = less(value(row, IPC_QUEUE_ROW_PUT), value(row, IPC_QUEUE_ROW_GOT));
	uint64_t bytes = less(value(row, IPC_QUEUE_ROW_BYTES_PUT), value(row, IPC_QUEUE_ROW_BYTES_GOT));
	char text[16], of[16];

	if (*row->name)
		who(t, row);
	else
		snprintf(t->who, sizeof t->who, "queue %llu", (unsigned long long)row->id);
	t->in = rate(b, row, IPC_QUEUE_ROW_PUT);
	t->out = rate(b, row, IPC_QUEUE_ROW_GOT);
	t->bytes = rate(b, row, IPC_QUEUE_ROW_BYTES_GOT);
	if (most >= NO_LIMIT)
		WAITS("%s", count(n, text));
	else if (most)
		WAITS("%s of %s", count(n, text), count(most, of));
	else
		WAITS("%sB of %s", count(bytes, text), count(value(row, IPC_QUEUE_ROW_MOST_BYTES), of));
	STATE("%s", flags & IPC_QUEUE_ROW_CLOSED ? "closed" : "open");
	if (flags & IPC_QUEUE_ROW_GETTERS)
		STATE("takers wait");
	if (flags & IPC_QUEUE_ROW_PUTTERS || (most && n >= most))
		t->slow = "it is full: nobody takes fast enough";
}

static void describe_service(struct row_text *t, const struct board *b, const struct ipc_row *row)
{
	static const char *const lives[] = {"not started", "runs", "ended"};
	static const char *const kinds[] = {"threads", "forked processes", "executed processes"};
	uint64_t life = value(row, IPC_SERVICE_ROW_LIFE), kind = value(row, IPC_SERVICE_ROW_KIND);
	uint64_t workers = value(row, IPC_SERVICE_ROW_WORKERS), busy = value(row, IPC_SERVICE_ROW_BUSY);
	char text[16], of[16];

	snprintf(t->who, sizeof t->who, "service %llu of %s", (unsigned long long)row->id,
		 kind < sizeof kinds / sizeof kinds[0] ? kinds[kind] : "?");
	t->out = rate(b, row, IPC_SERVICE_ROW_JOBS);
	STATE("%s", life < sizeof lives / sizeof lives[0] ? lives[life] : "?");
	STATE("%s of %s busy", count(busy, text), count(workers, of));
	if (value(row, IPC_SERVICE_ROW_FAILED))
		STATE("%s failed", count(value(row, IPC_SERVICE_ROW_FAILED), text));
	if (value(row, IPC_SERVICE_ROW_LOST))
		STATE("%s lost", count(value(row, IPC_SERVICE_ROW_LOST), text));
	if (value(row, IPC_SERVICE_ROW_RESTARTS))
		STATE("%s restarts", count(value(row, IPC_SERVICE_ROW_RESTARTS), text));
	if (life == 1 && workers && busy >= workers)
		t->slow = "all its workers are busy";
}

static void describe_hub(struct row_text *t, const struct board *b, const struct ipc_row *row)
{
	char text[16];

	snprintf(t->who, sizeof t->who, "hub %llu %s", (unsigned long long)row->id, row->name);
	t->in = rate(b, row, IPC_HUB_ROW_MESSAGES);
	t->out = rate(b, row, IPC_HUB_ROW_SENT);
	STATE("%s members", count(value(row, IPC_HUB_ROW_MEMBERS), text));
	if (value(row, IPC_HUB_ROW_SLOW))
		STATE("%s slow", count(value(row, IPC_HUB_ROW_SLOW), text));
	if (value(row, IPC_HUB_ROW_SKIPPED))
		STATE("%s skipped", count(value(row, IPC_HUB_ROW_SKIPPED), text));
	if (value(row, IPC_HUB_ROW_CLOSED))
		STATE("%s cut off", count(value(row, IPC_HUB_ROW_CLOSED), text));
	if (value(row, IPC_HUB_ROW_SLOW))
		t->slow = "it has slow members";
}

static void describe_child(struct row_text *t, const struct board *b, const struct ipc_row *row)
{
	uint64_t pid = value(row, IPC_CHILD_ROW_PID);
	int status = (int)(unsigned)value(row, IPC_CHILD_ROW_STATUS);
	char name[32] = "";

	(void)b;
	if (value(row, IPC_CHILD_ROW_END) == 0)
		name_of(pid, name, sizeof name);
	snprintf(t->who, sizeof t->who, "%llu %s%s%s", (unsigned long long)pid, name, *name ? " " : "",
		 row->name);
	if (value(row, IPC_CHILD_ROW_END) == 0)
		STATE("runs");
	else if (value(row, IPC_CHILD_ROW_END) == 1)
		STATE(WIFSIGNALED(status) ? "killed by signal %d" : "ended with %d",
		      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	else
		STATE("ended");
}

/* Counts that are 0 are left out. */
static void tell_counts(struct row_text *t, const struct ipc_row *row)
{
	static const struct {
		unsigned i;
		const char *name;
	} counts[] = {
		{IPC_STREAM_ROW_SENT, "sent"},          {IPC_STREAM_ROW_RECEIVED, "received"},
		{IPC_STREAM_ROW_ACKED, "acknowledged"}, {IPC_STREAM_ROW_IN_WORK, "in work"},
		{IPC_STREAM_ROW_DEAD, "dead"},          {IPC_STREAM_ROW_VANISHED, "vanished"},
		{IPC_STREAM_ROW_LATE, "late"},          {IPC_STREAM_ROW_NACKED, "given back"},
		{IPC_STREAM_ROW_AGAIN, "given again"},  {IPC_STREAM_ROW_RESENT, "sent again"},
		{IPC_STREAM_ROW_REFUSED, "refused"},
	};
	char text[16];

	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
		if (value(row, counts[i].i))
			STATE("%s %s", count(value(row, counts[i].i), text), counts[i].name);
}

static void describe_stream(struct row_text *t, const struct board *b, const struct ipc_row *row)
{
	uint64_t state = value(row, IPC_STREAM_ROW_STATE), error = value(row, IPC_STREAM_ROW_ERROR);

	who(t, row);
	t->in = rate(b, row, IPC_STREAM_ROW_RECEIVED);
	t->out = rate(b, row, IPC_STREAM_ROW_SENT);
	STATE("%s", state_name(state));
	if (error > 0 && error < 4096)
		STATE("%s", strerror((int)error));
	tell_counts(t, row);
	if (state == AIOLINK_CONNECTING || state == AIOLINK_WAITING)
		t->slow = "there is no connection";
	else if (state == AIOLINK_CONNECTED && error)
		t->slow = "it has to ask again";
}

/* Each kind, and the names of its values in JSON. */
static const struct kind {
	const char *name;
	void (*describe)(struct row_text *t, const struct board *b, const struct ipc_row *row);
	const char *values[IPC_ROW_VALUES];
} kinds[] = {
	[IPC_ROW_CONN] = {"connection",
			  describe_conn,
			  {NULL, NULL, "fd", "peer", "msgs_in", "msgs_out", "bytes_in", "bytes_out",
			   "held_in", "held_out", "limit_in", "limit_out", "refused", "calls_in", "calls_out",
			   "unanswered", "in_flight"}},
	[IPC_ROW_LINK] = {"link",
			  describe_link,
			  {NULL, "connections", "msgs_in", "msgs_out", "resent", "unsure", "refused",
			   "dropped", "confirmed", "error"}},
	[IPC_ROW_QUEUE] = {"queue",
			   describe_queue,
			   {NULL, "put", "got", "bytes_put", "bytes_got", "most", "most_bytes"}},
	[IPC_ROW_SERVICE] = {"service",
			     describe_service,
			     {NULL, NULL, "workers", "busy", "jobs", "failed", "lost", "retried", "restarts",
			      "late"}},
	[IPC_ROW_HUB] = {"hub", describe_hub, {"members", "slow", "messages", "sent", "skipped", "closed"}},
	[IPC_ROW_CHILD] = {"child", describe_child, {"pid"}},
	[IPC_ROW_STREAM] = {"stream",
			    describe_stream,
			    {NULL, "connections", "sent", "resent", "refused", "received", "again", "acked",
			     "nacked", "late", "dead", "vanished", "in_work", "error"}},
};

bool row_describe(struct row_text *t, const struct board *b, const struct ipc_row *row)
{
	uint32_t kind = row->kind;

	if (kind >= sizeof kinds / sizeof kinds[0] || !kinds[kind].name)
		return false;
	*t = (struct row_text){
		.kind = kinds[kind].name, .in = -1, .out = -1, .bytes = -1, .board = b, .row = row};
	kinds[kind].describe(t, b, row);
	if (b->gone)
		t->slow = NULL;
	return true;
}

void row_of_process(struct row_text *t, const struct board *b)
{
	*t = (struct row_text){.kind = "process", .in = -1, .out = -1, .bytes = -1, .board = b};
	snprintf(t->who, sizeof t->who, "%s", b->why ? b->path : b->head.program);
	STATE("%s", b->why ? b->why : b->gone ? "gone: it ended without removing its file" : "runs");
	if (b->cut)
		STATE("its file is cut short");
	if (!b->why && b->head.missed)
		STATE("%llu things had no row", (unsigned long long)b->head.missed);
}

static void show_member(FILE *f, const char *name, const char *text)
{
	fprintf(f, ", \"%s\": ", name);
	if (text)
		show_string_json(f, text);
	else
		fputs("null", f);
}

void row_show_json(FILE *f, const struct row_text *t)
{
	const struct kind *kind = &kinds[t->row->kind];

	fprintf(f, "{\"kind\": \"%s\", \"id\": %llu, \"seconds\": %.3f", kind->name,
		(unsigned long long)t->row->id, (double)(t->board->at - t->row->since) / 1e9);
	show_member(f, "name", t->row->name);
	show_member(f, "who", t->who);
	show_member(f, "state", t->state);
	show_member(f, "slow", t->slow);
	if (t->in >= 0)
		fprintf(f, ", \"in_per_second\": %.3f", t->in);
	if (t->out >= 0)
		fprintf(f, ", \"out_per_second\": %.3f", t->out);
	if (t->bytes >= 0)
		fprintf(f, ", \"bytes_per_second\": %.3f", t->bytes);
	for (unsigned i = 0; i < IPC_ROW_VALUES; i++)
		if (kind->values[i])
			fprintf(f, ", \"%s\": %llu", kind->values[i], (unsigned long long)value(t->row, i));
	fputc('}', f);
}
