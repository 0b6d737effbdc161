/* What the tool says on standard error: notes, and errors with what to do next. Nothing here ends the program. */
#include "tool/tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
	int error;
	const char *name, *what, *next;
	bool retry; /* may help who connects */
} known[] = {
	{EACCES, "EACCES", "that is not allowed", "ask its owner, or take another address", false},
	{EADDRINUSE, "EADDRINUSE", "somebody listens there, or the file is no socket", "take another address",
	 false},
	{EADDRNOTAVAIL, "EADDRNOTAVAIL", "no address of this machine", "take one of this machine, or *",
	 false},
	{ECONNREFUSED, "ECONNREFUSED", "nobody listens there", "start the listener first", true},
	{ECONNRESET, "ECONNRESET", "the connection was reset", "see what happened to the peer", false},
	{EHOSTUNREACH, "EHOSTUNREACH", "no way to that host", "try again later", true},
	{ENETUNREACH, "ENETUNREACH", "no way to that network", "try again later", true},
	{ENOENT, "ENOENT", "no such socket, host or folder", "look at the address", true},
	{ETIMEDOUT, "ETIMEDOUT", "no answer", "try again later", true},
};

/* A line that is to be written over. The lock of stderr guards it, which no sanitizer knows. */
static atomic_bool is_shown;

static void clear_progress(void)
{
	if (atomic_exchange(&is_shown, false))
		fputs("\r\033[K", stderr);
}

void say_progress(const char *format, ...)
{
	va_list ap;

	flockfile(stderr);
	clear_progress();
	if (format) {
		va_start(ap, format);
		vfprintf(stderr, format, ap);
		va_end(ap);
		atomic_store(&is_shown, true);
	}
	funlockfile(stderr);
}

static void say(const char *format, va_list ap)
{
	char line[1024];

	vsnprintf(line, sizeof line, format, ap);
	flockfile(stderr);
	clear_progress();
	fputs("aioipc: ", stderr);
	text_plain(stderr, line, strlen(line), TEXT_SAID);
	fputc('\n', stderr);
	funlockfile(stderr);
}

void say_note(const struct tool_options *o, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (!o->quiet)
		say(format, ap);
	va_end(ap);
}

void say_error(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(format, ap);
	va_end(ap);
}

static _Thread_local char kept[256];
static _Thread_local bool keeps;

void say_log(const char *text, void *hushed)
{
	const bool *is_hushed = hushed;

	if (keeps)
		snprintf(kept, sizeof kept, "%s", text);
	else if (!is_hushed || !*is_hushed)
		say_error("%s", text);
}

void why_begin(void)
{
	*kept = '\0';
	keeps = true;
}

const char *why_behind(const char *why)
{
	const char *colon = strstr(why, ": ");

	return colon ? colon + 2 : why;
}

const char *why_end(int error)
{
	int before = errno;

	keeps = false;
	if (!*kept)
		return strerror(error);
	errno = before;
	return why_behind(kept);
}

/* The kernel refuses to connect to any file, as if it were a socket without a listener. */
static bool is_other_file(const char *where)
{
	const char *path = strstr(where, ":///");
	struct stat st;

	return path && stat(path + 3, &st) == 0 && !S_ISSOCK(st.st_mode);
}

void say_why(const struct tool_options *o, const char *where, int error)
{
	bool may_retry = o->mode == TOOL_CONNECT && !o->retry;

	if (error == ECONNREFUSED && is_other_file(where)) {
		say_error("%s: that is no socket: look at the address", where);
		return;
	}
	if (error == EACCES && tls_is_of(where)) {
		say_error("%s: a certificate was not taken (EACCES): look at --tls-ca, --tls-cert and "
			  "--tls-name",
			  where);
		return;
	}
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (known[i].error == error) {
			say_error("%s: %s (%s): %s%s", where, known[i].what, known[i].name, known[i].next,
				  known[i].retry && may_retry ? ", or use --retry" : "");
			return;
		}
	say_error("%s: %s", where, strerror(error));
}
