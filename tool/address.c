/* Addresses as people write them: a path, host:port, @name. The library has one form for each. */
#include "tool/tool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIGITS "0123456789"

static char *join(const char *a, const char *b, const char *c)
{
	size_t room = strlen(a) + strlen(b) + strlen(c) + 1;
	char *text = malloc(room);

	if (text)
		snprintf(text, room, "%s%s%s", a, b, c);
	return text;
}

/* A socket in the file system; @scheme is "unix://" or "ring://". */
static char *path_address(const char *scheme, const char *path)
{
	char *folder, *whole, *address;

	if (*path == '/')
		return join(scheme, path, "");
	if (strncmp(path, "./", 2) == 0)
		path += 2;
	folder = getcwd(NULL, 0);
	whole = folder ? join(folder, "/", path) : NULL;
	address = whole ? join(scheme, whole, "") : NULL;
	free(whole);
	free(folder);
	return address;
}

static bool has_port(const char *word)
{
	const char *colon = strrchr(word, ':');

	return colon && colon[1] && colon[1 + strspn(colon + 1, DIGITS)] == '\0';
}

/* Behind "unix:" or "ring:", a path that has no slashes in front. */
static char *scheme_address(const char *scheme, const char *rest)
{
	if (*rest == '\0' || *rest == '@' || strncmp(rest, "//", 2) == 0)
		return NULL;
	return path_address(scheme, rest);
}

char *address_of(const char *word, bool listens)
{
	if (strncmp(word, "unix:", 5) == 0)
		return scheme_address("unix://", word + 5);
	if (strncmp(word, "ring:", 5) == 0)
		return scheme_address("ring://", word + 5);
	if (strstr(word, "://"))
		return NULL;
	if (word[0] == '@' && word[1])
		return join("unix:", word, "");
	if (strchr(word, '/'))
		return path_address("unix://", word);
	if (has_port(word))
		return join("tcp://", *word != ':' ? "" : listens ? "*" : "localhost", word);
	return NULL;
}
