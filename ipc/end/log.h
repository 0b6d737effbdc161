/* What the library has no other way to tell: see aioipc_set_log(). Never called under a lock or in a fork handler. */
#ifndef IPC_END_LOG_H
#define IPC_END_LOG_H

void ipc_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
