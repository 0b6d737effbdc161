/* Stream sockets, TCP and unix: how they are made, accepted and connected. Close-on-exec; TCP sends without delay. Reading and writing is in os.h. */
#ifndef IPC_OS_SOCKET_H
#define IPC_OS_SOCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* One that does not block. */
int ipc_os_socket(int family, int type);

/* When TCP gives up a peer that has vanished, in milliseconds. 0: the default below; negative: never. */
struct ipc_os_keepalive {
	int64_t idle; /* probe a peer that is silent for so long, and again after each sixth of it; a minute */
	int64_t timeout; /* ETIMEDOUT when the peer acknowledges nothing, or takes nothing, for so long; five minutes */
};

/* Call it before the socket connects or listens; accepted sockets inherit it. Does nothing on sockets that are not TCP. */
void ipc_os_keep_alive(int fd, const struct ipc_os_keepalive *k);

/* For a socket that listens. @both: an IPv6 socket takes IPv4 too. */
int ipc_os_reuse_address(int fd);
int ipc_os_both_families(int fd, bool both);

/* Accepts the next peer; the new socket blocks. -1: EAGAIN (no peer waits, or it has left), else as accept(2). */
int ipc_os_accept(int fd);

/*
 * Binds a socket before it connects. @port: @sa has one, which may be bound although its last connection is in TIME_WAIT. Else the kernel chooses
 * the port when the socket connects, so that many sockets may share it. -1: as bind(2).
 */
int ipc_os_bind_from(int fd, const struct sockaddr *sa, socklen_t len, bool port);

/* 0, or -1: EINPROGRESS (ask ipc_os_connected() when it is writable), EAGAIN (a unix listener's backlog is full: try later). */
int ipc_os_connect(int fd, const struct sockaddr *sa, socklen_t len);

/* 1: connected; 0: not yet; -1: why it failed. ECONNREFUSED also when TCP has connected the socket to itself. */
int ipc_os_connected(int fd);

/* Can @fd carry a stream? -1: EPROTOTYPE (a socket of packets), EINVAL (it listens). 0 for everything that is no socket. */
int ipc_os_check_stream(int fd);

#endif
