/* aioconn_connect(): a dial, and the wait for it. And the address of a connection's peer. */
#include <errno.h>

#include <aioipc/conn.h>
#include <aioipc/listener.h>

#include "ipc/carry/seal.h"
#include "ipc/conn/conn.h"
#include "ipc/loop/wait.h"
#include "ipc/net/address.h"
#include "ipc/net/dial.h"
#include "ipc/os/text.h"

/* Waits until the next step is due. -1: ETIMEDOUT, EINTR, EDEADLK. */
static int wait_for(struct ipc_dial_wait *w, struct event_base *base, int64_t deadline)
{
	int64_t left = ipc_deadline_left(deadline);

	if (ipc_wait_allowed(base, deadline) == -1)
		return -1;
	if (w->ns < 0 || (left >= 0 && left <= w->ns))
		return ipc_wait(w->fd, w->n, deadline);
	if (ipc_wait(w->fd, w->n, aioipc_after(w->ns / 1000000 + 1)) == -1 && errno != ETIMEDOUT)
		return -1;
	return 0;
}

/* After the deadline there is one more step: the connection may have come in time. */
static int drive(struct ipc_dial *d, struct event_base *base, int64_t deadline)
{
	int64_t left = ipc_deadline_left(deadline);
	struct ipc_dial_wait w;
	bool late = false;
	int r;

	if (left > 0)
		ipc_dial_until(d, ipc_os_now() + left);
	while ((r = ipc_dial_step(d, &w)) == 0) {
		if (late) {
			errno = ETIMEDOUT;
			return -1;
		}
		late = wait_for(&w, base, deadline) == -1;
		if (late && errno != ETIMEDOUT)
			return -1;
	}
	return r == 1 ? 0 : -1;
}

struct aioconn *aioconn_connect_tls(const char *address, struct aiotls *tls, struct event_base *base,
				    int64_t deadline)
{
	struct aioconn *c = NULL;
	struct ipc_dial *d;

	if (ipc_deadline_check(deadline) == -1 || (base && ipc_watch_base_ok(base) == -1))
		return NULL;
	d = ipc_dial_new_tls(address, tls);
	if (d && drive(d, base, deadline) == 0)
		c = ipc_dial_open(d, base);
	ipc_dial_free(d);
	return c;
}

struct aioconn *aioconn_connect(const char *address, struct event_base *base, int64_t deadline)
{
	return aioconn_connect_tls(address, NULL, base, deadline);
}

int aioconn_peer_certificate(const struct aioconn *c, enum aiotls_field field, char *buf, size_t size)
{
	if (ipc_own_check(&c->carrier.own) == -1 || ipc_seal_tell(&c->carrier, (int)field, buf, size) == -1)
		return -1;
	ipc_text_tame(buf); /* the peer has chosen it */
	return 0;
}

int aioconn_peer_address(const struct aioconn *c, char *buf, size_t size)
{
	if (ipc_own_check(&c->carrier.own) == -1)
		return -1;
	return ipc_address_of_peer(aioconn_fd(c), buf, size);
}
