/* How one thread rouses another out of poll: a descriptor that can be rung and is readable then, however often it was. */
#ifndef IPC_OS_BELL_H
#define IPC_OS_BELL_H

/* Close-on-exec. fd[0] is polled, fd[1] rung; both may be one. -1: EMFILE, ENFILE. */
int ipc_os_bell(int fd[2]);
void ipc_os_bell_ring(int fd);  /* fd[1] */
void ipc_os_bell_quiet(int fd); /* fd[0]: not readable until rung again */
void ipc_os_bell_close(const int fd[2]);

#endif
