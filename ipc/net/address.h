/*
 * Addresses as text: "tcp://host:port", "unix:///path", "unix:@name". Read from users, written of sockets. No name is
 * looked up here and nothing is opened: that is dial.h and the listener.
 */
#ifndef IPC_NET_ADDRESS_H
#define IPC_NET_ADDRESS_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#define IPC_HOST_MOST 255
#define IPC_ADDRESS_SIZE 300 /* takes any address as text, and its NUL */

enum ipc_address_kind { IPC_ADDRESS_TCP, IPC_ADDRESS_PATH, IPC_ADDRESS_ABSTRACT };
enum ipc_address_use { IPC_TO_CONNECT, IPC_TO_LISTEN };

struct ipc_address {
	enum ipc_address_kind kind;
	char host[IPC_HOST_MOST +
		  1]; /* tcp: a name or number, without brackets; "*": all of this machine's */
	char port[6];
	struct sockaddr_un un; /* the others */
	socklen_t un_len;
};

/*
 * Only what suits @use: "*" and port 0 are to listen on. -1/EINVAL, and *@why (may be NULL) says in words what is wrong: a
 * string constant.
 */
int ipc_address_read(struct ipc_address *a, const char *text, enum ipc_address_use use, const char **why);

/* A socket's address, as it would be read; "unix:" of one without a name. Cut to @size, which is not 0. */
void ipc_address_write(char *buf, size_t size, const struct sockaddr *sa, socklen_t len);

/* The address of the socket @fd itself, or of its peer, tamed: ipc_text_tame(). -1: as getsockname(2), getpeername(2). */
int ipc_address_of_socket(int fd, char *buf, size_t size);
int ipc_address_of_peer(int fd, char *buf, size_t size);

#endif
