/*
 * dump: prints a captured stream, one direction of a connection. Frames are taken apart here, as aioipc-wire(7) has them: the
 * library's calls show no frames. But whether they are good, and what is in them, says a connection that each of them is fed
 * to: so the judge is the one that a real stream meets.
 */
#include "tool/tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#define PREFACE 8
#define HEADER 8
#define FRAME_MOST ((uint32_t)1 << 30) /* a connection's largest limit */
#define CHUNK ((size_t)64 << 10)
#define FDS_MOST 253

enum kind {
	KIND_VALUES = 1,
	KIND_BYTES,
	KIND_GOODBYE,
	KIND_CALL,
	KIND_CALL_BYTES,
	KIND_ANSWER,
	KIND_ANSWER_BYTES,
	KIND_REFUSAL,
	KIND_CANCEL,
	KIND_HELLO = 16, /* these three are of links that confirm */
	KIND_HAD,
	KIND_TAKEN,
	KIND_GRANT = 128,
	KIND_SKIPPED = 128
};

#define FLAGS 6 /* where they are in a header: */
#define IN_MEMORY 1

#define CALL_ID 8 /* in front of what a call carries; */
#define ERROR 4   /* and behind it, of a refusal */

struct dump {
	const struct tool_options *o;
	const char *name;
	dump_read *read;
	void *from;
	FILE *out;
	const char *speaker; /* NULL; or who is said in front */
	char *line;          /* then, what is printed at once */
	size_t line_len;
	uint64_t offset;      /* of the frame */
	unsigned char *frame; /* its header and payload */
	size_t room, len;
	struct aioconn *feed;  /* takes bytes, */
	struct aioconn *judge; /* gives messages */
	struct event_base *base;
	const char *why; /* it is bad, and so on */
	int error;       /* it could not be read, an errno */
	bool ended;      /* goodbye was said */
};

static void cut_short(struct dump *d, size_t got, size_t due)
{
	static char why[80];

	snprintf(why, sizeof why, "it ends after %zu of the %zu bytes that are due", got, due);
	d->why = why;
}

static int make_room(struct dump *d, size_t n)
{
	size_t room = 2 * d->room + CHUNK;
	unsigned char *frame;

	if (d->len + n <= d->room)
		return 0;
	frame = realloc(d->frame, room);
	if (!frame)
		return -1;
	d->frame = frame;
	d->room = room;
	return 0;
}

/* Appends up to @n bytes of the stream: how many there were. Room is made as they come, not as a header claims. */
static size_t append(struct dump *d, size_t n)
{
	size_t start = d->len;

	while (d->len - start < n) {
		size_t want = n - (d->len - start), got;

		want = want < CHUNK ? want : CHUNK;
		got = make_room(d, want) == 0 ? d->read(d->from, d->frame + d->len, want) : 0;
		d->len += got;
		if (got < want) {
			d->error = errno;
			break;
		}
	}
	return d->len - start;
}

static uint32_t length_of(const unsigned char *h)
{
	return (uint32_t)h[0] | (uint32_t)h[1] << 8 | (uint32_t)h[2] << 16 | (uint32_t)h[3] << 24;
}

/* What is bad says the judge, also when it was fed in vain. */
static int bad(struct dump *d)
{
	d->why = *aioconn_why(d->judge) ? aioconn_why(d->judge) : strerror(errno);
	return -1;
}

/* The preface, or a frame: by itself, the payload is no longer than what may be sent at once. */
static int feed(struct dump *d, const unsigned char *data, size_t len)
{
	if (aioconn_send_bytes(d->feed, data, HEADER) == -1)
		return -1;
	return len > HEADER ? aioconn_send_bytes(d->feed, data + HEADER, len - HEADER) : 0;
}

/* What the connection makes of what it was fed: as aioconn_recv(). */
static int ask(struct dump *d, const unsigned char *data, size_t len, struct aiomsg **m)
{
	int got = feed(d, data, len);

	if (got == 0)
		got = aioconn_recv(d->judge, m, AIOIPC_FOREVER);
	return got == -1 ? bad(d) : got;
}

/* It gives nothing for a frame that it skips, but then an empty message of ours that follows. */
static int ask_behind(struct dump *d)
{
	static const unsigned char empty[HEADER] = {[4] = KIND_BYTES};
	struct aiomsg *m;
	int got;

	if (feed(d, d->frame, d->len) == -1)
		return bad(d);
	got = ask(d, empty, sizeof empty, &m);
	if (got == 1)
		aiomsg_free(m);
	return got;
}

static void show_content(struct dump *d, const struct aiomsg *m)
{
	fputs(d->o->json ? ", " : "  ", d->out);
	show_values(d->out, m, d->o->json);
}

static uint64_t id_of(const unsigned char *from)
{
	uint64_t id = 0;

	for (int i = 0; i < CALL_ID; i++)
		id |= (uint64_t)from[i] << 8 * i;
	return id;
}

/* Which call it is about, and how it was refused. */
static void show_label(const struct dump *d, unsigned kind)
{
	uint64_t id = id_of(d->frame + HEADER);

	fprintf(d->out, d->o->json ? ", \"call\": \"%016" PRIx64 "\"" : "  %016" PRIx64, id);
	if (kind == KIND_REFUSAL)
		fprintf(d->out, d->o->json ? ", \"error\": %" PRIu32 : "  error %" PRIu32,
			length_of(d->frame + HEADER + CALL_ID));
}

/*
 * A call, or what answers or cancels one. The judge ignores what answers nothing, but not what is none; its content is judged as a message. That
 * a number is used twice is no fault as long as the answers are not seen.
 */
static void judge_call(struct dump *d, unsigned kind)
{
	size_t label = kind == KIND_REFUSAL ? CALL_ID + ERROR : CALL_ID;
	unsigned char *head = d->frame + label;
	uint32_t len = length_of(d->frame);
	struct aiomsg *m;

	if ((len < label || kind > KIND_CALL_BYTES) && ask_behind(d) != 1)
		return;
	show_label(d, kind);
	if (kind == KIND_CANCEL)
		return;
	len -= (uint32_t)label;
	memcpy(head,
	       (unsigned char[HEADER]){(unsigned char)len, (unsigned char)(len >> 8),
				       (unsigned char)(len >> 16), (unsigned char)(len >> 24),
				       kind == KIND_CALL || kind == KIND_ANSWER ? KIND_VALUES : KIND_BYTES},
	       HEADER);
	if (ask(d, head, HEADER + len, &m) != 1)
		return;
	show_content(d, m);
	aiomsg_free(m);
}

static bool confirms(unsigned kind)
{
	return kind >= KIND_HELLO && kind <= KIND_TAKEN;
}

static void show_number(const struct dump *d, const char *name, size_t at)
{
	uint64_t n = id_of(d->frame + HEADER + at);

	fprintf(d->out, d->o->json ? ", \"%s\": %" PRIu64 : "  %s %" PRIu64, name, n);
}

static void show_sender(const struct dump *d)
{
	fputs(d->o->json ? ", \"sender\": \"" : "  sender ", d->out);
	for (int i = 0; i < 16; i++)
		fprintf(d->out, "%02x", d->frame[HEADER + i]);
	if (d->o->json)
		fputc('"', d->out);
}

/* What links that confirm say of their messages. The judge is no link, and says that; so what is good in such a frame is known here. */
static void judge_confirming(struct dump *d, unsigned kind)
{
	static const uint32_t lengths[] = {32, 16, 8};
	static char why[64];
	uint32_t len = length_of(d->frame);

	if (len != lengths[kind - KIND_HELLO] || d->frame[5] || d->frame[FLAGS] || d->frame[FLAGS + 1]) {
		snprintf(why, sizeof why, "frame of kind %u and %" PRIu32 " bytes", kind, len);
		d->why = why;
	} else if (kind == KIND_HELLO) {
		show_sender(d);
		show_number(d, "first", 16);
		show_number(d, "most", 24);
	} else if (kind == KIND_HAD) {
		show_number(d, "had", 0);
		show_number(d, "taken", 8);
	} else {
		show_number(d, "taken", 0);
	}
}

/* Plain bytes, that is the content, which was passed as memory. Their length takes its place. */
static bool is_in_memory(const struct dump *d)
{
	unsigned kind = d->frame[4], len = length_of(d->frame);
	bool is_call = kind == KIND_CALL_BYTES || kind == KIND_ANSWER_BYTES;

	return d->frame[FLAGS] == IN_MEMORY && d->frame[FLAGS + 1] == 0 && d->frame[5] > 0 &&
	       (kind == KIND_BYTES || is_call) && len == CALL_ID + (is_call ? CALL_ID : 0U);
}

/* The judge has no such memory, and need not have. */
static void show_in_memory(const struct dump *d)
{
	unsigned kind = d->frame[4];

	if (kind != KIND_BYTES)
		show_label(d, kind);
	fprintf(d->out, d->o->json ? ", \"in memory\": %" PRIu64 : "  %" PRIu64 " bytes in memory",
		id_of(d->frame + HEADER + (kind == KIND_BYTES ? 0 : CALL_ID)));
}

/* A frame is whole in the buffer: is it good? Descriptors are not in a capture. */
static void judge(struct dump *d)
{
	unsigned kind = d->frame[4];
	struct aiomsg *m = NULL;
	bool is_call = kind >= KIND_CALL && kind <= KIND_CANCEL;
	bool carries = kind == KIND_VALUES || kind == KIND_BYTES || (is_call && kind < KIND_REFUSAL);

	if (is_in_memory(d)) {
		show_in_memory(d);
		return;
	}
	if (confirms(kind)) {
		judge_confirming(d, kind);
		return;
	}
	if (carries && d->frame[5] > FDS_MOST) {
		d->why = "more descriptors than a frame can have";
		return;
	}
	if (carries)
		d->frame[5] = 0;
	if (kind >= KIND_SKIPPED) {
		if (ask_behind(d) == 1 && kind == KIND_GRANT)
			fprintf(d->out, d->o->json ? ", \"grant\": %" PRIu64 : "  %" PRIu64 " in all",
				id_of(d->frame + HEADER));
		return;
	}
	if (is_call) {
		judge_call(d, kind);
		return;
	}
	d->ended = ask(d, d->frame, d->len, &m) == 0;
	if (m) {
		show_content(d, m);
		aiomsg_free(m);
	}
}

static const char *name_of(unsigned kind)
{
	static const char *const names[KIND_TAKEN + 1] = {
		[KIND_VALUES] = "values",       [KIND_BYTES] = "bytes",     [KIND_GOODBYE] = "goodbye",
		[KIND_CALL] = "call",           [KIND_CALL_BYTES] = "call", [KIND_ANSWER] = "answer",
		[KIND_ANSWER_BYTES] = "answer", [KIND_REFUSAL] = "refusal", [KIND_CANCEL] = "cancel",
		[KIND_HELLO] = "hello",         [KIND_HAD] = "had",         [KIND_TAKEN] = "taken"};

	if (kind == KIND_GRANT)
		return "grant";
	return kind <= KIND_TAKEN ? names[kind] : NULL;
}

static void show_header(const struct dump *d)
{
	unsigned kind = d->frame[4], fds = d->frame[5], len = length_of(d->frame);
	char name[16];

	if (d->o->json) {
		fprintf(d->out, "{\"offset\": %" PRIu64 ", \"kind\": %u, \"length\": %u, \"descriptors\": %u",
			d->offset, kind, len, fds);
		return;
	}
	snprintf(name, sizeof name, "kind %u", kind);
	fprintf(d->out, "%10" PRIu64 "  %-8s %10u bytes", d->offset, name_of(kind) ? name_of(kind) : name,
		len);
	if (fds > 0)
		fprintf(d->out, ", %u descriptors", fds);
}

/* Whole lines, where two speak. */
static void end_line(struct dump *d)
{
	if (!d->speaker)
		return;
	fflush(d->out);
	if (d->o->json)
		show_speaker_json(stdout, d->speaker, d->o);
	else
		show_speaker(stdout, d->speaker, d->o);
	fwrite(d->line + d->o->json, 1, (size_t)ftello(d->out) - d->o->json, stdout);
	fflush(stdout);
	rewind(d->out);
}

/* The header of a frame is in the buffer. */
static void dump_frame(struct dump *d)
{
	uint32_t len = length_of(d->frame);
	size_t got;

	show_header(d);
	if (len > FRAME_MOST) {
		judge(d);
	} else {
		got = append(d, len);
		if (got == len)
			judge(d);
		else
			cut_short(d, HEADER + got, HEADER + (size_t)len);
	}
	fputs(d->o->json ? "}\n" : "\n", d->out);
	end_line(d);
}

static void dump_preface(struct dump *d)
{
	size_t got = append(d, PREFACE);

	if (got < PREFACE)
		cut_short(d, got, PREFACE);
	else if (ask_behind(d) == 1 && !d->o->json)
		fprintf(d->out, "%10d  preface  %10d bytes\n", 0, PREFACE);
	if (!d->why && !d->o->json)
		end_line(d);
}

/* False at the end. */
static bool dump_next(struct dump *d)
{
	size_t got;

	d->offset += d->len;
	d->len = 0;
	got = append(d, HEADER);
	if (got == 0)
		return false;
	if (d->ended)
		d->why = "something follows the goodbye";
	else if (got < HEADER)
		cut_short(d, got, HEADER);
	else
		dump_frame(d);
	return !d->why && !ferror(d->out);
}

static void dump_stream(void *arg)
{
	struct dump *d = arg;

	dump_preface(d);
	while (!d->why && dump_next(d))
		;
}

static int connect_ends(struct dump *d)
{
	const struct aioconn_limits most = {.size = sizeof most, .message = FRAME_MOST};
	struct aioend *in, *out;

	if (!d->base || aiosockpair(&in, &out) == -1)
		return -1;
	d->feed = aioend_open(in, d->base);
	d->judge = aioend_open(out, d->base);
	if (!d->feed || !d->judge || aioconn_set_framing(d->feed, AIOCONN_BYTES, NULL) == -1)
		return -1;
	return aioconn_set_limits(d->feed, &most) | aioconn_set_limits(d->judge, &most);
}

static int failed(const char *name)
{
	say_error("%s: %s", name, strerror(errno));
	return TOOL_FAILED;
}

/* What there is to say on standard error, behind all that was printed. */
static int tell(const struct dump *d)
{
	if (fflush(stdout) == EOF || ferror(stdout))
		return errno == EPIPE ? TOOL_CLEAN : failed("standard output");
	if (d->error) {
		errno = d->error;
		return failed(d->name);
	}
	if (d->why) {
		say_error("%s: bad at byte %" PRIu64 ": %s", d->name, d->offset, d->why);
		return TOOL_FAILED;
	}
	if (!d->ended)
		say_note(d->o, "%s: ends at byte %" PRIu64 " without goodbye", d->name, d->offset);
	return TOOL_CLEAN;
}

/* As dump_read. */
static size_t read_file(void *arg, void *data, size_t n)
{
	FILE *f = arg;
	size_t got = fread(data, 1, n, f);

	errno = feof(f) ? 0 : errno;
	return got;
}

void dump_way(const struct tool_options *o, const char *speaker, dump_read *read, void *from,
	      struct event_base *base)
{
	struct dump d = {
		.o = o, .name = speaker, .speaker = speaker, .read = read, .from = from, .base = base};

	d.out = open_memstream(&d.line, &d.line_len);
	if (!d.out || connect_ends(&d) == -1)
		say_error("%s: %s", speaker, strerror(errno));
	else
		dump_stream(&d);
	if (d.why)
		say_error("%s: bad at byte %" PRIu64 ": %s", speaker, d.offset, d.why);
	aioconn_abort(d.feed);
	aioconn_abort(d.judge);
	if (d.out)
		fclose(d.out);
	free(d.line);
	free(d.frame);
}

int dump(const struct tool_options *o)
{
	struct dump d = {
		.o = o, .name = o->address ? o->address : "standard input", .read = read_file, .out = stdout};
	FILE *f = o->address ? fopen(o->address, "re") : stdin;
	int status;

	if (!f)
		return failed(o->address);
	d.from = f;
	d.base = event_base_new();
	if (connect_ends(&d) == -1 || aiotask_run(d.base, dump_stream, &d) == -1)
		status = failed(d.name);
	else
		status = tell(&d);
	aioconn_abort(d.feed);
	aioconn_abort(d.judge);
	event_base_free(d.base);
	free(d.frame);
	if (f != stdin)
		fclose(f);
	return status;
}
