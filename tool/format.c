/* What show.c and values.c both have to know of a format that is one. */
#include "tool/tool.h"

const char *format_end(const char *p, size_t *hashes)
{
	unsigned depth = 0;

	for (*hashes = 0; depth > 0 || *p != ')'; p++) {
		depth += *p == '(';
		depth -= *p == ')';
		*hashes += *p == '#';
	}
	return p;
}
