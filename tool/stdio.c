/*
 * The standard streams and queues, a thread for each: they block as long as they like, and what is not read here waits in a
 * bounded queue. The streams keep their flags: they are shared with whoever else has them, a shell say. And C's own streams
 * are not used, which a thread that is stuck in one would lock for exit.
 */
#include "tool/tool.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK ((size_t)64 << 10)
#define QUEUE_MOST 1024
#define QUEUE_BYTES ((size_t)1 << 20)

/* What was read and not put yet. */
struct buffer {
	char *at;
	size_t len, room;
};

/* Signals are for the main thread. */
static int start(void *(*body)(void *), void *arg)
{
	sigset_t all, before;
	pthread_t thread;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, NULL, body, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error) {
		errno = error;
		return -1;
	}
	pthread_detach(thread);
	return 0;
}

static int put(struct tool_input *in, const char *data, size_t len)
{
	const char *why = NULL;
	struct aiomsg *m;
	int r = form_read(in->o, data, len, &m, &why);

	in->lines++;
	if (r == 1) {
		r = aioqueue_put(in->queue, m, AIOIPC_FOREVER);
		aiomsg_free(m);
		return r;
	}
	if (r == -1 && errno != EINVAL)
		return -1;
	if (r == -1)
		say_error("standard input: line %" PRIu64 " was not sent: %s", in->lines, why);
	in->failed |= r == -1;
	return 0;
}

/* Each whole line, and at the end the rest. */
static int put_lines(struct tool_input *in, struct buffer *b, size_t searched)
{
	char *from = b->at, *newline;
	size_t left = b->len;

	while ((newline = memchr(from + searched, '\n', left - searched))) {
		if (put(in, from, (size_t)(newline - from)) == -1)
			return -1;
		left -= (size_t)(newline - from) + 1;
		from = newline + 1;
		searched = 0;
	}
	memmove(b->at, from, left);
	b->len = left;
	if (left <= TOOL_LINE_MOST)
		return 0;
	errno = EMSGSIZE;
	return -1;
}

static int make_room(struct buffer *b)
{
	size_t room = 2 * b->room + CHUNK;
	char *at;

	if (b->len + CHUNK <= b->room)
		return 0;
	at = realloc(b->at, room);
	if (!at)
		return -1;
	b->at = at;
	b->room = room;
	return 0;
}

/*
 * In the background a terminal gives EIO, as SIGTTIN is blocked here, until this is in the foreground again. What can't be read
 * at all is empty.
 */
static ssize_t read_some(struct buffer *b)
{
	ssize_t n;

	while ((n = read(STDIN_FILENO, b->at + b->len, CHUNK)) == -1) {
		if (errno == EIO && isatty(STDIN_FILENO))
			sleep(1);
		else if (errno == EAGAIN)
			usleep(10000);
		else if (errno == EBADF)
			return 0;
		else if (errno != EINTR)
			return -1;
	}
	return n;
}

static int pass(struct tool_input *in, struct buffer *b)
{
	ssize_t n = 0;
	int r = 0;

	while (r == 0 && (r = make_room(b)) == 0 && (n = read_some(b)) > 0) {
		size_t before = b->len;

		in->spoke = true;
		atomic_fetch_add(&in->read, (uint64_t)n);
		b->len += (size_t)n;
		if (in->o->framing != AIOCONN_BYTES || !form_is_plain(in->o)) {
			r = put_lines(in, b, before);
			continue;
		}
		r = put(in, b->at, b->len);
		b->len = 0;
	}
	if (r == 0 && n == 0 && b->len > 0)
		r = put(in, b->at, b->len);
	return n < 0 ? -1 : r;
}

static void *input(void *arg)
{
	struct tool_input *in = arg;
	struct buffer b = {NULL, 0, 0};

	if (pass(in, &b) == -1 && errno != EPIPE) {
		say_error("standard input: %s", errno == EMSGSIZE ? "a line over 16 MiB" : strerror(errno));
		in->failed = true;
	}
	free(b.at);
	aioqueue_close(in->queue);
	return NULL;
}

int input_start(struct tool_input *in, const struct tool_options *o)
{
	in->o = o;
	in->queue = aioqueue_new(QUEUE_MOST, QUEUE_BYTES);
	return in->queue ? start(input, in) : -1;
}

static int write_all(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n == -1 && errno == EAGAIN)
			usleep(10000);
		else if (n == -1 && errno != EINTR)
			return -1;
		text += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* The text of @m and what waits behind it, up to about a chunk. */
static int show_some(const struct tool_output *out, struct aiomsg *m, char **text, size_t *len)
{
	FILE *f = open_memstream(text, len);
	const void *data;
	size_t n;
	int got = 1, r;

	while (f && got == 1) {
		data = aiomsg_bytes(m, &n);
		fwrite(data, 1, n, f);
		aiomsg_free(m);
		m = NULL;
		if (ferror(f) || ftello(f) >= (off_t)CHUNK || aioqueue_count(out->queue) == 0)
			break;
		got = aioqueue_get(out->queue, &m, AIOIPC_NOW);
	}
	aiomsg_free(m);
	if (!f)
		return -1;
	r = ferror(f) ? -1 : 0;
	return fclose(f) == EOF ? -1 : r;
}

static int print(const struct tool_output *out)
{
	struct aiomsg *m;
	char *text;
	size_t len;
	int r = 0;

	while (r == 0 && aioqueue_get(out->queue, &m, AIOIPC_FOREVER) == 1) {
		text = NULL;
		r = show_some(out, m, &text, &len);
		if (r == 0)
			r = write_all(text, len);
		free(text);
	}
	return r;
}

/* Who does not want to read any more ends the tool, but needs no message. */
static void *output(void *arg)
{
	struct tool_output *out = arg;

	if (print(out) == -1 && errno != EPIPE) {
		say_error("standard output: %s", strerror(errno));
		out->failed = true;
	}
	aioqueue_discard(out->queue);
	aioqueue_close(out->done);
	return NULL;
}

int output_start(struct tool_output *out)
{
	out->queue = aioqueue_new(QUEUE_MOST, QUEUE_BYTES);
	out->done = aioqueue_new(1, 0);
	return out->queue && out->done ? start(output, out) : -1;
}
