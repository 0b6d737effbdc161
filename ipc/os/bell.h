/* How one thread wakes another that polls: a descriptor that is readable after it was rung, once or many times. */
#ifndef IPC_OS_BELL_H
#define IPC_OS_BELL_H

/* Close-on-exec. Poll fd[0], ring fd[1]; they may be the same number. -1: EMFILE, ENFILE. */
int ipc_os_bell(int fd[2]);
void ipc_os_bell_ring(int fd);  /* fd[1] */
void ipc_os_bell_quiet(int fd); /* fd[0]: not readable until rung again */
void ipc_os_bell_close(const int fd[2]);

#endif
