/*
 * Stream sockets of TCP and of unix: made, accepted, connected. Close-on-exec, TCP without delay; keeps no state. Reading
 * and writing is in os.h.
 */
#ifndef IPC_OS_SOCKET_H
#define IPC_OS_SOCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* One that does not block. */
int ipc_os_socket(int family, int type);

/* What TCP does about peers that have vanished, in milliseconds: 0 as below, negative never. */
struct ipc_os_keepalive {
	int64_t idle;    /* a peer that is silent for so long is asked, and then each sixth of it; a minute */
	int64_t timeout; /* nothing was acknowledged, or taken, for so long: ETIMEDOUT; five minutes */
};

/* Of a socket before it connects or listens; those that are accepted inherit it. Does nothing where it means nothing. */
void ipc_os_keep_alive(int fd, const struct ipc_os_keepalive *k);

/* For one that listens. An IPv6 one takes IPv4 too only where @both. */
int ipc_os_reuse_address(int fd);
int ipc_os_both_families(int fd, bool both);

/* The next peer's, blocking as new ones are. -1: EAGAIN (nobody waits, or who did has left), else as accept(2). */
int ipc_os_accept(int fd);

/*
 * Binds one that is to connect. A port that it has to itself may still wait for the last packets of its last connection; one that
 * is left to the kernel is chosen when it connects, so that many may share it. -1: as bind(2).
 */
int ipc_os_bind_from(int fd, const struct sockaddr *sa, socklen_t len, bool port);

/* 0; -1/EINPROGRESS: ask ipc_os_connected() once it is writable; EAGAIN: a unix peer's backlog is full, try again later. */
int ipc_os_connect(int fd, const struct sockaddr *sa, socklen_t len);

/* 1, also for those that connect at once; 0 not yet; -1: why it failed. A socket that TCP has connected to itself is ECONNREFUSED. */
int ipc_os_connected(int fd);

/* Can @fd carry a stream? What is no socket is no business of this. -1: EPROTOTYPE (a socket of packets), EINVAL (it listens). */
int ipc_os_check_stream(int fd);

#endif
