/* Buffered output and fork: see stdio.h. */
#include "ipc/os/stdio.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdio_ext.h>

#include "ipc/os/eager.h"
#include "ipc/os/os.h"

enum { TRIES = 100, PAUSE = 1000000 };

static bool flush(FILE *f)
{
	if (ftrylockfile(f) != 0)
		return false;
	fflush_unlocked(f);
	funlockfile(f);
	return true;
}

void ipc_os_stdio_flush(void)
{
	int error = errno;

	flush(stdout);
	flush(stderr);
	errno = error;
}

IPC_EAGER(__fpurge);

static void forget(FILE *f)
{
	if (ftrylockfile(f) != 0)
		return;
	__fpurge(f);
	funlockfile(f);
}

void ipc_os_stdio_forget(void)
{
	forget(stdout);
	forget(stderr);
}

static void finish(FILE *f)
{
	for (int i = 0; i < TRIES && !flush(f); i++)
		ipc_os_poll(NULL, 0, PAUSE);
}

void ipc_os_stdio_finish(void)
{
	finish(stdout);
	finish(stderr);
}
