/*
 * A buffer of a caller that text is written to, and the length that the whole text would have. Also the two ways to write bytes, and to read
 * them back.
 */
#ifndef IPC_MSG_SINK_H
#define IPC_MSG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ipc_sink {
	char *to;
	size_t room; /* without the NUL */
	size_t put;  /* what is there, and always ends in a NUL if there is any room */
	size_t len;  /* what it would be */
	bool full;   /* something had no place: nothing more is written */
};

void ipc_sink_open(struct ipc_sink *s, char *to, size_t size);

/* All of it or nothing. */
void ipc_sink_put(struct ipc_sink *s, const void *p, size_t n);
void ipc_sink_string(struct ipc_sink *s, const char *text);

/* In double quotes, with escapes for all that is not plain UTF-8. A value that is a bracket is "\[". */
void ipc_sink_quoted(struct ipc_sink *s, const unsigned char *p, size_t n);

/* A string of JSON, or {"hex": "c0ff"} of what is no UTF-8. */
void ipc_sink_json(struct ipc_sink *s, const unsigned char *p, size_t n);

/*
 * The bytes that a text stands for, at most @n, to @to: how many; -1 if it is none. Escapes as in ipc_sink_quoted(), without the quotes;
 * a string of JSON without its quotes, which must be valid UTF-8 and escapes; two digits a byte.
 */
ssize_t ipc_unescape(unsigned char *to, const char *text, size_t n);
ssize_t ipc_unescape_json(unsigned char *to, const char *text, size_t n);
ssize_t ipc_unescape_hex(unsigned char *to, const char *text, size_t n);

/* The escape of JSON at the backslash @p, of @n bytes: how long it is, and its character; 0 if it is none. */
size_t ipc_escape_json(const char *p, size_t n, uint32_t *code);

#endif
