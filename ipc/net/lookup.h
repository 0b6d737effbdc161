/*
 * The addresses of a name, found without blocking: getaddrinfo() in a helper thread. Not libevent's evdns, because that reads
 * /etc/resolv.conf and /etc/hosts by itself, where getaddrinfo() does what /etc/nsswitch.conf says: what the
 * user's other programs see, this one sees. A lookup can be given up at once, in any state: the thread, which nothing can
 * stop, then ends by itself when the C library returns, and holds no descriptor until then. Numbers need no thread.
 */
#ifndef IPC_NET_LOOKUP_H
#define IPC_NET_LOOKUP_H

#include <netdb.h>

struct ipc_lookup;

/* Host "*" stands for all addresses of this machine. -1: EMFILE, ENFILE, ENOMEM, EAGAIN (no thread). */
struct ipc_lookup *ipc_lookup_start(const char *host, const char *port);

/* Readable when it is over; until ipc_lookup_free(). */
int ipc_lookup_fd(const struct ipc_lookup *l);

/*
 * 1: *@found, which is the caller's: freeaddrinfo(). 0: not yet. -1, and *@why in words: ENOENT (no such host), EHOSTUNREACH (can't
 * be looked up now), ENOMEM, EMFILE, ENFILE, ECHILD.
 */
int ipc_lookup_take(struct ipc_lookup *l, struct addrinfo **found, const char **why);

/* Gives it up. NULL is fine. */
void ipc_lookup_free(struct ipc_lookup *l);

#endif
