/*
 * Reads a message from words of a command line, or from a text of aiomsg_text(): a source for build.c. Each letter takes a word. The values
 * of an array, and of a row of '#', stand between the words "[" and "]", which may be missing around the last array of a message.
 */
#include <errno.h>
#include <string.h>

#include <aioipc/text.h>

#include "ipc/msg/build.h"
#include "ipc/msg/sink.h"

struct word {
	enum { END, OPEN, CLOSE, QUOTED, BARE } kind;
	const char *text; /* without quotes */
	size_t len;
};

struct words {
	struct ipc_source source; /* the first member */
	int (*look)(struct words *w);
	struct word next;   /* after look() */
	char *const *words; /* of a command line, the next; */
	const char *text;   /* or all of a text, */
	const char *at;     /* the place in it, behind the next word, */
	const char *end;    /* and its end */
};

/* The next word, which stays the next. */
static int look_words(struct words *w)
{
	const char *word = *w->words;

	w->next = (struct word){END, word, word ? strlen(word) : 0};
	if (word)
		w->next.kind = strcmp(word, "[") == 0 ? OPEN : strcmp(word, "]") == 0 ? CLOSE : BARE;
	return 0;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* From behind a quote to the one that closes it. */
static int look_quoted(struct words *w, const char *from)
{
	const char *p = from;

	while (p < w->end && *p != '"')
		p += *p == '\\' && p + 1 < w->end ? 2 : 1;
	if (p == w->end)
		return ipc_source_fail(&w->source, "the quote that opens here is not closed");
	w->next = (struct word){QUOTED, from, (size_t)(p - from)};
	w->at = p + 1;
	if (w->at == w->end || is_space(*w->at))
		return 0;
	return ipc_source_fail(&w->source, "a space is missing behind the quote that closes");
}

static void look_bare(struct words *w, const char *from)
{
	const char *p = from;

	while (p < w->end && !is_space(*p))
		p++;
	w->next = (struct word){BARE, from, (size_t)(p - from)};
	if (w->next.len == 1 && (*from == '[' || *from == ']'))
		w->next.kind = *from == '[' ? OPEN : CLOSE;
	if (w->next.len == 0)
		w->next.kind = END;
	w->at = p;
}

static int look_text(struct words *w)
{
	const char *from = w->at;

	while (from < w->end && is_space(*from))
		from++;
	w->source.place = (size_t)(from - w->text) + 1;
	if (from < w->end && *from == '"')
		return look_quoted(w, from + 1);
	look_bare(w, from);
	return 0;
}

static int skip(struct words *w)
{
	if (w->next.kind == END)
		return 0;
	if (w->words) {
		w->words++;
		w->source.place++;
	}
	return w->look(w);
}

/* Is this array in brackets? One that may do without goes on to the last word. */
static int on_begin(struct ipc_source *s, struct ipc_loop *loop)
{
	struct words *w = (struct words *)s;

	loop->bracket = w->next.kind == OPEN;
	if (loop->bracket)
		return skip(w);
	return loop->last ? 0 : ipc_source_fail(s, "the values of an array stand between the words [ and ]");
}

static int on_next(struct ipc_source *s, struct ipc_loop *loop)
{
	struct words *w = (struct words *)s;

	if (w->next.kind == END)
		return loop->bracket ? ipc_source_fail(s, "a ] is missing") : 0;
	if (!loop->bracket || w->next.kind != CLOSE)
		return 1;
	return skip(w);
}

static int on_group(struct ipc_source *s, bool opens)
{
	(void)s, (void)opens;
	return 0;
}

static int on_value(struct ipc_source *s, const char *due, struct ipc_written *v)
{
	struct words *w = (struct words *)s;
	const struct word word = w->next;

	if (word.kind == END)
		return ipc_source_fail(s, "the values end too early: %s is missing", due);
	*v = (struct ipc_written){IPC_WRITTEN_ANY, word.text, word.len, s->place, ipc_unescape};
	if (word.kind != QUOTED && word.len == 2 && memcmp(word.text, "\\N", 2) == 0)
		v->kind = IPC_WRITTEN_NULL;
	return skip(w);
}

static const struct ipc_source_ops ops = {on_begin, on_next, on_group, on_value};

struct aiomsg *aiomsg_from_words(const char *format, char *const *words, size_t *used)
{
	struct words w = {
		.source = {&ops, "aiomsg_from_words", "word", 1, ""}, .look = look_words, .words = words};
	struct aiomsg *m = NULL;

	look_words(&w);
	m = ipc_build(format, strlen(format), 0, &w.source);
	if (m && used)
		*used = (size_t)(w.words - words);
	if (!m || used || !*w.words)
		return m ? m : ipc_source_tell(&w.source);
	aiomsg_free(m);
	ipc_source_fail(&w.source, "\"%.60s\" is one word too many", *w.words);
	return ipc_source_tell(&w.source);
}

/* Is the next word the front of "(descriptors: 2)", which aiomsg_text() puts behind the values? */
static bool counts_fds(const struct words *w)
{
	static const char said[] = "(descriptors:";

	return w->next.kind == BARE && w->next.len == sizeof said - 1 &&
	       memcmp(w->next.text, said, sizeof said - 1) == 0;
}

/* "2)" */
static bool is_count(const struct word *word)
{
	size_t digits = 0;

	while (digits < word->len && word->text[digits] >= '0' && word->text[digits] <= '9')
		digits++;
	return word->kind == BARE && digits > 0 && digits + 1 == word->len && word->text[digits] == ')';
}

/* Behind the values. */
static int finish(struct words *w)
{
	if (counts_fds(w) && skip(w) == 0 && is_count(&w->next) && skip(w) == -1)
		return -1;
	if (w->next.kind == END)
		return 0;
	return ipc_source_fail(&w->source, "\"%.*s\" is one word too many", ipc_written_shown(w->next.len),
			       w->next.text);
}

static struct aiomsg *read_values(struct words *w)
{
	const struct word format = w->next;
	size_t place = w->source.place;

	if (counts_fds(w))
		return ipc_build("", 0, place, &w->source);
	return skip(w) == 0 ? ipc_build(format.text, format.len, place, &w->source) : NULL;
}

static struct aiomsg *read_bytes(struct words *w)
{
	struct ipc_written bytes = {IPC_WRITTEN_ANY, w->next.text, w->next.len, w->source.place,
				    ipc_unescape};

	return skip(w) == 0 ? ipc_build_bytes(&w->source, &bytes) : NULL;
}

struct aiomsg *aiomsg_from_text(const char *text, size_t len)
{
	struct words w = {
		.source = {&ops, "aiomsg_from_text", "byte", 1, ""}, .look = look_text, .text = text};
	struct aiomsg *m = NULL;

	w.at = text;
	w.end = text + len;
	if (look_text(&w) == 0)
		m = w.next.kind == QUOTED ? read_bytes(&w) : read_values(&w);
	if (m && finish(&w) == 0)
		return m;
	aiomsg_free(m);
	return ipc_source_tell(&w.source);
}
