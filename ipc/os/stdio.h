/*
 * The user's stdout and stderr around a fork; other streams are left alone. These calls do not wait for a stream that another thread uses: that
 * could be for ever, and in the child, where that thread does not exist, it would be.
 */
#ifndef IPC_OS_STDIO_H
#define IPC_OS_STDIO_H

/* Before the fork: writes what is buffered, so that it comes before the child's output. */
void ipc_os_stdio_flush(void);

/* In the child, at once: drops what the parent has buffered and will write itself. */
void ipc_os_stdio_forget(void);

/* In the child, before it ends: writes what it has buffered. Waits a little for threads that are printing. */
void ipc_os_stdio_finish(void);

#endif
