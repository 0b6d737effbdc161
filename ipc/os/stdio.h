/*
 * The caller's stdout and stderr around a fork; other streams are left alone. Never waits for a stream that another thread uses: that may
 * be for ever, and of a thread that is gone in the child it is.
 */
#ifndef IPC_OS_STDIO_H
#define IPC_OS_STDIO_H

/* Before: writes what is buffered, so that it comes before what the child prints. */
void ipc_os_stdio_flush(void);

/* In the child, at once: forgets what the parent has still to write. */
void ipc_os_stdio_forget(void);

/* In the child, before it ends: writes what it has printed. Gives threads that print at this moment a little time. */
void ipc_os_stdio_finish(void);

#endif
