/* Addresses of sockets, written as text; ipc/net/address.h reads them. */
#ifndef IPC_OS_ADDRESS_H
#define IPC_OS_ADDRESS_H

#include <stddef.h>
#include <sys/socket.h>

#define IPC_ADDRESS_SIZE 300 /* enough for any address as text, with its NUL */

/* Writes a socket's address as text that can be read again; "unix:", if it has no name. Cut to @size, which is not 0. */
void ipc_address_write(char *buf, size_t size, const struct sockaddr *sa, socklen_t len);

/* The address of the socket @fd, or of its peer, made printable by ipc_text_tame(). -1: as getsockname(2), getpeername(2). */
int ipc_address_of_socket(int fd, char *buf, size_t size);
int ipc_address_of_peer(int fd, char *buf, size_t size);

#endif
