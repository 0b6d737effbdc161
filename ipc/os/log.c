/*
 * The log: see log.h. A callback and its argument must be read together, and without a lock: a thread of the parent may hold any lock when
 * another thread forks. So each pair is a node that never changes and is never freed. A pair that was set before is used again, so the
 * list of nodes grows only by pairs that are new.
 */
#include "ipc/os/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <aioipc/base.h>

#include "ipc/os/os.h"
#include "ipc/os/text.h"

#define LINE_MOST 512

struct listener {
	struct listener *next;
	aioipc_log_cb *cb;
	void *arg;
};

static _Atomic(struct listener *) all;     /* all that were ever set, the last one first */
static _Atomic(struct listener *) current; /* NULL: no log is wanted */

static struct listener *find(aioipc_log_cb *cb, const void *arg)
{
	struct listener *l = atomic_load(&all);

	while (l && (l->cb != cb || l->arg != arg))
		l = l->next;
	return l;
}

/* Two threads that set the same pair at once may add it twice, which does no harm. */
static struct listener *add(aioipc_log_cb *cb, void *arg)
{
	struct listener *l = malloc(sizeof *l);

	if (!l)
		return NULL;
	*l = (struct listener){atomic_load(&all), cb, arg};
	while (!atomic_compare_exchange_weak(&all, &l->next, l))
		;
	return l;
}

void aioipc_set_log(aioipc_log_cb *cb, void *arg)
{
	struct listener *l = NULL;

	if (cb && !(l = find(cb, arg)) && !(l = add(cb, arg)))
		return;
	atomic_store(&current, l);
}

void ipc_log_print(const char *line, size_t len)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)line, .iov_len = len};
	int error = errno;

	while (ipc_os_write_masked(STDERR_FILENO, &iov, 1) == -1 && errno == EINTR)
		;
	errno = error;
}

int ipc_log_asked(const char *name)
{
	const char *value = secure_getenv(name);

	return value && *value >= '1' && *value <= '9' && value[1] == '\0' ? *value - '0' : 0;
}

static bool to_stderr;

static void read_environment(void)
{
	to_stderr = ipc_log_asked("AIOIPC_LOG") == 1;
}

static bool is_wanted(const struct listener *l)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (!l)
		pthread_once(&once, read_environment);
	return l || to_stderr;
}

static void print(const char *text)
{
	char line[LINE_MOST + 32];
	int len = snprintf(line, sizeof line, "aioipc %d: %s\n", (int)getpid(), text);

	ipc_log_print(line, (size_t)len);
}

static void write_log(const char *format, va_list ap)
{
	const struct listener *l = atomic_load(&current);
	char text[LINE_MOST];
	int error = errno;

	if (!is_wanted(l))
		return;
	vsnprintf(text, sizeof(text), format, ap);
	ipc_text_tame(text);
	if (l)
		l->cb(text, l->arg);
	else
		print(text);
	errno = error;
}

void ipc_log(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	write_log(format, ap);
	va_end(ap);
}

void aioipc_log(const char *text)
{
	ipc_log("%s", text);
}

int ipc_refuse(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	write_log(format, ap);
	va_end(ap);
	errno = EINVAL;
	return -1;
}
