/*
 * Looks up the addresses of a name without blocking: a helper thread calls getaddrinfo(). libevent's evdns is not used: it reads
 * /etc/resolv.conf and /etc/hosts itself. getaddrinfo() obeys /etc/nsswitch.conf, so this program sees what the user's other programs
 * see. Numbers need no thread.
 *
 * The process has one helper thread while there is something to look up, and a list of names that wait. Nothing can interrupt
 * getaddrinfo() while a name server does not answer. If a lookup takes a second and other names wait, a second thread starts,
 * and so on, up to four. Two lookups of the same name share one answer. A lookup can be given up at any time; a name
 * that nobody needs any more leaves the list.
 */
#ifndef IPC_NET_LOOKUP_H
#define IPC_NET_LOOKUP_H

#include <netdb.h>
#include <stdint.h>

struct ipc_lookup;

/* @host "*": all addresses of this machine. NULL: EMFILE, ENFILE, ENOMEM. */
struct ipc_lookup *ipc_lookup_start(const char *host, const char *port);

/* Readable from when it is over until ipc_lookup_take() has returned 1 or -1. */
int ipc_lookup_fd(const struct ipc_lookup *l);

/*
 * 1: *@found, which lives as long as @l. 0: not yet; ask again after *@ns nanoseconds at the latest, -1: no limit. -1, and *@why says it in
 * words: ENOENT (no such host), EHOSTUNREACH (can't be looked up now), EAGAIN (no thread), ENOMEM, EMFILE, ENFILE, ECHILD.
 */
int ipc_lookup_take(struct ipc_lookup *l, const struct addrinfo **found, const char **why, int64_t *ns);

/* Gives it up. @l may be NULL. */
void ipc_lookup_free(struct ipc_lookup *l);

#endif
