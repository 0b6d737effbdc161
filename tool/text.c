/*
 * Messages and bytes as text, by the library, some of whose escapes are taken back where nothing is in quotes.
 */
#include "tool/tool.h"

#include <stdlib.h>
#include <string.h>

char *text_of(const struct aiomsg *m, bool json, size_t *len)
{
	size_t (*write)(const struct aiomsg *, char *, size_t) = json ? aiomsg_json : aiomsg_text;
	size_t room = *len = write(m, NULL, 0);
	char *text = malloc(room + 1);

	if (text)
		write(m, text, room + 1);
	return text;
}

/* The letter behind a backslash as what it stands for. */
static char meaning(char letter)
{
	return letter == 'n' ? '\n' : letter == 't' ? '\t' : letter;
}

static void take_back(FILE *f, const char *p, const char *end, const char *letters)
{
	while (p < end) {
		const char *escape = memchr(p, '\\', (size_t)(end - p));
		size_t plain = (size_t)((escape ? escape : end) - p);

		fwrite(p, 1, plain, f);
		p += plain;
		if (!escape)
			return;
		if (strchr(letters, p[1]))
			fputc(meaning(p[1]), f);
		else
			fwrite(p, 1, 2, f);
		p += 2;
	}
}

void text_plain(FILE *f, const void *data, size_t n, const char *letters)
{
	struct aiomsg *m = aiomsg_new_bytes(data, n);
	size_t len;
	char *text = m ? text_of(m, false, &len) : NULL;

	if (text)
		take_back(f, text + 1, text + len - 1, letters);
	free(text);
	aiomsg_free(m);
}

ssize_t text_unescape(char *text)
{
	char *const words[] = {text, NULL};
	struct aiomsg *m = aiomsg_from_words("B", words, NULL);
	const void *data;
	size_t len;

	if (!m)
		return -1;
	aiomsg_unpack(m, "B", &data, &len);
	if (len > 0)
		memcpy(text, data, len);
	text[len] = '\0';
	aiomsg_free(m);
	return (ssize_t)len;
}
