/* Messages as they are printed: by aiomsg_text() and aiomsg_json(), but lines and streams without quotes. */
#include "tool/tool.h"

#include <stdlib.h>
#include <string.h>

void show_values(FILE *f, const struct aiomsg *m, bool json)
{
	size_t len;
	char *text = text_of(m, json, &len);

	if (text && json)
		fwrite(text + 1, 1, len - 2, f);
	else if (text)
		fwrite(text, 1, len, f);
	free(text);
}

static void show_json(FILE *f, const struct aiomsg *m, const struct tool_options *o)
{
	static const char bytes[] = "{\"bytes\": ";
	size_t len, skip = 0;
	char *text = text_of(m, true, &len);

	if (text && o->framing == AIOCONN_LINES) {
		fputs("{\"line\": ", f);
		skip = sizeof bytes - 1;
	}
	if (text)
		fwrite(text + skip, 1, len - skip, f);
	fputc('\n', f);
	free(text);
}

void show_message(FILE *f, const struct aiomsg *m, const struct tool_options *o)
{
	size_t len;
	const void *data = aiomsg_bytes(m, &len);

	if (o->json) {
		show_json(f, m, o);
		return;
	}
	if (o->framing != AIOCONN_MESSAGES && !o->raw)
		text_plain(f, data, len, o->framing == AIOCONN_LINES ? TEXT_LINE : TEXT_STREAM);
	else if (!o->raw || aiomsg_format(m))
		show_values(f, m, false);
	else
		fwrite(data, 1, len, f);
	if (o->raw && !aiomsg_format(m) && aiomsg_fds(m) > 0)
		fprintf(f, " (descriptors: %u)", aiomsg_fds(m));
	if (o->framing != AIOCONN_BYTES)
		fputc('\n', f);
}
