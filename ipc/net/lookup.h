/*
 * The addresses of a name, found without blocking: getaddrinfo() in a helper thread. Not libevent's evdns, because that reads
 * /etc/resolv.conf and /etc/hosts by itself, where getaddrinfo() does what /etc/nsswitch.conf says: what the
 * user's other programs see, this one sees. Numbers need no thread.
 *
 * The process has one such thread, while there is something to look up, and a line of names that wait for it. Nothing can stop
 * it while a name server does not answer: when it has been at one name for a second and others wait, a second one
 * helps, and so on, up to four. Who asks for a name that is asked for already shares the answer. A lookup can be given up
 * at once, in any state; a name that nobody wants any more leaves the line.
 */
#ifndef IPC_NET_LOOKUP_H
#define IPC_NET_LOOKUP_H

#include <netdb.h>
#include <stdint.h>

struct ipc_lookup;

/* Host "*" stands for all addresses of this machine. -1: EMFILE, ENFILE, ENOMEM. */
struct ipc_lookup *ipc_lookup_start(const char *host, const char *port);

/* Readable when it is over, until ipc_lookup_take() has said so. */
int ipc_lookup_fd(const struct ipc_lookup *l);

/*
 * 1: *@found, which lives as long as @l. 0: not yet; ask again in *@ns nanoseconds at the latest, -1 for ever. -1, and *@why in
 * words: ENOENT (no such host), EHOSTUNREACH (can't be looked up now), EAGAIN (no thread), ENOMEM, EMFILE, ENFILE, ECHILD.
 */
int ipc_lookup_take(struct ipc_lookup *l, const struct addrinfo **found, const char **why, int64_t *ns);

/* Gives it up. NULL is fine. */
void ipc_lookup_free(struct ipc_lookup *l);

#endif
