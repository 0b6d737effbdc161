/*
 * The handshakes of a listener's encrypted peers, so that it sees only peers that are who they should be. Each peer has limited time, and so many
 * may be at it at once. One that is refused is told why: that would be lost if its socket were closed while input is left, so it stays for a
 * moment.
 *
 *   SHAKES ---> READY: taken by the listener
 *     `-------> REFUSED ---> gone
 */
#ifndef IPC_NET_GREET_H
#define IPC_NET_GREET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aioend;
struct aiotls;
struct event_base;
struct ipc_greeter;
struct ipc_seal;

struct ipc_greeter_owner {
	void (*changed)(void *arg); /* a peer is ready, or has gone. It may free the greeter */
	void (*charge)(void *arg, size_t more, size_t less); /* memory */
	void *arg;
};

/* Takes a reference to @t; @address (kept by the caller) is for the log. NULL with ENOMEM. */
struct ipc_greeter *ipc_greeter_new(struct aiotls *t, struct event_base *base, const char *address,
				    const struct ipc_greeter_owner *owner);

/* Closes all that were not taken. NULL is fine. */
void ipc_greeter_free(struct ipc_greeter *g);

/*
 * May one more begin? *@ns: else after so long, if somebody waits. @waits: somebody does; then the one that began first has to go, once it has had
 * its time.
 */
bool ipc_greeter_has_room(struct ipc_greeter *g, bool waits, int64_t *ns);

/* Begins the handshake of @end, which is the greeter's then. -1: ENOMEM and others; @end stays the caller's. */
int ipc_greet(struct ipc_greeter *g, struct aioend *end);

/* The next one that is ready, and its seal; NULL: none. */
struct aioend *ipc_greeter_take(struct ipc_greeter *g, struct ipc_seal **seal);

struct ipc_greeter_counts {
	unsigned shaking, ready;
	uint64_t refused;
};
struct ipc_greeter_counts ipc_greeter_counts(const struct ipc_greeter *g);

#endif
