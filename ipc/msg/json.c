/*
 * Reads a message from JSON: a source for build.c. The first pass over the object checks its grammar and finds the members. Then the format
 * asks for the values one by one. No pass allocates, and none recurses with the text.
 */
#include <errno.h>
#include <string.h>

#include <aioipc/text.h>

#include "ipc/msg/build.h"
#include "ipc/msg/sink.h"
#include "ipc/os/text.h"

#define DEPTH 256 /* of brackets that are left out; values nest as deep as their format */

struct json {
	struct ipc_source source; /* the first member */
	const char *text;         /* all of it, */
	const char *at;           /* the place in it, */
	const char *end;          /* and its end */
	bool first;               /* no element yet in the array that is open */
};

/* A part of the text; NULL for none. */
struct span {
	const char *text;
	size_t len;
};

static int fail(struct json *j, const char *what)
{
	j->source.place = (size_t)(j->at - j->text) + 1;
	return ipc_source_fail(&j->source, "%s", what);
}

/* The next character that is no white space; NUL at the end. */
static char look(struct json *j)
{
	while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r'))
		j->at++;
	return j->at < j->end ? *j->at : '\0';
}

static bool take(struct json *j, char c)
{
	if (look(j) != c || j->at == j->end)
		return false;
	j->at++;
	return true;
}

static int expect(struct json *j, char c, const char *what)
{
	return take(j, c) ? 0 : fail(j, what);
}

/* A string; what is between its quotes in *@s. */
static int take_string(struct json *j, struct span *s)
{
	uint32_t code;

	if (expect(j, '"', "a string is missing") == -1)
		return -1;
	s->text = j->at;
	while (j->at < j->end && *j->at != '"') {
		size_t left = (size_t)(j->end - j->at);
		size_t len = ipc_text_decode((const unsigned char *)j->at, left, &code);

		if (len == 0 || code < 0x20)
			return fail(j, len == 0 ? "this is no UTF-8"
						: "a control character needs an escape in a string");
		if (code == '\\')
			len = ipc_escape_json(j->at, left, &code);
		if (len == 0)
			return fail(j, "this escape is none");
		j->at += len;
	}
	if (j->at == j->end)
		return fail(j, "a string is not closed");
	s->len = (size_t)(j->at++ - s->text);
	return 0;
}

static size_t digits(const char *p, const char *end)
{
	const char *from = p;

	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return (size_t)(p - from);
}

/* -12.5e+10 */
static int take_number(struct json *j, struct span *s)
{
	const char *p = j->at, *end = j->end;
	size_t whole, fraction = 1, power = 1;

	p += *p == '-';
	whole = digits(p, end);
	if (whole > 1 && *p == '0')
		whole = 0;
	p += whole;
	if (p < end && *p == '.') {
		fraction = digits(p + 1, end);
		p += 1 + fraction;
	}
	if (p < end && (*p | 0x20) == 'e') {
		p += p + 1 < end && (p[1] == '+' || p[1] == '-') ? 2 : 1;
		power = digits(p, end);
		p += power;
	}
	if (!whole || !fraction || !power)
		return fail(j, "this is not a number of JSON");
	*s = (struct span){j->at, (size_t)(p - j->at)};
	j->at = p;
	return 0;
}

/* true, false, null; the first letter in *@first. */
static int take_name(struct json *j, char *first)
{
	static const char *const names[] = {"null", "true", "false"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		size_t len = strlen(names[i]);

		if ((size_t)(j->end - j->at) < len || memcmp(j->at, names[i], len) != 0)
			continue;
		*first = *j->at;
		j->at += len;
		return 0;
	}
	return fail(j, j->at == j->end ? "the text ends too early" : "this is not a value of JSON");
}

/* A string, a number or a name. */
static int skip_plain(struct json *j)
{
	struct span s;
	char c = look(j), first;

	if (c == '"')
		return take_string(j, &s);
	return c == '-' || (c >= '0' && c <= '9') ? take_number(j, &s) : take_name(j, &first);
}

static int skip_key(struct json *j)
{
	struct span key;

	return take_string(j, &key) == -1 ? -1 : expect(j, ':', "a : is missing");
}

/* Brackets that are open. */
struct nest {
	size_t depth;
	char close[DEPTH];
};

/* Behind a value: what is closed by now, and the comma in front of the next one. */
static int skip_behind(struct json *j, struct nest *n)
{
	while (n->depth > 0 && !take(j, ',')) {
		char close = n->close[n->depth - 1];

		if (!take(j, close))
			return fail(j, close == ']' ? "a , or ] is missing" : "a , or } is missing");
		n->depth--;
	}
	return n->depth > 0 && n->close[n->depth - 1] == '}' ? skip_key(j) : 0;
}

/* '[' or '{', and the key behind that. 1: it was closed at once. */
static int skip_open(struct json *j, struct nest *n)
{
	char close = *j->at == '[' ? ']' : '}';

	if (n->depth == DEPTH)
		return fail(j, "this is nested too deep");
	j->at++;
	if (take(j, close))
		return 1;
	n->close[n->depth++] = close;
	return close == '}' ? skip_key(j) : 0;
}

/* Any value, with all that is in it. */
static int skip_value(struct json *j)
{
	struct nest n = {.depth = 0};
	int r;

	do {
		char c = look(j);
		bool opens = c == '[' || c == '{';

		r = opens ? skip_open(j, &n) : skip_plain(j);
		if (r == -1 || ((r == 1 || !opens) && skip_behind(j, &n) == -1))
			return -1;
	} while (n.depth > 0);
	return 0;
}

static bool is(const struct span *s, const char *text)
{
	return s->len == strlen(text) && memcmp(s->text, text, s->len) == 0;
}

/* Behind the '{'. */
static int take_hex(struct json *j, struct ipc_written *v)
{
	struct span key, s;

	if (take_string(j, &key) == -1 || expect(j, ':', "a : is missing") == -1)
		return -1;
	if (!is(&key, "hex"))
		return fail(j, "an object that is a value is {\"hex\": \"c0ff\"}");
	if (look(j) != '"' || take_string(j, &s) == -1)
		return fail(j, "hex takes a string");
	v->kind = IPC_WRITTEN_BYTES;
	v->text = s.text;
	v->len = s.len;
	v->decode = ipc_unescape_hex;
	return expect(j, '}', "a } is missing");
}

static int take_value(struct json *j, struct ipc_written *v)
{
	char c = look(j), first;
	struct span s = {j->at, 4};
	int r;

	v->place = j->source.place = (size_t)(j->at - j->text) + 1;
	v->decode = ipc_unescape_json;
	if (take(j, '{'))
		return take_hex(j, v);
	if (c == '"') {
		v->kind = IPC_WRITTEN_BYTES;
		r = take_string(j, &s);
	} else if (c == '-' || (c >= '0' && c <= '9')) {
		v->kind = IPC_WRITTEN_NUMBER;
		r = take_number(j, &s);
	} else {
		v->kind = IPC_WRITTEN_NULL;
		r = take_name(j, &first);
		if (r == 0 && first != 'n')
			r = fail(j, "no letter takes true or false");
	}
	v->text = s.text;
	v->len = s.len;
	return r;
}

/* In front of an element. */
static int separate(struct json *j, const char *due)
{
	char c = look(j);

	if (c == ']' || c == '\0') {
		fail(j, "");
		return ipc_source_fail(&j->source, "the values end too early: %s is missing", due);
	}
	if (!j->first && expect(j, ',', "a , is missing") == -1)
		return -1;
	j->first = false;
	return 0;
}

/* What follows are the builder's calls. */
static int on_begin(struct ipc_source *s, struct ipc_loop *loop)
{
	struct json *j = (struct json *)s;

	(void)loop;
	if (separate(j, "an array") == -1)
		return -1;
	j->first = true;
	return expect(j, '[', "an array is missing");
}

static int close_array(struct json *j)
{
	j->first = false;
	return expect(j, ']', "the format takes no more values here");
}

static int on_next(struct ipc_source *s, struct ipc_loop *loop)
{
	struct json *j = (struct json *)s;

	(void)loop;
	return look(j) == ']' ? close_array(j) : 1;
}

static int on_group(struct ipc_source *s, bool opens)
{
	return opens ? on_begin(s, NULL) : close_array((struct json *)s);
}

static int on_value(struct ipc_source *s, const char *due, struct ipc_written *v)
{
	struct json *j = (struct json *)s;

	return separate(j, due) == -1 ? -1 : take_value(j, v);
}

static const struct ipc_source_ops ops = {on_begin, on_next, on_group, on_value};

/* The members that matter; each is where its value begins. */
struct members {
	struct span format, values, bytes;
};

static int take_member(struct json *j, struct members *m)
{
	struct span key, *to;
	const char *start;

	if (take_string(j, &key) == -1 || expect(j, ':', "a : is missing") == -1)
		return -1;
	look(j);
	start = j->at;
	to = is(&key, "format")                      ? &m->format
	     : is(&key, "values")                    ? &m->values
	     : is(&key, "bytes") || is(&key, "line") ? &m->bytes
						     : &(struct span){NULL, 0};
	if (to->text)
		return fail(j, "this member is here for the second time");
	if (skip_value(j) == -1)
		return -1;
	*to = (struct span){start, (size_t)(j->at - start)};
	return 0;
}

static int take_members(struct json *j, struct members *m)
{
	*m = (struct members){{NULL, 0}, {NULL, 0}, {NULL, 0}};
	if (expect(j, '{', "an object is missing") == -1)
		return -1;
	if (!take(j, '}')) {
		do
			if (take_member(j, m) == -1)
				return -1;
		while (take(j, ','));
		if (expect(j, '}', "a , or } is missing") == -1)
			return -1;
	}
	look(j);
	if (j->at < j->end)
		return fail(j, "something follows the object");
	if (!m->bytes.text == !m->format.text || !m->format.text != !m->values.text)
		return fail(j, "an object has either \"format\" and \"values\", or \"bytes\"");
	return 0;
}

/* The whole object has been looked at: here values end where they ended then. */
static struct aiomsg *read_values(struct json *j, const struct members *m)
{
	j->at = m->format.text;
	if (*j->at != '"' || memchr(m->format.text, '\\', m->format.len)) {
		fail(j, "\"format\" is a string, of letters");
		return NULL;
	}
	j->at = m->values.text;
	j->first = true;
	if (*j->at != '[') {
		fail(j, "\"values\" is an array");
		return NULL;
	}
	j->end = m->values.text + m->values.len - 1; /* its ']' */
	j->at++;
	return ipc_build(m->format.text + 1, m->format.len - 2, (size_t)(m->format.text - j->text) + 1,
			 &j->source);
}

static struct aiomsg *read_bytes(struct json *j, const struct members *m)
{
	struct ipc_written v;

	j->at = m->bytes.text;
	if (take_value(j, &v) == -1)
		return NULL;
	if (v.kind == IPC_WRITTEN_BYTES)
		return ipc_build_bytes(&j->source, &v);
	j->at = m->bytes.text;
	fail(j, "\"bytes\" is a string, or {\"hex\": \"c0ff\"}");
	return NULL;
}

static struct aiomsg *read_object(struct json *j)
{
	struct members members;
	struct aiomsg *m;

	if (take_members(j, &members) == -1)
		return NULL;
	if (members.bytes.text)
		return read_bytes(j, &members);
	m = read_values(j, &members);
	if (!m || look(j) == '\0')
		return m;
	fail(j, "the format takes no more values");
	aiomsg_free(m);
	return NULL;
}

struct aiomsg *aiomsg_from_json(const char *text, size_t len)
{
	struct json j = {.source = {&ops, "aiomsg_from_json", "byte", 1, ""},
			 .text = text,
			 .at = text,
			 .end = text + len};
	struct aiomsg *m = read_object(&j);

	return m ? m : ipc_source_tell(&j.source);
}
