/* RESP, both ways: see resp.h. */
#include "ipc/stream/resp.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define KEPT ((size_t)1 << 18) /* a larger buffer is not kept while it is empty */

/* In. */

void ipc_resp_init(struct ipc_resp_in *in, size_t most)
{
	memset(in, 0, sizeof *in);
	in->check.most = most;
}

void ipc_resp_free(struct ipc_resp_in *in)
{
	free(in->buf);
	ipc_resp_init(in, in->check.most);
}

static void move_to_front(struct ipc_resp_in *in)
{
	size_t held = in->end - in->start;

	if (held == 0 && in->room > KEPT) {
		free(in->buf);
		in->buf = NULL;
		in->room = 0;
	}
	if (held > 0)
		memmove(in->buf, in->buf + in->start, held);
	in->start = 0;
	in->end = held;
}

char *ipc_resp_room(struct ipc_resp_in *in, size_t least)
{
	size_t room;
	char *larger;

	if (in->start > 0 && (in->start == in->end || in->room - in->end < least))
		move_to_front(in);
	if (in->room - in->end < least) {
		for (room = in->room ? 2 * in->room : 65536; room - in->end < least; room *= 2)
			continue;
		larger = realloc(in->buf, room);
		if (!larger)
			return NULL;
		in->buf = larger;
		in->room = room;
	}
	return in->buf + in->end;
}

void ipc_resp_filled(struct ipc_resp_in *in, size_t len)
{
	in->end += len;
}

static int broken(struct ipc_resp_check *c, int error, const char *why)
{
	c->why = why;
	errno = error;
	return -1;
}

int ipc_resp_decimal(const char *s, size_t len, int64_t *n)
{
	const char *end = s + len;
	bool minus = len > 0 && *s == '-';
	uint64_t v = 0;

	s += minus;
	if (s == end || end - s > 18)
		return -1;
	for (; s < end; s++) {
		if (*s < '0' || *s > '9')
			return -1;
		v = 10 * v + (uint64_t)(*s - '0');
	}
	*n = minus ? -(int64_t)v : (int64_t)v;
	return 0;
}

/* A string whose head is @head bytes long and says i->n. As item(). */
static ssize_t string(struct ipc_resp_check *c, const char *p, const char *end, size_t head,
		      struct ipc_resp_item *i)
{
	if ((uint64_t)i->n > c->most)
		return broken(c, EMSGSIZE, "a string over the limit");
	i->len = (size_t)i->n;
	if ((size_t)(end - p) < head + i->len + 2)
		return 0;
	i->s = p + head;
	if (memcmp(i->s + i->len, "\r\n", 2) != 0)
		return broken(c, EPROTO, "a string that does not end where it says");
	return (ssize_t)(head + i->len + 2);
}

/* What its first line says, which is @head bytes long with its end. As item(). */
static ssize_t headed(struct ipc_resp_check *c, const char *p, const char *end, size_t head,
		      struct ipc_resp_item *i)
{
	*i = (struct ipc_resp_item){.type = *p, .s = p + 1, .len = head - 3};
	if (*p == '+' || *p == '-')
		return (ssize_t)head;
	if (*p != ':' && *p != '$' && *p != '*')
		return broken(c, EPROTO, "an item of an unknown type");
	if (ipc_resp_decimal(i->s, i->len, &i->n) == -1)
		return broken(c, EPROTO, "a number that is none");
	if (*p == ':')
		return (ssize_t)head;
	i->s = NULL;
	i->len = 0;
	if (i->n < -1 || (*p == '*' && i->n > IPC_RESP_ITEMS))
		return broken(c, EPROTO, "a count that can't be");
	if (*p == '*' || i->n == -1)
		return (ssize_t)head;
	return string(c, p, end, head, i);
}

/* The item at @p: its length, without what is in an array. 0: it is not whole. -1. */
static ssize_t item(struct ipc_resp_check *c, const char *p, const char *end, struct ipc_resp_item *i)
{
	size_t held = (size_t)(end - p), look = held < IPC_RESP_LINE ? held : IPC_RESP_LINE;
	const char *eol = memchr(p, '\r', look);

	if (!eol && held >= IPC_RESP_LINE)
		return broken(c, EPROTO, "a line without an end");
	if (!eol || eol + 1 == end)
		return 0;
	if (eol[1] != '\n' || eol == p)
		return broken(c, EPROTO, "a line that is none of this protocol");
	return headed(c, p, end, (size_t)(eol + 2 - p), i);
}

/* An item was read. True: with it, the reply is whole. */
static bool is_whole(struct ipc_resp_in *in, const struct ipc_resp_item *i)
{
	if (i->type == '*' && i->n > 0) {
		in->left[in->depth++] = i->n;
		return false;
	}
	while (in->depth && --in->left[in->depth - 1] == 0)
		in->depth--;
	return in->depth == 0;
}

int ipc_resp_next(struct ipc_resp_in *in, struct ipc_resp_walk *w)
{
	struct ipc_resp_item i = {.type = 0};
	ssize_t n;

	do {
		if (in->end - in->start == in->at)
			return 0;
		n = item(&in->check, in->buf + in->start + in->at, in->buf + in->end, &i);
		if (n < 0)
			return -1;
		if (in->at + (size_t)n > in->check.most + IPC_RESP_BULK ||
		    (n == 0 && in->end - in->start > in->check.most + IPC_RESP_BULK))
			return broken(&in->check, EMSGSIZE, "an answer over the limit");
		if (n == 0)
			return 0;
		in->at += (size_t)n;
		if (i.type == '*' && i.n > 0 && in->depth == IPC_RESP_DEPTH)
			return broken(&in->check, EPROTO, "arrays nested too deep");
	} while (!is_whole(in, &i));
	w->at = in->buf + in->start;
	w->end = w->at + in->at;
	in->start += in->at;
	in->at = 0;
	return 1;
}

bool ipc_resp_get(struct ipc_resp_walk *w, struct ipc_resp_item *i)
{
	struct ipc_resp_check whole = {SIZE_MAX / 2, NULL};
	ssize_t n;

	*i = (struct ipc_resp_item){.type = 0};
	if (w->at == w->end)
		return false;
	n = item(&whole, w->at, w->end, i); /* it was whole and right before */
	if (n <= 0)
		return false;
	w->at += n;
	return true;
}

void ipc_resp_skip(struct ipc_resp_walk *w)
{
	struct ipc_resp_item i;
	int64_t left = 1;

	while (left-- > 0 && ipc_resp_get(w, &i))
		if (i.type == '*' && i.n > 0)
			left += i.n;
}

bool ipc_resp_array(struct ipc_resp_walk *w, int64_t *n)
{
	struct ipc_resp_item i;

	if (!ipc_resp_get(w, &i) || i.type != '*')
		return false;
	*n = i.n > 0 ? i.n : 0;
	return true;
}

bool ipc_resp_string(struct ipc_resp_walk *w, struct ipc_resp_item *i)
{
	return ipc_resp_get(w, i) && (i->type == '$' || i->type == '+') && i->s;
}

bool ipc_resp_number(struct ipc_resp_walk *w, int64_t *n)
{
	struct ipc_resp_item i;

	if (!ipc_resp_get(w, &i) || i.type != ':')
		return false;
	*n = i.n;
	return true;
}

bool ipc_resp_is(const struct ipc_resp_item *i, const char *text)
{
	return i->s && i->len == strlen(text) && memcmp(i->s, text, i->len) == 0;
}

/* Out. */

static char *grow(struct ipc_resp_out *o, size_t len)
{
	size_t room = o->room ? o->room : 4096;
	char *larger;

	if (o->failed)
		return NULL;
	if (o->room - o->len >= len)
		return o->buf + o->len;
	while (room - o->len < len)
		room *= 2;
	larger = realloc(o->buf, room);
	o->failed = !larger;
	if (!larger)
		return NULL;
	o->buf = larger;
	o->room = room;
	return o->buf + o->len;
}

size_t ipc_resp_digits(char *to, uint64_t n)
{
	char digits[20];
	size_t k = 0, len = 0;

	do
		digits[k++] = (char)('0' + n % 10);
	while (n /= 10);
	while (k > 0)
		to[len++] = digits[--k];
	return len;
}

/* Writes "*12\r\n"; how long that is, 23 at most. */
static size_t write_head(char *to, char type, uint64_t n)
{
	size_t len = 1;

	to[0] = type;
	len += ipc_resp_digits(to + 1, n);
	to[len++] = '\r';
	to[len++] = '\n';
	return len;
}

void ipc_resp_begin(struct ipc_resp_out *o, size_t args)
{
	char *to = grow(o, 32);

	if (to)
		o->len += write_head(to, '*', args);
}

void ipc_resp_arg(struct ipc_resp_out *o, const void *data, size_t len)
{
	char *to = grow(o, len + 32);
	size_t head;

	if (!to)
		return;
	head = write_head(to, '$', len);
	if (len > 0)
		memcpy(to + head, data, len);
	memcpy(to + head + len, "\r\n", 2);
	o->len += head + len + 2;
}

void ipc_resp_str(struct ipc_resp_out *o, const char *s)
{
	ipc_resp_arg(o, s, strlen(s));
}

void ipc_resp_int(struct ipc_resp_out *o, int64_t n)
{
	char text[24];
	size_t len = write_head(text, '-', n < 0 ? -(uint64_t)n : (uint64_t)n) - 2;

	if (n < 0)
		ipc_resp_arg(o, text, len);
	else
		ipc_resp_arg(o, text + 1, len - 1);
}

void ipc_resp_command(struct ipc_resp_out *o, const char *first, ...)
{
	size_t n = 1;
	va_list args, again;

	va_start(args, first);
	va_copy(again, args);
	while (va_arg(args, const char *))
		n++;
	ipc_resp_begin(o, n);
	ipc_resp_str(o, first);
	while (--n > 0)
		ipc_resp_str(o, va_arg(again, const char *));
	va_end(again);
	va_end(args);
}

void ipc_resp_sent(struct ipc_resp_out *o)
{
	o->len = 0;
	o->failed = false;
	if (o->room <= 4 * KEPT)
		return;
	free(o->buf);
	*o = (struct ipc_resp_out){.len = 0};
}
