/* Messages as they are printed: by aiomsg_text() and aiomsg_json(), but lines and streams without quotes; and who said them, and when. */
#include "tool/tool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define HEX_ROW 16
#define DIM "\033[2m"
#define CYAN "\033[36m"
#define PLAIN "\033[0m"

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

/* The local time, for people; or that of the world. */
void show_time(FILE *f, bool json)
{
	struct timeval now;
	struct tm tm;
	char text[40];

	gettimeofday(&now, NULL);
	if (json)
		gmtime_r(&now.tv_sec, &tm);
	else
		localtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof text, json ? "%Y-%m-%dT%H:%M:%S" : "%H:%M:%S", &tm);
	fprintf(f, json ? "%s.%06ldZ" : "%s.%06ld", text, (long)now.tv_usec);
}

void show_speaker(FILE *f, const char *from, const struct tool_options *o)
{
	if (o->time) {
		fputs(o->colour ? DIM : "", f);
		show_time(f, false);
		fputs(o->colour ? PLAIN " " : " ", f);
	}
	if (!from && o->sign)
		fputs(o->colour ? CYAN "<" PLAIN " " : "< ", f);
	if (from) {
		fputs(o->colour ? CYAN : "", f);
		text_plain(f, from, strlen(from), TEXT_SAID);
		fputs(o->colour ? PLAIN ": " : ": ", f);
	}
}

void show_string_json(FILE *f, const char *string)
{
	static const char bytes[] = "{\"bytes\": ";
	struct aiomsg *m = aiomsg_new_bytes(string, strlen(string));
	size_t len;
	char *text = m ? text_of(m, true, &len) : NULL;

	if (text)
		fwrite(text + sizeof bytes - 1, 1, len - sizeof bytes, f);
	free(text);
	aiomsg_free(m);
}

void show_speaker_json(FILE *f, const char *from, const struct tool_options *o)
{
	fputs("{\"from\": ", f);
	show_string_json(f, from);
	if (o->time) {
		fputs(", \"time\": \"", f);
		show_time(f, true);
		fputc('"', f);
	}
	fputs(", ", f);
}

static void show_json(FILE *f, const struct aiomsg *m, const char *from, const struct tool_options *o)
{
	static const char bytes[] = "\"bytes\": ";
	size_t skip = o->framing == AIOCONN_LINES ? sizeof bytes : 1, len;
	char *text = text_of(m, true, &len);

	fputs(skip > 1 ? "{\"line\": " : "{", f);
	if (text)
		fwrite(text + skip, 1, len - skip - 1, f);
	if (o->time) {
		fputs(", \"time\": \"", f);
		show_time(f, true);
		fputc('"', f);
	}
	if (from) {
		fputs(", \"from\": ", f);
		show_string_json(f, from);
	}
	fputs("}\n", f);
	free(text);
}

static void show_hex(FILE *f, const unsigned char *data, size_t len)
{
	for (size_t at = 0; at < len; at += HEX_ROW) {
		fprintf(f, "%08zx ", at);
		for (size_t i = at; i < at + HEX_ROW; i++) {
			fputs(i % 8 == 0 ? " " : "", f);
			if (i < len)
				fprintf(f, "%02x ", data[i]);
			else
				fputs("   ", f);
		}
		fputs(" |", f);
		for (size_t i = at; i < at + HEX_ROW && i < len; i++)
			fputc(data[i] >= ' ' && data[i] < 127 ? data[i] : '.', f);
		fputs("|\n", f);
	}
}

void show_message(FILE *f, const struct aiomsg *m, const char *from, const struct tool_options *o)
{
	size_t len;
	const void *data = aiomsg_bytes(m, &len);

	if (o->json) {
		show_json(f, m, from, o);
		return;
	}
	show_speaker(f, from, o);
	if (o->hex) {
		fprintf(f, "%zu bytes\n", len);
		show_hex(f, data, len);
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

struct aiomsg *show_text(const struct aiomsg *m, const char *from, const struct tool_options *o)
{
	static FILE *f; /* is kept, and what it has room for */
	static char *text;
	static size_t len;

	if (!f && !(f = open_memstream(&text, &len)))
		return NULL;
	rewind(f);
	show_message(f, m, from, o);
	if (fflush(f) == EOF || ferror(f))
		return NULL;
	return aiomsg_new_bytes(text, (size_t)ftello(f));
}
