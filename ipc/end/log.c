/* The log that a user may ask for. */
#include "ipc/end/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include <aioipc/base.h>

#include "ipc/own/own.h"
#include "ipc/os/text.h"

/* Under the registry's mutex, which a fork leaves whole; the flag saves taking it for nothing. */
static struct {
	aioipc_log_cb *cb;
	void *arg;
} log_to;
static atomic_bool wanted;

void aioipc_set_log(aioipc_log_cb *cb, void *arg)
{
	if (ipc_own_hold() == -1)
		return;
	log_to.cb = cb;
	log_to.arg = arg;
	atomic_store(&wanted, cb != NULL);
	ipc_own_let_go();
}

void ipc_log(const char *format, ...)
{
	char text[512];
	int error = errno;
	aioipc_log_cb *cb;
	void *arg;
	va_list ap;

	if (!atomic_load(&wanted) || ipc_own_hold() == -1)
		return;
	cb = log_to.cb;
	arg = log_to.arg;
	ipc_own_let_go();
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	ipc_text_tame(text);
	if (cb)
		cb(text, arg);
	errno = error;
}
