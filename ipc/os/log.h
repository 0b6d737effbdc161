/*
 * The log: lines of text for a user who has called aioipc_set_log(), about what the library can't tell in another way. All floors may
 * write to it, from any thread and in a forked child: it takes no lock. Do not call it while you hold a lock or in a fork handler,
 * because the user's callback may call the library.
 */
#ifndef IPC_OS_LOG_H
#define IPC_OS_LOG_H

#include <stddef.h>

/* One line, without a newline. Keeps errno. Without a log of the user, it goes to stderr if AIOIPC_LOG=1 is in the environment. */
void ipc_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What is wrong with an argument of the user's call, and what would be right. Sets EINVAL and returns -1. */
int ipc_refuse(const char *format, ...) __attribute__((cold, format(printf, 1, 2)));

/*
 * Writes a line to stderr at once, past stdio. A reader that has left is no reason to die; a slow one holds the process up. For the log and
 * the trace, which the user asked for by the environment. Keeps errno.
 */
void ipc_log_print(const char *line, size_t len);

/* Is @name "1" or the like in the environment? 0 without it, and in a set-user-ID program. */
int ipc_log_asked(const char *name);

#endif
