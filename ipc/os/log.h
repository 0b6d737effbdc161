/*
 * The log: lines of text for a user who has called aioipc_set_log(), about what the library can't tell in another way. All floors may
 * write to it, from any thread and in a forked child: it takes no lock. Do not call it while you hold a lock or in a fork handler,
 * because the user's callback may call the library.
 */
#ifndef IPC_OS_LOG_H
#define IPC_OS_LOG_H

/* One line, without a newline. Does nothing when the user has set no log. Keeps errno. */
void ipc_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
