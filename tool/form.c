/* What a line of standard input stands for: plain bytes, or a message that is written as it is printed. */
#include "tool/tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct aiomsg *read_words(const char *format, const char *line, size_t len)
{
	size_t room = strlen(format) + 1 + len;
	char *text = malloc(room + 1);
	struct aiomsg *m;
	int error;

	if (!text)
		return NULL;
	snprintf(text, room + 1, "%s ", format);
	memcpy(text + room - len, line, len);
	m = aiomsg_from_text(text, room);
	error = errno;
	free(text);
	errno = error;
	return m;
}

/* {"line": ...}, as a line is printed, stands for {"bytes": ...}. */
static struct aiomsg *read_json_line(const char *line, size_t len)
{
	static const char name[] = "\"line\"", bytes[] = "{\"bytes\"";
	const char *end = line + len, *p = line;
	size_t room;
	char *text;
	struct aiomsg *m;
	int error;

	while (p < end && strchr("{ \t", *p))
		p++;
	if ((size_t)(end - p) < sizeof name - 1 || memcmp(p, name, sizeof name - 1) != 0)
		return aiomsg_from_json(line, len);
	p += sizeof name - 1;
	room = sizeof bytes - 1 + (size_t)(end - p);
	text = malloc(room);
	if (!text)
		return NULL;
	memcpy(text, bytes, sizeof bytes - 1);
	memcpy(text + sizeof bytes - 1, p, (size_t)(end - p));
	m = aiomsg_from_json(text, room);
	error = errno;
	free(text);
	errno = error;
	return m;
}

static struct aiomsg *read_form(const struct tool_options *o, const char *line, size_t len)
{
	if (o->format)
		return read_words(o->format, line, len);
	if (o->text)
		return aiomsg_from_text(line, len);
	return read_json_line(line, len);
}

bool form_is_plain(const struct tool_options *o)
{
	return !o->json && !o->text && !o->format;
}

static bool is_blank(const char *line, size_t len)
{
	while (len > 0 && strchr(" \t\r", line[len - 1]) && line[len - 1])
		len--;
	return len == 0;
}

int form_read(const struct tool_options *o, const char *line, size_t len, struct aiomsg **m, const char **why)
{
	if (form_is_plain(o)) {
		*m = aiomsg_new_bytes(line, len);
		return *m ? 1 : -1;
	}
	if (is_blank(line, len))
		return 0;
	why_begin();
	*m = read_form(o, line, len);
	*why = why_end(*m ? 0 : errno);
	if (o->format)
		*why = why_behind(*why);
	if (*m && aiomsg_format(*m) && o->framing != AIOCONN_MESSAGES) {
		aiomsg_free(*m);
		*why = "a message of values, where lines or bytes are sent; leave out --lines or --bytes";
		errno = EINVAL;
		return -1;
	}
	return *m ? 1 : -1;
}
