/* See python.h. */
#include "tests/python.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

static void python_words(va_list words, char **argv, size_t room)
{
	const char *python = getenv("PYTHON3");
	size_t n = 0;
	char *word;

	argv[n++] = (char *)(uintptr_t) "env";
	argv[n++] = (char *)(uintptr_t)(python && *python ? python : "python3");
	argv[n++] = (char *)(uintptr_t) "-IS"; /* nothing of a user's, which takes time */
	argv[n++] = (char *)(uintptr_t)SRCDIR "/tests/peer_lines.py";
	while ((word = va_arg(words, char *))) {
		ck_assert_uint_lt(n, room - 1);
		argv[n++] = word;
	}
	argv[n] = NULL;
}

void start_python(struct python *p, struct event_base *base, ...)
{
	struct aioend *mine, *theirs;
	char *argv[16];
	va_list words;

	va_start(words, base);
	python_words(words, argv, sizeof argv / sizeof *argv);
	va_end(words);
	must(aiopipe(&mine, &theirs));
	must(aioend_set_stdio(theirs, -1, 1));
	must(aioend_detach(theirs));
	p->proc = must(aioproc_exec("/usr/bin/env", argv, NULL, NULL));
	aioend_free(theirs);
	p->said = open_end(mine, base);
	must(aioconn_set_framing(p->said, AIOCONN_LINES, NULL));
}

unsigned python_said(struct python *p, const char *word)
{
	char format[64];
	struct aiomsg *m;
	unsigned n = 0;

	snprintf(format, sizeof format, "%s %%u", word);
	if (must(aioconn_recv(p->said, &m, soon())) == 0)
		ck_abort_msg("Python ended, \"%s\" was due", word);
	if (sscanf(aiomsg_bytes(m, NULL), format, &n) != 1)
		ck_abort_msg("Python said \"%s\", \"%s\" was due", (const char *)aiomsg_bytes(m, NULL), word);
	aiomsg_free(m);
	return n;
}

void expect_python_done(struct python *p)
{
	int status;

	expect_text(p->said, "done");
	expect_end(p->said, 0);
	must(aioconn_close(p->said, soon()));
	must(aioproc_join(p->proc, &status, soon()));
	aioproc_free(p->proc);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
